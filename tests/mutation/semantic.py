"""Mistakes that people make in queueing simulators, made by hand: a text and its wrong twin."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from tests.mutation import rule
from tests.mutation.runner import Patch


@dataclass(frozen=True, slots=True)
class Bug:
    """A mistake in one module: pieces of text and what they become."""

    name: str
    module: str
    edits: tuple[tuple[str, str], ...]


BUGS: tuple[Bug, ...] = ()


def patched(bug: Bug) -> tuple[str, tuple[int, ...]]:
    """Return the module's wrong text, and the lines that change.

    Raises:
        ValueError: A piece of text is not in the module exactly once: the bug is to be made anew.
    """
    text = rule.path_of(bug.module).read_text(encoding="utf-8")
    lines: list[int] = []
    for old, new in bug.edits:
        if text.count(old) != 1:
            raise ValueError(f"{bug.name}: {old!r} is {text.count(old)} times in {bug.module}")
        first = text[: text.index(old)].count("\n") + 1
        lines += range(first, first + old.count("\n") + 1)
        text = text.replace(old, new)
    return text, tuple(lines)


def patches() -> list[Patch]:
    """Return all mistakes for the runner."""
    return [patch(bug) for bug in BUGS]


def patch(bug: Bug) -> Patch:
    text, lines = patched(bug)
    change = "; ".join(f"{old} -> {new}" for old, new in bug.edits)
    names = tuple(f"{bug.module}:{name}" for name in _around(bug.module, lines))
    return Patch(bug.name, bug.module, lambda: (ast.parse(text), change), names, lines)


def _around(module: str, lines: tuple[int, ...]) -> list[str]:
    found = []
    for name, node in rule.definitions(rule.parse(module)):
        inside = range(node.lineno, (node.end_lineno or node.lineno) + 1)
        if "<locals>" not in name and any(line in inside for line in lines):
            found.append(name)
    return found
