"""An experiment: a grid of policies, seeds and axis values, run on all cores, resumable.

A trial that is done is never run again; a failed one only when asked; a killed one leaves no
status and is simply
still to do. Every row is read back from disk, so a resumed experiment and an undisturbed one end
with the same bytes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.hosting.attempt import Enough, TrialFailure
from agents.hosting.limits import NO_LIMITS, Limits
from scenarios import loader
from scenarios.files import StorageError, write_text
from scenarios.planning import divide
from scenarios.provenance import Provenance
from scenarios.results import DONE, FAILED, RunFolder, Status
from scenarios.trial import TrialJob, TrialResult, run_trial
from sim.errors import SimError

if TYPE_CHECKING:
    from scenarios.planning import Grid
    from scenarios.progress import View

MOST_FAILURES = 20  # failed trials after which a grid starts no more
_ABOUT = (
    "id",
    "policy",
    "policy_hash",
    "seed",
    "state",
    "digest",
    "workload_digest",
    "stage",
    "message",
)


class UnequalWorldsError(SimError):
    """Two policies met different workloads under one seed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an experiment came to: one row per trial of the grid, failures included."""

    run_dir: Path
    rows: tuple[dict[str, Any], ...]
    policies: tuple[str, ...]
    ran: int
    axes: tuple[str, ...] = ()
    failures: tuple[dict[str, Any], ...] = ()
    todo: int = 0  # trials that were not started, because too many had failed

    def good(self) -> list[dict[str, Any]]:
        """Return the rows of the trials that finished well."""
        return [row for row in self.rows if row["state"] == DONE]

    def facts(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Part a trial's row into who it is, how it ended, and its `summary`."""
        about = {name: row[name] for name in (*_ABOUT, *self.axes)}
        summary = {name: value for name, value in row.items() if name not in about}
        return {**about, "summary": summary}


# --- running ------------------------------------------------------------------------------------


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
    limits: Limits = NO_LIMITS,
    max_failures: int | None = MOST_FAILURES,
    apart: bool = False,
) -> Outcome:
    """Run what is still to do and read everything back.

    Args:
        grid: The planned experiment.
        view: Told of every finished trial.
        jobs: Trials at a time, None for one per core (of the cluster, where there is one).
        ray_address: Run trials as tasks of this Ray cluster instead of processes.
        fresh: Remove what is in the run folder first.
        retry_failed: Run failed trials again.
        again: Run finished trials again.
        in_process: Run trials one after the other in this process (the verb `run`).
        limits: What one trial may take; more is a failure.
        max_failures: Start no more trials after so many failures; None: always all.
        apart: Run trials in other processes even when it is one at a time.

    Raises:
        InputError: The folder is in use, or holds results of another code version.
        StorageError: The disk refused; finished trials are intact.
        UnequalWorldsError: Policies met different workloads.
    """
    if ray_address is None:
        limits.fit(1)  # refused before anything is written
    with grid.folder.locked():
        if fresh:
            grid.folder.clear()
        grid.folder.sweep()
        division = divide(grid, retry_failed=retry_failed, again=again)
        provenance = _open(grid, [job.id for job in division.todo])
        note = _Noter(grid.folder, view, max_failures)
        try:
            workers = _workers(jobs, len(division.todo), ray_address, limits)
            launch = _here if in_process else _launcher(workers, ray_address, limits, apart)
            view.begin(grid, division, workers)
            launch(division.todo, note)
        finally:
            view.end()
            grid.folder.sweep()
            provenance.stop({"ran": note.ran, "finished": len(grid.folder.finished())})
        return _outcome(grid, note.ran)


def _open(grid: Grid, redone: Sequence[str]) -> Provenance:
    """Write everything about the experiment that is known before the first trial."""
    folder, scenario = grid.folder, grid.scenario
    provenance = Provenance(folder)
    provenance.check(grid.checkpoint, redone)
    resolved = loader.resolved(scenario)
    write_text(folder.root / "resolved.yaml", resolved)
    write_text(folder.root / "scenario.yaml", loader.source_text(scenario))
    provenance.start(resolved, grid.checkpoint, grid.seeds, sys.argv)
    folder.write_trials(_trial_rows(grid))
    folder.log("start", trials=len(grid.jobs), policies=grid.policies, seeds=grid.seeds)
    return provenance


