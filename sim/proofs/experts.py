"""Proofs about experts: batches cost as the distinct ones, caches do what their replays do."""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING

from sim.proofs.caches import CHE_TOLERANCE, lru_against_che, replay, zipf
from sim.proofs.cost import (
    SHAPES,
    Law,
    distinct_laws,
    line,
    roofline_s,
    uniform_cost,
    uniform_distinct,
)
from sim.proofs.proof import Lab, Proof
from sim.proofs.twins.caches import CHOICES, fewest_misses, replay_slowly
from sim.proofs.verdict import BIAS, Result, exact
from sim.rng import Streams

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.ports import ExpertKey
    from sim.proofs.verdict import Verdict


def _row(law: Law) -> Result:
    error = (law.high - law.low) / (2.0 * 3.89)
    bias = BIAS * law.expected
    power = 1.0 if error == 0.0 else NormalDist().cdf(bias / error - 3.89)
    caught = not any(law.against("biased", law.expected + sign * bias).ok for sign in (-1, 1))
    verdict: Verdict = "pass" if law.ok else "FAIL"
    return Result(
        law.name, law.expected, law.measured, law.low, law.high, verdict, power, caught
    )  # fmt: skip


def _distinct(lab: Lab) -> list[Result]:
    return [_row(law) for law in distinct_laws()]


def _line(lab: Lab) -> list[Result]:
    """Count the sizes at which a model linear in the batch is taken for true: none."""
    cases = [(experts, k, n) for experts, k in SHAPES for n in (4, 8, 16, 32)]
    believed = 0
    for case in cases:
        straight = line(*case)
        believed += uniform_distinct(*case).against("line", straight).ok
        believed += uniform_cost(*case).against("line", roofline_s(straight)).ok
    return [exact("a line in the batch size, times believed", believed, 2 * len(cases), "checks")]


def _drawn(name: str, experts: int, count: int) -> list[ExpertKey]:
    rng = Streams(1).stream("proofs", "caches", name, experts)
    return [(0, e) for e in rng.choice(experts, count, p=zipf(experts, 0.9)).tolist()]


def _replays(lab: Lab) -> list[Result]:
    rows = []
    for name in CHOICES:
        accesses, wrong = _drawn(name, 24, 400), 0
        for capacity in (1, 3, 8, 20):
            fast = replay(lab.parts.cache(name)(1, 24), accesses, capacity)
            slow = replay_slowly(name, accesses, capacity)
            wrong += fast != slow
        rows.append(exact(f"{name}: replays that differ", wrong, 4 * len(accesses), "accesses"))
    return rows


def _fewest(lab: Lab) -> list[Result]:
    """Hold Belady's misses against the fewest of all choices."""
    most, cases = 0, 40
    for case in range(cases):
        accesses = _drawn(f"fewest {case}", 5, 12)
        capacity = 1 + case % 4
        found = len(replay(lab.parts.cache("belady")(1, 5), accesses, capacity).misses)
        most = max(most, abs(found - fewest_misses(accesses, capacity)))
    return [exact("belady: misses beside the fewest", most, cases, "sequences")]


def _che(lab: Lab) -> Sequence[Result]:
    rows = []
    for n, capacity in ((200, 20), (200, 100), (1000, 250)):
        found = lru_against_che(lab.parts.cache("lru"), n, capacity)
        rows.append(
            Result(
                f"LRU hit ratio, n={n} capacity={capacity}",
                found.expected,
                found.measured,
                found.low,
                found.high,
                "pass" if found.ok else "FAIL",
                note=f"whole interval within {CHE_TOLERANCE} of Che, the approximation's own error",
            )
        )
    return rows


PROOFS = (
    Proof("distinct-experts", "experts", "E(1-(1-k/E)^n) experts and their roofline", _distinct,
          quick=True),
    Proof("not-linear", "experts", "a model linear in the batch size is rejected", _line,
          quick=True),
    Proof("cache-replays", "experts", "LRU, LFU, Belady: replays over plain lists", _replays,
          quick=True),
    Proof("belady", "experts", "Belady: the fewest misses of all choices", _fewest, quick=True),
    Proof("che", "experts", "LRU: Che's approximation of the hit ratio", _che, quick=True),
)  # fmt: skip
