"""Honest statistics over seeds: intervals with their n, differences paired by seed, verdicts.

The unit of replication is the seed. Requests within one run are correlated and never counted as
independent;
`batch_means` is there for the single run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sim.arrays import FloatArray

FEW = 5  # below this, figures show dots without intervals and tables flag theirs
_ROUNDING = 1e-9  # relative; two sums of the same terms in another order differ by less
Verdict = Literal["better", "same", "worse", "unclear"]


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over n values and an interval around it, NaN for a single value."""

    mean: float
    low: float
    high: float
    n: int
    method: str

    @property
    def half_width(self) -> float:
        """Return half of the interval's width."""
        return (self.high - self.low) / 2.0

    @property
    def few(self) -> bool:
        """Tell whether n is so small that the interval deserves a flag."""
        return self.n < FEW


@dataclass(frozen=True, slots=True)
class Paired:
    """A policy minus the baseline, seed by seed, and the ratio of their means."""

    difference: Interval
    ratio: Interval  # mean / mean of the baseline - 1, so -0.45 is 45 % less
    verdict: Verdict
    differences: tuple[float, ...]  # one per seed, in seed order


def finite(values: Sequence[float] | FloatArray) -> FloatArray:
    """Return the finite values as a float array."""
    array = np.asarray(values, dtype=np.float64)
    return array[np.isfinite(array)]


def t_quantile(level: float, freedom: int) -> float:
    """Return the two-sided Student quantile for a level such as 0.95."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.5 + level / 2.0))


def t_interval(values: Sequence[float] | FloatArray, level: float = 0.95) -> Interval:
    """Return mean and Student interval over seeds.

    Args:
        values: One number per seed; those that are not finite are left out and not counted in n.
        level: Confidence level.

    Source: Student 1908. Deviation: none.
    """
    x = finite(values)
    n = len(x)
    mean = float(x.mean()) if n else math.nan
    if n < 2:
        return Interval(mean, math.nan, math.nan, n, "t")
    half = t_quantile(level, n - 1) * float(x.std(ddof=1)) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n, "t")


def bca_interval(
    values: Sequence[float] | FloatArray,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Return mean and bias-corrected accelerated bootstrap interval over seeds.

    Source: Efron 1987, sections 2-6. Deviation: none; a constant sample has the interval of width
    zero.
    """
    x = finite(values)
    n = len(x)
    if n < 2:
        return t_interval(x, level)
    mean = float(x.mean())
    if np.ptp(x) == 0.0:
        return Interval(mean, mean, mean, n, "BCa")
    boot = _resampled_means(x, resamples, seed)
    low, high = np.quantile(boot, _bca_levels(x, boot, level))
    return Interval(mean, float(low), float(high), n, "BCa")


def _resampled_means(x: FloatArray, resamples: int, seed: int) -> FloatArray:
    draws = np.random.default_rng(seed).integers(0, len(x), (resamples, len(x)))
    means: FloatArray = x[draws].mean(axis=1)
    return means


def _bca_levels(x: FloatArray, boot: FloatArray, level: float) -> FloatArray:
    from scipy.special import ndtr, ndtri

    share = np.mean(boot < x.mean()) + 0.5 * np.mean(boot == x.mean())
    bias = ndtri(np.clip(share, 1.0 / len(boot), 1.0 - 1.0 / len(boot)))
    jack = (x.sum() - x) / (len(x) - 1)
    away = jack.mean() - jack
    acceleration = (away**3).sum() / (6.0 * (away**2).sum() ** 1.5)
    z = bias + ndtri(np.array([0.5 - level / 2.0, 0.5 + level / 2.0]))
    levels: FloatArray = ndtr(bias + z / (1.0 - acceleration * z))
    return levels


def ratio_interval(a: FloatArray, b: FloatArray, level: float = 0.95) -> Interval:
    """Return mean(a) / mean(b) - 1 for values paired by seed, with a Student interval.

    Source: Cochran 1977, Sampling Techniques, section 6.4 (variance of a ratio estimator).
    Deviation: none.
    """
    n = len(a)
    base = float(b.mean()) if n else math.nan
    if not base > 0.0:  # a ratio to nothing, or to a negative quantity, says nothing
        return Interval(math.nan, math.nan, math.nan, n, "ratio")
    ratio = float(a.mean()) / base
    if n < 2:
        return Interval(ratio - 1.0, math.nan, math.nan, n, "ratio")
    spread = float((a - ratio * b).std(ddof=1)) / (math.sqrt(n) * abs(base))
    half = t_quantile(level, n - 1) * spread
    return Interval(ratio - 1.0, ratio - 1.0 - half, ratio - 1.0 + half, n, "ratio")


def paired(
    policy: Mapping[int, float], baseline: Mapping[int, float], direction: str, level: float = 0.95
) -> Paired | None:
    """Compare a policy with the baseline over the seeds that both have; None when there is none.

    Args:
        policy: Seed -> value.
        baseline: Seed -> value.
        direction: "lower" or "higher" is better; "none" gets no verdict.
        level: Confidence level of both intervals.
    """
    shared = [s for s in sorted(policy) if s in baseline and math.isfinite(policy[s] - baseline[s])]
    if not shared:
        return None
    a = np.array([policy[s] for s in shared])
    b = np.array([baseline[s] for s in shared])
    a = np.where(np.abs(a - b) <= _ROUNDING * np.abs(b), b, a)
    difference = t_interval(a - b, level)
    return Paired(
        difference,
        ratio_interval(a, b, level),
        verdict(difference, direction),
        tuple((a - b).tolist()),
    )


def verdict(difference: Interval, direction: str) -> Verdict:
    """Return better or worse when the interval of the paired difference leaves zero out, else same.

    One seed, or a metric with no better side, is `unclear`. "same" means: no difference was shown.
    """
    if direction == "none" or difference.n < 2:
        return "unclear"
    if difference.low <= 0.0 <= difference.high:
        return "same"
    return "better" if (difference.mean < 0.0) == (direction == "lower") else "worse"


def batch_means(
    values: Sequence[float] | FloatArray, batches: int = 20, level: float = 0.95
) -> Interval:
    """Return the mean of one run's correlated series, with a Student interval over batch means.

    Args:
        values: The series in time order, warm-up removed by the caller.
        batches: Equal batches; a remainder at the start of the series is left out.
        level: Confidence level.

    Source: Law 2015, Simulation Modeling and Analysis, section 9.5.3. Deviation: none.
    """
    x = finite(values)
    size = len(x) // batches
    if size == 0:
        return Interval(
            float(x.mean()) if len(x) else math.nan, math.nan, math.nan, 0, "batch means"
        )
    means = x[len(x) - size * batches :].reshape(batches, size).mean(axis=1)
    found = t_interval(means, level)
    return Interval(found.mean, found.low, found.high, batches, "batch means")
