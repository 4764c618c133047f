"""A station without batches, plans and own work: the short way of `model: none`.

Crashes drop what is there: nobody comes back to a server that served them before.

What happens is what `Station` with batches of one would do; services start inside the event that
lets them instead of by an alarm of their own. Columns that need no clock are filled in afterwards
(`Requests.fill_plain`).
"""

from __future__ import annotations

from heapq import heappush
from typing import TYPE_CHECKING

from sim.clock import END
from sim.compute.floor import DEADLINE, NODE_DOWN, QUEUE_FULL, Floor
from sim.compute.station import Station

if TYPE_CHECKING:
    from sim.config import NodeSpec, Work


class PlainStation(Station):
    """Serves single requests for the times drawn at emission.

    Args:
        floor: What all stations share.
        spec: The node; its batches hold one request.
    """

    __slots__ = (
        "_draw_s", "_end", "_enqueue_s", "_finish_s", "_serving", "_source", "_start_s",
        "_ways_back",
    )  # fmt: skip

    def __init__(self, floor: Floor, spec: NodeSpec) -> None:
        super().__init__(floor, spec)
        requests = floor.requests
        self._draw_s, self._enqueue_s = requests.draw_s, requests.t_enqueue_s
        self._start_s, self._finish_s = requests.t_start_s, requests.t_finish_s
        self._source, self._ways_back = requests.source, floor.ends.ways_back(spec.id)
        self._serving: dict[int, None] = {}
        self._end = self._done

    def enqueue(self, rid: int, now_s: float) -> None:
        """Take a request into service or into the queue, or refuse it."""
        meters, in_system, node = self.meters, self.in_system, self.node
        meters.arrived += 1
        number = meters.number
        if not self.up or number >= self.capacity:
            self._refuse(rid, QUEUE_FULL if self.up else NODE_DOWN, now_s)
            return
        self._enqueue_s[rid] = now_s
        meters.area += number * (now_s - meters.area_s)
        meters.area_s = now_s
        meters.number = number + 1.0
        in_system[node] = present = in_system[node] + 1
        if present > meters.queue_max:  # noqa: PLR1730  (a call of max takes longer)
            meters.queue_max = present
        if self.free:
            self._take_server(now_s)
            self._serve(rid, now_s)
        else:
            self._queue.append(rid)

    def _serve(self, rid: int, now_s: float) -> None:
        self._start_s[rid] = now_s
        self._serving[rid] = None
        clock = self.clock
        clock.alarms = nth = clock.alarms + 1
        heappush(clock.heap, (now_s + self._draw_s[rid], END, rid, nth, self._end, rid))

    def _done(self, rid: int, now_s: float) -> None:
        try:
            del self._serving[rid]
        except KeyError:
            return  # a crash took it
        meters, in_system, node = self.meters, self.in_system, self.node
        self._finish_s[rid] = now_s
        meters.stays_s += now_s - self._enqueue_s[rid]
        meters.finished += 1
        number = meters.number
        meters.area += number * (now_s - meters.area_s)
        meters.area_s = now_s
        meters.number = number - 1.0
        in_system[node] -= 1
        if self._queue:  # the server passes on
            self._serve(self._queue.popleft(), now_s)
        else:
            self._busy(now_s)
            self.free += 1
        self._ways_back[self._source[rid]](rid, now_s)

    def present(self) -> list[int]:
        """Return the requests in the system: running ones, then the queue."""
        return [*self._serving, *self._queue]

    def _empty(self, work: Work, now_s: float) -> list[int]:
        gone = self.present()
        self._serving.clear()
        self._queue.clear()
        self._leave(sorted(gone), NODE_DOWN, now_s)
        return []


class ImpatientStation(PlainStation):
    """The same where requests of the run leave queues by themselves.

    Args:
        floor: What all stations share.
        spec: The node.
    """

    __slots__ = ()

    def enqueue(self, rid: int, now_s: float) -> None:
        """Take a request into service or into the queue, or refuse it, also for being late."""
        if self.up and self.requests.expires_s[rid] <= now_s:
            self.meters.arrived += 1
            self._refuse(rid, DEADLINE, now_s)
            return
        super().enqueue(rid, now_s)
        if rid in self._queue:
            self._watch(rid, now_s)
