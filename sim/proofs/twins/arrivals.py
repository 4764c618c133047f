"""Slow twins of the arrivals: one event at a time, with the draws of the fast code.

They walk forward in time and ask at every instant what happens next; the fast code draws all
candidates or a whole path first. Only `hawkes` looks back over all of its past.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sim.arrivals.hawkes import burn_s, first_excess_per_s
from sim.arrivals.mmpp import stationary

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

    from sim.config import ArrivalSpec

_BISECTIONS = 200


def diurnal(spec: ArrivalSpec, duration_s: float, rng: np.random.Generator) -> list[float]:
    """Return emission times of a cosine wave: step from candidate to candidate and throw a coin."""
    points, coins = rng.spawn(2)
    mean_per_s = spec.rate_per_s or 0.0
    upper_per_s = mean_per_s * (1.0 + spec.amplitude)
    found: list[float] = []
    reached = 0.0
    for step in exponentials(points):
        reached += step
        now_s = reached / upper_per_s
        if now_s >= duration_s:
            return found
        turns = (now_s - spec.peak_s) / spec.period_s
        rate_per_s = mean_per_s * (1.0 + spec.amplitude * math.cos(2.0 * math.pi * turns))
        if coins.random() * upper_per_s < rate_per_s:
            found.append(now_s)
    return found


def mmpp(spec: ArrivalSpec, duration_s: float, rng: np.random.Generator) -> list[float]:
    """Return emission times of a chain's Poisson process: whichever comes first, jump or arrival.

    `left` is how much of the next arrival's unit exponential the rates have not used up yet.
    """
    chain, points = rng.spawn(2)
    state = _choice(stationary(spec).tolist(), chain.random())
    stays, steps = jump_draws(chain), exponentials(points)
    unit, choice = next(stays)
    now_s, jump_s, left = 0.0, unit * spec.stays_s[state], next(steps)
    found: list[float] = []
    while True:
        rate_per_s = spec.rates_per_s[state]
        arrival_s = now_s + left / rate_per_s if rate_per_s > 0.0 else math.inf
        if min(arrival_s, jump_s) >= duration_s:
            return found
        if arrival_s < jump_s:
            found.append(arrival_s)
            now_s, left = arrival_s, next(steps)
            continue
        left -= rate_per_s * (jump_s - now_s)
        if spec.jumps:
            state = _choice(spec.jumps[state], choice)
        else:
            state = (state + 1) % len(spec.rates_per_s)
        now_s, (unit, choice) = jump_s, next(stays)
        jump_s = now_s + unit * spec.stays_s[state]


def hawkes(spec: ArrivalSpec, duration_s: float, rng: np.random.Generator) -> list[float]:
    """Return emission times of a Hawkes process: O(n^2), the whole past at every arrival.

    The next arrival is the earlier of one that the base brings and one that the excess brings; the
    latter comes when the excess, integrated from the last arrival on, has used up a unit
    exponential, which bisection finds.
    """
    begin_s = -burn_s(spec)
    excess_per_s = first_excess_per_s(spec, rng)
    base_per_s = (spec.rate_per_s or 0.0) * (1.0 - spec.branching)
    past = [(begin_s, excess_per_s * spec.decay_s)]  # when, and how many arrivals it brings
    now_s = begin_s
    for base, memory in _pairs(rng):
        gap_s = min(base / base_per_s, _excess_gap_s(spec, past, now_s, memory))
        now_s += gap_s
        if now_s >= duration_s:
            break
        past.append((now_s, spec.branching))
    return [when_s for when_s, _ in past[1:] if when_s >= 0.0]


def _excess_gap_s(
    spec: ArrivalSpec, past: Sequence[tuple[float, float]], now_s: float, unit: float
) -> float:
    """Return when the excess has brought `unit` arrivals on average since now; infinity: never."""
    left = [brings * math.exp((when_s - now_s) / spec.decay_s) for when_s, brings in past]

    def brought(gap_s: float) -> float:
        return math.fsum(left) * -math.expm1(-gap_s / spec.decay_s)

    if brought(math.inf) <= unit:
        return math.inf
    low_s, high_s = 0.0, spec.decay_s
    while brought(high_s) < unit:
        low_s, high_s = high_s, 2.0 * high_s
    for _ in range(_BISECTIONS):
        middle_s = (low_s + high_s) / 2.0
        if middle_s in {low_s, high_s}:
            break
        low_s, high_s = (middle_s, high_s) if brought(middle_s) < unit else (low_s, middle_s)
    return high_s


def exponentials(rng: np.random.Generator) -> Iterator[float]:
    """Yield unit exponentials one by one: generators give the same ones alone or in chunks."""
    while True:
        yield float(rng.standard_exponential())


def jump_draws(rng: np.random.Generator) -> Iterator[tuple[float, float]]:
    """Yield unit stays and choices of the next state, which come in chunks of 256, 512, ..."""
    size = 256
    while True:
        yield from zip(
            rng.standard_exponential(size).tolist(), rng.random(size).tolist(), strict=True
        )
        size = min(2 * size, 65536)


def _pairs(rng: np.random.Generator) -> Iterator[tuple[float, float]]:
    steps = exponentials(rng)
    while True:
        yield next(steps), next(steps)


def _choice(shares: Sequence[float], uniform: float) -> int:
    """Return the first state whose cumulated share exceeds a uniform."""
    return next(i for i in range(len(shares)) if math.fsum(shares[: i + 1]) > uniform)
