"""Hosts that outlive their processes: snapshots, a journal of steps, and the way back.

Every so many steps a host is asked for its state; the inputs of the steps since then are kept. When
its process dies, a fresh host takes the last state and goes through the kept steps again. Answers
depend on state and input only, so the run ends as if nothing had happened; answers that are already
in use are compared with the new ones, so that a host for which that is not true fails the run
instead of changing it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from agents.hosting.calls import place
from agents.hosting.fingerprint import fingerprint
from sim.errors import HostDied, HostError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sim.executors import Future
    from sim.ports import HostSpec

EVERY = 50  # steps from one snapshot to the next
MOST = 3  # recoveries without a snapshot in between
_CHANGES = "step"  # the one call that changes a host


class Handle(Protocol):
    """What recovery needs of the handle of a host that may die."""

    def call(self, method: str, *args: Any) -> Future:
        """Start a call; its answer raises HostDied when the host's process is gone."""
        ...


class Mortal(Protocol):
    """An executor whose hosts may die."""

    def start(self, specs: Sequence[HostSpec]) -> Sequence[Any]:
        """Start one host per spec."""
        ...

    def discard(self, handle: Any) -> None:
        """End a host that is no longer wanted, dead or alive."""
        ...

    def close(self) -> None:
        """End what this executor started, and nothing else."""
        ...


@dataclass(frozen=True, slots=True)
class Recovery:
    """A host that died and was replaced; a fact of the run, never of its results."""

    shard: int
    where: str  # the call that found it dead
    cause: str
    snapshot_slot: int  # slot of the last step that the snapshot knows, -1 without a snapshot
    replayed: int  # steps that the new host went through again
    number: int  # which one of MOST
    wall_s: float

    def words(self) -> str:
        """Say what happened in one sentence."""
        since = "the start" if self.snapshot_slot < 0 else f"slot {self.snapshot_slot}"
        return (
            f"{self.where}: the host's process died; a new one was restored from {since} and "
            f"replayed {self.replayed} steps in {self.wall_s:.1f} s ({self.number}/{MOST}); "
            "results are not affected"
        )


@dataclass(frozen=True, slots=True)
class Unsaved:
    """A host whose state does not pack (a plug-in's router may hold what cannot be pickled)."""

    shard: int
    cause: str

    def words(self) -> str:
        """Say what follows from it in one sentence."""
        return f"{self.cause}; if the host's process dies, all steps will be replayed"


Tell: TypeAlias = "Callable[[Recovery | Unsaved], None]"


@dataclass(slots=True)
class _Call:
    """A call, the host that has it (by generation), and its answer once somebody took it."""

    method: str
    args: tuple[Any, ...]
    future: Future
    generation: int
    settled: bool = False
    value: Any = None


class DurableAnswer:
    """The answer of a call, from whichever process gives it in the end."""

    def __init__(self, handle: DurableHandle, call: _Call) -> None:
        self._handle, self._call = handle, call

    def result(self) -> Any:
        """Block until the answer is here.

        Raises:
            HostDied: The host dies again and again.
            SimError: What the host raised.
        """
        return self._handle.settle(self._call)


