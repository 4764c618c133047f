"""The plug-ins that a scenario can name, described from their sources without importing one."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sim.registry import Registry


def registries() -> tuple[Registry, ...]:
    """Return the tables of plug-ins, routers first."""
    from agents.caches import CACHES
    from agents.dispatchers import DISPATCHERS
    from agents.routers import ROUTERS

    return ROUTERS, DISPATCHERS, CACHES


def catalogue() -> list[dict[str, Any]]:
    """Return one row per plug-in: kind, name, doc (first line), oracle."""
    return [_row(registry, name) for registry in registries() for name in registry]


def _row(registry: Registry, name: str) -> dict[str, Any]:
    classes = class_sources(registry[name])
    docs = [ast.get_docstring(node) or "" for node in classes]
    return {
        "kind": registry.kind,
        "name": name,
        "doc": docs[0].partition("\n")[0] if docs else "",
        "oracle": bool(constant(classes, "oracle")),
    }


def is_oracle(kind: str) -> bool:
    """Tell whether a router sees what no real one can."""
    return bool(declared(kind, "oracle"))


def is_gated(kind: str) -> bool:
    """Tell whether a router may choose gated plans, for which a node must hold the experts."""
    return bool(declared(kind, "gated"))


def parameters(kind: str) -> str:
    """Return where a router's parameters are described, "module:Class"; empty: it takes none.

    The class attribute `parameters` says so, in a module that loads no torch.
    """
    return str(declared(kind, "parameters") or "")


def declared(kind: str, attribute: str) -> Any:
    """Return the constant that a router's class gives an attribute, None where it says nothing."""
    from agents.routers import ROUTERS

    return constant(class_sources(ROUTERS[kind]), attribute) if kind in ROUTERS else None


def class_sources(row: str) -> list[ast.ClassDef]:
    """Return the syntax trees of a registry row's class and of its bases in the same file.

    Finding the file imports the parent package only, which holds nothing but its table. Empty when
    there is no file.
    """
    module, _, name = row.partition(":")
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:
        return []
    if spec is None or spec.origin is None:
        return []
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    known = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    found: list[ast.ClassDef] = []
    wanted = [name]
    while wanted:
        node = known.pop(wanted.pop(0), None)
        if node is not None:
            found.append(node)
            wanted += [base.id for base in node.bases if isinstance(base, ast.Name)]
    return found


def constant(classes: list[ast.ClassDef], attribute: str) -> Any:
    """Return the constant that the first class of a line of descent gives an attribute, or None."""
    for statement in (statement for node in classes for statement in node.body):
        if not isinstance(statement, ast.AnnAssign | ast.Assign):
            continue
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        named = any(isinstance(target, ast.Name) and target.id == attribute for target in targets)
        if named and isinstance(statement.value, ast.Constant):
            return statement.value.value
    return None
