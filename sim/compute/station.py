"""A station: c servers, a finite system, batches, and the node's own jobs.

Requests are served first come first served, or by priority without interrupting anybody. One that
still waits when its patience or its deadline is over leaves, after all that starts at that instant;
one that comes too late does not join.

Source: Kendall's c servers and K places; batch service with maximum size and waiting time (e.g.
Inoue 2021); non-preemptive priorities, Cobham 1954; patience, Erlang A, Palm 1957.
Deviation: a node's own jobs (router decisions, merges) take a server before the next batch does.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from math import inf, nan
from typing import TYPE_CHECKING

from sim.clock import END, LEAVE, START
from sim.compute.floor import (
    DEADLINE,
    MEMORY_FULL,
    NODE_DOWN,
    PATIENCE,
    QUEUE_FULL,
    Batch,
    Floor,
    Job,
    Meters,
)
from sim.compute.waiting import line
from sim.errors import LawViolation

if TYPE_CHECKING:
    from collections.abc import Callable

    from sim.compute.floor import Service
    from sim.config import NodeSpec, Work


class Station:
    """The servers and the queue of one node.

    Args:
        floor: What all stations share.
        spec: The node.
    """

    service: Service
    # (beyond 30 attributes Python's instances lose their fast layout: 7% of the common job)
    __slots__ = (
        "_check_s", "_down_s", "_impatient", "_jobs", "_open", "_queue", "_running", "_timer_s",
        "_working_s", "batch_ids", "blocked", "capacity", "clock", "ends", "epoch", "free",
        "in_system", "max_size", "max_wait_s", "meters", "node", "requests", "servers", "service",
        "spec", "up",
    )  # fmt: skip

    def __init__(self, floor: Floor, spec: NodeSpec) -> None:
        self.clock, self.spec, self.node = floor.clock, spec, spec.id
        self.requests, self.in_system, self.ends = floor.requests, floor.in_system, floor.ends
        self.batch_ids = floor.batch_ids
        self.capacity, self.max_size = spec.capacity, spec.batching.max_size
        self.max_wait_s = spec.batching.max_wait_s
        self.servers = self.free = spec.servers  # none while the node is down
        self.up, self.blocked, self.epoch = True, False, 0
        self._open = True  # takes requests
        self._down_s = nan  # since when, or when last
        self.meters = Meters()
        self._impatient = floor.impatient
        self._queue = line(spec.discipline, floor.requests, removable=floor.impatient)
        self._running: dict[int, Batch] = {}
        self._jobs: deque[Job] = deque()
        self._check_s = self._timer_s = nan
        self._working_s = 0.0  # of jobs on servers now

    # --- requests come

    def enqueue(self, rid: int, now_s: float) -> None:
        """Take a request into the queue, or refuse it."""
        if not self._join(rid, now_s):
            return
        self._queue.append(rid)
        if self._impatient:
            self._watch(rid, now_s)
        if self.free:
            self.wake(now_s)

    def _join(self, rid: int, now_s: float) -> bool:
        """Count a request in, unless it is refused."""
        self.meters.arrived += 1
        present = self.in_system[self.node]
        if not self._open:
            self._refuse(rid, NODE_DOWN, now_s)
        elif self._impatient and self.requests.expires_s[rid] <= now_s:
            self._refuse(rid, DEADLINE, now_s)
        elif present >= self.capacity:
            self._refuse(rid, QUEUE_FULL, now_s)
        else:
            self.requests.t_enqueue_s[rid] = now_s
            self._count(present + 1, now_s)
            return True
        return False

    def _refuse(self, rid: int, reason: int, now_s: float) -> None:
        self.meters.lost += 1
        self.ends.lose(rid, reason, now_s)

    def _count(self, number: int, now_s: float) -> None:
        meters, node = self.meters, self.node
        meters.area += meters.number * (now_s - meters.area_s)
        meters.area_s = now_s
        meters.number = float(number)
        self.in_system[node] = number
        meters.queue_max = max(meters.queue_max, number)

    # --- service starts

    def wake(self, now_s: float) -> None:
        """Start what may start after everything else that happens at this instant."""
        if self._check_s != now_s:
            self._check_s = now_s
            self.clock.at(now_s, START, self.node, self._check)

    def _check(self, _: None, now_s: float) -> None:
        self._check_s = nan
        if self.up:
            self._start_ready(now_s)

    def _start_ready(self, now_s: float) -> None:
        while self.free and (self._jobs or self._ready(now_s)) and self._may_work(now_s):
            if self._jobs:
                self._start_job(self._jobs.popleft(), now_s)
                continue
            size = self.service.admit(min(len(self._queue), self.max_size), now_s)
            if size:
                self._start_batch(size, now_s)
            elif self._running:
                return  # their end frees memory and wakes this station
            else:
                self._leave([self._queue.popleft()], MEMORY_FULL, now_s)

    def _ready(self, now_s: float) -> int:
        """Return how many requests wait for nothing but a server; 0 if a batch is not due yet."""
        waiting = len(self._queue)
        if not waiting or self.blocked:
            return 0
        if waiting >= self.max_size or self.max_wait_s == 0.0:
            return waiting
        due_s = self._queue.oldest_s() + self.max_wait_s
        if now_s >= due_s:
            return waiting
        if self._timer_s != due_s:
            self._timer_s = due_s
            self.clock.at(due_s, START, self.node, self._check)
        return 0

    def _may_work(self, now_s: float) -> bool:
        """Tell whether a free server can begin at once."""
        return True

    def _start_batch(self, size: int, now_s: float) -> None:
        ids = [self._queue.popleft() for _ in range(size)]
        batch = Batch(next(self.batch_ids), ids, self.epoch, now_s)
        requests = self.requests
        for rid in ids:
            requests.t_start_s[rid] = now_s
            requests.batch[rid] = batch.id
            requests.batch_size[rid] = size
        self._running[batch.id] = batch
        self._take_server(now_s)
        self.service.begin(batch, now_s)

    def _take_server(self, now_s: float) -> None:
        self._busy(now_s)
        self.free -= 1
        busy = self.servers - self.free
        if busy > self.meters.most_running:  # noqa: PLR1730  (a call of max takes longer)
            self.meters.most_running = busy
        if self.free < 0:
            raise LawViolation(f"L3 capacity: node {self.node} runs {busy} of {self.servers}")

    def _release(self, now_s: float) -> None:
        self._busy(now_s)
        self.free += 1

    def _busy(self, now_s: float) -> None:
        meters = self.meters
        if busy := self.servers - self.free:
            meters.busy_area += busy * (now_s - meters.busy_s)
        meters.busy_s = now_s

    # --- service ends

    def finish(self, batch: Batch, now_s: float) -> None:
        """End a batch's service; ignored when a crash has taken it."""
        if batch.epoch != self.epoch:
            return
        del self._running[batch.id]
        self._release(now_s)
        self.service.end(batch, now_s)
        requests, meters = self.requests, self.meters
        for rid in batch.ids:
            requests.t_finish_s[rid] = now_s
            requests.service_s[rid] = batch.service_s
            requests.stall_s[rid] = batch.stall_s
            requests.plan[rid] = batch.plan_id
            meters.stays_s += now_s - requests.t_enqueue_s[rid]
        meters.finished += len(batch.ids)
        self._count(self.in_system[self.node] - len(batch.ids), now_s)
        if self._queue or self._jobs:
            self.wake(now_s)
        self.ends.served(self.node, batch.ids, now_s)

    def _leave(self, ids: list[int], reason: int, now_s: float) -> None:
        self.meters.lost += len(ids)
        self._depart(ids, now_s)
        for rid in ids:
            self.ends.lose(rid, reason, now_s)

    def _depart(self, ids: list[int], now_s: float) -> None:
        """Count out requests."""
        for rid in ids:
            self.meters.stays_s += now_s - self.requests.t_enqueue_s[rid]
        self._count(self.in_system[self.node] - len(ids), now_s)

    # --- patience

    def _watch(self, rid: int, now_s: float) -> None:
        """Let a request that waits leave when its time is over."""
        leave_s = self._leave_s(rid)
        if leave_s < inf:
            self.clock.at(max(now_s, leave_s), LEAVE, rid, self._give_up, rid)

    def _leave_s(self, rid: int) -> float:
        requests = self.requests
        patient_s = requests.t_enqueue_s[rid] + requests.patience_s[rid]
        return min(patient_s, requests.expires_s[rid])

    def _give_up(self, rid: int, now_s: float) -> None:
        """Drop a request if it waits here and its time is over (it may have joined anew)."""
        if rid in self._queue and self._leave_s(rid) <= now_s:
            self._queue.remove(rid)
            late = self.requests.expires_s[rid] == self._leave_s(rid)
            self._leave([rid], DEADLINE if late else PATIENCE, now_s)

    # --- the node's own work

    def work(self, work_s: float, done: Callable[[float], None], now_s: float) -> None:
        """Run the node's own work on the next free server, then call `done` with the time."""
        self.meters.job_asked_s += work_s
        self._jobs.append(Job(work_s, done, self.epoch))
        if self.free:
            self.wake(now_s)

    def _start_job(self, job: Job, now_s: float) -> None:
        self._take_server(now_s)
        self._working_s += job.work_s
        self.clock.at(now_s + job.work_s, END, -1 - self.node, self._job_done, job)

    def _job_done(self, job: Job, now_s: float) -> None:
        if job.epoch != self.epoch:
            return  # `crash` has counted it
        self._working_s -= job.work_s
        self.meters.job_s += job.work_s
        self._release(now_s)
        job.done(now_s)
        self.wake(now_s)

    # --- faults and ends

    def crash(self, now_s: float, work: Work = "drop") -> list[int]:
        """Go down; the node's own work is lost.

        Args:
            now_s: Time.
            work: What happens to the requests (`FaultSpec.work`).

        Returns:
            Requests that left, to be dispatched anew.
        """
        self._go_down(now_s)
        self._open = work in {"keep", "resume"}
        self.meters.job_lost_s += self.open_job_s()
        self._working_s = 0.0
        self._jobs.clear()
        if work == "keep":
            self._put_back(now_s)
        return [] if self._open else self._empty(work, now_s)

    def _go_down(self, now_s: float) -> None:
        self._busy(now_s)
        self.meters.up_area_s += now_s - self.meters.up_s
        self.up, self._down_s = False, now_s
        self.servers = self.free = 0
        self.epoch += 1

    def _put_back(self, now_s: float) -> None:
        """Let what runs wait again, ahead of the queue, as if it had never started."""
        ids = self._stop_serving()
        self._unstamp(ids)
        self._queue.put_back(ids)
        for rid in ids:
            self._watch(rid, now_s)

    def _stop_serving(self) -> list[int]:
        ids = [rid for batch in self._running.values() for rid in batch.ids]
        self._running.clear()
        return ids

    def _unstamp(self, ids: list[int]) -> None:
        requests = self.requests
        for rid in ids:
            requests.t_start_s[rid] = nan
            requests.batch[rid], requests.batch_size[rid] = -1, 0

    def _empty(self, work: Work, now_s: float) -> list[int]:
        """Lose or let go everybody."""
        gone = self._stop_serving() + list(self._queue)
        self._queue.clear()
        if work == "drop":
            self._leave(sorted(gone), NODE_DOWN, now_s)
            return []
        self.meters.moved += len(gone)
        self._depart(gone, now_s)
        self._unstamp(gone)
        for rid in gone:
            self.requests.t_enqueue_s[rid] = nan
        return gone

    def restart(self, now_s: float) -> None:
        """Come back, with the requests that the crash has left here."""
        self._busy(now_s)
        self.up = self._open = True
        self.meters.up_s = now_s
        self.servers = self.free = self.spec.servers
        self._go_on(now_s)
        if self._queue:
            self.wake(now_s)

    def _go_on(self, now_s: float) -> None:
        """Resume what ran: a copy ends later, and what the old one has set in motion is void."""
        for number, batch in self._running.items():
            again = self._running[number] = replace(
                batch,
                epoch=self.epoch,
                stall_s=batch.stall_s + (now_s - self._down_s),
                due_s=now_s + (batch.due_s - self._down_s),
            )
            self._take_server(now_s)
            self.clock.at(again.due_s, END, again.ids[0], self.finish, again)

    def settle(self, now_s: float) -> Meters:
        """Bring the integrals up to now and return them."""
        self._count(self.in_system[self.node], now_s)
        self._busy(now_s)
        if self.up:
            self.meters.up_area_s += now_s - self.meters.up_s
            self.meters.up_s = now_s
        return self.meters

    def open_job_s(self) -> float:
        """Return the node's own work that waits or runs."""
        return self._working_s + sum(job.work_s for job in self._jobs)

    def present(self) -> list[int]:
        """Return the requests in the system: running ones, then the queue."""
        running = [rid for batch in self._running.values() for rid in batch.ids]
        return running + list(self._queue)