class DurableHandle:
    """One host, whichever process it lives in.

    Args:
        spec: The host.
        first: Its first process.
        executor: Makes further ones.
        told: Hears what happened to it.
        every: Steps from one snapshot to the next.
    """

    def __init__(
        self,
        spec: HostSpec,
        first: Handle,
        executor: Mortal,
        told: Tell,
        every: int,
    ) -> None:
        self._spec, self._host, self._executor, self._every = spec, first, executor, every
        self._told = told
        self._journal: list[_Call] = []
        self._snapshot: bytes | None = None
        self._snapshot_slot = -1
        self._saving: tuple[_Call, int] | None = None  # and how many steps it will cover
        self._generation = self._deaths = 0
        self._packs = True

    def call(self, method: str, *args: Any) -> DurableAnswer:
        """Start a call of a Host method."""
        if method == _CHANGES:
            self._save()
        call = self._issue(method, args)
        if method == _CHANGES:
            self._journal.append(call)
            self._ask()
        return DurableAnswer(self, call)

    def settle(self, call: _Call) -> Any:
        """Return a call's answer, through as many deaths as may be."""
        while not call.settled:
            try:
                call.value = call.future.result()
                call.settled = True
            except HostDied as death:
                if call.generation == self._generation:
                    self._revive(place(self._spec.shard, call.method, call.args), death)
                if call.generation < self._generation:
                    self._reissue(call)
        return call.value

    def _issue(self, method: str, args: tuple[Any, ...]) -> _Call:
        return _Call(method, args, self._host.call(method, *args), self._generation)

    def _reissue(self, call: _Call) -> None:
        call.future, call.generation = self._host.call(call.method, *call.args), self._generation

    def _ask(self) -> None:
        """Ask for a snapshot where one is due; the host packs while the simulation goes on."""
        if self._packs and self._saving is None and len(self._journal) >= self._every:
            self._saving = self._issue("snapshot", ()), len(self._journal)

    def _save(self) -> None:
        """Take the snapshot that was asked for: steps that it covers need not be replayed."""
        if self._saving is None:
            return
        call, covered = self._saving
        try:
            self._snapshot = call.future.result()
        except HostDied as death:
            self._revive(place(self._spec.shard, "snapshot", ()), death)
            return
        except HostError as error:
            self._saving, self._packs = None, False
            self._told(Unsaved(self._spec.shard, str(error)))
            return
        self._snapshot_slot = self._journal[covered - 1].args[0].slot
        del self._journal[:covered]
        self._saving, self._deaths = None, 0

    def _revive(self, where: str, death: HostDied) -> None:
        """Replace a dead host by one in the same state.

        Raises:
            HostDied: It died MOST times without a snapshot in between.
            HostError: It answered in another way than before.
        """
        started_s = time.perf_counter()
        cause: HostDied = death
        while True:
            self._deaths += 1
            if self._deaths > MOST:
                raise HostDied(f"{cause}; given up after {MOST} recoveries") from death
            try:
                self._replace()
                break
            except HostDied as again:
                cause = again
        wall_s = time.perf_counter() - started_s
        replayed, shard = len(self._journal), self._spec.shard
        self._told(
            Recovery(shard, where, str(cause), self._snapshot_slot, replayed, self._deaths, wall_s)
        )

    def _replace(self) -> None:
        self._executor.discard(self._host)
        self._saving = None
        self._generation += 1
        (self._host,) = self._executor.start([self._spec])
        if self._snapshot is not None:
            self._host.call("restore", self._snapshot).result()
        for call in self._journal:
            self._reissue(call)
        self._ask()
        for call in self._journal:
            if call.settled:
                self._compare(call)

    def _compare(self, call: _Call) -> None:
        """Hold a replayed answer against the one that the simulation has used."""
        if fingerprint(call.future.result()) != fingerprint(call.value):
            where = place(self._spec.shard, call.method, call.args)
            raise HostError(
                f"{where}: the replayed answer is another one: the host is not deterministic, so "
                "this run cannot go on as if its process had not died"
            )


class DurableExecutor:
    """Runs hosts that outlive their processes.

    Args:
        mortal: Starts the processes.
        told: Hears what happened to hosts.
        every: Steps from one snapshot to the next.
    """

    def __init__(
        self,
        mortal: Mortal,
        told: Tell = lambda _: None,
        *,
        every: int = EVERY,
    ) -> None:
        self._mortal, self._told, self._every = mortal, told, every

    def start(self, specs: Sequence[HostSpec]) -> list[DurableHandle]:
        """Start one host per spec.

        Raises:
            HostDied: Processes die again and again while they start.
            SimError: A checkpoint or a router's parameters are wrong.
        """
        hosts = self._start(specs)
        pairs = zip(specs, hosts, strict=True)
        return [
            DurableHandle(spec, host, self._mortal, self._told, self._every) for spec, host in pairs
        ]

    def close(self) -> None:
        """End what this executor started; twice is harmless."""
        self._mortal.close()

    def _start(self, specs: Sequence[HostSpec]) -> Sequence[Any]:
        for number in range(1, MOST + 1):
            started_s = time.perf_counter()
            try:
                return self._mortal.start(specs)
            except HostDied as death:
                wall_s = time.perf_counter() - started_s
                self._told(Recovery(-1, "start", str(death), -1, 0, number, wall_s))
        return self._mortal.start(specs)
