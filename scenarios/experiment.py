"""An experiment: the grid of policies, seeds and axis values of one scenario, run on all cores, resumable.

A trial that is done is never run again; a failed one only when asked; a killed one leaves no status and is simply
still to do. Every row is read back from disk, so a resumed experiment and an undisturbed one end with the same bytes.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scenarios import loader, overrides
from scenarios.provenance import Provenance
from scenarios.results import DONE, RunFolder, Status, StorageError, write_text
from scenarios.trial import Hosting, TrialJob, TrialResult, read_card, run_trial
from sim.errors import InputError, SimError

if TYPE_CHECKING:
    from scenarios.progress import View
    from scenarios.schema import Scenario

DEFAULT_SEEDS = 5
_MOST_TRIALS = 100_000


class UnequalWorlds(SimError):
    """Two policies met different workloads under one seed, so their difference would mean nothing."""


@dataclass(frozen=True, slots=True)
class Order:
    """What the user asked for. Empty `policies` and `seeds` mean: as the scenario says."""

    source: str
    settings: tuple[str, ...] = ()  # "key=value" or, for an axis, "key=value1,value2"
    policies: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    out: Path = Path("runs")
    hosting: Hosting = Hosting()


@dataclass(frozen=True, slots=True)
class Grid:
    """A planned experiment: nothing of it has been run or written yet."""

    scenario: Scenario
    jobs: tuple[TrialJob, ...]
    folder: RunFolder
    checkpoint: str | None  # sha256 of the weights

    @property
    def seeds(self) -> list[int]:
        """Return the seeds, ascending."""
        return sorted({job.seed for job in self.jobs})

    @property
    def policies(self) -> list[str]:
        """Return the labels of the policies, in the order asked for."""
        return list(dict.fromkeys(job.label for job in self.jobs))


@dataclass(frozen=True, slots=True)
class Division:
    """Which trials of a grid are finished, which failed before and are kept so, and which will run."""

    kept: tuple[TrialJob, ...]
    failed: tuple[TrialJob, ...]
    todo: tuple[TrialJob, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an experiment came to: one row per trial of the grid, failures included."""

    run_dir: Path
    rows: tuple[dict[str, Any], ...]
    policies: tuple[str, ...]
    ran: int
    failures: tuple[dict[str, Any], ...] = field(default=())

    def good(self) -> list[dict[str, Any]]:
        """Return the rows of the trials that finished well."""
        return [row for row in self.rows if row["state"] == DONE]


# --- planning --------------------------------------------------------------------------------------------


