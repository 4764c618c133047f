"""Trials in parallel: in this process, in worker processes, or as Ray tasks.

A failure is a result like any other: one broken trial, or one dead worker, never loses the
experiment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from agents.hosting.attempt import OnDone, TrialFailure, attempt
from sim.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")
R = TypeVar("R")


class Launcher(Protocol):
    """Runs a function over items and reports each as it finishes."""

    def run(self, function: Callable[[Any], Any], items: Sequence[Any], on_done: OnDone) -> None:
        """Call `on_done(index, result or TrialFailure)` in this process, once per item."""
        ...


class InProcess:
    """Runs items one after the other in this process; exceptions are isolated, a crash is not."""

    def run(self, function: Callable[[Any], Any], items: Sequence[Any], on_done: OnDone) -> None:
        """Call `on_done(index, result or TrialFailure)` once per item, in order."""
        for index, item in enumerate(items):
            on_done(index, attempt(function, item))


def run_all(
    function: Callable[[T], R],
    items: Sequence[T],
    *,
    jobs: int,
    ray_address: str | None = None,
    on_done: Callable[[int, R | TrialFailure], None],
) -> None:
    """Run a function over items, several at a time.

    Args:
        function: What a trial is; importable by name in another process (as items and results are
            picklable).
        items: What it runs on.
        jobs: How many at once, >= 1; one runs in this process.
        ray_address: "local" or an address: run as Ray tasks, `jobs` in flight.
        on_done: Called in this process with an item's index and its result, or the TrialFailure, as
            each finishes.

    Raises:
        InputError: `jobs` is below 1.
        KeyboardInterrupt: The user stopped it; workers are ended first.
    """
    if jobs < 1:
        raise InputError(f"jobs: expected >= 1, found {jobs}")
    if items:
        _launcher(min(jobs, len(items)), ray_address).run(function, items, on_done)


def _launcher(jobs: int, ray_address: str | None) -> Launcher:
    if ray_address is not None:
        from agents.hosting.ray_tasks import RayTasks

        return RayTasks(ray_address, jobs)
    if jobs == 1:
        return InProcess()
    from agents.hosting.pool import ProcessPool

    return ProcessPool(jobs)
