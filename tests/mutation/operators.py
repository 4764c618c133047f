"""Small wrong edits of one function: which there are, and where they apply.

Every operator looks at the nodes of a function's body, one after the other, and offers an edit of
the tree wherever it applies. Texts, type hints, `raise`, `assert` and nested functions (they are
functions of their own) are left alone.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.mutation import order

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef

_EDGE = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
_EQUAL = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}  # fmt: skip
_SUM = {ast.Add: ast.Sub, ast.Sub: ast.Add}
_PRODUCT = {
    ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mod, ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
}  # fmt: skip
_BITS = {
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip
_PAIRS = (("min", "max"), ("minimum", "maximum"), ("fmin", "fmax"), ("argmin", "argmax"),
          ("any", "all"), ("floor", "ceil"), ("left", "right"))  # fmt: skip
_OTHER = {a: b for pair in _PAIRS for a, b in (pair, pair[::-1])}
_ENDS = {"popleft": "pop"}
# swapped arguments change nothing, or are told by every call, since their types differ
_SYMMETRIC = {*_OTHER, "isinstance", "isclose", "zip", "logical_and", "logical_or"}
_TYPED = {"getattr", "setattr", "heappush", "array", "bisect_right", "bisect_left", "searchsorted"}
UNITS = ("_s", "_bytes", "_flop", "_w", "_j")  # `_per_s` and `_bytes_per_s` end so, too


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in the tree where a node hangs."""

    parent: ast.AST
    field: str
    index: int | None = None

    def put(self, node: ast.AST) -> None:
        """Hang another node here."""
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node


@dataclass(frozen=True, slots=True)
class Site:
    """One edit that can be made: the operator's name, the lines, and what makes it.

    A test that runs none of the lines cannot notice the edit.
    """

    operator: str
    node: ast.AST  # what a reader should see before and after
    lines: tuple[int, int]  # first and last
    edit: Callable[[], ast.AST]  # returns what to show afterwards


@dataclass(frozen=True, slots=True)
class Place:
    """A node, where it hangs, the name of the function and the statement around it."""

    node: ast.AST
    slot: Slot
    function: str
    statement: ast.stmt


Operator = Callable[[Place], Iterator[tuple[ast.AST, Callable[[], ast.AST]]]]


def _swap(slot: Slot, new: ast.AST) -> Callable[[], ast.AST]:
    def edit() -> ast.AST:
        slot.put(new)
        return new

    return edit


def _retype(node: ast.AST, field: str, kind: type[ast.AST]) -> Callable[[], ast.AST]:
    def edit() -> ast.AST:
        setattr(node, field, kind())
        return node

    return edit


Edits = Iterator[tuple[ast.AST, Callable[[], ast.AST]]]


def _compare(table: dict[type[ast.cmpop], type[ast.cmpop]]) -> Operator:
    def find(place: Place) -> Edits:
        node = place.node
        if isinstance(node, ast.Compare):
            for index, op in enumerate(node.ops):
                if (kind := table.get(type(op))) is not None:
                    slot = Slot(node, "ops", index)
                    yield node, lambda s=slot, k=kind: (s.put(k()), node)[1]

    return find


def _binary(table: dict[type[ast.operator], type[ast.operator]]) -> Operator:
    def find(place: Place) -> Edits:
        node = place.node
        if isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in table:
            operands = (node.left, node.right) if isinstance(node, ast.BinOp) else (node.value,)
            if not any(_is_text(x) for x in operands):
                yield node, _retype(node, "op", table[type(node.op)])

    return find


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr | ast.List | ast.Tuple) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def _and_or(place: Place) -> Edits:
    node = place.node
    if isinstance(node, ast.BoolOp):
        yield node, _retype(node, "op", ast.Or if isinstance(node.op, ast.And) else ast.And)


def _sign(place: Place) -> Edits:
    node = place.node
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield node, _swap(place.slot, node.operand)


def _off_by_one(place: Place) -> Edits:
    node = place.node
    if isinstance(node, ast.Constant) and type(node.value) is int:
        yield node, _swap(place.slot, ast.Constant(node.value + 1))
    if isinstance(node, ast.Slice):
        for field in ("lower", "upper"):
            bound = getattr(node, field)
            if bound is not None and not _is_number(bound):
                slot = Slot(node, field)
                yield node, lambda s=slot, b=bound: (s.put(_plus(b, 1)), node)[1]
    if isinstance(node, ast.Call) and _callee(node) == "range" and len(node.args) < 3:
        last = node.args[-1]
        if not _is_number(last):
            slot = Slot(node, "args", len(node.args) - 1)
            yield node, lambda: (slot.put(_plus(last, -1)), node)[1]


