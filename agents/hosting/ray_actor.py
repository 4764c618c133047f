"""The Ray executor: one actor per shard, never restarted and never retried.

A restarted actor would come back empty and answer plausibly; a retried call may run twice. So a
death is an error that names the shard and the slot; `recovery` knows how to go on from there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agents.hosting.calls import place
from agents.hosting.model import LoadModel, load_model
from agents.hosting.ray_session import RaySession, worker_environment
from agents.hosting.shard import Shard
from agents.routers import ROUTERS
from sim.errors import HostDied, HostError, SimError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.ports import Host, HostSpec
    from sim.registry import Registry


class HostActor:
    """The class that runs inside a worker; plain, and wrapped for Ray last.

    The shard is made by a call, not by the constructor, so that its errors travel with their type.
    """

    def __init__(self) -> None:
        self._host: Host | None = None

    def start(self, spec: HostSpec, load: LoadModel, routers: Registry) -> None:
        """Make the shard."""
        self._host = Shard(spec, load(spec.checkpoint, spec.clusters), routers)

    def call(self, method: str, *args: Any) -> Any:
        """Run a Host method."""
        return getattr(self._host, method)(*args)


class RayAnswer:
    """The answer of a call that may still run in a worker."""

    def __init__(self, ray: Any, reference: Any, where: str) -> None:
        self._ray, self._reference, self._where = ray, reference, where

    def result(self) -> Any:
        """Block until the answer is here.

        Raises:
            SimError: What the host raised on purpose.
            HostDied: The actor died, or its node, or the answer on its way.
            HostError: The host failed in another way.
        """
        failures = self._ray.exceptions
        try:
            return self._ray.get(self._reference)
        except failures.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, SimError):
                raise cause from error
            raise HostError(f"{self._where}: {type(cause).__name__}: {cause}") from error
        except _deaths(failures) as error:
            raise HostDied(f"{self._where}: the host's process died ({_first(error)})") from error
        except failures.RayError as error:
            raise HostError(f"{self._where}: {type(error).__name__}: {_first(error)}") from error


class RayHandle:
    """One shard behind a Ray actor; Ray runs calls to one actor in submission order."""

    def __init__(self, ray: Any, shard: int, actor: Any) -> None:
        self._ray, self._shard, self._actor = ray, shard, actor

    def call(self, method: str, *args: Any) -> RayAnswer:
        """Start a call of a Host method."""
        where = place(self._shard, method, args)
        return RayAnswer(self._ray, self._actor.call.remote(method, *args), where)

    def start(self, spec: HostSpec, load: LoadModel, routers: Registry) -> RayAnswer:
        """Start making the shard inside the actor."""
        where = place(self._shard, "start", ())
        return RayAnswer(self._ray, self._actor.start.remote(spec, load, routers), where)

    def kill(self) -> None:
        """End the actor's process."""
        self._ray.kill(self._actor, no_restart=True)


class RayExecutor:
    """Runs hosts as Ray actors.

    Args:
        address: "local" starts an own cluster on this machine; else the address of one that runs.
        num_cpus: CPUs of an own local cluster; None for all.
        load: How a checkpoint is loaded inside a worker; must be importable there.
        routers: Where the policy's router is looked up inside a worker.
    """

    def __init__(
        self,
        address: str = "local",
        num_cpus: int | None = None,
        *,
        load: LoadModel = load_model,
        routers: Registry = ROUTERS,
    ) -> None:
        self._load, self._routers = load, routers
        self._session = RaySession(address, num_cpus)
        self._handles: list[RayHandle] = []

    def start(self, specs: Sequence[HostSpec]) -> list[RayHandle]:
        """Start one actor per spec and wait until each has its shard.

        Raises:
            SimError: A checkpoint or a router's parameters are wrong.
            HostDied: An actor died while it started.
        """
        ray = self._session.ray
        options: dict[str, Any] = {
            "num_cpus": 0,  # shards wait for each other: more shards than CPUs must not deadlock
            "max_restarts": 0,
            "max_task_retries": 0,
            "runtime_env": {"env_vars": worker_environment()},
        }
        if not self._session.local:
            options["scheduling_strategy"] = "SPREAD"
        actor = ray.remote(HostActor).options(**options)
        handles = [RayHandle(ray, spec.shard, actor.remote()) for spec in specs]
        self._handles += handles
        pairs = zip(handles, specs, strict=True)
        started = [handle.start(spec, self._load, self._routers) for handle, spec in pairs]
        for answer in started:
            answer.result()
        return handles

    def discard(self, handle: RayHandle) -> None:
        """End a host that is no longer wanted, dead or alive."""
        handle.kill()
        self._handles = [kept for kept in self._handles if kept is not handle]

    def close(self) -> None:
        """Kill the actors of this executor, and Ray if it started Ray; twice is harmless."""
        for handle in self._handles:
            handle.kill()
        self._handles = []
        self._session.close()


def _deaths(failures: Any) -> tuple[type[BaseException], ...]:
    """Return the errors of Ray after which nobody knows what the actor has done, if it lives."""
    lost = failures.ObjectLostError, failures.NodeDiedError, failures.OutOfMemoryError
    return (failures.RayActorError, failures.WorkerCrashedError, *lost)


def _first(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:3])
