"""The flow pass on the common job: CPU ns per request and stage, the workload drawn beforehand.

python tests/bench/bench_flow.py [--nodes 100,1000,10000] [--requests 1e6] [--window 65536]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from agents.caches import CACHES
from agents.dispatchers import DISPATCHERS
from sim.arrivals.workload import draw_workload
from sim.config import World
from sim.dispatch import make_dispatcher
from sim.fast import flow_carry
from sim.fast.flow import FlowPass
from sim.fast.flow_step import Step, Window, whole
from sim.parts import Parts
from tests.bench.bench_engine import common_job

WANTED = ("stream", "source", "t_emit_s", "deadline_s")
STAGES = ("send_up", "bucket", "in_order", "serve")


class Watch:
    """Adds up CPU seconds by stage."""

    def __init__(self) -> None:
        self.spent_s: dict[str, float] = defaultdict(float)

    def timed(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a function."""

        def call(*args: Any) -> Any:
            start_s = time.process_time()
            try:
                return work(*args)
            finally:
                self.spent_s[name] += time.process_time() - start_s

        return call


def run(world: World, everybody: Window, size: int, watch: Watch | None = None) -> int:
    """Run a world in windows; return how many requests came to their end."""
    start_s = time.process_time()
    parts = Parts(DISPATCHERS.load, CACHES.load)
    run = FlowPass(world, world.dispatch, make_dispatcher(world, world.dispatch, parts), WANTED)
    if watch is not None:
        run._chooser.choose = watch.timed("choose", run._chooser.choose)  # type: ignore[method-assign]
        watch.spent_s["setup"] = time.process_time() - start_s
        run._carry._keep = watch.timed("keep", run._carry._keep)  # type: ignore[method-assign]
    return sum(len(step.retired) for step in steps(run, everybody, size))


def steps(run: FlowPass, everybody: Window, size: int) -> Iterator[Step]:
    times = everybody.columns["t_emit_s"]
    for begin in range(0, len(times), size):
        stop = min(begin + size, len(times))
        until_s = float(times[stop]) if stop < len(times) else run.world.duration_s
        yield from run.advance(everybody.part(begin, stop), until_s)
    yield from run.drain()


def main() -> None:
    """Print a line for every number of nodes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", default="100,1000,10000")
    parser.add_argument("--requests", type=float, default=1e6)
    parser.add_argument("--window", type=int, default=65536)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    names = ("setup", "choose", *STAGES, "keep")
    print("  nodes  window " + "".join(f"{name:>10}" for name in (*names, "rest", "all")))
    plain = {name: getattr(flow_carry, name) for name in STAGES}
    for nodes in map(int, args.nodes.split(",")):
        world = common_job(nodes, args.requests)
        everybody = whole(draw_workload(world, None))
        run(world, everybody.part(0, 1000), args.window)  # compiles
        best: dict[str, float] = {}
        for _ in range(args.repeats):
            watch = Watch()
            for name in STAGES:
                setattr(flow_carry, name, watch.timed(name, plain[name]))
            start_s = time.process_time()
            ended = run(world, everybody, args.window, watch)
            watch.spent_s["all"] = time.process_time() - start_s
            assert ended == len(everybody)
            if not best or watch.spent_s["all"] < best["all"]:
                best = defaultdict(float, watch.spent_s)
        best["rest"] = best["all"] - sum(best[name] for name in names)
        ns = [best[name] / len(everybody) * 1e9 for name in (*names, "rest", "all")]
        print(f"{nodes:7d} {args.window:7d} " + "".join(f"{x:10.1f}" for x in ns))


if __name__ == "__main__":
    main()
