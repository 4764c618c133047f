"""Where the time of a run with models goes: physics, model, router, recorder.

    python tests/bench/bench_models.py [--nodes 10,100,1000] [--policies tanbr,top2,uniform]
                                       [--slots 55] [--engine events] [--profile] [--json]

N edge nodes around a cloud, each with 14 requests per slot and a router of its own; the shipped
checkpoint answers; hosts live in this process. Calls that lead from one part into another are timed
here, with each part's time less that of the parts which it calls, in CPU seconds:

    physics    the fleet moves: clock, stations, links, slot books
    model      forwards and merges that answer requests
    router     what the routers decide and learn
    host       the rest of a boundary: feedback, clusters, bookkeeping around model and router
    recorder   rows, tables, digest
    regret     measuring best and expected reward after the run, its forwards included
    start      loading, drawing the workload, warming routers up

`simulated/s` and `requests/s` are per wall second of the whole run but `start`. The shares must sum
to what an independent clock says, or the bench fails. Memory is the peak of the process, which is a
fresh one for every row.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from agents.caches import CACHES
from agents.dispatchers import DISPATCHERS
from agents.hosting.blocks import make_specs, shard_of
from agents.hosting.inline import InlineExecutor, InlineHandle
from agents.hosting.threads import one_thread
from agents.moe.runtime import Runtime
from agents.routers import ROUTERS
from scenarios import loader
from scenarios.build import build_policy, build_world
from scenarios.trial import read_card
from sim import simulation
from sim.compute.swap_time import full_swap_s
from sim.config import PolicySpec, World
from sim.executors import Executor
from sim.fast.minds import MindFleet
from sim.fleet import Fleet
from sim.parts import Parts
from sim.ports import ModelCard
from sim.recorder import Recorder
from sim.records import Record

SECTIONS = ("physics", "model", "router", "host", "recorder", "regret", "start")
SLOT_S = 4.0
FLEET = """
name: fleet-models
seed: 1
duration: {duration} s
drain: 20 s
slot: 4 s
engine: {engine}
model: {{checkpoint: "builtin:stream", cost_as: bert-base-moe-8}}
topology: {{kind: star, hub: cloud, link: {{delay: 2 ms, bandwidth: 1 Gbit/s}}}}
nodes:
  - group: edge
    count: {nodes}
    hardware: intel-nuc
    capacity: 64
    batch: {{max_size: 4, max_wait: 20 ms}}
  - {{group: cloud, hardware: a100-40gb, servers: 4, capacity: 1024, plan: {{kind: top-k, k: 2}}}}
streams:
  - at: edge
    arrivals: {{kind: poisson, rate: 3.5 /s}}
    mix: {{kind: dirichlet, alpha: 0.5, tasks: 3}}
    drift: [{{at: {drift} s, kind: switch}}]
    deadline: 1 s
    size: {{up: 2 KiB, down: 256 B}}
feedback: {{delay: 4 s, fraction: 0.5}}
dispatch: {{kind: local}}
policies: [{policy}]
"""


def fleet(nodes: int, slots: int, policy: str, engine: str = "events") -> tuple[World, PolicySpec]:
    """Return a world with so many edge nodes, open for so many slots, and the policy."""
    text = FLEET.format(
        nodes=nodes, policy=policy, engine=engine, duration=slots * SLOT_S, drift=slots * SLOT_S / 2
    )
    scenario = loader.loads(text)
    return build_world(scenario, 1, read_card(scenario)), build_policy(scenario, policy)


class Clock:
    """CPU seconds per section; an inner section's time is not the outer one's."""

    def __init__(self) -> None:
        self.spent = dict.fromkeys(SECTIONS, 0.0)
        self._open = ["start"]
        self._since_s = time.process_time()

    def _turn(self) -> None:
        now_s = time.process_time()
        # whatever regret asks of the model is the price of regret
        section = "regret" if "regret" in self._open else self._open[-1]
        self.spent[section] += now_s - self._since_s
        self._since_s = now_s

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        """Count what happens inside for a section."""
        self._turn()
        self._open.append(name)
        try:
            yield
        finally:
            self._turn()
            self._open.pop()

    def finish(self) -> None:
        """Count the time up to now."""
        self._turn()

    def wrap(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        """Return a function whose time counts for a section."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.section(name):
                return call(*args, **kwargs)

        return timed

    def watch(self, owner: Any, section: str, *names: str) -> None:
        """Count some methods or functions of an owner for a section, from now on."""
        for name in names:
            setattr(owner, name, self.wrap(getattr(owner, name), section))


