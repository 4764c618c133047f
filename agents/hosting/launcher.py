"""Trials in parallel: in this process, in worker processes, or as Ray tasks.

A failure is a result like any other: one broken trial, or one dead worker, never loses the
experiment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from agents.hosting.attempt import Enough, OnDone, TrialFailure, attempt
from agents.hosting.limits import NO_LIMITS, Limits
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
            try:
                on_done(index, attempt(function, item))
            except Enough:
                return


def run_all(  # noqa: PLR0913
    function: Callable[[T], R],
    items: Sequence[T],
    *,
    jobs: int,
    ray_address: str | None = None,
    on_done: Callable[[int, R | TrialFailure], None],
    limits: Limits = NO_LIMITS,
    apart: bool = False,
) -> None:
    """Run a function over items, several at a time.

    Args:
        function: What a trial is; importable by name in another process (as items and results are
            picklable).
        items: What it runs on.
        jobs: How many at once, >= 1; one runs in this process, unless it has limits.
        ray_address: "local" or an address: run as Ray tasks, `jobs` in flight.
        on_done: Called in this process with an item's index and its result, or the TrialFailure, as
            each finishes. It raises `Enough` to start no more.
        limits: Of one item.
        apart: Give one at a time a process of its own, too: then nothing that it does can end or
            hang this one.

    Raises:
        InputError: `jobs` is below 1, or the limits fit no machine.
        KeyboardInterrupt: The user stopped it; workers are ended first.
    """
    if jobs < 1:
        raise InputError(f"jobs: expected >= 1, found {jobs}")
    if items:
        launcher = _launcher(min(jobs, len(items)), ray_address, limits, apart)
        launcher.run(function, items, on_done)


def _launcher(jobs: int, ray_address: str | None, limits: Limits, apart: bool) -> Launcher:
    if ray_address is not None:
        from agents.hosting.ray_tasks import RayTasks

        return RayTasks(ray_address, jobs, limits)
    if jobs == 1 and not limits and not apart:
        return InProcess()
    from agents.hosting.pool import ProcessPool

    return ProcessPool(jobs, limits)
