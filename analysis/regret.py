"""Cumulative regret of a trial, whole and in parts, its band over seeds, and how its tail grows.

Regret of a node-slot is the accuracy of the best merge for the mix served, minus the reward. It is
a matter of quality only. Every node-slot with service weighs the same; slots without service add
nothing. Gated plans are not merges, so theirs may be negative.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from analysis.quality import arrival_slots
from analysis.stats import Interval, t_interval, t_quantile
from analysis.summary import routed_nodes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sim.arrays import FloatArray
    from sim.records import Table

Kind = Literal["realised", "expected"]

MIN_STEPS = 200  # node-slots with service per node, below which a tail slope says nothing
_MIN_SAMPLES = 50  # sampled node-slots in the tail, below which its expected regret says nothing
_POINTS = 50  # of a fit


@dataclass(frozen=True, slots=True)
class Curve:
    """Cumulative regret per routed node of one trial, in accuracy times slots.

    `realised` uses the rewards of the requests served; `expected` the expected reward of the plans
    on a seeded sample of node-slots, scaled to all of them, NaN before the first sample; `fixed`
    is that of every node's best fixed merge in hindsight, on what this policy served.
    """

    slot: FloatArray  # (K,), 1 for the first slot
    realised: FloatArray  # (K,)
    expected: FloatArray  # (K,)
    fixed: FloatArray  # (K,), NaN where it was not measured
    context_tv: FloatArray  # (K,), mean over node-slots with service, NaN where none
    floor: FloatArray  # (K,), what a perfect estimate would have of it
    served: FloatArray  # (K,), node-slots with service per node so far
    sampled: FloatArray  # (K,), node-slots with an expected reward so far, of all nodes

    @property
    def steps(self) -> float:
        """Return the node-slots with service per node."""
        return float(self.served[-1]) if len(self.served) else 0.0


@dataclass(frozen=True, slots=True)
class Band:
    """Mean over seeds per slot, with a 95 % band that is NaN for a single seed."""

    mean: FloatArray
    low: FloatArray
    high: FloatArray
    n: int


@dataclass(frozen=True, slots=True)
class Slope:
    """Exponent b of regret ~ steps^b over the tail half, or why there is none."""

    interval: Interval | None
    reason: str = ""


def curve(slots: Table, meta: Mapping[str, Any], least: int = 0) -> Curve:
    """Return a trial's cumulative regret over slots 1..K.

    The expected regret up to slot k is the mean over the sampled node-slots so far times the number
    of node-slots with service so far (a ratio estimator: the sample is drawn uniformly).

    Args:
        slots: The table; columns `reward_fixed` and `floor` (see `analysis.quality.floor_of`) may
            be missing.
        meta: The trial's meta facts.
        least: Slots to go on for at least: a run ends with its last answer, so seeds differ in
            length, and nothing is lost after the end.
    """
    nodes = routed_nodes(meta)
    kept, slot, length = _served(slots, meta, least)
    best = slots["reward_best"][kept]
    realised, served = _sums(slot, best - slots["reward"][kept], length)
    sampled, samples = _sums(slot, best - slots["reward_expected"][kept], length)
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = np.cumsum(sampled) / np.cumsum(samples) * np.cumsum(served) / len(nodes)
    return Curve(
        slot=np.arange(1, length + 1, dtype=np.float64),
        realised=np.cumsum(realised) / len(nodes),
        expected=expected,
        fixed=_fixed(slots, kept, slot, length) / len(nodes),
        context_tv=_per_slot("context_tv", slots, meta, least),
        floor=_per_slot("floor", slots, meta, least),
        served=np.cumsum(served) / len(nodes),
        sampled=np.cumsum(samples),
    )


def parts(
    slots: Table, meta: Mapping[str, Any], by: Literal["task", "node"], least: int = 0
) -> dict[int, FloatArray]:
    """Return cumulative realised regret by context (most frequent task served) or by node.

    Contexts are divided by the number of routed nodes, so that they add up to the fleet's curve;
    nodes are not, so that the fleet's curve is their mean.

    Args:
        slots: The table.
        meta: The trial's meta facts.
        by: Column that splits the node-slots.
        least: As in `curve`.
    """
    kept, slot, length = _served(slots, meta, least)
    lost, of = (slots["reward_best"] - slots["reward"])[kept], slots[by][kept].astype(np.int64)
    known = np.isfinite(lost) & (of >= 0)
    found, place = np.unique(of[known], return_inverse=True)
    cell = place * length + slot[known]
    sums = np.bincount(cell, weights=lost[known], minlength=len(found) * length)
    share = len(routed_nodes(meta)) if by == "task" else 1
    grown = np.cumsum(sums.reshape(len(found), length), axis=1) / share
    return dict(zip(found.tolist(), grown, strict=True))


def part_means(
    slots: Table, meta: Mapping[str, Any], by: Literal["task", "node"]
) -> dict[int, float]:
    """Return mean realised regret of the node-slots with service, by context or by node."""
    kept, _, _ = _served(slots, meta, 0)
    lost, of = (slots["reward_best"] - slots["reward"])[kept], slots[by][kept]
    known = np.isfinite(lost) & (of >= 0)
    found, place = np.unique(of[known], return_inverse=True)
    means = np.bincount(place, weights=lost[known]) / np.bincount(place)
    return dict(zip(found.tolist(), means.tolist(), strict=True))


def part_counts(
    slots: Table, meta: Mapping[str, Any], by: Literal["task", "node"]
) -> dict[int, int]:
    """Return the number of node-slots with service and regret, by context or by node."""
    kept, _, _ = _served(slots, meta, 0)
    lost, of = (slots["reward_best"] - slots["reward"])[kept], slots[by][kept].astype(np.int64)
    found, count = np.unique(of[np.isfinite(lost) & (of >= 0)], return_counts=True)
    return dict(zip(found.tolist(), count.tolist(), strict=True))


def _served(slots: Table, meta: Mapping[str, Any], least: int) -> tuple[Any, Any, int]:
    """Return which rows count, their slots, and how many slots the run is drawn for."""
    kept = np.isin(slots["node"], routed_nodes(meta)) & (slots["served"] > 0)
    slot = slots["slot"][kept].astype(np.int64)
    return kept, slot, max(least, int(meta["slots"]), int(slot.max(initial=-1)) + 1)


def _sums(slot: Any, values: FloatArray, length: int) -> tuple[FloatArray, FloatArray]:
    """Return sum and count of the finite values per slot, (length,) each."""
    known = np.isfinite(values)
    total = np.bincount(slot[known], weights=values[known], minlength=length)
    count = np.bincount(slot[known], minlength=length)
    return total.astype(np.float64), count.astype(np.float64)


def _fixed(slots: Table, kept: Any, slot: Any, length: int) -> FloatArray:
    if "reward_fixed" not in slots:
        return np.full(length, np.nan)
    lost = (slots["reward_best"] - slots["reward_fixed"])[kept]
    if not np.isfinite(lost).any():
        return np.full(length, np.nan)
    return np.cumsum(_sums(slot, lost, length)[0])


def _per_slot(name: str, slots: Table, meta: Mapping[str, Any], least: int) -> FloatArray:
    """Return a column's mean per slot over node-slots that have a context error."""
    kept, slot, length = _served(slots, meta, least)
    if name not in slots:
        return np.full(length, np.nan)
    values = np.where(np.isfinite(slots["context_tv"]), slots[name], np.nan)[kept]
    total, count = _sums(slot, values, length)
    mean: FloatArray = np.full(length, np.nan)
    np.divide(total, count, out=mean, where=count > 0.0)
    mean[arrival_slots(meta) :] = np.nan
    return mean


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


