"""Poisson processes: a unit process, and what turns it into one whose rate changes.

Chunks of draws do not depend on how long the run is, so a longer run repeats a shorter one's
emissions.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from sim.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sim.arrays import FloatArray
    from sim.config import ArrivalSpec

_FIRST_CHUNK, LARGEST_CHUNK = 256, 65536


def unit_poisson(
    total: float, rng: np.random.Generator, most: int = LARGEST_CHUNK
) -> Iterator[FloatArray]:
    """Draw a Poisson process of rate one on [0, total), piece by piece.

    Sums begin anew with every chunk, so the bits depend neither on `total` nor on `most`, the
    longest piece.
    """
    reached, size = 0.0, _FIRST_CHUNK
    while reached < total:
        inner = 0.0
        for length in [most] * (size // most) + [size % most] * (size % most > 0):
            gaps = rng.standard_exponential(length)
            gaps[0] += inner
            part: FloatArray = gaps.cumsum()
            inner = float(part[-1])
            part += reached
            yield part[: part.searchsorted(total)]
            if part[-1] >= total:
                return
        reached, size = reached + inner, min(2 * size, LARGEST_CHUNK)


def stepped(
    starts: FloatArray,
    rates: FloatArray,
    duration_s: float,
    rng: np.random.Generator,
    most: int = LARGEST_CHUNK,
) -> Iterator[FloatArray]:
    """Draw a Poisson process whose rate changes in steps, on [0, duration), piece by piece.

    Args:
        starts: Starts of the steps in s, (n,), ascending; before the first nothing is emitted.
        rates: Rates per s from each start on, (n,).
        duration_s: End of emissions.
        rng: Generator of the unit process.
        most: Longest piece.

    Source: time change of a Poisson process, e.g. Cinlar 1975, ch. 4.7. Deviation: none.
    """
    ends = np.append(starts[1:], np.inf)
    counts = np.concatenate(([0.0], np.cumsum(rates[:-1] * np.diff(starts))))
    within = starts < duration_s
    last_s = np.minimum(ends, duration_s) - starts
    total = float(np.sum(rates[within] * last_s[within]))
    for unit in unit_poisson(total, rng, most):
        if len(starts) == 1:
            times = unit / rates[0]
            times += starts[0]
        else:
            # the last step that starts at or below a count: steps of rate zero are skipped
            step = np.searchsorted(counts, unit, side="right") - 1
            times = starts[step] + (unit - counts[step]) / rates[step]
            times = np.minimum(times, ends[step])  # rounding must not overtake the next step
        yield times[: times.searchsorted(duration_s)]


def segments(steps: Sequence[tuple[float, float]]) -> tuple[FloatArray, FloatArray]:
    """Return starts and rates of the steps of a profile."""
    table = np.array(steps, dtype=np.float64)
    return table[:, 0], table[:, 1]


def check_diurnal(spec: ArrivalSpec) -> None:
    """Refuse a daily wave that is none.

    Raises:
        InputError: The amplitude is outside [0, 1], the period not positive, or the peak no time.
    """
    if not 0.0 <= spec.amplitude <= 1.0:
        raise InputError(
            f"arrivals.amplitude: expected 0 <= amplitude <= 1, found {spec.amplitude}"
        )
    if not 0.0 < spec.period_s < math.inf:
        raise InputError(f"arrivals.period_s: expected > 0, found {spec.period_s}")
    if not math.isfinite(spec.peak_s):
        raise InputError(f"arrivals.peak_s: expected a finite time, found {spec.peak_s}")


def diurnal(
    spec: ArrivalSpec,
    mean_per_s: float,
    duration_s: float,
    rng: np.random.Generator,
    most: int = LARGEST_CHUNK,
) -> Iterator[FloatArray]:
    """Draw a Poisson process whose rate is a cosine wave, on [0, duration), piece by piece.

    Candidates come at the highest rate; each is kept with the share that the rate at its time is of
    that. Candidates and choices have generators of their own, children of `rng`.

    Source: Lewis and Shedler 1979, Simulation of nonhomogeneous Poisson processes by thinning.
    Deviation: none.
    """
    check_diurnal(spec)
    points, choices = rng.spawn(2)
    upper_per_s = mean_per_s * (1.0 + spec.amplitude)
    for unit in unit_poisson(upper_per_s * duration_s, points, most):
        times = unit / upper_per_s
        wave = 1.0 + spec.amplitude * np.cos(2.0 * np.pi * (times - spec.peak_s) / spec.period_s)
        kept: FloatArray = times[choices.random(len(times)) * (1.0 + spec.amplitude) < wave]
        yield kept[kept < duration_s]


def diurnal_count(spec: ArrivalSpec, mean_per_s: float, start_s: float, end_s: float) -> float:
    """Return the expected emissions of a cosine wave in [start, end): the integral of its rate."""
    turn = 2.0 * math.pi / spec.period_s
    rise = math.sin(turn * (end_s - spec.peak_s)) - math.sin(turn * (start_s - spec.peak_s))
    return mean_per_s * (end_s - start_s + spec.amplitude * rise / turn)
