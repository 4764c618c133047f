"""Trials as Ray tasks, for clusters: a bounded number in flight, none ever retried.

A task of a trial with limits runs it in a process of its own and watches that, wherever it is: Ray
can neither tell how long a task has been running, nor end one that exceeds what it declared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from agents.hosting.attempt import Enough, OnDone, TrialFailure, attempt, failure
from agents.hosting.limits import NO_LIMITS, Limits
from agents.hosting.pool import ProcessPool
from agents.hosting.ray_session import RaySession, worker_environment
from sim.errors import InputError
from sim.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")
R = TypeVar("R")
_POLL_S = 1.0  # wall time between looks at the keyboard


class RayTasks:
    """Runs items as Ray tasks, `jobs` in flight.

    Args:
        address: "local" or the address of a cluster.
        jobs: Tasks in flight; also the CPUs of an own local cluster.
        limits: Of one item; the memory is also what a task declares to Ray.
    """

    def __init__(self, address: str, jobs: int, limits: Limits = NO_LIMITS) -> None:
        self._address, self._jobs, self._limits = address, jobs, limits

    def run(self, function: Callable[[Any], Any], items: Sequence[Any], on_done: OnDone) -> None:
        """Call `on_done(index, result or TrialFailure)` once per item, as each finishes."""
        session = RaySession(self._address, self._jobs)
        flying: dict[Any, int] = {}
        try:
            check_memory(session.ray, self._limits)
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
        task = ray.remote(attempt_within).options(**self._options())
        waiting = iter(range(len(items)))
        while True:
            while len(flying) < self._jobs and (index := next(waiting, None)) is not None:
                try:
                    flying[task.remote(function, items[index], self._limits)] = index
                except Exception as error:
                    on_done(index, failure("transfer", error))
            if not flying:
                return
            done, _ = ray.wait(list(flying), num_returns=1, timeout=_POLL_S)
            for reference in done:
                try:
                    on_done(flying.pop(reference), _collect(ray, reference))
                except Enough:
                    waiting = iter(())

    def _options(self) -> dict[str, Any]:
        environment = {"env_vars": worker_environment()}
        options = {"num_cpus": 1, "max_retries": 0, "runtime_env": environment}
        memory_bytes = self._limits.memory_bytes
        return options if memory_bytes is None else {**options, "memory": int(memory_bytes)}


def cluster_cores(address: str) -> int:
    """Return the number of CPUs that a cluster offers, at least 1.

    Raises:
        HostError: There is no Ray at the address, or it refuses.
    """
    session = RaySession(address)
    try:
        return max(1, int(session.ray.cluster_resources().get("CPU", 1)))
    finally:
        session.close()


def check_memory(ray: Any, limits: Limits) -> None:
    """Refuse tasks that declare more memory than any node has: Ray would wait for ever.

    Raises:
        InputError: It names both.
    """
    sizes = [node["Resources"].get("memory", 0.0) for node in ray.nodes() if node["Alive"]]
    largest = max(sizes, default=0.0)
    if limits.memory_bytes is not None and limits.memory_bytes > largest:
        raise InputError(
            f"--memory {format_bytes(limits.memory_bytes)}: no node of this Ray cluster offers "
            f"more than {format_bytes(largest)}"
        )


def attempt_within(function: Callable[[T], R], item: T, limits: Limits) -> R | TrialFailure:
    """Run a function on an item within limits; what goes wrong becomes a failure."""
    if not limits:
        return attempt(function, item)
    found: list[Any] = []
    ProcessPool(1, limits).run(function, [item], lambda _, result: found.append(result))
    return found[0]  # type: ignore[no-any-return]


def _collect(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        return failure("transfer", error)  # `attempt` catches what the function raises
    except ray.exceptions.OutOfMemoryError as error:
        return TrialFailure("memory", f"Ray stopped it for lack of memory: {error}")
    except ray.exceptions.RayError as error:
        return TrialFailure("worker", f"{type(error).__name__}: {error}")
