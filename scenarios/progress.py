"""What a person sees while trials run: a live view on a terminal, one line per trial elsewhere.

Everything goes to stderr; stdout belongs to `--json`.
"""

from __future__ import annotations

import math
import sys
import threading
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from scenarios.trial import read_progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from scenarios.planning import Division, Grid
    from scenarios.results import RunFolder, Status
    from scenarios.trial import TrialJob

_REFRESH_S = 0.5


class View(Protocol):
    """Told by the driver what happens; never by trials."""

    def begin(self, grid: Grid, division: Division, workers: int) -> None:
        """Trials are about to start."""
        ...

    def ended(self, job: TrialJob, status: Status) -> None:
        """One trial ended, well or not."""
        ...

    def end(self) -> None:
        """No more trials, for whatever reason. May be called without `begin`."""
        ...


def remaining_s(todo: Iterable[str], walls: Mapping[str, Sequence[float]], workers: int) -> float:
    """Estimate the wall time left, from finished trials of the same policy.

    Args:
        todo: Policy of every unfinished trial.
        walls: Policy -> wall seconds of its finished trials.
        workers: Trials at a time.

    Returns:
        Seconds; a policy without a finished trial counts like the mean of all, NaN when there is
        none.
    """
    known = {policy: math.fsum(values) / len(values) for policy, values in walls.items() if values}
    if not known:
        return math.nan
    typical = math.fsum(known.values()) / len(known)
    counts = sorted(Counter(todo).items())
    return math.fsum(known.get(policy, typical) * n for policy, n in counts) / workers


def span(seconds: float) -> str:
    """Write a wall time for people: `8 s`, `2 min 05 s`, `1 h 03 min`."""
    if not math.isfinite(seconds):
        return "?"
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def division_words(division: Division) -> str:
    """Say what a resumed experiment does, such as `kept 41, redo 1, todo 22`."""
    failed = f", failed before {len(division.failed)} (--retry-failed)" if division.failed else ""
    return f"kept {len(division.kept)}{failed}, todo {len(division.todo)}"


class Tally:
    """Counts trials and guesses the time left."""

    def __init__(self) -> None:
        self.workers, self.total = 1, 0
        self.todo: dict[str, TrialJob] = {}
        self.walls: dict[str, list[float]] = {}

    def begin(self, grid: Grid, division: Division, workers: int) -> None:
        """Take the trials to run, and the wall times of those that are kept."""
        self.workers, self.total = workers, len(division.todo)
        self.todo = {job.id: job for job in division.todo}
        for job in division.kept:
            status = grid.folder.status(job.id)
            if status is not None:
                self.walls.setdefault(job.label, []).append(status.wall_s)

    def ended(self, job: TrialJob, status: Status) -> None:
        """Count a trial; failed ones say nothing about how long the others take."""
        self.todo.pop(job.id, None)
        if status.done:
            self.walls.setdefault(job.label, []).append(status.wall_s)

    def left(self) -> str:
        """Return the guess in words, empty when nothing is left."""
        if not self.todo:
            return ""
        labels = (job.label for job in self.todo.values())
        return f"about {span(remaining_s(labels, self.walls, self.workers))} left"

    def line(self, job: TrialJob, status: Status) -> str:
        """Return the line that says how a trial ended."""
        count = f"[{self.total - len(self.todo)}/{self.total}]"
        ended = f"done in {span(status.wall_s)}" if status.done else _failure(status)
        return "; ".join(part for part in (f"{count} {job.words()}: {ended}", self.left()) if part)


def _failure(status: Status) -> str:
    return f"FAILED in {status.stage}: {status.message.splitlines()[0] if status.message else '?'}"


class Silent:
    """Shows nothing (notebooks, tests)."""

    def begin(self, grid: Grid, division: Division, workers: int) -> None:
        """Show nothing."""

    def ended(self, job: TrialJob, status: Status) -> None:
        """Show nothing."""

    def end(self) -> None:
        """Show nothing."""


class Lines:
    """One line per finished trial, for logs and pipes."""

    def __init__(self) -> None:
        self._tally = Tally()

    def begin(self, grid: Grid, division: Division, workers: int) -> None:
        """Say what is kept and what will run."""
        self._tally.begin(grid, division, workers)
        say(
            f"{grid.scenario.name}: {division_words(division)}, {workers} at a time, "
            f"in {grid.folder.root}"
        )

    def ended(self, job: TrialJob, status: Status) -> None:
        """Write the trial's line."""
        self._tally.ended(job, status)
        say(self._tally.line(job, status))

    def end(self) -> None:
        """Nothing is left to close."""


class Live:
    """Bars on a terminal: one for the grid, one per running trial with its simulated time."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._tally = Tally()
        self._console = Console(stderr=True)
        words = TextColumn("{task.description}", markup=False)
        columns = (words, BarColumn(), TextColumn("{task.fields[note]}", markup=False))
        self._progress = Progress(*columns, console=self._console, transient=True)
        self._stop = threading.Event()
        self._watcher: threading.Thread | None = None
        self._bars: dict[str, Any] = {}

    def begin(self, grid: Grid, division: Division, workers: int) -> None:
        """Draw the bars and start to follow the trials' notes."""
        self._tally.begin(grid, division, workers)
        self._console.print(f"{grid.scenario.name}: {division_words(division)}", markup=False)
        self._all = self._progress.add_task("trials", total=max(1, self._tally.total), note="")
        self._progress.start()
        self._watcher = threading.Thread(target=self._follow, args=(grid.folder,), daemon=True)
        self._watcher.start()

    def ended(self, job: TrialJob, status: Status) -> None:
        """Advance the grid's bar and drop the trial's."""
        self._tally.ended(job, status)
        bar = self._bars.pop(job.id, None)
        if bar is not None:
            self._progress.remove_task(bar)
        self._progress.update(self._all, advance=1, note=self._tally.left())
        self._console.print(self._tally.line(job, status), markup=False, highlight=False)

    def end(self) -> None:
        """Remove the bars."""
        self._stop.set()
        if self._watcher is not None:
            self._watcher.join()
        self._progress.stop()

    def _follow(self, folder: RunFolder) -> None:
        while not self._stop.wait(_REFRESH_S):
            # trials start in order, so that those that run are the first ones left
            for job in list(islice(self._tally.todo.values(), self._tally.workers)):
                at = read_progress(folder, job.id)
                if at is not None:
                    self._draw(job, *at)

    def _draw(self, job: TrialJob, slot: int, slots: int) -> None:
        if job.id not in self._bars:
            if job.id not in self._tally.todo:
                return
            self._bars[job.id] = self._progress.add_task(job.words(), total=slots, note="")
        self._progress.update(self._bars[job.id], completed=slot, note=f"slot {slot}/{slots}")


def say(text: str) -> None:
    """Write one line for people, to stderr, with control characters of names made visible."""
    print(
        "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text),
        file=sys.stderr,
        flush=True,
    )


def view_for(*, quiet: bool = False) -> View:
    """Return the view that suits stderr: live on a terminal, lines elsewhere."""
    if quiet:
        return Silent()
    return Live() if sys.stderr.isatty() else Lines()
