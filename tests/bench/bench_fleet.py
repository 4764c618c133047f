"""The common job at every size: both engines, a textbook SimPy loop and a bare heap loop.

    python tests/bench/bench_fleet.py [--nodes 10,100,1000,10000] [--requests 1e5,1e6,1e7]
                                      [--repeats 3] [--only slots,events] [--json FILE]

The job is that of `bench_engine.py`: N nodes, each M/M/1 at utilisation 0.7 with services of 10 ms,
one gateway that sends every request to a random node over an uncontended link.

Contestants, each in a process of its own that has its libraries and kernels loaded:

    slots     compiled kernels, statistics alone (no rows of requests are kept)
    slots+    the same with the full table of requests
    events    event by event, with the full table
    textbook  one SimPy process a request, one Resource a node
    heap      two tuples a request on one `heapq`, explicit queues: the least that Python can do

A time of moedge has everything in it: drawing the workload, the run, laws, statistics, tables and
digests. The other two get their draws for nothing. Rates are per CPU second. Memory is what the
peak of the process rose by above what it was before the run. All must find the same mean latency.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import resource
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from heapq import heappop, heappush
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.bench_engine import (
    BYTES_PER_S,
    DELAY_S,
    DOWN_BYTES,
    UP_BYTES,
    common_job,
    servers_of,
    textbook,
)

WHO = ("slots", "slots+", "events", "heap", "textbook")
# a contestant that would take minutes is left out, and the table says so
MOST_REQUESTS = {"textbook": 1e6, "heap": 1e7, "events": 1e6}


def heap_loop(times: list[float], services: list[float], servers: list[int], nodes: int) -> float:
    """Run the job on a bare heap; return the mean latency."""
    queues: list[deque[int]] = [deque() for _ in range(nodes)]
    busy = [False] * nodes
    up_s, down_s = DELAY_S + UP_BYTES / BYTES_PER_S, DELAY_S + DOWN_BYTES / BYTES_PER_S
    heap: list[tuple[float, int, int]] = []
    total_s, following = 0.0, 0
    count = len(times)
    while heap or following < count:
        if following < count and (not heap or times[following] <= heap[0][0]):
            heappush(heap, (times[following] + up_s, 1, following))
            following += 1
            continue
        now_s, arrives, rid = heappop(heap)
        node = servers[rid]
        if arrives:
            if busy[node]:
                queues[node].append(rid)
                continue
            busy[node] = True
        else:
            total_s += now_s + down_s - times[rid]
            if not queues[node]:
                busy[node] = False
                continue
            rid = queues[node].popleft()
        heappush(heap, (now_s + services[rid], 0, rid))
    return total_s / count


def rival(name: str, nodes: int, requests: float) -> Callable[[], tuple[float, int]]:
    """Draw what a rival needs, and return what runs it: mean latency, requests."""
    from sim.arrivals.workload import draw_workload

    world = common_job(nodes, requests)
    workload = draw_workload(world, None)
    servers = servers_of(world, len(workload))
    if name == "textbook":
        fixed_s = 2 * DELAY_S + (UP_BYTES + DOWN_BYTES) / BYTES_PER_S
        fixed_s += float(workload.service_s.mean())
        return lambda: (textbook(workload, servers, nodes) + fixed_s, len(workload))
    times, services = workload.t_emit_s.tolist(), workload.service_s.tolist()
    return lambda: (heap_loop(times, services, servers, nodes), len(times))


def moedge(name: str, nodes: int, requests: float) -> Callable[[], tuple[float, int]]:
    """Return what runs moedge, kernels loaded: mean latency, requests."""
    from agents.caches import CACHES
    from agents.dispatchers import DISPATCHERS
    from sim.parts import Parts
    from sim.simulation import simulate

    parts = Parts(DISPATCHERS.load, CACHES.load)
    engine: Any = name.rstrip("+")
    rows_bytes = 1.0 if name == "slots" else math.inf  # room for none

    def work(size: float = requests) -> tuple[float, int]:
        world = common_job(nodes if size == requests else 10, size)
        record = simulate(replace(world, engine=engine, rows_bytes=rows_bytes), None, parts)
        if name == "slots":
            (group,) = record.meta["totals"]["groups"]
            return group["sum_s"] / group["returned"], group["requests"]
        table = record.tables["requests"]
        return float((table["t_return_s"] - table["t_emit_s"]).mean()), len(table["id"])

    work(5e4)
    return work


def peak_bytes() -> int:
    """Return the peak of this process's memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def contest(name: str, nodes: int, requests: float) -> dict[str, float]:
    """Run one contestant in this process."""
    make = rival if name in {"textbook", "heap"} else moedge
    work = make(name, nodes, requests)
    gc.collect()
    before, start_s, wall_s = peak_bytes(), time.process_time(), time.perf_counter()
    latency_s, count = work()
    spent_s, wall_s = time.process_time() - start_s, time.perf_counter() - wall_s
    grown = peak_bytes() - before
    return {
        "latency_s": latency_s,
        "count": count,
        "cpu_s": spent_s,
        "wall_s": wall_s,
        "bytes": grown,
    }


