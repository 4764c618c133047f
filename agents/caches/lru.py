"""Evict the expert that has been unused for longest."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sim.ports import ExpertKey


class LeastRecentlyUsed:
    """Fetch experts on demand; give up the least recently touched one that is not in use.

    Source: LRU, e.g. Sleator and Tarjan 1985 (doi 10.1145/2786.2793). Deviation: experts in use
    (pinned) are passed over.
    """

    preload: ClassVar[bool] = False

    def __init__(self, layers: int, experts: int) -> None:
        self.layers, self.experts = layers, experts
        self._order: OrderedDict[ExpertKey, None] = OrderedDict()  # oldest first

    def touch(self, key: ExpertKey) -> None:
        """Make an expert the youngest."""
        self._order[key] = None
        self._order.move_to_end(key)

    def victim(self, pinned: Mapping[ExpertKey, int]) -> ExpertKey | None:
        """Return the oldest expert that nobody has pinned, None if there is none."""
        return next((key for key in self._order if not pinned.get(key, 0)), None)

    def drop(self, key: ExpertKey) -> None:
        """Forget an expert that left memory.

        Raises:
            KeyError: It was not here.
        """
        del self._order[key]
