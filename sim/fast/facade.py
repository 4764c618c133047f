"""A station with a model as its deployment, swap and router see it, kept in the kernel's records.

What kernels cannot do is done here, step by step as `sim.compute.station` and `setup` do it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from sim.clock import END
from sim.compute.floor import MEMORY_FULL, Batch, Job
from sim.fast import doors
from sim.fast.access import ints_of, word
from sim.fast.layout import MIND, NODE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sim.clock import Clock
    from sim.config import NodeSpec
    from sim.fast.brain import FastDeployment
    from sim.fast.state import State
    from sim.plans import Plan

_UP, _EPOCH, _FREE, _WAITING, _WARMING = (
    word(NODE, name) for name in ("up", "epoch", "free", "waiting", "warming")
)
_BLOCKED, _RUNNING, _JOBS = (word(MIND, name) for name in ("blocked", "running", "jobs"))
_FACTS = ["id", "first", "size", "plan", "weights"]  # of a batch
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
        self._record, self._mind = ints_of(state.nodes, spec.id), ints_of(state.minds, spec.id)
        self._max_size = spec.batching.max_size
        self._jobs: deque[Job] = deque()
        self._working_s = 0.0  # of jobs on servers now
        self._begun: dict[int, int] = {}  # by id: places of batches that walk through their layers
        self.served: Callable[[int, Sequence[int], float], None] | None = None
        self.job_s = self.job_lost_s = self.job_asked_s = 0.0

    # --- what others read and write

    @property
    def up(self) -> bool:
        """Tell whether the node is up."""
        return bool(self._record[_UP])

    @property
    def epoch(self) -> int:
        """Return how often the node has crashed."""
        return int(self._record[_EPOCH])

    @property
    def blocked(self) -> bool:
        """Tell whether no batch may start."""
        return bool(self._mind[_BLOCKED])

    @blocked.setter
    def blocked(self, value: bool) -> None:
        self._mind[_BLOCKED] = value

    def wake(self, now_s: float) -> None:
        """Start what may start after everything else that happens at this instant."""
        self._state.reserve(_ROOM)
        doors.wake(self._state.run, self.node, now_s)

    # --- service starts

    def start_ready(self, now_s: float) -> None:
        """Let own work and batches start while servers are free."""
        run, node = self._state.run, self.node
        self._state.reserve(_ROOM)
        while self._record[_FREE] and (self._jobs or self._ready(now_s)):
            if not self._may_work(now_s):
                break
            if self._jobs:
                self._start_job(self._jobs.popleft(), now_s)
                continue
            waiting = self._record[_WAITING]
            size = self.service.admit(min(waiting, self._max_size), now_s)
            if size:
                self._start_batch(size, now_s)
            elif self._mind[_RUNNING]:
                break  # their end frees memory and wakes this station
            else:
                doors.turn_away(run, node, MEMORY_FULL, now_s)
            self._state.reserve(_ROOM)
        self._mind[_JOBS] = len(self._jobs)
        self.service.refresh()

    def _ready(self, now_s: float) -> int:
        return 0 if self._mind[_BLOCKED] else doors.ready(self._state.run, self.node, now_s)

    def _may_work(self, now_s: float) -> bool:
        """Tell whether a warm server is free; else let cold ones begin their set-up."""
        run, node, record, setup = self._state.run, self.node, self._record, self.spec.setup
        if setup is None or doors.still_warm(run, node, now_s):
            return True
        wanted = len(self._jobs) * self._max_size + self._ready(now_s)
        while record[_FREE] and wanted > record[_WARMING] * self._max_size:
            record[_WARMING] += 1
            doors.take_server(run, node, now_s)
            self.clock.at(now_s + setup.time_s, END, -1 - node, self._warmed, self.epoch)
        return False

    def _warmed(self, epoch: int, now_s: float) -> None:
        if epoch == self.epoch:
            self._record[_WARMING] -= 1
            doors.release(self._state.run, self.node, now_s)
            self.wake(now_s)

    def _start_batch(self, size: int, now_s: float) -> None:
        place = doors.gather(self._state.run, self.node, size, now_s)
        batch = self._batch(place, now_s)
        self._begun[batch.id] = place
        self.service.begin(batch, now_s)

    def _batch(self, place: int, start_s: float) -> Batch:
        number, first, size, plan_id, weights = self._state.batches[place][_FACTS].item()
        ids = [first]
        if size > 1:
            mates = self._state.requests["mate"]
            while (rid := int(mates[ids[-1]])) >= 0:
                ids.append(rid)
        plan = self._plan_of(weights)
        return Batch(number, ids, self.epoch, start_s, plan_id, plan, weights)

    def serve_for(self, batch: Batch, now_s: float) -> None:
        """Let a batch end when its time is over; the kernel knows all of it from now on."""
        place = self._begun.pop(batch.id)
        self._state.reserve(_ROOM)
        doors.serve_for(self._state.run, place, batch.service_s, now_s)

    # --- service ends

    def finish(self, batch: Batch, now_s: float) -> None:
        """End the service of a batch that has walked; ignored when a crash has taken it."""
        if batch.epoch == self.epoch:
            place = self._begun.pop(batch.id)
            record = self._state.batches[place]
            record["service_s"], record["stall_s"] = batch.service_s, batch.stall_s
            self._end(place, batch, now_s)

    def ended(self, place: int, now_s: float) -> None:
        """End the service of a batch that somebody waits for."""
        self._end(place, self._batch(place, now_s), now_s)
        self.service.refresh()

    def _end(self, place: int, batch: Batch, now_s: float) -> None:
        state, run = self._state, self._state.run
        state.reserve(_ROOM + len(batch.ids))
        doors.let_go(run, place, now_s)
        self.service.end(batch, now_s)
        state.reserve(_ROOM + len(batch.ids))
        doors.stamp(run, place, now_s)
        if self.served is None:
            doors.note_over(run, place)
        else:
            self.served(self.node, batch.ids, now_s)
        doors.answer(run, place, now_s)
        self._settle()

    # --- the node's own work

    def work(self, work_s: float, done: Callable[[float], None], now_s: float) -> None:
        """Run the node's own work on the next free server, then call `done` with the time."""
        self.job_asked_s += work_s
        self._jobs.append(Job(work_s, done, self.epoch))
        self._mind[_JOBS] = len(self._jobs)
        if self._record[_FREE]:
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
        self._mind[_JOBS] = self._mind[_RUNNING] = 0