def _is_number(node: ast.expr) -> bool:
    inner = node.operand if isinstance(node, ast.UnaryOp) else node
    return isinstance(inner, ast.Constant)


def _plus(node: ast.expr, one: int) -> ast.expr:
    return ast.BinOp(node, ast.Add() if one > 0 else ast.Sub(), ast.Constant(1))


def _flip(place: Place) -> Edits:
    node, parent = place.node, place.slot.parent
    if isinstance(parent, ast.keyword) and parent.arg == "strict":
        return  # of zip: an assertion
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield node, _swap(place.slot, ast.Constant(not node.value))


def _negate(place: Place) -> Edits:
    node = place.node
    if isinstance(node, ast.If | ast.IfExp):
        test = node.test
        yield test, _swap(Slot(node, "test"), ast.UnaryOp(ast.Not(), test))


def _drop_branch(place: Place) -> Edits:
    node = place.node
    if isinstance(node, ast.If):
        yield node.test, _swap(Slot(node, "test"), ast.Constant(False))
    if isinstance(node, ast.IfExp):
        yield node, _swap(place.slot, node.orelse)
    if isinstance(node, ast.match_case) and not isinstance(node.body[0], ast.Pass):
        yield node.body[0], lambda: (setattr(node, "body", [ast.Pass()]), ast.Pass())[1]
    if isinstance(node, ast.comprehension):
        for index, test in enumerate(node.ifs):
            yield test, _swap(Slot(node, "ifs", index), ast.Constant(True))


def _drop_else(place: Place) -> Edits:
    node = place.node
    if isinstance(node, ast.If) and node.orelse:
        yield node.orelse[0], lambda: (setattr(node, "orelse", []), ast.Pass())[1]
    if isinstance(node, ast.IfExp):
        yield node, _swap(place.slot, node.body)


def _callee(node: ast.Call) -> str:
    if isinstance(node.func, ast.Name):
        return node.func.id
    return node.func.attr if isinstance(node.func, ast.Attribute) else ""


def _swap_arguments(place: Place) -> Edits:
    node = place.node
    if not isinstance(node, ast.Call) or _callee(node) in _SYMMETRIC | _TYPED:
        return
    args = node.args
    for i in range(len(args) - 1):
        pair = args[i : i + 2]
        if any(_told(a) for a in pair) or ast.dump(pair[0]) == ast.dump(pair[1]):
            continue

        def edit(at: int = i) -> ast.AST:
            args[at], args[at + 1] = args[at + 1], args[at]
            return node

        yield node, edit


def _told(node: ast.expr) -> bool:
    """Say whether an argument's type is plain to see, so that a swap cannot go unnoticed."""
    kinds = (ast.Starred, ast.List, ast.Tuple, ast.Lambda, ast.JoinedStr, ast.Dict, ast.ListComp)
    return isinstance(node, kinds) or (
        isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, str))
    )


def _rename(table: dict[str, str]) -> Operator:
    def find(place: Place) -> Edits:
        node = place.node
        if isinstance(node, ast.Call) and _callee(node) in table:
            field = "id" if isinstance(node.func, ast.Name) else "attr"
            new = table[_callee(node)]
            yield node, lambda: (setattr(node.func, field, new), node)[1]
        if isinstance(node, ast.keyword) and isinstance(node.value, ast.Constant):
            new_value = table.get(str(node.value.value))
            if new_value is not None:
                yield node.value, _swap(Slot(node, "value"), ast.Constant(new_value))

    return find


def _wrong_unit(place: Place) -> Edits:
    node = place.node
    name, field = "", "value"
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        name = _named(node.targets[0])
    elif isinstance(node, ast.AnnAssign | ast.AugAssign):
        name = _named(node.target)
    elif isinstance(node, ast.keyword):
        name = node.arg or ""
    elif isinstance(node, ast.Return):
        name = place.function
    value = getattr(node, field, None)
    if name.endswith(UNITS) and isinstance(value, ast.expr) and not _unitless(value):
        wrong = ast.BinOp(value, ast.Mult(), ast.Constant(1e3))
        yield value, _swap(Slot(node, field), wrong)


def _named(target: ast.expr) -> str:
    while isinstance(target, ast.Subscript):
        target = target.value
    if isinstance(target, ast.Name):
        return target.id
    return target.attr if isinstance(target, ast.Attribute) else ""


