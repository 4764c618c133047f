"""Evict the expert that has been used least often since it came."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sim.ports import ExpertKey


class LeastFrequentlyUsed:
    """Fetch experts on demand; give up the one with the fewest uses that is not in use.

    In-cache LFU: the count of an expert is forgotten when it leaves memory. Of equal counts the
    least recently used goes first. (An admission counts like a use, for every expert alike.)

    Source: LFU with in-cache counts, Breslau et al. 1999 (doi 10.1109/INFCOM.1999.749260). Ours:
    the rule for ties. Deviation: experts in use (pinned) are passed over.
    """

    preload: ClassVar[bool] = False

    def __init__(self, layers: int, experts: int) -> None:
        self.layers, self.experts = layers, experts
        self._uses: dict[ExpertKey, int] = {}  # least recently used first

    def touch(self, key: ExpertKey) -> None:
        """Count a use and make the expert the youngest."""
        self._uses[key] = self._uses.pop(key, 0) + 1

    def victim(self, pinned: Mapping[ExpertKey, int]) -> ExpertKey | None:
        """Return the least used expert that nobody has pinned, None if there is none."""
        free = (key for key in self._uses if not pinned.get(key, 0))
        return min(free, key=self._uses.__getitem__, default=None)  # the first of equals

    def drop(self, key: ExpertKey) -> None:
        """Forget an expert that left memory, and its count.

        Raises:
            KeyError: It was not here.
        """
        del self._uses[key]
