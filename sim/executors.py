"""How hosts are reached: the protocols of the two executors, inline and ray."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.ports import HostSpec


class Future(Protocol):
    """The answer of a call that may still run."""

    def result(self) -> Any:
        """Block (in wall time only) and return the answer, or raise what the call raised."""
        ...


class HostHandle(Protocol):
    """One host behind an executor: inline (same process) or a Ray actor."""

    def call(self, method: str, *args: Any) -> Future:
        """Start a call of a Host method; calls to one handle run in submission order."""
        ...


class Restorable(Protocol):
    """What a host offers beside `Host` where its process may die before the run ends."""

    def snapshot(self) -> bytes:
        """Return all state that later answers depend on."""
        ...

    def restore(self, snapshot: bytes) -> None:
        """Take the state of another host of the same spec: the next answers are that one's."""
        ...


class Executor(Protocol):
    """Makes hosts and ends them: inline or ray, behind the same rules and the same digest."""

    def start(self, specs: Sequence[HostSpec]) -> Sequence[HostHandle]:
        """Start one host per spec."""
        ...

    def close(self) -> None:
        """End what this executor started, and nothing else."""
        ...
