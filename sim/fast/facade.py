"""A station with a model as its deployment, swap and router see it, kept in the kernel's records.

What kernels cannot do is done here, step by step as `sim.compute.station` and `setup` do it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from sim.clock import END
from sim.compute.floor import MEMORY_FULL, Batch, Job
from sim.fast import doors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sim.clock import Clock
    from sim.config import NodeSpec
    from sim.fast.brain import FastDeployment
    from sim.fast.state import State
    from sim.plans import Plan

Served = "Callable[[int, Sequence[int], float], None]"
_ROOM = 64  # events that one step here brings about at most, beside answers


class Facade:
    """Servers and queue of one node; queue, servers and batches are the kernel's.

    Args:
        state: Of the run.
        clock: The run's clock.
        spec: The node.
        plan_of: Returns the plan that a decision brought.
        settle: Called when requests may have lined up for a route.

    Attributes:
        service: The model on the node; set by who builds it.
        served: Told of requests whose service ended, before their answers leave; None: the log
            of the kernel does.
        job_s, job_lost_s, job_asked_s: Server time of the node's own work (`Meters`).
    """

    service: FastDeployment

    def __init__(
        self,
        state: State,
        clock: Clock,
        spec: NodeSpec,
        plan_of: Callable[[int], Plan | None],
        settle: Callable[[], None],
    ) -> None:
        self.spec, self.node, self.clock = spec, spec.id, clock
        self._state, self._plan_of, self._settle = state, plan_of, settle
        self._record: Any = state.nodes[spec.id]
        self._mind: Any = state.minds[spec.id]
        self._first, self._max_size = int(self._record["first_batch"]), spec.batching.max_size
        self._jobs: deque[Job] = deque()
        self._working_s = 0.0  # of jobs on servers now
        self._begun: dict[int, Batch] = {}  # by place: batches that walk through their layers
        self.served: Callable[[int, Sequence[int], float], None] | None = None
        self.job_s = self.job_lost_s = self.job_asked_s = 0.0

    # --- what others read and write

    @property
    def up(self) -> bool:
        """Tell whether the node is up."""
        return bool(self._record["up"])

    @property
    def epoch(self) -> int:
        """Return how often the node has crashed."""
        return int(self._record["epoch"])

    @property
    def blocked(self) -> bool:
        """Tell whether no batch may start."""
        return bool(self._mind["blocked"])

    @blocked.setter
    def blocked(self, value: bool) -> None:
        self._mind["blocked"] = value

    def wake(self, now_s: float) -> None:
        """Start what may start after everything else that happens at this instant."""
        self._state.reserve(_ROOM)
        doors.wake(self._state.run, self.node, now_s)

    # --- service starts

    def start_ready(self, now_s: float) -> None:
        """Let own work and batches start while servers are free."""
        run, node = self._state.run, self.node
        self._state.reserve(_ROOM)
        while self._record["free"] > 0 and (self._jobs or self._ready(now_s)):
            if not self._may_work(now_s):
                break
            if self._jobs:
                self._start_job(self._jobs.popleft(), now_s)
                continue
            waiting = int(self._record["waiting"])
            size = self.service.admit(min(waiting, self._max_size), now_s)
            if size:
                self._start_batch(size, now_s)
            elif self._mind["running"]:
                break  # their end frees memory and wakes this station
            else:
                doors.turn_away(run, node, MEMORY_FULL, now_s)
            self._state.reserve(_ROOM)
        self._mind["jobs"] = len(self._jobs)
        self.service.refresh()

    def _ready(self, now_s: float) -> int:
        return 0 if self._mind["blocked"] else doors.ready(self._state.run, self.node, now_s)

    def _may_work(self, now_s: float) -> bool:
        """Tell whether a warm server is free; else let cold ones begin their set-up."""
        run, node, record, setup = self._state.run, self.node, self._record, self.spec.setup
        if setup is None or doors.still_warm(run, node, now_s):
            return True
        wanted = len(self._jobs) * self._max_size + self._ready(now_s)
        while record["free"] > 0 and wanted > record["warming"] * self._max_size:
            record["warming"] += 1
            doors.take_server(run, node, now_s)
            self.clock.at(now_s + setup.time_s, END, -1 - node, self._warmed, self.epoch)
        return False

    def _warmed(self, epoch: int, now_s: float) -> None:
        if epoch == self.epoch:
            self._record["warming"] -= 1
            doors.release(self._state.run, self.node, now_s)
            self.wake(now_s)

    def _start_batch(self, size: int, now_s: float) -> None:
        place = doors.gather(self._state.run, self.node, size, now_s)
        batch = self._begun[place] = self._batch(place, now_s)
        self.service.begin(batch, now_s)

    def _batch(self, place: int, start_s: float) -> Batch:
        record = self._state.batches[place]
        ids, rid, mates = [], int(record["first"]), self._state.requests["mate"]
        while rid >= 0:
            ids.append(rid)
            rid = int(mates[rid])
        weights = int(record["weights"])
        return Batch(
            int(record["id"]), ids, self.epoch, start_s, int(record["plan"]),
            self._plan_of(weights), weights, float(record["service_s"]),
        )  # fmt: skip

    def serve_for(self, batch: Batch, now_s: float) -> None:
        """Let a batch end when its time is over; the kernel knows all of it from now on."""
        place = self._place(batch)
        del self._begun[place]
        self._state.reserve(_ROOM)
        doors.serve_for(self._state.run, place, batch.service_s, now_s)

    def _place(self, batch: Batch) -> int:
        return next(place for place, each in self._begun.items() if each is batch)

    # --- service ends

    def finish(self, batch: Batch, now_s: float) -> None:
        """End the service of a batch that has walked; ignored when a crash has taken it."""
        if batch.epoch == self.epoch:
            place = self._place(batch)
            record = self._state.batches[place]
            record["service_s"], record["stall_s"] = batch.service_s, batch.stall_s
            self._end(place, self._begun.pop(place), now_s)

    def ended(self, place: int, now_s: float) -> None:
        """End the service of a batch that somebody waits for."""
        self._end(place, self._batch(place, now_s), now_s)

    def _end(self, place: int, batch: Batch, now_s: float) -> None:
        state, run = self._state, self._state.run
        state.reserve(_ROOM + len(batch.ids))
        doors.let_go(run, place, now_s)
        self.service.end(batch, now_s)
        state.reserve(_ROOM + len(batch.ids))
        self._mind["jobs"] = len(self._jobs)
        doors.stamp(run, place, now_s)
        if self.served is None:
            doors.note_over(run, place)
        else:
            self.served(self.node, batch.ids, now_s)
        doors.answer(run, place, now_s)
        self._settle()
        self.service.refresh()

    # --- the node's own work

    def work(self, work_s: float, done: Callable[[float], None], now_s: float) -> None:
        """Run the node's own work on the next free server, then call `done` with the time."""
        self.job_asked_s += work_s
        self._jobs.append(Job(work_s, done, self.epoch))
        self._mind["jobs"] = len(self._jobs)
        if self._record["free"] > 0:
            self.wake(now_s)

    def _start_job(self, job: Job, now_s: float) -> None:
        doors.take_server(self._state.run, self.node, now_s)
        self._working_s += job.work_s
        self.clock.at(now_s + job.work_s, END, -1 - self.node, self._job_done, job)

    def _job_done(self, job: Job, now_s: float) -> None:
        if job.epoch != self.epoch:
            return  # `crashed` has counted it
        self._working_s -= job.work_s
        self.job_s += job.work_s
        doors.release(self._state.run, self.node, now_s)
        job.done(now_s)
        self.wake(now_s)
        self.service.refresh()

    def open_job_s(self) -> float:
        """Return the node's own work that waits or runs."""
        return self._working_s + sum(job.work_s for job in self._jobs)

    def crashed(self) -> None:
        """Lose the node's own work, after the kernel has taken the node down."""
        self.job_lost_s += self.open_job_s()
        self._working_s = 0.0
        self._jobs.clear()
        self._begun.clear()
        self._mind["jobs"] = self._mind["running"] = 0
