"""Markov-modulated Poisson arrivals: calm and busy states in turn, each Poisson at its own rate."""

from __future__ import annotations

import math
from bisect import bisect_right
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from sim.arrivals.poisson import LARGEST_CHUNK, stepped
from sim.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sim.arrays import FloatArray
    from sim.config import ArrivalSpec

_FIRST_CHUNK, _LARGEST_CHUNK = 256, 65536
_ROUNDING = 1e-9


def mmpp(
    spec: ArrivalSpec, duration_s: float, rng: np.random.Generator, most: int = LARGEST_CHUNK
) -> Iterator[FloatArray]:
    """Draw a Markov-modulated Poisson process on [0, duration), stationary, piece by piece.

    The path of the chain is drawn first; given it, arrivals are Poisson with rates that change in
    steps. Path and arrivals have generators of their own, children of `rng`.

    Raises:
        InputError: Rates, stays or jumps make no sense.

    Source: Fischer and Meier-Hellstern 1993, The Markov-modulated Poisson process (MMPP) cookbook;
    the chain starts in its own stationary law (time-stationary). Deviation: none.
    """
    check(spec)
    chain, points = rng.spawn(2)
    starts, states = path(spec, duration_s, chain)
    rates = np.array(spec.rates_per_s)[states]
    return stepped(starts, rates, duration_s, points, most)


def path(
    spec: ArrivalSpec, duration_s: float, rng: np.random.Generator
) -> tuple[FloatArray, list[int]]:
    """Draw the states of the chain until a time: their starts in s, (n,), and which they are.

    Draws per state in chunks that do not depend on the duration: a unit stay and the choice of the
    next state. The first choice of all is the state at 0.
    """
    shares = [_cumulated(row) for row in jumps(spec)]
    state = _pick(_cumulated(stationary(spec)), rng.random())
    starts, states, now_s, size = [0.0], [state], 0.0, _FIRST_CHUNK
    while now_s < duration_s:
        stays, choices = rng.standard_exponential(size).tolist(), rng.random(size).tolist()
        for stay, choice in zip(stays, choices, strict=True):
            now_s += stay * spec.stays_s[state]
            state = _pick(shares[state], choice)
            starts.append(now_s)
            states.append(state)
        size = min(2 * size, _LARGEST_CHUNK)
    return np.array(starts), states


def jumps(spec: ArrivalSpec) -> FloatArray:
    """Return the probabilities of the next state, (n, n): in turn, unless the spec has its own."""
    if spec.jumps:
        return np.array(spec.jumps, dtype=np.float64)
    return np.roll(np.eye(len(spec.rates_per_s)), 1, axis=1)


def generator(spec: ArrivalSpec) -> FloatArray:
    """Return the chain's matrix of transition rates per s, (n, n); rows sum to zero."""
    stays_s = np.array(spec.stays_s)[:, None]
    found: FloatArray = (jumps(spec) - np.eye(len(spec.stays_s))) / stays_s
    return found


def stationary(spec: ArrivalSpec) -> FloatArray:
    """Return the share of time that the chain spends in each state, (n,).

    Source: p Q = 0, sum p = 1 (Fischer and Meier-Hellstern 1993). Deviation: solved for the
    law at jumps, then weighted with the stays, which keeps stays of very unequal length exact.
    """
    n = len(spec.rates_per_s)
    balance = np.vstack([jumps(spec).T - np.eye(n), np.ones(n)])
    at_jumps = np.linalg.lstsq(balance, np.append(np.zeros(n), 1.0))[0]
    weights: FloatArray = np.maximum(at_jumps, 0.0) * np.array(spec.stays_s)
    shares: FloatArray = weights / weights.sum()
    return shares


@lru_cache(maxsize=1024)  # asked for every slot of every stream
def mean_per_s(spec: ArrivalSpec) -> float:
    """Return the mean rate: the rates of the states, weighted with the time spent in each.

    Raises:
        InputError: Rates, stays or jumps make no sense.
    """
    check(spec)
    return float(stationary(spec) @ np.array(spec.rates_per_s))


def check(spec: ArrivalSpec) -> None:
    """Refuse rates, stays and jumps that are no chain.

    Raises:
        InputError: Fewer than two states, lengths that differ, a number out of range, jumps whose
            rows are no laws, or states that cannot all be reached from one another.
    """
    rates, stays = spec.rates_per_s, spec.stays_s
    if len(rates) < 2 or len(stays) != len(rates):
        raise InputError(
            "arrivals.rates_per_s, stays_s: expected one of each per state, two states or more,"
            f" found {len(rates)} and {len(stays)}"
        )
    if not all(0.0 <= rate < math.inf for rate in rates) or max(rates) == 0.0:
        raise InputError(
            f"arrivals.rates_per_s: expected rates >= 0, one of them > 0, found {rates}"
        )
    if not all(0.0 < stay < math.inf for stay in stays):
        raise InputError(f"arrivals.stays_s: expected times > 0, found {stays}")
    if spec.jumps:
        _check_jumps(spec)


def _check_jumps(spec: ArrivalSpec) -> None:
    n = len(spec.rates_per_s)
    if len(spec.jumps) != n or any(len(row) != n for row in spec.jumps):
        raise InputError(f"arrivals.jumps: expected {n} rows of {n}, found {spec.jumps}")
    for i, row in enumerate(spec.jumps):
        if not all(0.0 <= share <= 1.0 for share in row) or abs(sum(row) - 1.0) > _ROUNDING:
            raise InputError(f"arrivals.jumps.{i}: expected probabilities of sum 1, found {row}")
        if row[i] != 0.0:
            raise InputError(f"arrivals.jumps.{i}.{i}: expected 0 (a stay ends), found {row[i]}")
    reached = np.array(spec.jumps) + np.eye(n) > 0.0
    for _ in range(n.bit_length()):  # paths of 1, 2, 4, ... jumps
        reached = reached.astype(np.float64) @ reached > 0.0
    if not reached.all():
        first, second = np.argwhere(~reached)[0]
        raise InputError(
            f"arrivals.jumps: expected that every state leads to every other, but {first} never"
            f" leads to {second}"
        )


def _cumulated(shares: FloatArray) -> list[float]:
    """Cumulate shares up to 1 at the last state that has one, so that rounding picks no other."""
    found = np.cumsum(shares)
    found[np.flatnonzero(shares)[-1] :] = 1.0
    return [float(share) for share in found]


def _pick(cumulated: list[float], uniform: float) -> int:
    return bisect_right(cumulated, uniform)