def tail_slope(curves: Sequence[Curve], kind: Kind = "realised") -> Slope:
    """Return the log-log slope of regret over the second half of the steps, with an interval.

    1 means that nothing is learnt any more, 0.5 is the order that theory allows a good learner.
    Time is counted in steps, the slots with service per node, so that idle slots bend nothing. A
    slope is fitted per seed by least squares on 50 log-spaced points; the interval is over seeds.

    Args:
        curves: One per seed.
        kind: `realised`, or `expected` where the tail was sampled often enough.

    Source: the regret order of Han et al. 2025 (arXiv 2509.19781). Deviation: the slope is
    measured, not bounded.
    """
    steps = min(c.steps for c in curves)
    if steps < MIN_STEPS:
        return Slope(None, f"{steps:.0f} served slots per node; at least {MIN_STEPS} are needed")
    if kind == "expected":
        samples = min(c.sampled[-1] - c.sampled[_at(c, c.steps / 2.0)] for c in curves)
        if samples < _MIN_SAMPLES:
            reason = f"{samples:.0f} node-slots sampled in the tail; {_MIN_SAMPLES} are needed"
            return Slope(None, reason)
    slopes = [_slope(c, getattr(c, kind)) for c in curves]
    if not all(math.isfinite(slope) for slope in slopes):
        return Slope(None, "regret is not positive all along the tail: no growth to measure")
    if len(slopes) < 2:
        return Slope(None, "one seed: no interval")
    return Slope(t_interval(slopes))


def _at(c: Curve, step: float | FloatArray) -> Any:
    """Return the first slot index by whose end a node has served `step` slots on average."""
    return np.minimum(np.searchsorted(c.served, step - 1e-9), len(c.served) - 1)


def _slope(c: Curve, regret: FloatArray) -> float:
    picked = np.unique(_at(c, np.geomspace(c.steps / 2.0, c.steps, _POINTS)))
    x, y = c.served[picked], regret[picked]
    if len(picked) < 3 or not (y > 0.0).all():
        return math.nan
    across, logs = np.log(x), np.log(y)
    centred = across - across.mean()
    return float((centred * logs).sum() / (centred**2).sum())