def instrument(clock: Clock, kind: str) -> None:
    """Put the clock between the parts."""
    answers = [n for n, v in vars(Runtime).items() if callable(v) and not n.startswith("_")]
    clock.watch(Runtime, "model", *answers)
    clock.watch(Runtime, "start", "__init__")
    router = ROUTERS.load(kind)
    clock.watch(router, "start", "__init__")
    clock.watch(router, "router", "decide_block", "update_block")
    clock.watch(InlineHandle, "host", "call")
    clock.watch(Fleet, "physics", "run", "audit")
    clock.watch(MindFleet, "physics", "run", "audit")
    clock.watch(
        Recorder,
        "recorder",
        "named",
        "decide",
        "tables_with",
        "rows",
        "block",
        "memory",
        "residency",
        "slots",
    )
    clock.watch(simulation, "recorder", "digest", "_meta")
    clock.watch(simulation, "regret", "reward_columns")


def simulated(world: World, policy: PolicySpec, executor: Executor, shards: int = 1) -> Record:
    """Run a world with so many shards."""
    card = card_of()
    specs = make_specs(world, policy, shards=shards, swap_s=full_swap_s(world, card))
    parts = Parts(DISPATCHERS.load, CACHES.load, card=card)
    parts.hosts = executor.start(specs)
    parts.shard_of = [shard_of(node.id, len(specs)) for node in world.nodes]
    return simulation.simulate(world, policy, parts)


def card_of() -> ModelCard:
    """Return the card of the shipped checkpoint."""
    card = read_card(
        loader.loads(FLEET.format(nodes=1, policy="uniform", engine="events", duration=8, drift=4))
    )
    assert card is not None
    return card


def measure(nodes: int, slots: int, kind: str, engine: str) -> dict[str, Any]:
    """Run once and return the row of the table."""
    one_thread()
    whole_s, clock = time.process_time(), Clock()
    world, policy = fleet(nodes, slots, kind, engine)
    instrument(clock, kind)
    wall_s, before_s = time.perf_counter(), clock.spent["start"]
    record = simulated(world, policy, InlineExecutor())
    clock.finish()
    wall_s = time.perf_counter() - wall_s
    whole_s = time.process_time() - whole_s
    parts_s = sum(clock.spent.values())
    if abs(parts_s - whole_s) > 0.01 * whole_s:
        raise SystemExit(f"the sections sum to {parts_s:.2f} s of {whole_s:.2f} s")
    served = int((record.tables["requests"]["drop"] == 0).sum())
    run_s = max(wall_s - (clock.spent["start"] - before_s), 1e-9)
    return {
        "policy": kind,
        "nodes": nodes,
        "slots": record.meta["slots"],
        "requests": len(record.tables["requests"]["id"]),
        "served": served,
        "simulated_per_s": record.meta["end_s"] / run_s,
        "requests_per_s": len(record.tables["requests"]["id"]) / run_s,
        "cpu_s": whole_s,
        "spent": clock.spent,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "digest": record.digest,
    }


def apart(nodes: int, slots: int, kind: str, engine: str) -> dict[str, Any]:
    """Measure in a process of its own, so that peak memory is that of one run."""
    command = [sys.executable, __file__, "--one", f"{nodes},{slots},{kind},{engine}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    if done.returncode:
        raise SystemExit(done.stderr)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def head() -> None:
    """Print the names of the columns."""
    sections = "".join(f"{s:>9}" for s in SECTIONS[:-1])
    print(
        f"{'policy':<10}{'nodes':>6}{'requests':>9}{'simulated/s':>13}{'requests/s':>12}"
        f"{'CPU [s]':>9}{sections}   start  RSS MiB  digest\n"
        f"{'':<59}{'shares of CPU but start [%]':>54}{'[s]':>8}"
    )


def show(row: dict[str, Any]) -> None:
    """Print one row."""
    run_s = row["cpu_s"] - row["spent"]["start"]
    shares = "".join(f"{100 * row['spent'][s] / run_s:9.1f}" for s in SECTIONS[:-1])
    print(
        f"{row['policy']:<10}{row['nodes']:>6}{row['requests']:>9}{row['simulated_per_s']:>13.2f}"
        f"{row['requests_per_s']:>12,.0f}{run_s:>9.2f}{shares}{row['spent']['start']:>8.2f}"
        f"{row['peak_bytes'] / 2**20:>9,.0f}  {row['digest'][:12]}",
        flush=True,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", default="10,100,1000")
    parser.add_argument("--policies", default="tanbr,top2,uniform")
    parser.add_argument("--slots", type=int, default=55)
    parser.add_argument("--engine", default="events")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--one", default="", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        nodes, slots, kind, engine = asked.one.split(",")
        print(json.dumps(measure(int(nodes), int(slots), kind, engine)))
        return
    sizes, kinds = [int(n) for n in asked.nodes.split(",")], asked.policies.split(",")
    if asked.profile:
        one_thread()
        world, policy = fleet(sizes[0], asked.slots, kinds[0], asked.engine)
        profile = cProfile.Profile()
        profile.runcall(simulated, world, policy, InlineExecutor())
        pstats.Stats(profile).sort_stats("tottime").print_stats(45)
        return
    rows = []
    if not asked.json:
        head()
    for kind in kinds:
        for nodes in sizes:
            rows.append(apart(nodes, asked.slots, kind, asked.engine))
            if not asked.json:
                show(rows[-1])
    if asked.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
