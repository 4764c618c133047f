"""The clock.

SimPy's environment with slim events at absolute times and a declared order of equal times.

A textbook SimPy process costs eight events per request. Here an event is a tuple in SimPy's own
heap (a time, a rank, a callback, no event object and no generator), and emissions, which are drawn
and sorted beforehand, are merged with the heap and never put on it.
"""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import chain, islice
from math import inf
from typing import TYPE_CHECKING, Any, TypeAlias

import simpy
from simpy.core import EmptySchedule
from simpy.events import NORMAL, EventPriority

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from simpy.events import Event

# Order of equal times (design, section 3); then by the key that the alarm carries.
FAULT, END, ARRIVE, SLOT, EMIT, START, LEAVE, LAST = range(8)

Callback: TypeAlias = "Callable[[Any, float], None]"  # (item, now_s)


class Clock(simpy.Environment):
    """SimPy's environment plus alarms at absolute times (relative delays would round differently).

    SimPy's own events and processes work, too; they come after all alarms of the same instant.

    Attributes:
        alarms: How many were set so far, and emissions that are over.
        heap: Alarms to come. Who sets one for every request counts and pushes it as `at` does: a
            call would take as long as the rest.
    """

    def __init__(self) -> None:
        super().__init__()
        self.heap: list[Any] = self._queue
        self.alarms = 0
        self.stop_s = 0.0
        self._following_s = 0.0  # time of the next emission, or of the end

    def at(self, t_s: float, rank: int, key: int, callback: Callback, item: Any = None) -> None:
        """Call back with (item, t_s) at `t_s`; ties go by rank, then key, then order of asking."""
        self.alarms += 1
        heappush(self.heap, (t_s, rank, key, self.alarms, callback, item))

    def schedule(self, event: Event, priority: EventPriority = NORMAL, delay: float = 0.0) -> None:
        """Put one of SimPy's own events on the heap."""
        self.at(self._now + delay, LAST, int(priority), _process, event)

    def step(self) -> None:
        """Process the next alarm.

        Raises:
            EmptySchedule: There is none.
        """
        if not self.heap:
            raise EmptySchedule
        self._now, _, _, _, callback, item = heappop(self.heap)
        callback(item, self._now)

    def idle_before(self, t_s: float, rank: int, key: int) -> bool:
        """Tell whether nothing is due before (t_s, rank, key), so that it may be done at once."""
        heap = self.heap
        return t_s <= self._following_s and (not heap or (t_s, rank, key) < heap[0])

    def run_to_stop(
        self, times: Sequence[float] = (), emit: Callable[[int, float, float], None] | None = None
    ) -> None:
        """Process every alarm up to and including `stop_s`, which may move while it runs.

        Args:
            times: Sorted times of emissions, none after `stop_s`.
            emit: Called with (index, time, idle) at each of them, in the rank EMIT. Before the
                time `idle` nothing else is due.
        """
        if emit is not None and len(times):
            self._emissions(times, emit)
        heap = self.heap
        while heap and heap[0][0] <= self.stop_s:
            self._now, _, _, _, callback, item = heappop(heap)
            callback(item, self._now)
        self._now = max(self._now, self.stop_s)

    def _emissions(self, times: Sequence[float], emit: Callable[[int, float, float], None]) -> None:
        heap, pop = self.heap, heappop
        following = chain(islice(times, 1, None), (self.stop_s,))
        for rid, (t_s, following_s) in enumerate(zip(times, following, strict=True)):
            idle_s = self._following_s = following_s
            while heap:
                due_s = heap[0][0]
                if due_s >= t_s and (due_s > t_s or heap[0] > (t_s, EMIT, rid)):
                    if due_s < idle_s:  # noqa: PLR1730  (a call of min takes longer)
                        idle_s = due_s
                    break
                self._now, _, _, _, callback, item = pop(heap)
                callback(item, due_s)
            self._now = t_s
            emit(rid, t_s, idle_s)
        self.alarms += len(times)

    def following(self) -> tuple[float, int, int]:
        """Return (time, rank, key) of the next alarm; a time of infinity when there is none."""
        return self.heap[0][:3] if self.heap else (inf, 0, 0)

    def pending(self, rank: int) -> list[Any]:
        """Return the payloads of alarms of one rank that are still to come."""
        return [alarm[5] for alarm in sorted(self.heap, key=_order) if alarm[1] == rank]

    def stop(self, t_s: float) -> None:
        """Let the run end at `t_s` (not before what is being processed now)."""
        self.stop_s = t_s


def _order(alarm: tuple[Any, ...]) -> tuple[Any, ...]:
    return alarm[:4]


def _process(event: Event, now_s: float) -> None:
    """Do what SimPy does with an event that is due."""
    callbacks, event.callbacks = event.callbacks, None  # type: ignore[assignment]
    for callback in callbacks:
        callback(event)
    if not event._ok and not getattr(event, "_defused", False):
        raise event._value
