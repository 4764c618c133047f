"""Whether it can matter which of two neighbouring statements comes first."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

_SIMPLE = (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Expr, ast.Delete)
_PURE = {
    "len", "min", "max", "abs", "float", "int", "sum", "sorted", "list", "tuple", "dict", "range",
    "enumerate", "zip", "isfinite", "isnan", "cast", "field", "bool", "str", "set", "deque",
    "defaultdict", "array", "iter", "count",
}  # fmt: skip

_PURE_METHODS = {"tolist", "astype", "copy", "get", "items", "keys", "values", "index", "count"}


@dataclass
class _Effects:
    """What a statement touches."""

    binds: set[str] = field(default_factory=set)
    reads: set[str] = field(default_factory=set)
    stores: set[str] = field(default_factory=set)  # attributes, items of named containers
    loads: set[str] = field(default_factory=set)
    calls: bool = False


def _effects(statement: ast.stmt) -> _Effects:
    found = _Effects()
    for node in ast.walk(statement):
        if isinstance(node, ast.Name):
            store = not isinstance(node.ctx, ast.Load)
            (found.binds if store else found.reads).add(node.id)
        elif isinstance(node, ast.Attribute | ast.Subscript):
            name = _name(node)
            store = not isinstance(node.ctx, ast.Load)
            (found.stores if store else found.loads).add(name)
        elif isinstance(node, ast.Call):
            found.calls |= not _pure(node)
    if isinstance(statement, ast.AugAssign):
        found.reads |= found.binds
    return found


def _name(node: ast.expr) -> str:
    while isinstance(node, ast.Subscript):
        node = node.value
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ast.dump(node)


def _pure(call: ast.Call) -> bool:
    func = call.func
    if isinstance(func, ast.Name):
        return func.id in _PURE or func.id[:1].isupper()
    if isinstance(func, ast.Attribute) and func.attr in _PURE_METHODS:
        return True
    root: ast.expr = func
    while isinstance(root, ast.Attribute):
        root = root.value
    return isinstance(root, ast.Name) and root.id == "np"


def matters(first: ast.stmt, second: ast.stmt) -> bool:
    """Say whether a swap runs (no name is read unbound) and is not plainly without effect."""
    if not isinstance(first, _SIMPLE) or not isinstance(second, _SIMPLE):
        return False
    if any(isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant) for s in (first, second)):
        return False
    a, b = _effects(first), _effects(second)
    if a.binds & (b.reads | b.binds) or ast.dump(first) == ast.dump(second):
        return False  # the second could not run without the first
    if a.calls or b.calls:
        return bool((a.calls or a.stores) and (b.calls or b.stores))
    touched = a.stores & (b.stores | b.loads) or b.stores & a.loads or b.binds & a.reads
    return bool(touched) and not _sums(first, second)


def _sums(first: ast.stmt, second: ast.stmt) -> bool:
    """Say whether both only add to something, so that only rounding could tell."""
    return all(isinstance(s, ast.AugAssign) and isinstance(s.op, ast.Add) for s in (first, second))
