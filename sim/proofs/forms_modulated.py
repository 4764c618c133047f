"""M/M/1 in a random environment: arrivals and service change speed with a Markov chain.

Covers MMPP/M/1 (bursts) and servers that break down and resume (speed zero while down).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim.errors import InputError
from sim.proofs.forms_markov import balance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.arrays import FloatArray

_DONE = 1e-15
_ROUNDS = 64  # of a quadratic iteration


def generator(stays_s: Sequence[float], jumps: Sequence[Sequence[float]] = ()) -> FloatArray:
    """Return the generator of an environment, (M, M).

    Args:
        stays_s: Mean exponential stay in each state.
        jumps: Probabilities of the next state; () means the next in turn.
    """
    count = len(stays_s)
    chances = np.array(jumps) if len(jumps) else np.roll(np.eye(count), 1, axis=1)
    rates = 1.0 / np.array(stays_s)
    matrix: FloatArray = rates[:, None] * (chances - np.eye(count))
    return matrix


def stationary(rates: FloatArray) -> FloatArray:
    """Return the stationary law of a generator, (M,)."""
    return balance(rates, np.ones(len(rates)))


def mean_rate(rates_per_s: Sequence[float], environment: FloatArray) -> float:
    """Return the long-run arrivals per second."""
    return float(stationary(environment) @ np.array(rates_per_s))


def modulated_stay(
    rates_per_s: Sequence[float], services_per_s: Sequence[float], environment: FloatArray
) -> float:
    """Return the mean stay of a request in M/M/1 in a random environment.

    Args:
        rates_per_s: Poisson arrivals in each state.
        services_per_s: Exponential service rate in each state, 0 where the server stands still.
        environment: Generator, (M, M).

    Raises:
        InputError: The station is unstable.

    Source: Neuts 1981, Matrix-Geometric Solutions, ch. 6; R by logarithmic reduction, Latouche and
    Ramaswami 1993. Deviation: none.
    """
    chance = stationary(environment)
    arriving, served = float(chance @ np.array(rates_per_s)), float(chance @ services_per_s)
    if arriving >= served:
        raise InputError(f"rates_per_s: expected below {served:g} on average, found {arriving:g}")
    up, down = np.diag(rates_per_s), np.diag(services_per_s)
    ratio = _ratio(up, environment - up - down, down)
    geometric = np.linalg.inv(np.eye(len(chance)) - ratio)
    empty = balance(environment - up + ratio @ down, geometric.sum(axis=1))
    number = float(empty @ ratio @ geometric @ geometric @ np.ones(len(chance)))
    return number / arriving


def _ratio(up: FloatArray, local: FloatArray, down: FloatArray) -> FloatArray:
    """Return R, the least solution of up + R local + R^2 down = 0, by logarithmic reduction."""
    rest = np.linalg.inv(-local)
    rise, fall = rest @ up, rest @ down
    first, product = fall.copy(), rise.copy()
    for _ in range(_ROUNDS):
        both = np.linalg.inv(np.eye(len(up)) - rise @ fall - fall @ rise)
        rise, fall = both @ rise @ rise, both @ fall @ fall
        first = first + product @ fall
        product = product @ rise
        if np.abs(product).max() < _DONE:
            break
    ratio: FloatArray = up @ np.linalg.inv(-local - up @ first)
    return ratio
