"""Closed forms with general service times, and a few laws that are one line each."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import TYPE_CHECKING

from sim.arrivals.service import moments
from sim.errors import InputError
from sim.proofs.forms_markov import erlang_c

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.config import ServiceSpec


def second_moment(spec: ServiceSpec) -> float:
    """Return E[S^2] in s^2 of a service law. Source: E[S]^2 (1 + cv^2). Deviation: none."""
    mean_s, cv = moments(spec)
    return mean_s**2 * (1.0 + cv**2)


def mg1_wait(rate_per_s: float, mean_s: float, second_s2: float) -> float:
    """Return the mean wait of M/G/1, first come first served.

    Raises:
        InputError: The station is unstable.

    Source: Pollaczek 1930, Khinchine 1932. Deviation: none.
    """
    used = rate_per_s * mean_s
    if used >= 1.0:
        raise InputError(f"rate_per_s * mean_s: expected below 1, found {used}")
    return rate_per_s * second_s2 / (2.0 * (1.0 - used))


def md1_wait(rate_per_s: float, mean_s: float) -> float:
    """Return the mean wait of M/D/1. Source: Erlang 1909. Deviation: none."""
    used = rate_per_s * mean_s
    return used * mean_s / (2.0 * (1.0 - used))


def ps_stay(rate_per_s: float, mean_s: float) -> float:
    """Return the mean stay in M/G/1 with processor sharing, whatever the law of service.

    Source: Sakata, Noguchi and Oizumi 1971 (insensitivity). Deviation: none.
    """
    return mean_s / (1.0 - rate_per_s * mean_s)


def setup_wait(
    rate_per_s: float, mean_s: float, second_s2: float, setup_s: float, keep_s: float = 0.0
) -> float:
    """Return the mean wait of M/G/1 whose idle server cools after `keep_s` and warms in `setup_s`.

    Idle times are exponential, so the first request of a busy period finds the server cold with
    probability exp(-rate keep), independently: its delay D has two values.

    Source: Welch 1964, Operations Research 12(5): Pollaczek-Khinchine plus (2 E[D] + rate E[D^2]) /
    (2 (1 + rate E[D])). Deviation: none.
    """
    cold = exp(-rate_per_s * keep_s)
    first, second = cold * setup_s, cold * setup_s**2
    extra = (2.0 * first + rate_per_s * second) / (2.0 * (1.0 + rate_per_s * first))
    return mg1_wait(rate_per_s, mean_s, second_s2) + extra


@dataclass(frozen=True, slots=True)
class Class:
    """One class of requests at a priority station; the list's first class is served first."""

    rate_per_s: float
    mean_s: float
    second_s2: float


def cobham(classes: Sequence[Class]) -> list[float]:
    """Return each class's mean wait in M/G/1 with non-preemptive priorities, first class first.

    Source: Cobham 1954, Operations Research 2(1). Deviation: none.
    """
    left_s = sum(c.rate_per_s * c.second_s2 for c in classes) / 2.0
    return _cobham(left_s, [c.rate_per_s * c.mean_s for c in classes])


def cobham_servers(rates_per_s: Sequence[float], mean_s: float, servers: int) -> list[float]:
    """Return each class's mean wait in M/M/c with non-preemptive priorities and equal means.

    Source: Cobham 1954; Kella and Yechiali 1985. Deviation: none.
    """
    left_s = erlang_c(sum(rates_per_s) * mean_s, servers) * mean_s / servers
    return _cobham(left_s, [rate * mean_s / servers for rate in rates_per_s])


def _cobham(left_s: float, used: Sequence[float]) -> list[float]:
    waits, before = [], 0.0
    for share in used:
        after = before + share
        waits.append(left_s / ((1.0 - before) * (1.0 - after)))
        before = after
    return waits


def tandem_stay(
    rate_per_s: float, transmit_s: float, shares: Sequence[float], mean_s: float
) -> float:
    """Return the mean stay in an M/M/1 link that deals its output to M/M/1 nodes at random.

    Args:
        rate_per_s: Arrivals at the link.
        transmit_s: Mean time on the link; sizes are exponential.
        shares: Probability of each node, sum 1.
        mean_s: Mean service at every node.

    Source: Burke 1956, Jackson 1957 (product form). Deviation: none.
    """
    link_s = transmit_s / (1.0 - rate_per_s * transmit_s)
    nodes_s = sum(share * ps_stay(rate_per_s * share, mean_s) for share in shares)
    return link_s + nodes_s


def mean_tries(loss: float, most: int) -> float:
    """Return how often a transfer is tried on average.

    Args:
        loss: Probability that a try is lost.
        most: Tries after which it is given up.

    Source: truncated geometric law, (1 - p^m) / (1 - p). Deviation: none.
    """
    return (1.0 - loss**most) / (1.0 - loss)


def availability(mtbf_s: float, mttr_s: float) -> float:
    """Return the share of time that an alternating renewal process is up.

    Source: Barlow and Proschan 1975, ch. 7. Deviation: none.
    """
    return mtbf_s / (mtbf_s + mttr_s)
