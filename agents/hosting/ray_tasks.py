"""Trials as Ray tasks, for clusters: a bounded number in flight, none ever retried."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agents.hosting.attempt import OnDone, TrialFailure, attempt, failure
from agents.hosting.ray_session import RaySession, worker_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_POLL_S = 1.0  # wall time between looks at the keyboard


class RayTasks:
    """Runs items as Ray tasks, `jobs` in flight.

    Args:
        address: "local" or the address of a cluster.
        jobs: Tasks in flight; also the CPUs of an own local cluster.
    """

    def __init__(self, address: str, jobs: int) -> None:
        self._address, self._jobs = address, jobs

    def run(self, function: Callable[[Any], Any], items: Sequence[Any], on_done: OnDone) -> None:
        """Call `on_done(index, result or TrialFailure)` once per item, as each finishes."""
        session = RaySession(self._address, self._jobs)
        flying: dict[Any, int] = {}
        try:
            self._drive(session.ray, (function, items, on_done), flying)
        finally:
            for reference in flying:
                session.ray.cancel(reference, force=True)
            session.close()

    def _drive(
        self,
        ray: Any,
        job: tuple[Callable[[Any], Any], Sequence[Any], OnDone],
        flying: dict[Any, int],
    ) -> None:
        function, items, on_done = job
        task = ray.remote(attempt).options(
            num_cpus=1, max_retries=0, runtime_env={"env_vars": worker_environment()}
        )
        waiting = iter(range(len(items)))
        while True:
            while len(flying) < self._jobs and (index := next(waiting, None)) is not None:
                try:
                    flying[task.remote(function, items[index])] = index
                except Exception as error:
                    on_done(index, failure("transfer", error))
            if not flying:
                return
            done, _ = ray.wait(list(flying), num_returns=1, timeout=_POLL_S)
            for reference in done:
                on_done(flying.pop(reference), _collect(ray, reference))


def _collect(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        return failure("transfer", error)  # `attempt` catches what the function raises
    except ray.exceptions.RayError as error:
        return TrialFailure("worker", f"{type(error).__name__}: {error}")
