"""What one trial may take, and who is stopped when it takes more.

A trial that exceeds a limit is killed from outside, because nothing inside it can be relied upon to
notice: a compiled kernel sees neither a signal nor a thread that wants the interpreter. It becomes
a failure like any other, with stage `timeout` or `memory`.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from agents.hosting.attempt import TrialFailure
from agents.hosting.memory import machine_memory, resident_bytes
from sim.errors import InputError
from sim.units import format_bytes, format_s

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agents.hosting.memory import Memory

WATCH_S = 0.2  # wall time between two looks; a trial may overshoot by what it touches in it
_SPARE = 0.05  # share of the memory that must stay free, or the largest trial is stopped
_OURS = 0.5  # share of the memory that trials must hold together to be the ones to blame
_WORN = 0.5  # share of the declared memory that a process may hold before it gets a trial
_SETTLE_S = 2.0  # wall time that a stopped trial's memory gets to come back


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one trial; None: none.

    `timeout_s` is wall time from the moment at which a process gets the trial, and includes the
    start of a new process. `memory_bytes` is resident memory.
    """

    timeout_s: float | None = None
    memory_bytes: float | None = None

    def __bool__(self) -> bool:
        """Tell whether there is any."""
        return self.timeout_s is not None or self.memory_bytes is not None

    def fit(self, jobs: int) -> int:
        """Return how many trials of the declared memory may run at once, at most `jobs`.

        Raises:
            InputError: Not even one fits.
        """
        memory = machine_memory()
        if self.memory_bytes is None or memory is None:
            return jobs
        if self.memory_bytes > memory.total_bytes:
            raise InputError(
                f"--memory {format_bytes(self.memory_bytes)}: more than the "
                f"{format_bytes(memory.total_bytes)} of this machine"
            )
        return max(1, min(jobs, int(memory.total_bytes / self.memory_bytes)))


NO_LIMITS = Limits()


class Running(Protocol):
    """A process that has a trial."""

    @property
    def pid(self) -> int:
        """Return its process id."""
        ...

    @property
    def since_s(self) -> float:
        """Return when it got the trial, by `time.perf_counter`."""
        ...


class Watch:
    """Finds the trials that must be stopped.

    Without a declared memory a trial may take what there is; when less than a twentieth of the
    machine's memory is left and trials hold most of it, the largest is stopped, before the
    operating system chooses a victim of its own.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._settled_s = self._next_s = -math.inf

    def offenders(self, running: Sequence[Running]) -> dict[int, TrialFailure]:
        """Return, by process id, why a trial must be stopped now; look only so often."""
        now_s = time.perf_counter()
        if now_s < self._next_s:
            return {}
        self._next_s = now_s + WATCH_S
        sizes = {process.pid: resident_bytes(process.pid) for process in running}
        found = {
            process.pid: failure
            for process in running
            if (failure := self._broken(now_s - process.since_s, sizes[process.pid])) is not None
        }
        if not found and sizes and now_s > self._settled_s:
            found = self._largest(sizes, machine_memory())
            if found:
                self._settled_s = now_s + _SETTLE_S
        return found

    def worn(self, pid: int) -> bool:
        """Tell whether a process that has run trials should not get another one.

        Memory that a trial gave back may stay with its process, and the next one would answer for
        it.
        """
        memory_bytes = self._limits.memory_bytes
        return memory_bytes is not None and resident_bytes(pid) > _WORN * memory_bytes

    def _broken(self, taken_s: float, size_bytes: float) -> TrialFailure | None:
        timeout_s, memory_bytes = self._limits.timeout_s, self._limits.memory_bytes
        if timeout_s is not None and taken_s > timeout_s:
            return TrialFailure("timeout", f"stopped after {format_s(timeout_s)} (--timeout)")
        if memory_bytes is not None and size_bytes > memory_bytes:
            return TrialFailure(
                "memory",
                f"stopped at {format_bytes(size_bytes)} of memory, declared "
                f"{format_bytes(memory_bytes)} (--memory)",
            )
        return None

    def _largest(self, sizes: dict[int, float], memory: Memory | None) -> dict[int, TrialFailure]:
        if memory is None or memory.free_bytes > _SPARE * memory.total_bytes:
            return {}
        if math.fsum(sizes.values()) < _OURS * memory.total_bytes:
            return {}  # somebody else fills the machine, and stopping trials would not help
        pid = max(sizes, key=lambda each: (sizes[each], each))
        message = (
            f"stopped at {format_bytes(sizes[pid])} of memory: the machine had "
            f"{format_bytes(memory.free_bytes)} of {format_bytes(memory.total_bytes)} left; "
            "try fewer --jobs, or declare --memory"
        )
        return {pid: TrialFailure("memory", message)}