def apart(name: str, nodes: int, requests: float) -> dict[str, float]:
    """Run one contestant in a process of its own."""
    command = [sys.executable, __file__, "--one", name, str(nodes), str(requests)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode:
        raise SystemExit(f"{name} at {nodes} nodes, {requests:g} requests:\n{found.stderr[-2000:]}")
    facts: dict[str, float] = json.loads(found.stdout.splitlines()[-1])
    return facts


def size(nodes: int, requests: float, who: list[str], repeats: int) -> list[dict[str, Any]]:
    """Race all at one size, in turns, so that a busy machine disturbs all alike."""
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in who}
    for turn in range(repeats):
        for name in who:
            slow = requests > MOST_REQUESTS.get(name, math.inf) or (turn and requests >= 1e7)
            if not slow:
                runs[name].append(apart(name, nodes, requests))
    rows = []
    for name, found in runs.items():
        if not found:
            print(f"{nodes:6d} {requests:9.0e} {name:9s} left out: it would take minutes")
            continue
        rows.append(line(nodes, name, found, runs))
    latencies = [row["latency_s"] for row in rows]
    if max(latencies) - min(latencies) > 1e-9 * max(latencies):
        raise SystemExit(f"the same draws gave different mean latencies: {latencies}")
    return rows


def line(
    nodes: int, name: str, found: list[dict[str, float]], runs: dict[str, list[dict[str, float]]]
) -> dict[str, Any]:
    """Print a row of the table and return it."""
    count = int(found[0]["count"])
    rate = count / median(run["cpu_s"] for run in found)
    ratios = [
        float(b["cpu_s"] / a["cpu_s"])
        for a, b in zip(found, runs.get("textbook", []), strict=False)
    ]
    ratio = median(ratios) if ratios else math.nan
    grown = median(run["bytes"] for run in found) / 2**20
    wall = median(run["wall_s"] for run in found)
    print(
        f"{nodes:6d} {count:9d} {name:9s} {rate:12,.0f} {ratio:9.1f} {wall:9.2f} {grown:10.0f}"
        f" {found[0]['latency_s'] * 1e3:10.4f}",
        flush=True,
    )
    return {
        "nodes": nodes, "requests": count, "who": name, "per_cpu_s": rate, "ratio": ratio,
        "wall_s": wall, "mib": grown, "latency_s": found[0]["latency_s"], "runs": len(found),
    }  # fmt: skip


def main() -> None:
    """Race at all sizes, or be one contestant."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", default="10,100,1000,10000")
    parser.add_argument("--requests", default="1e5,1e6,1e7")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default=",".join(WHO))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", nargs=3)
    args = parser.parse_args()
    if args.one:
        name, nodes, requests = args.one
        print(json.dumps(contest(name, int(nodes), float(requests))))
        return
    who = args.only.split(",")
    print(" nodes  requests who          per CPU s  textbook=1  wall [s] peak + MiB  latency [ms]")
    rows = []
    for requests in map(float, args.requests.split(",")):
        for nodes in map(int, args.nodes.split(",")):
            rows += size(nodes, requests, who, args.repeats)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
