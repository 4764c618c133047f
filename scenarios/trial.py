"""One trial, from its job to its files: build, simulate, summarise, write."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scenarios.files import StorageError, plain, write_text
from scenarios.provenance import SCHEMA_VERSION
from scenarios.results import DONE, FAILED, RunFolder, Status
from sim.errors import SimError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agents.hosting.recovery import Recovery, Unsaved
    from scenarios.schema import Scenario
    from sim.config import PolicySpec, World
    from sim.executors import Executor, HostHandle
    from sim.ports import ModelCard
    from sim.records import Record

_PROGRESS_EVERY_S = 0.5
NO_POLICY = "none"


@dataclass(frozen=True, slots=True)
class Hosting:
    """Where the hosts of a trial live."""

    ray: bool = False
    ray_address: str = "local"
    shards: int = 1
    block_size: int = 64  # nodes that a host computes together: part of the result, unlike `shards`


INLINE = Hosting()


@dataclass(frozen=True, slots=True)
class TrialJob:
    """One trial to run: plain, picklable data. The scenario has its axis values in it already."""

    scenario: Scenario
    scenario_hash: str
    policy: PolicySpec | None  # None: a scenario without a model has no router
    seed: int
    folder: str
    axes: Mapping[str, str] = field(default_factory=dict)
    hosting: Hosting = INLINE

    @property
    def label(self) -> str:
        """Return the name of the policy in tables and figures."""
        return self.policy.label if self.policy else NO_POLICY

    @property
    def policy_hash(self) -> str:
        """Return 8 hex digits of all that defines the policy: a label may come to mean another."""
        return _hash(asdict(self.policy) if self.policy else None)[:8]

    @property
    def id(self) -> str:
        """Return 12 hex digits of all that decides this trial's simulated results, code aside."""
        facts = {
            "scenario": self.scenario_hash,
            "policy": asdict(self.policy) if self.policy else None,
            "seed": self.seed,
            "axes": dict(self.axes),
            "block_size": self.hosting.block_size,
            "schema": SCHEMA_VERSION,
        }
        return _hash(facts)[:12]

    def words(self) -> str:
        """Return the trial in words for people: policy, seed, axis values."""
        return ", ".join(
            [
                self.label,
                f"seed {self.seed}",
                *(f"{key}={value}" for key, value in self.axes.items()),
            ]
        )


