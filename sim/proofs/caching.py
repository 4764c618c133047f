"""Expert caches: Che's approximation, and every decision against plain replays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim.proofs.caches import replay, zipf
from sim.proofs.proof import Proof
from sim.proofs.twins.caches import che_hit_ratio, fewest_misses, replay_slowly
from sim.proofs.verdict import Result, count, exact, judge
from sim.rng import Streams

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.ports import ExpertKey
    from sim.proofs.proof import Lab

_RUNS = 64


def _draw(purpose: str, run: int, experts: int, accesses: int) -> list[ExpertKey]:
    """Draw independent accesses to the experts of one layer, popularity by Zipf's law."""
    rng = Streams(1).stream("proofs", purpose, experts, run)
    drawn = rng.choice(experts, size=accesses, p=zipf(experts, 0.8))
    return [(0, expert) for expert in drawn.tolist()]


def lru_hits(lab: Lab, experts: int, capacity: int, keep: int = 4000) -> Result:
    """Judge LRU's hit ratio under independent accesses by Che's approximation.

    The approximation is not exact; its error is well below the interval for the sizes used here.

    Args:
        lab: Knows the cache.
        experts: Of one layer.
        capacity: Experts that fit.
        keep: Accesses that count in each run, after ten times as many as there are experts.

    Source: Che, Tung and Wang 2002 (doi 10.1109/JSAC.2002.801752). Deviation: none.
    """
    make, warm = lab.parts.cache("lru"), 10 * experts
    ratios = []
    for run in range(_RUNS):
        accesses = _draw("che", run, experts, warm + keep)
        misses = np.array(replay(make(1, experts), accesses, capacity).misses)
        ratios.append(1.0 - np.count_nonzero(misses >= warm) / keep)
    theory = che_hit_ratio(zipf(experts, 0.8), capacity)
    note = f"{count(_RUNS * keep)} accesses"
    return judge(f"LRU hits, {capacity} of {experts} (Che)", theory, np.array(ratios), note=note)


def _che(lab: Lab) -> Sequence[Result]:
    return [lru_hits(lab, 200, 50), lru_hits(lab, 1000, 250)]


def _replays(lab: Lab) -> Sequence[Result]:
    rows = []
    for name in ("lru", "lfu", "belady"):
        wrong = accesses = 0
        for run in range(40):
            capacity = 1 + run % 12
            drawn = _draw("replay", run, 16, 200)
            fast = replay(lab.parts.cache(name)(1, 16), drawn, capacity)
            wrong += fast != replay_slowly(name, drawn, capacity)
            accesses += len(drawn)
        rows.append(exact(f"{name}: misses, evictions", float(wrong), accesses, "accesses"))
    return [*rows, _belady(lab)]


def _belady(lab: Lab) -> Result:
    """Compare Belady's misses with the fewest that any choice of evictions has."""
    worst = sequences = 0
    for run in range(60):
        drawn, capacity = _draw("fewest", run, 6, 14), 1 + run % 4
        misses = len(replay(lab.parts.cache("belady")(1, 6), drawn, capacity).misses)
        worst = max(worst, abs(misses - fewest_misses(drawn, capacity)))
        sequences += 1
    return exact("belady: misses over the fewest", float(worst), sequences, "sequences")


PROOFS = (
    Proof("che", "caches", "hit ratio of LRU (Che)", _che, quick=True),
    Proof("cache-twin", "twins", "LRU, LFU, Belady replayed", _replays, quick=True),
)