def _trial_rows(grid: Grid) -> list[dict[str, Any]]:
    """Return the rows of trials.parquet: those of earlier commands, then new ones.

    Rows of a policy that the scenario now defines in another way under the same label are left out:
    a label stands for one policy.
    """
    meant = {job.label: job.policy_hash for job in grid.jobs}
    rows = {
        str(row["id"]): row
        for row in grid.folder.trials()
        if meant.get(str(row["policy"]), row["policy_hash"]) == row["policy_hash"]
    }
    for job in grid.jobs:
        rows.setdefault(job.id, _identity(job))
    return list(rows.values())


def _identity(job: TrialJob) -> dict[str, Any]:
    about = {"id": job.id, "policy": job.label, "policy_hash": job.policy_hash, "seed": job.seed}
    return {**about, **job.axes}


class _Noter:
    """Hears of every trial that ended, in the driver.

    Args:
        folder: The run folder.
        view: Told in turn.
        max_failures: Failures after which it has had enough, None for never.
    """

    def __init__(self, folder: RunFolder, view: View, max_failures: int | None) -> None:
        self._folder, self._view, self._most = folder, view, max_failures
        self.ran = self.failed = 0

    def __call__(self, job: TrialJob, result: TrialResult) -> None:
        if result.storage:
            intact = len(self._folder.finished())
            raise StorageError(f"{result.storage}; {intact} finished trials are intact")
        status = result.status
        (self._folder.trial(job.id) / "progress").unlink(missing_ok=True)
        self._folder.log(
            "trial", trial=job.id, state=status.state, wall_s=status.wall_s, message=status.message
        )
        for row in self._folder.meta(job.id).get("refused_rewards", ()) if status.done else ():
            self._folder.log("rewards-refused", trial=job.id, **row)
        self._view.ended(job, status)
        self.ran += 1
        self.failed += not status.done
        if self._most is not None and self.failed >= self._most:
            raise Enough


Note = Callable[[TrialJob, TrialResult], None]


def _here(todo: Sequence[TrialJob], note: Note) -> None:
    with suppress(Enough):
        for job in todo:
            note(job, run_trial(job))


def _launcher(
    jobs: int, ray_address: str | None, limits: Limits, apart: bool
) -> Callable[[Sequence[TrialJob], Note], None]:
    def launch(todo: Sequence[TrialJob], note: Note) -> None:
        from agents.hosting.launcher import run_all

        def on_done(index: int, answer: TrialResult | TrialFailure) -> None:
            job = todo[index]
            if isinstance(answer, TrialFailure):
                status = Status(FAILED, stage=answer.stage, message=answer.message)
                folder = RunFolder(Path(job.folder))
                write_text(folder.trial(job.id) / "error.txt", answer.traceback or answer.message)
                folder.write_status(job.id, status)
                answer = TrialResult(job.id, status)
            note(job, answer)

        if todo:
            run_all(
                run_trial,
                todo,
                jobs=jobs,
                ray_address=ray_address,
                on_done=on_done,
                limits=limits,
                apart=apart,
            )

    return launch


def _workers(jobs: int | None, todo: int, ray_address: str | None, limits: Limits) -> int:
    """Return how many trials run at a time."""
    if ray_address in {None, "local"}:
        return max(1, min(limits.fit(jobs or _cores()), todo))
    if jobs is None and todo > 1:
        from agents.hosting.ray_tasks import cluster_cores

        jobs = cluster_cores(str(ray_address))
    return max(1, min(jobs or 1, todo))


def _cores() -> int:
    affinity = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if affinity else os.cpu_count() or 1


# --- reading back -------------------------------------------------------------------------------


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
    check_worlds(rows, grid.axes)
    failures = tuple(row for row in rows if row["state"] == FAILED)
    todo = sum(row["state"] not in {DONE, FAILED} for row in rows)
    folder.log("end", ran=ran, failed=len(failures), todo=todo)
    return Outcome(folder.root, rows, tuple(grid.policies), ran, grid.axes, failures, todo)


def check_worlds(rows: Sequence[Mapping[str, Any]], axes: Sequence[str]) -> None:
    """Refuse to compare policies that met different workloads under one seed (and axis values).

    Raises:
        UnequalWorldsError: It names the two trials.
    """
    first: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for row in rows:
        if row["state"] != DONE:
            continue
        other = first.setdefault((row["seed"], *(row[axis] for axis in axes)), row)
        if other["workload_digest"] != row["workload_digest"]:
            raise UnequalWorldsError(
                f"seed {row['seed']}: {other['policy']} (trial {other['id']}) and {row['policy']} "
                f"(trial {row['id']}) met different workloads; their difference would mean nothing"
            )
