"""Cumulative regret of a trial, its band over seeds, and how fast its tail grows.

Regret of a node-slot is the accuracy of the best merge for the mix served, minus the reward. It is
a matter of quality only. Every node-slot with service weighs the same; slots without service add
nothing. Gated plans are not merges, so theirs may be negative.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.stats import Interval, t_interval, t_quantile
from analysis.summary import routed_nodes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sim.arrays import FloatArray
    from sim.records import Table

MIN_STEPS = 200  # node-slots with service per node, below which a tail slope says nothing


@dataclass(frozen=True, slots=True)
class Curve:
    """Cumulative regret per routed node of one trial, in accuracy times slots.

    `realised` uses the rewards of the requests served; `expected` the expected reward of the plans
    on a seeded sample of node-slots, scaled to all of them, NaN before the first sample.
    """

    slot: FloatArray  # (K,), 1 for the first slot
    realised: FloatArray  # (K,)
    expected: FloatArray  # (K,)
    context_tv: FloatArray  # (K,), mean over node-slots with service, NaN where none
    steps: float  # node-slots with service per node


@dataclass(frozen=True, slots=True)
class Band:
    """Mean over seeds per slot, with a 95 % band that is NaN for a single seed."""

    mean: FloatArray
    low: FloatArray
    high: FloatArray
    n: int


@dataclass(frozen=True, slots=True)
class Slope:
    """Exponent b of regret ~ slots^b over the tail half, or why there is none."""

    interval: Interval | None
    reason: str = ""


def curve(slots: Table, meta: Mapping[str, Any], least: int = 0) -> Curve:
    """Return a trial's cumulative regret over slots 1..K.

    The expected regret up to slot k is the mean over the sampled node-slots so far times the number
    of node-slots with service so far (a ratio estimator: the sample is drawn uniformly).

    Args:
        slots: The table.
        meta: The trial's meta facts.
        least: Slots to go on for at least: a run ends with its last answer, so seeds differ in
            length, and nothing is lost after the end.
    """
    nodes = routed_nodes(meta)
    kept = np.isin(slots["node"], nodes) & (slots["served"] > 0)
    slot = slots["slot"][kept].astype(np.int64)
    length = max(least, int(meta["slots"]), int(slot.max()) + 1 if len(slot) else 0)
    best = slots["reward_best"][kept]
    realised, served = _sums(slot, best - slots["reward"][kept], length)
    sampled, samples = _sums(slot, best - slots["reward_expected"][kept], length)
    context, counted = _sums(slot, slots["context_tv"][kept], length)
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = np.cumsum(sampled) / np.cumsum(samples) * np.cumsum(served) / len(nodes)
        tv = context / counted
    # after the last arrival a slot serves a handful, whose mix says nothing of the estimate
    tv[math.ceil(float(meta["duration_s"]) / float(meta["slot_s"]) - 1e-9) :] = np.nan
    at = np.arange(1, length + 1, dtype=np.float64)
    return Curve(
        at, np.cumsum(realised) / len(nodes), expected, tv, float(served.sum()) / len(nodes)
    )


def _sums(slot: Any, values: FloatArray, length: int) -> tuple[FloatArray, FloatArray]:
    """Return sum and count of the finite values per slot, (length,) each."""
    known = np.isfinite(values)
    total = np.bincount(slot[known], weights=values[known], minlength=length)
    count = np.bincount(slot[known], minlength=length)
    return total.astype(np.float64), count.astype(np.float64)


def band(series: Sequence[FloatArray], level: float = 0.95) -> Band:
    """Return the mean of equally long series and its pointwise Student band.

    Args:
        series: One (K,) array per seed.
        level: Confidence level, per point and not for the whole line.
    """
    stacked = np.stack(list(series))
    n = len(stacked)
    with np.errstate(invalid="ignore"):
        mean = stacked.mean(axis=0)
        if n < 2:
            return Band(mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan), n)
        half = t_quantile(level, n - 1) * stacked.std(axis=0, ddof=1) / math.sqrt(n)
    return Band(mean, mean - half, mean + half, n)


def tail_slope(curves: Sequence[Curve]) -> Slope:
    """Return the log-log slope of realised regret over the tail half, with an interval over seeds.

    1 means that nothing is learnt any more, 0.5 is the order that theory allows a good learner. A
    slope is fitted per seed by least squares on 50 log-spaced points.

    Source: the regret order of Han et al. 2025 (arXiv 2509.19781). Deviation: the slope is
    measured, not bounded.
    """
    steps = min(c.steps for c in curves)
    if steps < MIN_STEPS:
        return Slope(None, f"{steps:.0f} served slots per node; at least {MIN_STEPS} are needed")
    slopes = [_slope(c) for c in curves]
    if not all(math.isfinite(slope) for slope in slopes):
        return Slope(None, "regret is not positive all along the tail: no growth to measure")
    if len(slopes) < 2:
        return Slope(None, "one seed: no interval")
    return Slope(t_interval(slopes))


def _slope(c: Curve) -> float:
    half = len(c.slot) // 2
    last = int(np.flatnonzero(np.diff(c.realised, prepend=0.0))[-1]) + 1 if c.realised.any() else 0
    picked = np.unique(np.geomspace(max(half, 1), max(last, 2), 50).astype(np.int64)) - 1
    y = c.realised[picked]
    if len(picked) < 3 or (y <= 0.0).any():
        return math.nan
    x, logs = np.log(c.slot[picked]), np.log(y)
    centred = x - x.mean()
    return float((centred * logs).sum() / (centred**2).sum())
