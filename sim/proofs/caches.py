"""Expert caches against what is known of them: Che's hit ratio of LRU, Belady's fewest misses."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from math import inf, sqrt
from typing import TYPE_CHECKING

import numpy as np

from sim.ports import Clairvoyant
from sim.proofs.twins.caches import Replayed, che_hit_ratio
from sim.rng import Streams

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sim.ports import ExpertCache, ExpertKey

CHE_TOLERANCE = 0.01  # absolute, for n >= 200: the size of the approximation's own error


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


@dataclass(frozen=True, slots=True)
class HitRatio:
    """A measured hit ratio, its confidence interval, and what Che's approximation says."""

    expected: float
    measured: float
    low: float
    high: float

    @property
    def ok(self) -> bool:
        """Tell whether the whole interval lies within the approximation's error."""
        return (
            self.expected - CHE_TOLERANCE <= self.low and self.high <= self.expected + CHE_TOLERANCE
        )


def zipf(n: int, alpha: float) -> list[float]:
    """Return the probabilities of n items whose popularity falls as rank^-alpha."""
    weights = np.arange(1, n + 1, dtype=np.float64) ** -alpha
    return [float(w) for w in weights / weights.sum()]


def lru_against_che(
    make: Callable[[int, int], ExpertCache],
    n: int,
    capacity: int,
    alpha: float = 0.8,
    accesses: int = 240_000,
) -> HitRatio:
    """Measure the hit ratio of an LRU cache under independent accesses against Che's.

    The interval is the mean over 30 batches of accesses, after as many again as fill the memory,
    +- 3.66 standard errors (Student's t with 29 degrees of freedom: wrong once in 1000 runs).

    Args:
        make: The cache's class.
        n: Experts of one layer; at least 200 for the stated tolerance.
        capacity: Experts that fit.
        alpha: Exponent of the popularity (Zipf).
        accesses: Accesses that are measured.

    Source: Che, Tung and Wang 2002 (doi 10.1109/JSAC.2002.801752). Deviation: none.
    """
    popularity, warm, batches = zipf(n, alpha), 10 * n, 30
    rng = Streams(1).stream("proofs", "che", n, capacity)
    drawn = rng.choice(n, size=warm + accesses, p=popularity)
    found = replay(make(1, n), [(0, expert) for expert in drawn.tolist()], capacity)
    missed = np.zeros(warm + accesses)
    missed[found.misses] = 1.0
    means = 1.0 - missed[warm:].reshape(batches, -1).mean(axis=1)
    measured = float(means.mean())
    half = 3.66 * float(means.std(ddof=1)) / sqrt(batches)
    return HitRatio(che_hit_ratio(popularity, capacity), measured, measured - half, measured + half)
