"""Errors that moedge raises, in one tree.

SimError
|-- InputError          what the user wrote is wrong: exit code 2, one message, no traceback
|   |-- UnknownName     a name is in no registry (carries the nearest one)
|   `-- UnitError       a quantity lacks its unit, or carries the wrong one
|-- PlanRefused         a plan cannot run on a node (memory): a drop or a refusal, never silence
|-- ShapeError          an array argument has the wrong shape
|-- HostError           a host (inline or Ray) answered nonsense
|   `-- HostDied        its process is gone, and its state with it
`-- LawViolation        a law of the design is broken: a bug in moedge, never in the input
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class SimError(Exception):
    """Root of every error that moedge raises on purpose."""


class InputError(SimError):
    """What the user wrote is wrong; the text says what, where, found, allowed, nearest."""


class UnknownName(InputError):
    """A name is in no registry.

    Args:
        kind: What was looked up ("router", "hardware preset", ...).
        name: The name that was found.
        allowed: The names that exist.
    """

    def __init__(self, kind: str, name: str, allowed: Iterable[str]) -> None:
        self.kind, self.name, self.allowed = kind, name, tuple(allowed)
        self.nearest = nearest(name, self.allowed)
        hint = f"; did you mean {self.nearest!r}?" if self.nearest else ""
        listed = ", ".join(self.allowed) or "none"
        super().__init__(f"unknown {kind} {name!r}{hint} (allowed: {listed})")

    def __reduce__(self) -> tuple[type[UnknownName], tuple[str, str, tuple[str, ...]]]:
        # pickle would call the class with the message alone, and hosts raise across processes
        return type(self), (self.kind, self.name, self.allowed)


class UnitError(InputError):
    """A quantity lacks its unit, or carries the wrong one."""


class PlanRefused(SimError):
    """A plan cannot run on a node, for example because its weights do not fit its memory."""


class ShapeError(SimError):
    """An array argument has the wrong shape."""


class HostError(SimError):
    """A host died or gave an answer that breaks its contract."""


class HostDied(HostError):
    """The process of a host is gone, and its state with it; the host itself did nothing wrong."""


class LawViolation(SimError):
    """A law of the design is broken: a bug in moedge, never in the input."""


def nearest(word: str, allowed: Iterable[str]) -> str | None:
    """Return the allowed word that is closest to a misspelt one, or None."""
    found = get_close_matches(word.lower(), [a.lower() for a in allowed], n=1, cutoff=0.6)
    if not found:
        return None
    return next(a for a in allowed if a.lower() == found[0])
