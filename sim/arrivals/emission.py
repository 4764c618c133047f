"""Emission times of one stream in [0, duration): one entry for every kind of arrivals.

All kinds are exact: nothing is clipped or rounded, and a longer run repeats a shorter one's
emissions. Where a kind needs two sorts of draws (a path and its points), each has a generator of
its own, a child of the stream's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim.arrivals.hawkes import check as check_hawkes
from sim.arrivals.hawkes import hawkes
from sim.arrivals.mmpp import mean_per_s, mmpp
from sim.arrivals.poisson import (
    LARGEST_CHUNK,
    check_diurnal,
    diurnal,
    diurnal_count,
    segments,
    stepped,
)
from sim.arrivals.trace import trace
from sim.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sim.arrays import FloatArray, IntArray
    from sim.config import ArrivalSpec


def emit(
    spec: ArrivalSpec, duration_s: float, rng: np.random.Generator
) -> tuple[FloatArray, IntArray]:
    """Draw when a stream emits.

    Args:
        spec: The kind of arrivals. `deterministic` emits every 1/rate seconds from a phase that
            each stream draws within its first period (a fleet in step would be an artefact).
        duration_s: End of arrivals; later rows of a trace are cut off.
        rng: The stream's own generator for arrivals.

    Returns:
        Times, (n,), ascending, and each emission's task, (n,), -1: to be drawn from the mix.

    Raises:
        InputError: A rate, profile or trace makes no sense.
    """
    if spec.kind == "trace":
        rows = trace(spec, duration_s)
        return rows.times_s, rows.tasks
    times = np.concatenate((np.empty(0), *pieces(spec, duration_s, rng)))
    return times, np.full(len(times), -1, dtype=np.int64)


def pieces(
    spec: ArrivalSpec, duration_s: float, rng: np.random.Generator, most: int = LARGEST_CHUNK
) -> Iterator[FloatArray]:
    """Draw when a stream emits, piece by piece, so that a long run needs no more memory.

    Args:
        spec: The kind of arrivals.
        duration_s: End of arrivals.
        rng: The stream's own generator for arrivals; nobody else may use it.
        most: Longest piece; the times do not depend on it.

    Returns:
        Ascending times, (n,) each, some perhaps empty.

    Raises:
        InputError: A rate, profile or trace makes no sense.
    """
    if spec.kind == "trace":
        return iter((trace(spec, duration_s).times_s,))
    if spec.kind == "deterministic":
        return _periodic(1.0 / _rate(spec), duration_s, rng, most)
    if spec.kind == "mmpp":
        return mmpp(spec, duration_s, rng, most)
    if spec.kind == "hawkes":
        return hawkes(spec, duration_s, rng, most)
    if spec.kind == "diurnal":
        return diurnal(spec, _rate(spec), duration_s, rng, most)
    return stepped(*segments(profile(spec)), duration_s, rng, most)


def expected(spec: ArrivalSpec, start_s: float, end_s: float) -> float:
    """Return how many emissions a stream is expected to make in [start_s, end_s).

    Raises:
        InputError: A rate or profile makes no sense.
    """
    if spec.kind == "trace":
        times = np.array(spec.times_s)
        return float(np.count_nonzero((start_s <= times) & (times < end_s)))
    if spec.kind == "diurnal":
        check_diurnal(spec)
        return diurnal_count(spec, _rate(spec), start_s, end_s)
    if spec.kind != "profile":
        return _stationary_per_s(spec) * (end_s - start_s)
    starts, rates = segments(profile(spec))
    ends = np.append(starts[1:], np.inf)
    overlap_s = np.minimum(ends, end_s) - np.maximum(starts, start_s)
    return float(np.sum(rates * np.maximum(overlap_s, 0.0)))


def cumulative(spec: ArrivalSpec, times_s: FloatArray) -> FloatArray:
    """Return how many emissions a stream is expected to make in [0, t) for many t, (n,).

    Raises:
        InputError: A rate, profile or trace makes no sense.
    """
    if spec.kind == "trace":
        return trace(spec, np.inf).times_s.searchsorted(times_s).astype(np.float64)
    if spec.kind == "diurnal":
        check_diurnal(spec)
        return np.array([diurnal_count(spec, _rate(spec), 0.0, t) for t in times_s.tolist()])
    if spec.kind != "profile":
        return _stationary_per_s(spec) * times_s
    starts, rates = segments(profile(spec))
    counts = np.concatenate(([0.0], np.cumsum(rates[:-1] * np.diff(starts))))
    step = np.maximum(np.searchsorted(starts, times_s, side="right") - 1, 0)
    found: FloatArray = counts[step] + rates[step] * np.maximum(times_s - starts[step], 0.0)
    return found


def mean_rate_per_s(spec: ArrivalSpec, duration_s: float) -> float:
    """Return the declared mean rate over a run: expected emissions in [0, duration) per second.

    Raises:
        InputError: A rate or profile makes no sense.
    """
    return expected(spec, 0.0, duration_s) / duration_s


def _stationary_per_s(spec: ArrivalSpec) -> float:
    if spec.kind == "mmpp":
        return mean_per_s(spec)
    if spec.kind == "hawkes":
        check_hawkes(spec)
    return _rate(spec)


def profile(spec: ArrivalSpec) -> Sequence[tuple[float, float]]:
    """Return a Poisson stream's steps of rate: one for a constant rate.

    Raises:
        InputError: A rate is missing or negative, or starts do not ascend from 0 or later.
    """
    if spec.kind == "poisson":
        return ((0.0, _rate(spec)),)
    starts = [start_s for start_s, _ in spec.profile]
    if not starts or starts != sorted(set(starts)) or starts[0] < 0.0:
        raise InputError(f"arrivals.profile: expected ascending starts from 0 s on, found {starts}")
    if not all(0.0 <= rate < np.inf for _, rate in spec.profile):
        raise InputError(f"arrivals.profile: expected rates >= 0, found {spec.profile}")
    return spec.profile


def _rate(spec: ArrivalSpec) -> float:
    rate = spec.rate_per_s
    if rate is None or not 0.0 < rate < np.inf:
        raise InputError(f"arrivals.rate_per_s: expected > 0, found {rate}")
    return rate


def _periodic(
    period_s: float, duration_s: float, rng: np.random.Generator, most: int
) -> Iterator[FloatArray]:
    phase_s = float(rng.random()) * period_s
    count = max(0, int(np.ceil((duration_s - phase_s) / period_s)) + 1)
    for first in range(0, count, most):
        # products, not sums: no drift
        place = np.arange(first, min(first + most, count), dtype=np.float64)
        times: FloatArray = phase_s + period_s * place
        yield times[times < duration_s]
