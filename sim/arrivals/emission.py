"""Emission times of one stream in [0, duration).

Poisson kinds are exact: unit exponentials are summed and mapped through the inverse of the
expected count, so nothing is clipped or rounded, a longer run repeats a shorter one's emissions,
and a higher rate squeezes the same randomness together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.arrays import FloatArray, IntArray
    from sim.config import ArrivalSpec

_FIRST_CHUNK, _LARGEST_CHUNK = 256, 65536


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

    Source: time change of a Poisson process, e.g. Cinlar 1975, ch. 4.7. Deviation: none.
    """
    if spec.kind == "trace":
        return _trace(spec, duration_s)
    if spec.kind == "deterministic":
        times = _periodic(1.0 / _rate(spec), duration_s, rng)
    else:
        times = _poisson(profile(spec), duration_s, rng)
    return times, np.full(len(times), -1, dtype=np.int64)


def expected(spec: ArrivalSpec, start_s: float, end_s: float) -> float:
    """Return how many emissions a stream is expected to make in [start_s, end_s)."""
    if spec.kind == "trace":
        times = np.array(spec.times_s)
        return float(np.count_nonzero((start_s <= times) & (times < end_s)))
    if spec.kind in {"poisson", "deterministic"}:
        return _rate(spec) * (end_s - start_s)
    starts, rates = _segments(profile(spec))
    ends = np.append(starts[1:], np.inf)
    overlap_s = np.minimum(ends, end_s) - np.maximum(starts, start_s)
    return float(np.sum(rates * np.maximum(overlap_s, 0.0)))


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


def _segments(steps: Sequence[tuple[float, float]]) -> tuple[FloatArray, FloatArray]:
    """Return starts and rates of the steps; before the first start nothing is emitted."""
    table = np.array(steps, dtype=np.float64)
    return table[:, 0], table[:, 1]


def _poisson(
    steps: Sequence[tuple[float, float]], duration_s: float, rng: np.random.Generator
) -> FloatArray:
    starts, rates = _segments(steps)
    ends = np.append(starts[1:], np.inf)
    counts = np.concatenate(([0.0], np.cumsum(rates[:-1] * np.diff(starts))))
    within = starts < duration_s
    last_s = np.minimum(ends, duration_s) - starts
    total = float(np.sum(rates[within] * last_s[within]))
    unit = _unit_poisson(total, rng)
    # the last step that starts at or below a count: steps of rate zero are skipped
    step = np.searchsorted(counts, unit, side="right") - 1
    times: FloatArray = starts[step] + (unit - counts[step]) / rates[step]
    times = np.minimum(times, ends[step])  # rounding must not overtake the next step
    return times[times < duration_s]


def _unit_poisson(total: float, rng: np.random.Generator) -> FloatArray:
    """Draw a Poisson process of rate one on [0, total), in chunks that do not depend on total."""
    parts: list[FloatArray] = []
    reached, size = 0.0, _FIRST_CHUNK
    while reached < total:
        part = reached + np.cumsum(rng.standard_exponential(size))
        parts.append(part)
        reached, size = float(part[-1]), min(2 * size, _LARGEST_CHUNK)
    found = np.concatenate(parts) if parts else np.empty(0)
    return found[found < total]


def _periodic(period_s: float, duration_s: float, rng: np.random.Generator) -> FloatArray:
    phase_s = float(rng.random()) * period_s
    count = max(0, int(np.ceil((duration_s - phase_s) / period_s)) + 1)
    times: FloatArray = phase_s + period_s * np.arange(
        count, dtype=np.float64
    )  # products, not sums: no drift
    return times[times < duration_s]


def _trace(spec: ArrivalSpec, duration_s: float) -> tuple[FloatArray, IntArray]:
    times = np.array(spec.times_s, dtype=np.float64)
    if spec.tasks and len(spec.tasks) != len(times):
        raise InputError(
            f"arrivals.tasks: expected none or {len(times)}, one per time, found {len(spec.tasks)}"
        )
    if not np.all((times >= 0.0) & np.isfinite(times)):
        raise InputError("arrivals.times_s: expected finite times >= 0")
    tasks = np.array(spec.tasks or [-1] * len(times), dtype=np.int64)
    order = np.argsort(times, kind="stable")
    order = order[times[order] < duration_s]
    return times[order], tasks[order]
