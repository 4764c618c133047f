"""The fault campaign: random runs under random faults, every law checked; failures shrink.

    python tests/campaign/campaign.py --runs 500 --seed 0 --jobs 2
    python tests/campaign/campaign.py --replay 1234

Run number i of a campaign is made from the one integer seed + i, so that `--replay` needs nothing
else. Exit code: 0 nothing found, 1 a law or check was broken, or a drop reason or a kind of fault
never occurred in 300 runs or more.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sim.config import PolicySpec, World
from sim.records import DROPS, FAULTS, Record
from tests.campaign import checks, shrink
from tests.campaign.draws import Run, draw
from tests.sim import minds, worlds

TWICE = 10  # every tenth run is repeated: same seed, same digest
SAMPLE = 300  # runs from which on nothing may be missing
LIMIT_S = 120  # wall time of one run: more is a livelock


@dataclass(slots=True)
class Verdict:
    """What one run showed."""

    seed: int
    features: list[str] = field(default_factory=list)
    error: str = ""
    wall_s: float = 0.0
    requests: int = 0


def play(world: World, policy: PolicySpec | None) -> tuple[Record, minds.Seen | None]:
    """Simulate a world, with the tiny model if it has one."""
    if policy is None:
        return worlds.run(world), None
    seen = minds.run(world, policy, minds.Varied(), block_size=2)
    return seen.record, seen


def trial(world: World, policy: PolicySpec | None, *, twice: bool = False) -> Record:
    """Run and check; raise what was found."""
    record, seen = play(world, policy)
    checks.check(world, record, seen)
    if twice:
        again = play(world, policy)[0]
        assert again.digest == record.digest, "the same seed gave other bits"
    return record


def judge(seed: int) -> Verdict:
    """Draw, run and check the run of one integer."""
    begun_s = time.perf_counter()
    run, verdict = draw(seed), Verdict(seed)
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(LIMIT_S)
    try:
        record = trial(run.world, run.policy, twice=seed % TWICE == 0)
        verdict.features = list(features(run, record))
        verdict.requests = int(record.meta["laws"]["emitted"])
    except Exception:
        verdict.error = traceback.format_exc()
    finally:
        signal.alarm(0)
    verdict.wall_s = time.perf_counter() - begun_s
    return verdict


def _too_long(*_: Any) -> None:
    raise TimeoutError(f"the run did not end within {LIMIT_S} s")


# --- what was covered


def features(run: Run, record: Record) -> Iterator[str]:
    """Name what a run had in it; faults and drops only where they occurred."""
    world = run.world
    yield f"topology {world.name}"
    yield f"policy {run.policy.kind if run.policy else 'none'}"
    yield f"dispatch {world.dispatch.kind}"
    yield f"view {'dated' if world.dispatch.view_every_s else 'live'}"
    yield f"tries {'many' if world.transport.tries > 1 else 'one'}"
    if checks.calm(world):
        yield "calm at the end (liveness)"
    if not world.faults:
        yield "no fault"
    for node in world.nodes:
        yield from _node(node, modelled=world.model is not None)
    for link in world.links:
        yield f"link {link.sharing}"
        if link.loss:
            yield "link lossy by itself"
    for stream in world.streams:
        yield f"arrivals {stream.arrivals.kind}"
        yield f"sizes {stream.size_law}"
        if stream.patience is not None:
            yield "patience"
        if stream.late == "drop":
            yield "late drop"
    for fault in world.faults:
        yield "schedule " + ("drawn" if fault.mtbf_s else "repeated" if fault.every_s else "once")
        yield from [f"crash {fault.work}"] * (fault.kind == "node-crash")
        yield from ["joint targets"] * bool(fault.also)
    kinds = record.tables["faults"]["kind"].tolist()
    yield from {f"fault {FAULTS[kind]}": None for kind in kinds}
    drops = record.tables["requests"]["drop"]
    yield from {f"drop {DROPS[drop]}": None for drop in drops[drops >= 0].tolist()}
    if record.meta["refused_rewards"]:
        yield "rewards refused"
    if run.policy is not None and record.meta["audits"]["lost"]:
        yield "outcomes lost"


def _node(node: Any, *, modelled: bool) -> Iterator[str]:
    if not node.servers:
        yield "node forwards"
        return
    yield f"discipline {node.discipline}"
    if node.batching.max_size > 1:
        yield "batches"
    if node.setup is not None:
        yield "set-up"
    if modelled:
        yield f"cache {node.cache}"
        yield f"swap {node.swap}"
        yield "experts over links" if node.experts_from is not None else "experts from storage"


def missing(counts: Counter[str]) -> list[str]:
    """Return the drop reasons and fault kinds that never occurred."""
    wanted = [f"drop {reason}" for reason in DROPS] + [f"fault {kind}" for kind in FAULTS]
    return [word for word in wanted if not counts[word]]


# --- the script


def campaign(seeds: Sequence[int], jobs: int = 1) -> list[Verdict]:
    """Judge many runs, in the order of their seeds."""
    if jobs == 1:
        return list(_told(map(judge, seeds), len(seeds)))
    with ProcessPoolExecutor(jobs) as pool:
        return list(_told(pool.map(judge, seeds, chunksize=8), len(seeds)))


def _told(verdicts: Iterable[Verdict], total: int) -> Iterator[Verdict]:
    """Report failures, and progress now and then, on stderr."""
    for count, verdict in enumerate(verdicts, 1):
        if verdict.error:
            print(f"seed {verdict.seed}: {_head(verdict.error)}", file=sys.stderr)
        if count % 100 == 0:
            print(f"{count} of {total}", file=sys.stderr)
        yield verdict


def _head(error: str) -> str:
    """Return the last line that names an error, and the function that raised it."""
    lines = error.strip().splitlines()
    last = max(i for i, line in enumerate(lines) if line and not line.startswith(" "))
    place = [line.strip() for line in lines[:last] if line.startswith("  File ")][-1]
    return f"{lines[last]} ({place})"


def table(verdicts: Sequence[Verdict]) -> str:
    """Write how many runs had which feature."""
    counts = Counter(word for verdict in verdicts for word in set(verdict.features))
    lines = [f"{word:<34}{count:>6}" for word, count in sorted(counts.items())]
    failed = [verdict for verdict in verdicts if verdict.error]
    spent_s = sum(verdict.wall_s for verdict in verdicts)
    slowest = max(verdicts, key=lambda verdict: verdict.wall_s)
    lines += [
        "",
        f"{len(verdicts)} runs, {sum(v.requests for v in verdicts)} requests, {spent_s:.1f} s "
        f"of computing (slowest: seed {slowest.seed}, {slowest.wall_s:.1f} s)",
        f"{len(failed)} violations",
    ]
    return "\n".join(lines)


def explain(seed: int) -> str:
    """Say how to replay a failing run, what it raised, and what is left of it when it shrinks."""
    run = draw(seed)
    fails = shrink.failing(trial)
    small = shrink.smaller(run.world, run.policy, fails)
    lines = [
        f"replay: python tests/campaign/campaign.py --replay {seed}",
        f"shrunk to {len(small.faults)} faults, {len(small.streams)} streams, {len(small.nodes)} "
        f"nodes: {fails(small, run.policy)}",
        *(f"  {fault}" for fault in small.faults),
        *(f"  {stream}" for stream in small.streams),
        *(f"  {node}" for node in small.nodes),
        *(f"  {link}" for link in small.links),
        f"  {replace(small, faults=(), streams=(), nodes=(), links=())}",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0, help="of the first run")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--replay", type=int, help="run one integer again, and shrink it")
    parser.add_argument("--no-shrink", action="store_true")
    asked = parser.parse_args(arguments)
    seeds = range(asked.seed, asked.seed + asked.runs) if asked.replay is None else [asked.replay]
    verdicts = campaign(seeds, asked.jobs)
    print(table(verdicts))
    failed = [verdict for verdict in verdicts if verdict.error]
    for verdict in failed[:5]:
        print(f"\nseed {verdict.seed}\n{verdict.error}")
        if not asked.no_shrink:
            print(explain(verdict.seed))
    counts = Counter(word for verdict in verdicts for word in verdict.features)
    lacking = missing(counts) if len(verdicts) >= SAMPLE else []
    if lacking:
        print("never occurred: " + ", ".join(lacking))
    return int(bool(failed or lacking))


if __name__ == "__main__":
    sys.exit(main())
