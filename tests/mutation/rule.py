"""Which functions are mutated, and which mutants stand for them: by rule, never by taste."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path

from tests.mutation.operators import FunctionNode, Site, sites

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("arrivals", "compute", "network", "topology")
MODULES = (
    "auditor", "audits", "clock", "faults", "fleet", "freight", "laws", "pace", "refusals",
    "request", "slots",
)  # fmt: skip
TWINS = ("proofs", "fast")  # held to the rooms above bit by bit, by tests of their own
NOT_PHYSICS = (
    "__init__", "arrays", "brains", "config", "coupling", "dispatch", "errors", "executors",
    "nodemix", "parts", "plans", "ports", "records", "recorder", "registry", "rng", "rules",
    "sampling", "simulation", "stability", "totals", "units", "views",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Function:
    """A function or method: its module and its qualified name, nested ones with `<locals>`."""

    module: str
    qualname: str
    line: int

    @property
    def name(self) -> str:
        """Return `module:qualname`."""
        return f"{self.module}:{self.qualname}"


@dataclass(frozen=True, slots=True)
class Mutant:
    """One edit of one function; the id survives edits elsewhere."""

    function: Function
    operator: str
    ordinal: int  # among this operator's sites in the function
    index: int  # among all sites of the function
    lines: tuple[int, int]

    @property
    def id(self) -> str:
        """Return `module:qualname:operator:ordinal`."""
        return f"{self.function.name}:{self.operator}:{self.ordinal}"


def path_of(module: str) -> Path:
    """Return the source file of a module."""
    return ROOT.joinpath(*module.split(".")).with_suffix(".py")


def modules(only: str = "") -> list[str]:
    """Return the modules of the physics rooms, those that begin as `only` says, if given."""
    rooms = [f"sim.{room}.{p.stem}" for room in ROOMS for p in (ROOT / "sim" / room).glob("*.py")]
    names = sorted([*rooms, *(f"sim.{name}" for name in MODULES)])
    return [
        n
        for n in names
        if not n.endswith("__init__") and f"{n}.".startswith(tuple(only.split(",")))
    ]


@cache
def text_of(module: str) -> str:
    """Return a module's source as it was when first asked for: files may change during a run."""
    return path_of(module).read_text(encoding="utf-8")


def parse(module: str) -> ast.Module:
    """Return a fresh tree of a module's source."""
    return ast.parse(text_of(module))


def definitions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, FunctionNode]]:
    """Yield every function of a tree with its qualified name, outer ones first."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + child.name, child
            yield from definitions(child, f"{prefix}{child.name}.<locals>.")
        elif isinstance(child, ast.ClassDef):
            yield from definitions(child, f"{prefix}{child.name}.")
        else:
            yield from definitions(child, prefix)


def functions(module: str) -> list[Function]:
    """Return every function and method of a module."""
    return [Function(module, name, node.lineno) for name, node in definitions(parse(module))]


@cache
def mutants(module: str) -> tuple[tuple[Function, tuple[Mutant, ...]], ...]:
    """Return every function of a module with all its mutants."""
    found = []
    for qualname, node in definitions(parse(module)):
        function, counts = Function(module, qualname, node.lineno), dict[str, int]()
        mine = []
        for index, site in enumerate(sites(node)):
            ordinal = counts[site.operator] = counts.get(site.operator, -1) + 1
            mine.append(Mutant(function, site.operator, ordinal, index, site.lines))
        found.append((function, tuple(mine)))
    return tuple(found)


def _rank(seed: int, text: str) -> bytes:
    return blake2b(f"{seed}:{text}".encode(), digest_size=8).digest()


def choose(candidates: Sequence[Mutant], count: int, seed: int) -> list[Mutant]:
    """Choose a function's mutants: first one per operator in a drawn order, then further ones.

    Operators are drawn, not sites, so that rare operators get their turn. What is chosen depends
    on the function's own mutants only.
    """
    rounds: dict[str, int] = {}
    keyed = []
    for mutant in sorted(candidates, key=lambda m: _rank(seed, m.id)):
        turn = rounds[mutant.operator] = rounds.get(mutant.operator, -1) + 1
        order = _rank(seed, f"{mutant.function.name}:{mutant.operator}")
        keyed.append(((turn, order), mutant))
    return [mutant for _, mutant in sorted(keyed, key=lambda pair: pair[0])[:count]]


def sample(only: str = "", per_function: int = 1, seed: int = 0) -> list[Mutant]:
    """Choose mutants of every function, and one more for each operator that got none."""
    every = [mine for module in modules(only) for _, mine in mutants(module)]
    chosen = [mutant for mine in every for mutant in choose(mine, per_function, seed)]
    used = {mutant.operator for mutant in chosen}
    rare: dict[str, Mutant] = {}
    for mutant in sorted((m for mine in every for m in mine), key=lambda m: _rank(seed, m.id)):
        if mutant.operator not in used:
            rare.setdefault(mutant.operator, mutant)
    return [*chosen, *rare.values()]


def mutate(mutant: Mutant) -> tuple[ast.Module, str]:
    """Return the mutated tree of the module, and the change in words.

    Raises:
        ValueError: The function or the site is not there.
    """
    tree = parse(mutant.function.module)
    for qualname, node in definitions(tree):
        if qualname == mutant.function.qualname and node.lineno == mutant.function.line:
            site: Site = sites(node)[mutant.index]
            before = ast.unparse(site.node)
            after = ast.unparse(ast.fix_missing_locations(site.edit()))
            return ast.fix_missing_locations(tree), f"{before} -> {after}"
    raise ValueError(f"{mutant.id} is not there")


def find(identity: str) -> Mutant:
    """Return a mutant by its id.

    Raises:
        ValueError: There is no such mutant.
    """
    for _, mine in mutants(identity.split(":", maxsplit=1)[0]):
        for mutant in mine:
            if mutant.id == identity:
                return mutant
    raise ValueError(f"no mutant {identity!r}; `--list` shows them")