def parse_seeds(text: str) -> tuple[int, ...]:
    """Read `3`, `1,5,9` or `0:10` (the end is not included).

    Raises:
        InputError: The text is something else, empty, or negative.
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, colon, last = part.strip().partition(":")
        if not first.isdecimal() or (colon and not last.isdecimal()):
            raise InputError(f"--seeds: expected '3', '1,5,9' or '0:10', found {text!r}")
        seeds.extend(range(int(first), int(last)) if colon else [int(first)])
        if len(seeds) > _MOST_TRIALS:
            raise InputError(f"--seeds: at most {_MOST_TRIALS} seeds, found {text!r}")
    if not seeds:
        raise InputError(f"--seeds: {text!r} contains no seed (the end of a range is not included)")
    return tuple(dict.fromkeys(seeds))


def plan(order: Order) -> Grid:
    """Lay out the grid: policies x seeds x axis values, each trial with its own id.

    Raises:
        InputError: The scenario, an override, a policy or a combination of axis values is wrong.
    """
    fixed, axes = overrides.split_axes(order.settings)
    scenario = loader.load(order.source, fixed)
    folder = RunFolder(order.out / scenario.name / loader.scenario_hash(scenario))
    seeds = order.seeds or tuple(range(scenario.seed, scenario.seed + DEFAULT_SEEDS))
    jobs = [
        job
        for values in itertools.product(*axes.values())
        for job in _jobs_of_cell(order, fixed, dict(zip(axes, values, strict=True)), seeds, folder)
    ]
    card = read_card(scenario)
    return Grid(scenario, tuple(_limited(jobs)), folder, card.digest if card else None)


def _limited(jobs: list[TrialJob]) -> list[TrialJob]:
    if len(jobs) > _MOST_TRIALS:
        raise InputError(f"the grid has {len(jobs)} trials, at most {_MOST_TRIALS} are allowed")
    unique = {job.id: job for job in jobs}
    return list(unique.values())


def _jobs_of_cell(
    order: Order,
    fixed: Sequence[str],
    cell: Mapping[str, str],
    seeds: Sequence[int],
    folder: RunFolder,
) -> list[TrialJob]:
    """Return the trials of one combination of axis values."""
    from scenarios.build import build_policy, policies

    scenario = loader.load(
        order.source, [*fixed, *(f"{key}={value}" for key, value in cell.items())]
    )
    chosen = [build_policy(scenario, name) for name in order.policies] or list(policies(scenario))
    digest = loader.scenario_hash(scenario)
    return [
        TrialJob(scenario, digest, policy, seed, str(folder.root), dict(cell), order.hosting)
        for policy in (chosen or [None])
        for seed in seeds
    ]


def divide(
    grid: Grid, *, retry_failed: bool = False, fresh: bool = False, again: bool = False
) -> Division:
    """Tell finished trials from those still to do.

    Args:
        grid: The planned experiment.
        retry_failed: Run failed trials again.
        fresh: Nothing on disk counts.
        again: Run finished trials again too (the verb `run`).
    """
    kept, failed, todo = [], [], []
    for job in grid.jobs:
        status = None if fresh or again else grid.folder.status(job.id)
        if status is None or (not status.done and retry_failed):
            todo.append(job)
        else:
            (kept if status.done else failed).append(job)
    return Division(tuple(kept), tuple(failed), tuple(todo))


# --- running ---------------------------------------------------------------------------------------------


def execute(  # noqa: PLR0913
    grid: Grid,
    view: View,
    *,
    jobs: int | None = None,
    ray_address: str | None = None,
    fresh: bool = False,
    retry_failed: bool = False,
    again: bool = False,
    in_process: bool = False,
) -> Outcome:
    """Run what is still to do and read everything back.

    Args:
        grid: The planned experiment.
        view: Told of every finished trial.
        jobs: Trials at a time, None for one per core.
        ray_address: Run trials as tasks of this Ray cluster instead of processes.
        fresh: Remove what is in the run folder first.
        retry_failed: Run failed trials again.
        again: Run finished trials again.
        in_process: Run trials one after the other in this process (the verb `run`).

    Raises:
        InputError: The folder is in use, or holds results of another code version.
        StorageError: The disk refused; finished trials are intact.
        UnequalWorlds: Policies met different workloads.
    """
    with grid.folder.locked():
        if fresh:
            grid.folder.clear()
        provenance = _open(grid)
        division = divide(grid, retry_failed=retry_failed, again=again)
        launch = _here if in_process else _launcher(jobs, ray_address)
        try:
            view.begin(grid, division, _workers(jobs, len(division.todo)))
            launch(division.todo, _Noter(grid.folder, view))
        finally:
            view.end()
            provenance.stop({"ran": len(division.todo), "finished": len(grid.folder.finished())})
        return _outcome(grid, len(division.todo))


def _open(grid: Grid) -> Provenance:
    """Write everything about the experiment that is known before the first trial."""
    folder, scenario = grid.folder, grid.scenario
    provenance = Provenance(folder)
    provenance.check(grid.checkpoint)
    resolved = loader.resolved(scenario)
    write_text(folder.root / "resolved.yaml", resolved)
    write_text(folder.root / "scenario.yaml", loader.source_text(scenario))
    provenance.start(resolved, grid.checkpoint, grid.seeds, sys.argv)
    folder.write_trials(_trial_rows(grid))
    folder.log("start", trials=len(grid.jobs), policies=grid.policies, seeds=grid.seeds)
    return provenance


def _trial_rows(grid: Grid) -> list[dict[str, Any]]:
    """Return the rows of trials.parquet: those of earlier commands, then new ones."""
    rows = {str(row["id"]): row for row in grid.folder.trials()}
    for job in grid.jobs:
        rows.setdefault(job.id, _identity(job))
    return list(rows.values())


def _identity(job: TrialJob) -> dict[str, Any]:
    return {"id": job.id, "policy": job.label, "seed": job.seed, **job.axes}


class _Noter:
    """Hears of every trial that ended, in the driver."""

    def __init__(self, folder: RunFolder, view: View) -> None:
        self._folder, self._view = folder, view

    def __call__(self, job: TrialJob, result: TrialResult) -> None:
        if result.storage:
            intact = len(self._folder.finished())
            raise StorageError(f"{result.storage}; {intact} finished trials are intact")
        status = result.status
        (self._folder.trial(job.id) / "progress").unlink(missing_ok=True)
        self._folder.log(
            "trial", trial=job.id, state=status.state, wall_s=status.wall_s, message=status.message
        )
        self._view.ended(job, status)


Note = Callable[[TrialJob, TrialResult], None]


def _here(todo: Sequence[TrialJob], note: Note) -> None:
    for job in todo:
        note(job, run_trial(job))


def _launcher(
    jobs: int | None, ray_address: str | None
) -> Callable[[Sequence[TrialJob], Note], None]:
    def launch(todo: Sequence[TrialJob], note: Note) -> None:
        from agents.hosting.launcher import TrialFailure, run_all

        def on_done(index: int, answer: TrialResult | TrialFailure) -> None:
            job = todo[index]
            if isinstance(answer, TrialFailure):
                status = Status("failed", stage=answer.stage, message=answer.message)
                RunFolder(Path(job.folder)).write_status(job.id, status)
                answer = TrialResult(job.id, status)
            note(job, answer)

        if todo:
            run_all(
                run_trial,
                todo,
                jobs=_workers(jobs, len(todo)),
                ray_address=ray_address,
                on_done=on_done,
            )

    return launch


def _workers(jobs: int | None, todo: int) -> int:
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return max(1, min(jobs or cores, todo))


# --- reading back ----------------------------------------------------------------------------------------


def row_of(folder: RunFolder, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return a trial's row: who it is, how it ended, and its summary."""
    status = folder.status(str(identity["id"])) or Status("todo")
    row = {
        **identity,
        "state": status.state,
        "digest": status.digest,
        "workload_digest": status.workload_digest,
    }
    return {**row, "stage": status.stage, "message": status.message, **(status.summary or {})}


def _outcome(grid: Grid, ran: int) -> Outcome:
    folder = grid.folder
    folder.write_summary([row_of(folder, row) for row in folder.trials()])
    rows = tuple(row_of(folder, _identity(job)) for job in grid.jobs)
    check_worlds(rows, tuple(next(iter(grid.jobs)).axes))
    failures = tuple(row for row in rows if row["state"] != DONE)
    folder.log("end", ran=ran, failed=len(failures))
    return Outcome(folder.root, rows, tuple(grid.policies), ran, failures)


def check_worlds(rows: Sequence[Mapping[str, Any]], axes: Sequence[str]) -> None:
    """Refuse to compare policies that met different workloads under one seed and one set of axis values.

    Raises:
        UnequalWorlds: It names the two trials.
    """
    first: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for row in rows:
        if row["state"] != DONE:
            continue
        other = first.setdefault((row["seed"], *(row[axis] for axis in axes)), row)
        if other["workload_digest"] != row["workload_digest"]:
            raise UnequalWorlds(
                f"seed {row['seed']}: {other['policy']} (trial {other['id']}) and {row['policy']} "
                f"(trial {row['id']}) met different workloads; their difference would mean nothing"
            )
