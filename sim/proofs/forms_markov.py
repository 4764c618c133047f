"""Closed forms of Markovian stations: M/M/c, its tails, its losses, its impatience.

Rates are per second, times in seconds. `servers` is c, `places` is K (those in service included).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import TYPE_CHECKING

import numpy as np

from sim.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sim.arrays import FloatArray


def birth_death(
    birth: Callable[[int], float], death: Callable[[int], float], top: int
) -> FloatArray:
    """Return the stationary probabilities of 0..top, (top + 1,).

    Args:
        birth: Rate upwards from n, n < top.
        death: Rate downwards from n, n > 0.
        top: Largest number; where the true chain has none, one of negligible probability.

    Source: detailed balance, e.g. Kleinrock 1975, Queueing Systems I, ch. 3. Deviation: none.
    """
    logs = [0.0]
    for n in range(top):
        up = birth(n)
        logs.append(logs[-1] + np.log(up / death(n + 1)) if up > 0.0 else -np.inf)
    weights: FloatArray = np.exp(np.array(logs) - max(logs))
    chances: FloatArray = weights / weights.sum()
    return chances


def balance(system: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the row x with x system = 0 and x . weights = 1, (M,); one equation is redundant.

    Source: balance equations with one column replaced by the normalisation. Deviation: none.
    """
    equations = system.copy()
    equations[:, -1] = weights
    right = np.zeros(len(system))
    right[-1] = 1.0
    return np.asarray(np.linalg.solve(equations.T, right), dtype=np.float64)


def erlang_b(offered: float, servers: int) -> float:
    """Return the probability of loss in M/G/c/c with `offered` = rate x mean service.

    Source: Erlang 1917, by the recursion over servers. Deviation: none.
    """
    lost = 1.0
    for k in range(1, servers + 1):
        lost = offered * lost / (k + offered * lost)
    return lost


def erlang_c(offered: float, servers: int) -> float:
    """Return the probability of waiting in M/M/c.

    Raises:
        InputError: The station is unstable.

    Source: Erlang 1917, from the loss formula. Deviation: none.
    """
    if offered >= servers:
        raise InputError(f"offered: expected below {servers} servers, found {offered}")
    lost = erlang_b(offered, servers)
    return lost / (1.0 - offered / servers * (1.0 - lost))


def mmc_wait(rate_per_s: float, mean_s: float, servers: int) -> float:
    """Return the mean wait of M/M/c in s. Source: Erlang 1917. Deviation: none."""
    return erlang_c(rate_per_s * mean_s, servers) / (servers / mean_s - rate_per_s)


def mmc_tail(rate_per_s: float, mean_s: float, servers: int, beyond_s: float) -> float:
    """Return P(wait > beyond_s) in M/M/c, first come first served.

    Source: Erlang 1917; a wait that occurs is exponential with rate c mu - lambda. Deviation: none.
    """
    waiting = erlang_c(rate_per_s * mean_s, servers)
    return waiting * exp(-(servers / mean_s - rate_per_s) * beyond_s)


@dataclass(frozen=True, slots=True)
class Finite:
    """M/M/c/K: probability of loss, and the mean wait per request offered (a lost one waits 0)."""

    loss: float
    wait_s: float


def mmck(rate_per_s: float, mean_s: float, servers: int, places: int) -> Finite:
    """Return loss and wait of M/M/c/K.

    Source: birth-death; arrivals see time averages (Wolff 1982); waiting by Little. Deviation:
    none.
    """
    chance = birth_death(lambda _: rate_per_s, lambda n: min(n, servers) / mean_s, places)
    waiting = np.maximum(np.arange(places + 1) - servers, 0)
    return Finite(float(chance[-1]), float(chance @ waiting) / rate_per_s)


@dataclass(frozen=True, slots=True)
class Impatient:
    """M/M/c+M: probability of leaving unserved, and the mean time queued of all requests."""

    leave: float
    queued_s: float


def erlang_a(rate_per_s: float, mean_s: float, servers: int, patience_s: float) -> Impatient:
    """Return abandonment of M/M/c with exponential patience while queued.

    Source: Palm 1957; Mandelbaum and Zeltyn 2007. Birth-death: of n requests min(n, c) are served
    and n - c may leave; leavers per second are the queue's mean over the mean patience. Deviation:
    none (the chain is cut where its probability is below 1e-16).
    """

    def death(n: int) -> float:
        return min(n, servers) / mean_s + max(n - servers, 0) / patience_s

    top = servers + 64
    while (chance := birth_death(lambda _: rate_per_s, death, top))[-1] > 1e-16:
        top *= 2
    queue = float(chance @ np.maximum(np.arange(top + 1) - servers, 0))
    return Impatient(queue / patience_s / rate_per_s, queue / rate_per_s)


def sharing_stay(rate_per_s: float, mean_s: float, servers: int, share: float = 1.0) -> float:
    """Return the mean stay in M/M sharing c servers, each request at most `share` of one.

    n requests progress at min(share, c / n) each, so the number is a birth-death chain; with share
    1 it is that of M/M/c. For one server and share 1 it is insensitive: mean / (1 - rho).

    Source: Cohen 1979, Acta Informatica 12 (generalised processor sharing). Deviation: none.
    """
    top = 64
    while True:
        chance = birth_death(
            lambda _: rate_per_s, lambda n: n * min(share, servers / n) / mean_s, top
        )
        if chance[-1] < 1e-16:
            return float(chance @ np.arange(top + 1)) / rate_per_s
        top *= 2