def _unitless(value: ast.expr) -> bool:
    """Say whether a value has no unit to be wrong: zero, nan, inf, None, a container."""
    if isinstance(value, ast.Constant):
        return not isinstance(value.value, float) or value.value == 0.0
    if isinstance(value, ast.Name | ast.Attribute):
        return (value.id if isinstance(value, ast.Name) else value.attr) in {"nan", "inf"}
    if isinstance(value, ast.BinOp):
        return _unitless(value.left)
    if isinstance(value, ast.Call):
        return _callee(value) in {"sorted", "array", "defaultdict", "list", "dict", "deque"}
    plain = ast.Tuple | ast.List | ast.Dict | ast.Lambda | ast.ListComp | ast.DictComp
    return isinstance(value, plain)


def _drop_statement(place: Place) -> Edits:
    node = place.node
    effect = isinstance(node, ast.AugAssign | ast.Delete)
    effect |= isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    if isinstance(node, ast.Assign) and place.function != "__init__":
        effect |= all(isinstance(t, ast.Attribute | ast.Subscript) for t in node.targets)
    if effect:
        yield node, _swap(place.slot, ast.Pass())


def _swap_statements(place: Place) -> Edits:
    slot = place.slot
    if slot.index is None or not isinstance(place.node, ast.stmt):
        return
    block = getattr(slot.parent, slot.field)
    at = slot.index
    if at + 1 >= len(block):
        return
    first, second = block[at], block[at + 1]
    if order.matters(first, second):
        both = ast.Module([first, second], [])

        def edit() -> ast.AST:
            block[at], block[at + 1] = second, first
            return ast.Module([second, first], [])

        yield both, edit


OPERATORS: dict[str, Operator] = {
    "compare-edge": _compare(_EDGE),
    "compare-equal": _compare(_EQUAL),
    "plus-minus": _binary(_SUM),
    "times-over": _binary(_PRODUCT),
    "bits": _binary(_BITS),
    "sign": _sign,
    "and-or": _and_or,
    "off-by-one": _off_by_one,
    "flip-flag": _flip,
    "negate-branch": _negate,
    "drop-branch": _drop_branch,
    "drop-else": _drop_else,
    "swap-arguments": _swap_arguments,
    "swap-statements": _swap_statements,
    "min-max": _rename(_OTHER),
    "ends": _rename(_ENDS),
    "wrong-unit": _wrong_unit,
    "drop-statement": _drop_statement,
}

_LEFT_ALONE = (ast.Raise, ast.Assert, ast.JoinedStr, ast.FunctionDef, ast.AsyncFunctionDef,
               ast.ClassDef)  # fmt: skip
_HINTS = {"annotation", "returns", "decorator_list", "type_comment"}


def _places(node: ast.AST, function: str, statement: ast.stmt | None = None) -> Iterator[Place]:
    for field, value in ast.iter_fields(node):
        if field in _HINTS or (field == "args" and isinstance(node, ast.Lambda)):
            continue
        many = value if isinstance(value, list) else [value]
        for index, child in enumerate(many):
            if not isinstance(child, ast.AST) or isinstance(child, _LEFT_ALONE):
                continue
            around = child if isinstance(child, ast.stmt) else statement
            if around is not None:
                slot = Slot(node, field, index if isinstance(value, list) else None)
                yield Place(child, slot, function, around)
            yield from _places(child, function, around)


def _lines(node: ast.AST, place: Place) -> tuple[int, int]:
    """Return the lines of a simple statement, or of what an edit of a compound one concerns."""
    around: ast.AST = place.statement
    if isinstance(node, ast.Module):  # a pair of statements
        return _span(node.body[0])[0], _span(node.body[-1])[1]
    if hasattr(around, "body") or hasattr(around, "cases"):
        around = node if hasattr(node, "lineno") else place.node
    return _span(around if hasattr(around, "lineno") else place.statement)


def _span(node: ast.AST) -> tuple[int, int]:
    first = int(getattr(node, "lineno", 0))
    return first, int(getattr(node, "end_lineno", first))


def sites(function: FunctionNode) -> list[Site]:
    """Return every edit that applies to a function's body, in the order of the source."""
    if function.name == "__repr__":
        return []
    found = []
    for place in _places(ast.Module(function.body, []), function.name):
        if isinstance(place.node, ast.Expr) and isinstance(place.node.value, ast.Constant):
            continue
        for name, operator in OPERATORS.items():
            for node, edit in operator(place):
                found.append(Site(name, node, _lines(node, place), edit))
    return found
