"""A memory of so many experts, and the accesses that it is put to."""

from __future__ import annotations

from bisect import bisect_left
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from sim.ports import Clairvoyant
from sim.proofs.twins.caches import Replayed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.ports import ExpertCache, ExpertKey


class _Future:
    """Positions of every expert's uses, asked from one position on."""

    def __init__(self, accesses: Sequence[ExpertKey]) -> None:
        self.now = 0
        self._uses: dict[ExpertKey, list[int]] = {}
        for position, key in enumerate(accesses):
            self._uses.setdefault(key, []).append(position)

    def next_use(self, key: ExpertKey) -> float:
        uses = self._uses.get(key, [])
        index = bisect_left(uses, self.now)
        return uses[index] - self.now if index < len(uses) else inf


def replay(cache: ExpertCache, accesses: Sequence[ExpertKey], capacity: int) -> Replayed:
    """Run accesses through a cache that has memory for so many experts, as a node does.

    An expert that is not here is admitted and then used; a full memory gives one up before.
    """
    future, found = _Future(accesses), Replayed()
    resident: dict[ExpertKey, None] = {}
    if isinstance(cache, Clairvoyant):
        cache.foresee(future.next_use)
    for position, key in enumerate(accesses):
        future.now = position
        if key not in resident:
            found.misses.append(position)
            if len(resident) == capacity:
                gone = cache.victim({})
                assert gone is not None
                cache.drop(gone)
                del resident[gone]
                found.evictions.append((position, gone))
            resident[key] = None
            cache.touch(key)
        cache.touch(key)
    return found


def zipf(n: int, alpha: float) -> list[float]:
    """Return the probabilities of n items whose popularity falls as rank^-alpha."""
    weights = np.arange(1, n + 1, dtype=np.float64) ** -alpha
    return [float(w) for w in weights / weights.sum()]
