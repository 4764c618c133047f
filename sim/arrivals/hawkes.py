"""Hawkes arrivals: every arrival makes more arrivals likely for a while."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from sim.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sim.arrays import FloatArray
    from sim.config import ArrivalSpec

_FIRST_CHUNK, _LARGEST_CHUNK = 256, 65536
_BURN_RELAXATIONS = 20.0  # what is left of the start then: exp(-20), 2e-9
_BURN_ARRIVALS = 1e5  # and never more arrivals than these, on average


def hawkes(
    spec: ArrivalSpec, duration_s: float, rng: np.random.Generator, most: int = _LARGEST_CHUNK
) -> Iterator[FloatArray]:
    """Draw a Hawkes process with exponential memory on [0, duration), piece by piece.

    The rate is mu + x(t): mu = rate_per_s * (1 - branching) is the base, the excess x jumps by
    branching / decay_s at each arrival and decays with time constant decay_s. The next arrival is
    the earlier of two: one of the base, and one that the excess brings before it has died away, if
    it does. The generator is used in order, two unit exponentials per arrival, so a longer run
    repeats a shorter one's emissions.

    Start: before 0 the process runs for 20 relaxation times decay_s / (1 - branching), or as long
    as 100 000 arrivals take on average where that is shorter. It starts that run with an excess
    drawn from the gamma law that has the stationary mean and variance. Because mean and variance of
    rate and counts obey closed linear equations, they are stationary from 0 on exactly, whatever
    the length of the run before 0; that run is for the higher moments.

    Raises:
        InputError: Branching is outside [0, 1), or the decay not positive.

    Source: Dassios and Zhao 2013, Exact simulation of Hawkes process with exponentially decaying
    intensity; moments of the rate: Hawkes 1971, Spectra of some self-exciting and mutually exciting
    point processes; gamma as the law near branching 1: Jaisson and Rosenbaum 2015, Limit theorems
    for nearly unstable Hawkes processes. Deviation: the start, as told above (the stationary law
    has no simple form).
    """
    check(spec)
    return _walk(spec, duration_s, rng, most)


def check(spec: ArrivalSpec) -> None:
    """Refuse a Hawkes process that explodes or has no memory.

    Raises:
        InputError: The rate or the decay is not positive, or branching is outside [0, 1).
    """
    rate = spec.rate_per_s
    if rate is None or not 0.0 < rate < math.inf:
        raise InputError(f"arrivals.rate_per_s: expected > 0, found {rate}")
    if not 0.0 <= spec.branching < 1.0:
        raise InputError(f"arrivals.branching: expected 0 <= branching < 1, found {spec.branching}")
    if not 0.0 < spec.decay_s < math.inf:
        raise InputError(f"arrivals.decay_s: expected > 0, found {spec.decay_s}")


def burn_s(spec: ArrivalSpec) -> float:
    """Return how long the process runs before 0, in s."""
    relaxation_s = spec.decay_s / (1.0 - spec.branching)
    return min(_BURN_RELAXATIONS * relaxation_s, _BURN_ARRIVALS / (spec.rate_per_s or math.inf))


def first_excess_per_s(spec: ArrivalSpec, rng: np.random.Generator) -> float:
    """Draw the excess rate at the very start: gamma with the stationary mean and variance."""
    shape = 2.0 * (spec.rate_per_s or 0.0) * spec.decay_s * (1.0 - spec.branching)
    scale_per_s = spec.branching / (2.0 * spec.decay_s * (1.0 - spec.branching))
    return float(rng.standard_gamma(shape)) * scale_per_s


def _walk(
    spec: ArrivalSpec, duration_s: float, rng: np.random.Generator, most: int
) -> Iterator[FloatArray]:
    """Step from arrival to arrival."""
    decay_s, log1p, exp = spec.decay_s, math.log1p, math.exp  # local names: the loop is hot
    base_per_s = (spec.rate_per_s or 0.0) * (1.0 - spec.branching)
    jump_per_s = spec.branching / decay_s
    excess_per_s, now_s = first_excess_per_s(spec, rng), -burn_s(spec)
    times: list[float] = []
    for base, memory in _exponentials(rng):
        gap_s = base / base_per_s
        left = excess_per_s * decay_s  # arrivals that the excess still brings on average
        if memory < left:
            gap_s = min(gap_s, -decay_s * log1p(-memory / left))
        now_s += gap_s
        if now_s >= duration_s:
            break
        excess_per_s = excess_per_s * exp(-gap_s / decay_s) + jump_per_s
        if now_s >= 0.0:
            times.append(now_s)
            if len(times) == most:
                yield np.array(times)
                times.clear()
    yield np.array(times)


def _exponentials(rng: np.random.Generator) -> Iterator[tuple[float, float]]:
    """Yield pairs of unit exponentials for ever, from chunks of growing size."""
    size = _FIRST_CHUNK
    while True:
        pairs = rng.standard_exponential((size, 2))
        yield from zip(pairs[:, 0].tolist(), pairs[:, 1].tolist(), strict=True)
        size = min(2 * size, _LARGEST_CHUNK)
