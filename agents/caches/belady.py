"""Evict the expert whose next use lies farthest ahead: the bound that knows the future."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sim.errors import LawViolation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sim.ports import ExpertKey


class FarthestNextUse:
    """Fetch experts on demand; give up the one that will be missed last and is not in use.

    No cache that loads on demand has fewer misses on the same sequence of uses, so this is a bound
    to hold others against, not a cache that could be deployed. Of equals (never used again) the
    least recently used goes first.

    Source: Belady 1966 (doi 10.1147/sj.52.0078); optimal for units of one size, Mattson et al. 1970
    (doi 10.1147/sj.92.0078). Deviation: experts in use (pinned) are passed over.
    """

    preload: ClassVar[bool] = False

    def __init__(self, layers: int, experts: int) -> None:
        self.layers, self.experts = layers, experts
        self._order: dict[ExpertKey, None] = {}  # least recently used first
        self._next_use: Callable[[ExpertKey], float] | None = None

    def foresee(self, next_use: Callable[[ExpertKey], float]) -> None:
        """Take the oracle: how far ahead an expert's next use lies, infinite if there is none."""
        self._next_use = next_use

    def touch(self, key: ExpertKey) -> None:
        """Make an expert the youngest."""
        self._order.pop(key, None)
        self._order[key] = None

    def victim(self, pinned: Mapping[ExpertKey, int]) -> ExpertKey | None:
        """Return the expert that nobody has pinned and that is used again last, None without one.

        Raises:
            LawViolation: Nobody has told the future.
        """
        if self._next_use is None:
            raise LawViolation("a cache that knows the future was not told it (foresee)")
        free = (key for key in self._order if not pinned.get(key, 0))
        return max(free, key=self._next_use, default=None)  # the first of equals

    def drop(self, key: ExpertKey) -> None:
        """Forget an expert that left memory.

        Raises:
            KeyError: It was not here.
        """
        del self._order[key]
