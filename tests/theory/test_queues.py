"""Stationary laws: the verdict is a confidence interval over replications with a stated power.

Each case runs independent replications; the mean must lie within 4 standard errors of theory (a
true theory fails once in 16 000), and the standard error must be below 2.5 % of it, so that a bias
of 15 % is caught with more than 97 % power. (A bias of 2 % needs a hundred times the requests: the
nightly proofs' business.)
"""

from __future__ import annotations

from dataclasses import replace
from math import factorial

import numpy as np
import pytest

from sim.config import DispatchSpec, World
from tests.sim.worlds import both_ways, node, queue, requests


def erlang_c(offered: float, servers: int) -> float:
    """Return the probability of waiting in M/M/c. Source: Erlang 1917."""
    top = offered**servers / factorial(servers) * servers / (servers - offered)
    return top / (sum(offered**k / factorial(k) for k in range(servers)) + top)


def erlang_b(offered: float, servers: int) -> float:
    """Return the loss probability of M/M/c/c. Source: Erlang 1917."""
    blocked = 1.0
    for k in range(1, servers + 1):
        blocked = offered * blocked / (k + offered * blocked)
    return blocked


def mean_wait(world: World, warm_s: float) -> float:
    table = requests(world)
    late = table["t_emit_s"] > warm_s
    return float((table["t_start_s"] - table["t_enqueue_s"])[late].mean())


def verdict(values: list[float], theory: float, resolution: float = 0.025) -> None:
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    assert error < resolution * theory, f"no power: standard error {error / theory:.2%}"
    assert abs(np.mean(values) - theory) < 4 * error


@pytest.mark.parametrize(
    ("kind", "cv", "rho"),
    [("exponential", 1.0, 0.5), ("deterministic", 0.0, 0.6), ("erlang", 0.5, 0.5),
     ("hyperexponential", 1.5, 0.4)],
)  # fmt: skip
def test_mg1_waits_as_pollaczek_and_khinchine_say(kind: str, cv: float, rho: float) -> None:
    theory = rho / (1 - rho) * (1 + cv**2) / 2
    waits = [
        mean_wait(queue(rho, 1.0, 12_000.0, seed, kind, cv), warm_s=200.0) for seed in range(16)
    ]
    verdict(waits, theory)


def test_mmc_waits_as_erlang_c_says() -> None:
    servers, rho = 4, 0.7
    theory = erlang_c(servers * rho, servers) / (servers * (1 - rho))
    waits = [
        mean_wait(queue(servers * rho, 1.0, 6_000.0, seed, servers=servers), 200.0)
        for seed in range(14)
    ]
    verdict(waits, theory)


def gateway(seed: int, rho: float, nodes: int = 4) -> World:
    """Return a gateway that deals a Poisson stream at random to nodes with services of 1 s."""
    base = queue(rho * nodes, 1.0, 2_000.0, seed)
    links = tuple(
        link for i in range(1, nodes + 1) for link in both_ways(0, i, 2 * i - 2, delay_s=0.3)
    )
    servers = tuple(node(i) for i in range(1, nodes + 1))
    dispatch = DispatchSpec("random")
    return replace(base, nodes=(node(0, servers=0), *servers), links=links, dispatch=dispatch)


def test_a_stream_dealt_at_random_makes_independent_queues_behind_links() -> None:
    # Burke and Jackson: each node is M/M/1 though its requests come over a network
    rho, latencies = 0.5, []
    for seed in range(12):
        table = requests(gateway(seed, rho))
        late = table["t_emit_s"] > 100.0
        latencies.append(float(np.nanmean((table["t_return_s"] - table["t_emit_s"])[late])))
    verdict(latencies, 1.0 / (1.0 - rho) + 2 * 0.3)


def test_mmcc_loses_as_erlang_b_says() -> None:
    losses = []
    for seed in range(8):
        table = requests(queue(3.0, 1.0, 6_000.0, seed, servers=4, capacity=4))
        losses.append(float((table["drop"] >= 0).mean()))
    verdict(losses, erlang_b(3.0, 4), resolution=0.01)
