"""The common job: moedge's `events` engine beside a textbook SimPy loop with the same draws.

    python tests/bench/bench_engine.py [--nodes 100,1000] [--requests 1e5] [--repeats 3] [--profile]

N nodes, each M/M/1 at utilisation 0.7 with services of 10 ms; one gateway sends every request to a
random node over an uncontended link (2.8 ms up, 2.08 ms down). The textbook has one process a
request and one Resource a node. moedge's time includes drawing the workload, the laws and the
tables; the textbook's is the loop alone, and its draws are a gift. Both must find the same waits.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import simpy

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from agents.caches import CACHES
from agents.dispatchers import DISPATCHERS
from agents.dispatchers.fixed import Draws
from sim.arrivals.workload import Workload, draw_workload
from sim.compute.hardware import HARDWARE
from sim.config import (
    ArrivalSpec,
    DispatchSpec,
    LinkSpec,
    MixSpec,
    NodeSpec,
    ServiceSpec,
    StreamSpec,
    World,
)
from sim.parts import Parts
from sim.rng import Streams
from sim.simulation import simulate

SERVICE_S, UTILISATION = 0.01, 0.7
THEORY_S = UTILISATION / (1.0 - UTILISATION) * SERVICE_S
DELAY_S, BYTES_PER_S, UP_BYTES, DOWN_BYTES = 0.002, 12.5e6, 10_000, 1_000


def common_job(nodes: int, requests: float, seed: int = 1) -> World:
    """Return the common job with about so many requests."""
    hardware = HARDWARE["jetson-orin-nano"]
    rate = UTILISATION / SERVICE_S * nodes
    servers = tuple(NodeSpec(i, f"edge-{i}", "edge", hardware) for i in range(1, nodes + 1))
    links: list[LinkSpec] = []
    for i in range(1, nodes + 1):
        links.append(LinkSpec(len(links), 0, i, DELAY_S, BYTES_PER_S, "none"))
        links.append(LinkSpec(len(links), i, 0, DELAY_S, BYTES_PER_S, "none"))
    everyone = StreamSpec(
        0, "all", 0, ArrivalSpec("poisson", rate), MixSpec("uniform"),
        up_bytes=UP_BYTES, down_bytes=DOWN_BYTES,
    )  # fmt: skip
    return World(
        name="common-job", seed=seed, duration_s=requests / rate, drain_s=60.0, slot_s=5.0,
        nodes=(NodeSpec(0, "gateway", "gateway", hardware, servers=0), *servers),
        links=tuple(links), streams=(everyone,), dispatch=DispatchSpec("random"),
        service=ServiceSpec("exponential", SERVICE_S),
    )  # fmt: skip


def servers_of(world: World, requests: int) -> list[int]:
    """Repeat the choices that moedge's random dispatcher makes."""
    draws = Draws(Streams(world.seed).stream("dispatch", "random"))
    nodes = len(world.nodes) - 1
    return [draws.below(nodes) for _ in range(requests)]


def textbook(workload: Workload, servers: list[int], nodes: int) -> float:
    """Run the job as SimPy's own documentation would write it; return the mean wait."""
    env = simpy.Environment()
    resources = [simpy.Resource(env) for _ in range(nodes)]
    waits: list[float] = []

    def request(resource: simpy.Resource, service_s: float) -> Generator[Any, Any, None]:
        yield env.timeout(DELAY_S + UP_BYTES / BYTES_PER_S)
        joined_s = env.now
        with resource.request() as turn:
            yield turn
            waits.append(env.now - joined_s)
            yield env.timeout(service_s)
        yield env.timeout(DELAY_S + DOWN_BYTES / BYTES_PER_S)

    def source() -> Generator[Any, Any, None]:
        times, services = workload.t_emit_s.tolist(), workload.service_s.tolist()
        for t_s, server, service_s in zip(times, servers, services, strict=True):
            yield env.timeout(t_s - env.now)
            env.process(request(resources[server], service_s))

    env.process(source())
    env.run()
    return float(np.mean(waits))


@dataclass(frozen=True)
class Mine:
    """What one run of moedge says."""

    wait_s: float
    events: int


def moedge(world: World) -> Mine:
    """Run the job by moedge."""
    record = simulate(world, None, Parts(DISPATCHERS.load, CACHES.load))
    table = record.tables["requests"]
    wait_s = float((table["t_start_s"] - table["t_enqueue_s"]).mean())
    return Mine(wait_s, record.meta["events"])


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return what some work returns, and its CPU seconds (without garbage left by others)."""
    gc.collect()
    start_s = time.process_time()
    value = work()
    return value, time.process_time() - start_s


def race(nodes: int, requests: float, repeats: int) -> float:
    """Print one line of the table; return the median ratio of speeds."""
    world = common_job(nodes, requests)
    workload = draw_workload(world, None)
    count = len(workload.t_emit_s)
    servers = servers_of(world, count)
    mine_s, their_s = [], []
    for _ in range(repeats):  # alternating, so that a busy machine disturbs both alike
        mine, spent_s = timed(lambda: moedge(world))
        mine_s.append(spent_s)
        wait_s, spent_s = timed(lambda: textbook(workload, servers, nodes))
        their_s.append(spent_s)
    if abs(mine.wait_s - wait_s) > 1e-9 * wait_s:
        raise SystemExit(f"the same draws gave two mean waits: {mine.wait_s} and {wait_s}")
    ratio = median(b / a for a, b in zip(mine_s, their_s, strict=True))
    print(
        f"{nodes:6d} {count:9d} {count / median(mine_s):12,.0f} {count / median(their_s):12,.0f}"
        f" {ratio:7.2f} {mine.events / count:7.2f} {mine.wait_s * 1e3:9.3f} {wait_s * 1e3:9.3f}"
        f" {THEORY_S * 1e3:9.3f}"
    )
    return ratio


def main() -> None:
    """Race, or show where moedge's time goes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", default="100,1000")
    parser.add_argument("--requests", type=float, default=1e5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    sizes = [int(n) for n in args.nodes.split(",")]
    if args.profile:
        profile = cProfile.Profile()
        profile.runcall(moedge, common_job(sizes[0], args.requests))
        pstats.Stats(profile).sort_stats("tottime").print_stats(20)
        return
    print(
        " nodes  requests  moedge req/s textbook r/s   ratio  events  wait [ms]  textbook    theory"
    )
    for nodes in sizes:
        race(nodes, args.requests, args.repeats)


if __name__ == "__main__":
    main()
