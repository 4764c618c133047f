"""What is wrong with a scenario: every problem with its place, all at once, never a traceback."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from sim.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

Path: TypeAlias = tuple[str | int, ...]
Severity: TypeAlias = Literal["error", "warning"]
MOST_TOLD = 50
_SHOWN_COLUMNS = 96
_LONGEST_KEY = 64
_LAST_LINE = 10**9


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file, counted from 1, or the override that brought a value."""

    line: int
    column: int
    override: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Args:
        file: As the user named it.
        mark: Where, None for the file as a whole.
        path: Keys and indices from the root.
        text: What was found, what is allowed, the nearest word.
        source: The line of the file, for the caret.
        severity: An error stops everything, a warning is only told.
    """

    file: str
    mark: Mark | None
    path: Path
    text: str
    source: str = ""
    severity: Severity = "error"

    @property
    def where(self) -> str:
        """Return `file:line:col`, or what stands for it."""
        if self.mark is None:
            return self.file
        if self.mark.override:
            return f"--set {self.mark.override}"
        return f"{self.file}:{self.mark.line}:{self.mark.column}"

    @property
    def headline(self) -> str:
        """Return the one-line message."""
        warning = "warning: " if self.severity == "warning" else ""
        dotted = ".".join(_shown(part) for part in self.path)
        return f"{self.where}: {warning}{dotted + ': ' if dotted else ''}{self.text}"

    def __str__(self) -> str:
        if self.mark is None or self.mark.override or not self.source.strip():
            return self.headline
        return f"{self.headline}\n{_caret(self.source, self.mark.column)}"

    @property
    def order(self) -> tuple[int, int]:
        """Return the key that sorts problems as the file is read, overrides last."""
        if self.mark is None:
            return (0, 0)
        return (_LAST_LINE if self.mark.override else self.mark.line, self.mark.column)


class ScenarioError(InputError):
    """A scenario cannot be used; `problems` holds every reason.

    Args:
        problems: At least one.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.order))
        told = [str(problem) for problem in self.problems[:MOST_TOLD]]
        if len(self.problems) > MOST_TOLD:
            told.append(f"... and {len(self.problems) - MOST_TOLD} more")
        super().__init__("\n".join(told))

    def __reduce__(self) -> tuple[type[ScenarioError], tuple[tuple[Problem, ...]]]:
        return (ScenarioError, (self.problems,))


def _shown(part: str | int) -> str:
    """Return a key as it may be shown on a terminal."""
    text = str(part)
    return text if text.isprintable() and len(text) <= _LONGEST_KEY else f"{text[:_LONGEST_KEY]!r}"


def _caret(source: str, column: int) -> str:
    """Return the source line and a caret under the column, cut to a window where it is long."""
    start = max(0, column - _SHOWN_COLUMNS // 2) if len(source) > _SHOWN_COLUMNS else 0
    window = source[start : start + _SHOWN_COLUMNS].rstrip()
    shown = "".join(c if c.isprintable() else " " for c in window)
    return f"    {shown}\n    {' ' * (column - 1 - start)}^"