def _hash(facts: Any) -> str:
    canonical = json.dumps(plain(facts), sort_keys=True, separators=(",", ":"))
    return sha256(canonical.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class TrialResult:
    """What the driver learns of a trial; the tables are on disk."""

    id: str
    status: Status
    storage: str = ""  # the disk refused: not a failure of the trial, and a reason to stop


def run_trial(job: TrialJob) -> TrialResult:
    """Run one trial and write its files; a failure becomes a status, never an exception.

    Returns:
        The status that is on disk (or, when the disk refused, `storage` says why).
    """
    folder = RunFolder(Path(job.folder))
    started_s = time.perf_counter()
    try:
        _one_thread(job)
        folder.forget(job.id)
        status = replace(
            _attempt(job, folder),
            wall_s=time.perf_counter() - started_s,
            peak_rss_bytes=_peak_bytes(),
        )
        folder.write_status(job.id, status)
    except (StorageError, OSError) as error:
        return TrialResult(
            job.id, Status(FAILED, stage="write", message=str(error)), storage=str(error)
        )
    return TrialResult(job.id, status)


def _one_thread(job: TrialJob) -> None:
    """Hold numerical libraries to one thread: two split sums differently, and race other trials."""
    os.environ.setdefault("NUMBA_NUM_THREADS", "1")
    if job.policy is not None:
        from agents.hosting.threads import one_thread

        one_thread()


def _attempt(job: TrialJob, folder: RunFolder) -> Status:
    """Go through the stages; the name of the one that breaks is part of the failure."""
    stage = "build"
    try:
        world, card = _world(job)
        stage = "simulate"
        record = _simulate(job, world, card, folder)
        stage = "summarise"
        summary = _summary(record)
    except StorageError:
        raise
    except SimError as error:
        return Status(FAILED, stage=stage, message=f"{type(error).__name__}: {error}")
    except MemoryError as error:
        return Status(FAILED, stage="memory", message=f"MemoryError in {stage}: {error}")
    except (
        Exception
    ) as error:  # a bug in a plug-in or in moedge: keep the grid alive, and the traceback
        import traceback

        write_text(folder.trial(job.id) / "error.txt", traceback.format_exc())
        return Status(FAILED, stage=stage, message=f"{type(error).__name__}: {error}")
    folder.write_record(job.id, record)
    return Status(DONE, record.digest, record.workload_digest, summary)


def read_card(scenario: Scenario) -> ModelCard | None:
    """Return the card of the scenario's checkpoint (no torch), or None for `model: none`."""
    from scenarios import paths

    return paths.card(scenario)


def _world(job: TrialJob) -> tuple[World, ModelCard | None]:
    from scenarios.build import build_world

    card = read_card(job.scenario)
    return build_world(job.scenario, job.seed, card), card


def _summary(record: Record) -> dict[str, Any]:
    from analysis.summary import summarise

    return dict(summarise(record.tables, record.meta))


def _simulate(job: TrialJob, world: World, card: ModelCard | None, folder: RunFolder) -> Record:
    from agents.caches import CACHES
    from agents.dispatchers import DISPATCHERS
    from scenarios.catalogue import is_oracle
    from sim.compute.swap_time import full_swap_s
    from sim.parts import Parts
    from sim.simulation import simulate

    note = _progress(folder.trial(job.id) / "progress")
    oracle = job.policy is not None and is_oracle(job.policy.kind)
    parts = Parts(DISPATCHERS.load, CACHES.load, card=card, on_slot=note, oracle=oracle)
    if world.model is None or job.policy is None:
        return simulate(world, job.policy, parts)
    happened = _Happened(folder, job.id)
    executor = _executor(job.hosting, happened)
    try:
        swap_s = {} if card is None else full_swap_s(world, card)
        parts.hosts, parts.shard_of = _hosts(job, world, swap_s, executor)
        record = simulate(world, job.policy, parts)
    finally:
        executor.close()
    happened.note(record)
    return record


class _Happened:
    """Keeps what happened to the processes of hosts: in the log at once, in meta at the end.

    Results do not depend on it, so it is no part of the digest.
    """

    def __init__(self, folder: RunFolder, trial_id: str) -> None:
        self._folder, self._trial_id = folder, trial_id
        self._words: list[str] = []

    def __call__(self, event: Recovery | Unsaved) -> None:
        from scenarios.progress import say

        self._words.append(event.words())
        self._folder.log(
            f"host-{type(event).__name__.lower()}", trial=self._trial_id, **asdict(event)
        )
        say(event.words())

    def note(self, record: Record) -> None:
        """Add it to the notes that every report shows."""
        if self._words:
            record.meta["notes"] = [*record.meta["notes"], *self._words]


def _hosts(
    job: TrialJob, world: World, swap_s: Mapping[int, float], executor: Executor
) -> tuple[Sequence[HostHandle], list[int]]:
    """Start the hosts of a trial; return them and the shard of every node."""
    from agents.hosting.blocks import make_specs, shard_of

    assert job.policy is not None
    size, shards = job.hosting.block_size, job.hosting.shards
    specs = make_specs(world, job.policy, shards=shards, block_size=size, swap_s=swap_s)
    owner = [shard_of(node.id, len(specs), size) for node in world.nodes]
    return executor.start(specs), owner


def _executor(hosting: Hosting, happened: _Happened) -> Executor:
    if hosting.ray:
        from agents.hosting.ray_actor import RayExecutor
        from agents.hosting.recovery import DurableExecutor

        return DurableExecutor(RayExecutor(address=hosting.ray_address), happened)
    from agents.hosting.inline import InlineExecutor

    return InlineExecutor()


def _progress(path: Path) -> Callable[[int, int], None]:
    """Return a callback that leaves `slot slots` in a small file, for the live view."""
    last_s = 0.0

    def note(slot: int, slots: int) -> None:
        nonlocal last_s
        now_s = time.perf_counter()
        if now_s - last_s >= _PROGRESS_EVERY_S:
            last_s = now_s
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{slot} {slots}", encoding="ascii")

    return note


def read_progress(folder: RunFolder, trial_id: str) -> tuple[int, int] | None:
    """Return (slot, slots) of a running trial, or None before its first note."""
    try:
        slot, slots = (folder.trial(trial_id) / "progress").read_text(encoding="ascii").split()
        return int(slot), int(slots)
    except (OSError, ValueError):
        return None


def _peak_bytes() -> float:
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak if sys.platform == "darwin" else peak * 1024)  # macOS counts bytes, Linux KiB
