"""What dispatchers do, where compiled kernels know how to do the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

DISPATCH_RULES = ("local", "first-up", "random", "round-robin", "least-loaded", "power-of-two")


@dataclass(frozen=True, slots=True)
class DispatchRule:
    """What a dispatcher does, where compiled kernels know how to do the same."""

    name: str  # of DISPATCH_RULES
    nodes: tuple[int, ...] = ()  # that it chooses from


@runtime_checkable
class Ruled(Protocol):
    """A dispatcher that follows a known rule; without one, a run needs the engine `events`.

    No rule asks for the time of a view, so a live one that such a dispatcher gets need not tell it.
    Random numbers are `int(u * n)` of the uniform `u` that `DispatchSetup.rng` gives in turn.
    """

    @property
    def rule(self) -> DispatchRule:
        """Return the rule."""
        ...
