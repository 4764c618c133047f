"""What the law auditor costs: median ratio of paired runs with and without it.

    python tests/bench/bench_laws.py [--pairs 15] [--requests 1e5] [--json]

Jobs: the common job (bench_engine.py, 100 nodes, `model: none`) and a small run with a model whose
arithmetic is next to nothing, so that the engine is nearly all that is timed.

*Checks* are what is done to find a broken law: the checkpoints at slot boundaries and the audit at
the end. *All* are these and the meters that exist for the laws alone and are kept event by event
(area under N(t), stays, arrivals and departures, most running): their lines are taken out of the
source of the stations for the runs without. Pairs alternate their order, times are the process's
own, and garbage is collected before each. Both runs of a pair must leave the same tables.
"""

from __future__ import annotations

import argparse
import gc
import inspect
import json
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from agents.caches import CACHES
from agents.dispatchers import DISPATCHERS
from sim.auditor import Auditor
from sim.compute.plain import PlainStation
from sim.compute.station import Station
from sim.fleet import Fleet
from sim.parts import Parts
from sim.records import Record
from sim.simulation import simulate
from tests.bench.bench_engine import common_job
from tests.sim import minds

TARGET = 0.03
# lines of a station that keep what only the laws read
_ONLY_LAWS = (
    "meters.area +=", "meters.area_s =", "meters.stays_s +=", "self.meters.stays_s +=",
    "meters.arrived +=", "self.meters.arrived +=", "meters.finished +=", "self.meters.lost +=",
    "self.meters.most_running =",
)  # fmt: skip


def common(requests: float) -> Callable[[], Record]:
    """Return the common job of 100 nodes."""
    world = common_job(100, requests)
    return lambda: simulate(world, None, Parts(DISPATCHERS.load, CACHES.load))


def small(requests: float, nodes: int = 8) -> Callable[[], Record]:
    """Return a run of a tiny model that merges anew every few slots."""
    rate = 80.0  # of 125 that a node could serve
    world = minds.world(
        [minds.node(i) for i in range(nodes)],
        [minds.poisson(rate, i) for i in range(nodes)],
        duration_s=requests / rate / nodes,
    )
    plans = {slot: (minds.SKEW, minds.OTHER)[slot % 2] for slot in range(0, world.slots, 5)}
    return lambda: minds.run(world, minds.script(plans)).record


def unaudited(self: Fleet) -> dict[str, int]:
    """Complete the stamps as `Fleet.audit` does, and check nothing."""
    self._last_stamps()
    return {}


def without(kind: type, name: str) -> Callable[..., Any] | None:
    """Return a method with `pass` for lines that only the laws need; None where it has none."""
    function = kind.__dict__[name]
    if not inspect.isfunction(function):
        return None
    lines = textwrap.dedent(inspect.getsource(function)).splitlines()
    gone = [line.strip().startswith(_ONLY_LAWS) for line in lines]
    if not any(gone):
        return None
    kept = [
        line[: len(line) - len(line.lstrip())] + "pass" if out else line
        for line, out in zip(lines, gone, strict=True)
    ]
    scope: dict[str, Any] = {}
    code = compile("\n".join(kept), f"{kind.__name__}.{name} without laws", "exec")
    exec(code, function.__globals__, scope)
    made: Callable[..., Any] = scope[name]
    return made


@contextmanager
def lawless(*, meters: bool) -> Iterator[None]:
    """Take the checks out, and with them the meters that are kept for them."""
    with ExitStack() as stack:
        stack.enter_context(patch.object(Fleet, "audit", unaudited))
        stack.enter_context(patch.object(Auditor, "checkpoint", lambda self, now_s: None))
        for kind in (PlainStation, Station) if meters else ():
            for name in sorted(kind.__dict__):
                made = without(kind, name)
                if made is not None:
                    stack.enter_context(patch.object(kind, name, made))
        yield


def timed(work: Callable[[], Record]) -> tuple[str, float]:
    """Return the digest that a run leaves, and its processor seconds."""
    gc.collect()
    begin_s = time.process_time()
    record = work()
    return record.digest, time.process_time() - begin_s


def measure(name: str, work: Callable[[], Record], pairs: int, *, meters: bool) -> dict[str, Any]:
    """Return the median ratio of paired runs, with what it is made of."""

    def free() -> tuple[str, float]:
        with lawless(meters=meters):
            return timed(work)

    timed(work), free()  # warm
    lawful_s, lawless_s = [], []
    for pair in range(pairs):
        first, second = (free, lambda: timed(work)) if pair % 2 else (lambda: timed(work), free)
        one, other = first(), second()
        lawful, lawfree = (other, one) if pair % 2 else (one, other)
        if lawful[0] != lawfree[0]:
            raise SystemExit(f"{name}: the run without laws left other tables")
        lawful_s.append(lawful[1])
        lawless_s.append(lawfree[1])
    ratios = sorted(a / b for a, b in zip(lawful_s, lawless_s, strict=True))
    return {
        "job": name,
        "what": "all" if meters else "checks",
        "with_s": median(lawful_s),
        "without_s": median(lawless_s),
        "ratio": median(ratios),
        "low": ratios[len(ratios) // 4],
        "high": ratios[-1 - len(ratios) // 4],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--requests", type=float, default=1e5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    jobs = (("common job", common(args.requests)), ("small model", small(args.requests / 4)))
    rows = [
        measure(name, work, args.pairs, meters=meters)
        for name, work in jobs
        for meters in (False, True)
    ]
    if args.json:
        print(json.dumps(rows, indent=1))
        return
    print(f"{'job':<13}{'laws':<8}{'with':>9}{'without':>10}{'ratio':>9}   half of them")
    for row in rows:
        verdict = "ok" if row["ratio"] < 1.0 + TARGET else f"above {TARGET:.0%}"
        print(
            f"{row['job']:<13}{row['what']:<8}{row['with_s']:>7.3f} s{row['without_s']:>8.3f} s"
            f"{row['ratio']:>9.4f}   {row['low']:.4f} to {row['high']:.4f}  {verdict}"
        )


if __name__ == "__main__":
    main()
