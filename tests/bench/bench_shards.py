"""When it pays to shard one run over Ray actors: the same run with 1, 2 and 4 shards, both ways.

    python tests/bench/bench_shards.py [--nodes 256] [--slots 12] [--policies tanbr,top2]
                                       [--shards 1,2,4] [--cpus 2] [--json]

Every row is the same run, so that all digests must agree, or the bench fails. Ray runs on this
machine in a cluster of the bench's own, started before the clock and ended after it. All numbers
are per boundary, from the second one to the last before the drain; start and regret are left out.

    wall       of the simulation, hosts included, median
    host       wall in which the simulation calls its hosts and waits for them, median
    work       CPU of the busiest host, mean
    over       host less work (Ray): what calls cost, and waiting for a core
    CPU        of the simulation and of all hosts together, mean
    empty      wall of a call that does nothing
    sent, got  what crosses at one boundary, all shards, pickled
"""

from __future__ import annotations

import argparse
import json
import pickle
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from agents.caches import CACHES
from agents.dispatchers import DISPATCHERS
from agents.hosting.blocks import make_specs, shard_of
from agents.hosting.inline import InlineExecutor
from agents.hosting.ray_actor import RayExecutor
from agents.hosting.ray_session import RaySession
from agents.hosting.threads import one_thread
from sim.compute.swap_time import full_swap_s
from sim.config import PolicySpec, World
from sim.executors import Executor, Future, HostHandle
from sim.parts import Parts
from sim.simulation import simulate
from tests.bench.bench_models import card_of, fleet


@dataclass
class Meter:
    """What the simulation does with its hosts, as seen from there."""

    hosts: Sequence[HostHandle]
    wait_s: float = 0.0
    sent_bytes: int = 0
    got_bytes: int = 0
    weigh: bool = False  # messages of this boundary
    marks: list[tuple[float, ...]] = field(default_factory=list)

    def mark(self) -> None:
        """Note wall, waiting, own CPU and each host's CPU up to now."""
        wall_s = time.perf_counter()
        self.marks.append((wall_s, self.wait_s, time.process_time(), *host_cpu_s(self.hosts)))


def host_cpu_s(hosts: Sequence[Any]) -> list[float]:
    """Return the CPU seconds of each host's process; none for hosts in this one."""
    asked = [(h._ray, h._actor.__ray_call__.remote(_spent_s)) for h in hosts if hasattr(h, "_ray")]
    return [ray.get(answer) for ray, answer in asked]


def _spent_s(_: Any) -> float:
    return time.process_time()


class Watched:
    """A host whose boundaries are timed."""

    def __init__(self, host: HostHandle, meter: Meter) -> None:
        self._host, self._meter = host, meter

    def call(self, method: str, *args: Any) -> Future:
        """Pass on."""
        if method != "step":
            return self._host.call(method, *args)
        if self._meter.weigh:
            self._meter.sent_bytes += len(pickle.dumps(args))
        begin_s = time.perf_counter()
        answer = self._host.call(method, *args)
        self._meter.wait_s += time.perf_counter() - begin_s
        return Waited(answer, self._meter)


class Waited:
    """An answer that is waited for by the clock."""

    def __init__(self, answer: Future, meter: Meter) -> None:
        self._answer, self._meter = answer, meter

    def result(self) -> Any:
        """Pass on."""
        begin_s = time.perf_counter()
        value = self._answer.result()
        self._meter.wait_s += time.perf_counter() - begin_s
        if self._meter.weigh:
            self._meter.got_bytes += len(pickle.dumps(value))
        return value


def run(world: World, policy: PolicySpec, executor: Executor, shards: int) -> dict[str, Any]:
    """Run once and return a row."""
    card = card_of()
    specs = make_specs(world, policy, shards=shards, swap_s=full_swap_s(world, card))
    hosts = executor.start(specs)
    meter, last = Meter(hosts), int(world.duration_s / world.slot_s)

    def note(slot: int, slots: int) -> None:
        meter.weigh = slot == 0  # the next boundary, before the clock starts
        if 1 <= slot <= last:
            meter.mark()

    parts = Parts(DISPATCHERS.load, CACHES.load, card=card, on_slot=note)
    parts.hosts = [Watched(host, meter) for host in hosts]
    parts.shard_of = [shard_of(node.id, len(specs)) for node in world.nodes]
    empty_s = median(empty_calls(hosts[0]))
    record = simulate(world, policy, parts)
    steps_ms = 1e3 * np.diff(np.array(meter.marks), axis=0)
    wall_ms, host_ms = np.median(steps_ms[:, :2], axis=0).tolist()
    own_ms, *apart_ms = steps_ms[:, 2:].mean(axis=0).tolist()
    # inline hosts work in this process whenever it waits for them
    work_ms = max(apart_ms) if apart_ms else host_ms / len(specs)
    return {
        "hosts": "ray" if apart_ms else "inline",
        "policy": policy.label,
        "shards": len(specs),
        "wall_ms": wall_ms,
        "host_ms": host_ms,
        "work_ms": work_ms,
        "over_ms": host_ms - work_ms if apart_ms else 0.0,
        "cpu_ms": own_ms + sum(apart_ms),
        "empty_ms": 1e3 * empty_s,
        "sent_bytes": meter.sent_bytes,
        "got_bytes": meter.got_bytes,
        "digest": record.digest,
    }


def empty_calls(host: HostHandle, often: int = 200) -> list[float]:
    """Time calls that do nothing."""
    spent = []
    for _ in range(often):
        begin_s = time.perf_counter()
        host.call("listens").result()
        spent.append(time.perf_counter() - begin_s)
    return spent


def rows_of(nodes: int, slots: int, kind: str, shards: Sequence[int]) -> list[dict[str, Any]]:
    """Run all ways, each with hosts of its own, and hold the digests together."""
    world, policy = fleet(nodes, slots, kind)
    rows = []
    for count in shards:
        for make in (InlineExecutor, RayExecutor):
            executor: Executor = make()
            try:
                rows.append(run(world, policy, executor, count))
            finally:
                executor.close()
            show(rows[-1])
    if len({row["digest"] for row in rows}) > 1:
        raise SystemExit(f"{kind}: the digests differ: {[row['digest'][:12] for row in rows]}")
    return rows


def show(row: dict[str, Any]) -> None:
    """Print one row."""
    times = ("wall_ms", "host_ms", "work_ms", "over_ms", "cpu_ms")
    print(
        f"{row['policy']:<10}{row['hosts']:<8}{row['shards']:>6}"
        f"{''.join(f'{row[name]:>10.2f}' for name in times)}{row['empty_ms']:>9.3f}"
        f"{row['sent_bytes'] / 1e3:>10.1f}{row['got_bytes'] / 1e3:>9.1f}  {row['digest'][:12]}",
        file=sys.stderr,
        flush=True,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=256)
    parser.add_argument("--slots", type=int, default=12)
    parser.add_argument("--policies", default="tanbr,top2")
    parser.add_argument("--shards", default="1,2,4")
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    one_thread()
    shards = [int(count) for count in asked.shards.split(",")]
    print(
        f"{'policy':<10}{'hosts':<8}{'shards':>6}{'wall':>10}{'host':>10}{'work':>10}{'over':>10}"
        f"{'CPU':>10}{'empty':>9}{'sent [kB]':>10}{'got':>9}  digest   (times in ms)",
        file=sys.stderr,
    )
    session = RaySession("local", num_cpus=asked.cpus)
    try:
        rows = [
            row
            for kind in asked.policies.split(",")
            for row in rows_of(asked.nodes, asked.slots, kind, shards)
        ]
    finally:
        session.close()
    if asked.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
