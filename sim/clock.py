"""The clock.

SimPy's environment with slim events at absolute times and a declared order of equal times.

A textbook SimPy process costs several events per request; pre-drawn emissions and one alarm per
change of state cost one or two (`alarm at an absolute time, a callback, no generator`).
"""

from __future__ import annotations

from heapq import heappush
from typing import TYPE_CHECKING, Any

import simpy

if TYPE_CHECKING:
    from collections.abc import Callable

# Order of equal times (design, section 3); then by the key that the alarm carries.
FAULT, END, ARRIVE, SLOT, EMIT, START, LAST = range(7)


class Alarm:
    """A slim stand-in for a SimPy event.

    One callback, called with the alarm, whose `item` is the payload.
    """

    __slots__ = ("callbacks", "item")
    _ok = True

    def __init__(self, callback: Callable[[Alarm], None], item: Any) -> None:
        self.callbacks: tuple[Callable[[Alarm], None], ...] | None = (callback,)
        self.item = item

    def __lt__(self, other: object) -> bool:
        # Only reached when time, rank and key are equal; the heap then keeps a repeatable order.
        return False


class Clock(simpy.Environment):
    """SimPy's environment plus alarms at absolute times.

    (relative delays would round differently).
    """

    def __init__(self) -> None:
        super().__init__()
        self._heap: list[Any] = self._queue
        self.alarms = 0
        self.stop_s = 0.0

    def at(
        self, t_s: float, rank: int, key: int, callback: Callable[[Alarm], None], item: Any = None
    ) -> None:
        """Call back at `t_s`; ties go by rank, then key."""
        self.alarms += 1
        heappush(self._heap, (t_s, rank, key, Alarm(callback, item)))

    def idle_before(self, t_s: float, rank: int, key: int) -> bool:
        """Tell whether nothing is due before (t_s, rank, key), so that it may be done at once."""
        return not self._heap or (t_s, rank, key) < self._heap[0]

    def jump(self, t_s: float) -> None:
        """Move the clock to a time before which nothing is due."""
        self._now = t_s

    def run_to_stop(self) -> None:
        """Process every alarm up to and including `stop_s`, which may move while it runs."""
        heap = self._heap
        while heap and heap[0][0] <= self.stop_s:
            self.step()
        self._now = max(self._now, self.stop_s)

    def pending(self, rank: int) -> list[Any]:
        """Return the payloads of alarms of one rank that are still to come."""
        return [alarm.item for _, r, _, alarm in sorted(self._heap) if r == rank]

    def stop(self, t_s: float) -> None:
        """Let the run end at `t_s` (not before what is being processed now)."""
        self.stop_s = t_s
