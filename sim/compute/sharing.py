"""A station whose servers are shared: all requests at once, each at an equal share of the speed.

n requests progress at min(job_share, servers / n) of one server's speed each. The service that
every request has got since it came grows at the same rate, so one clock of attained service tells
when each of them ends: when that clock has advanced by what the request needs. The next end is the
only alarm that counts; whoever comes or goes sets it anew.

Source: egalitarian processor sharing, Kleinrock 1967 (doi 10.1145/321386.321388), with c servers
and a cap per job; virtual time as in Parekh and Gallager 1993 (doi 10.1109/90.234856).
Deviation: none.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

from sim.clock import END
from sim.compute.station import Station

if TYPE_CHECKING:
    from sim.compute.floor import Floor
    from sim.config import NodeSpec


class SharingStation(Station):
    """Serves everybody at once for the times drawn at emission.

    `service_s` is the work that a request asked for, `stall_s` the rest of its stay. Nobody waits
    but those who come to a node that is down and keeps its requests.

    Args:
        floor: What all stations share.
        spec: The node.
    """

    __slots__ = ("_attained_at_s", "_attained_s", "_ends", "_inside", "_next")

    def __init__(self, floor: Floor, spec: NodeSpec) -> None:
        super().__init__(floor, spec)
        self._attained_s = 0.0  # service that a request would have got that is here for ever,
        self._attained_at_s = 0.0  # at that time
        self._inside: dict[int, None] = {}  # being served, in order of joining
        self._ends: list[tuple[float, int]] = []  # attained service at which each of them ends
        self._next = 0  # number of the alarm that counts

    def enqueue(self, rid: int, now_s: float) -> None:
        """Serve a request at once, let it wait for the node, or refuse it."""
        if not self._join(rid, now_s):
            return
        if self.up:
            self._admit(rid, now_s)
        else:
            self._queue.append(rid)
            self._watch(rid, now_s)

    # --- service

    def _admit(self, rid: int, now_s: float) -> None:
        self._advance(now_s)
        requests = self.requests
        requests.t_start_s[rid] = now_s
        requests.batch[rid], requests.batch_size[rid] = next(self.batch_ids), 1
        self._inside[rid] = None
        heappush(self._ends, (self._attained_s + requests.draw_s[rid], rid))
        self.meters.most_running = max(self.meters.most_running, self._used())
        self._set_alarm(now_s)

    def _start_ready(self, now_s: float) -> None:
        """Let all start who have waited for the node to come back."""
        while self._queue:
            self._admit(self._queue.popleft(), now_s)

    def _rate(self) -> float:
        """Return the speed at which each request progresses, in servers."""
        return min(self.spec.job_share, self.servers / len(self._ends)) if self._ends else 0.0

    def _used(self) -> float:
        return len(self._ends) * self._rate()

    def _advance(self, now_s: float) -> None:
        """Let service be attained, and server time be used, up to now."""
        self._attained_s += self._rate() * (now_s - self._attained_at_s)
        self._attained_at_s = now_s
        self._busy(now_s)

    def _busy(self, now_s: float) -> None:
        meters = self.meters
        meters.busy_area += self._used() * (now_s - meters.busy_s)
        meters.busy_s = now_s

    def _set_alarm(self, now_s: float) -> None:
        self._next += 1
        if self._ends:
            end_s, rid = self._ends[0]
            left_s = max(0.0, end_s - self._attained_s)  # (a rounding may have passed it)
            self.clock.at(now_s + left_s / self._rate(), END, rid, self._ended, self._next)

    def _ended(self, number: int, now_s: float) -> None:
        """End the services that are due, unless somebody came or went since the alarm was set."""
        if number != self._next:
            return
        self._advance(now_s)
        self._attained_s = self._ends[0][0]
        ids = []
        while self._ends and self._ends[0][0] <= self._attained_s:
            ids.append(heappop(self._ends)[1])
        if not self._ends:
            self._attained_s = 0.0  # no error outlives a busy period
        for rid in ids:
            self._stamp_end(rid, now_s)
        self.meters.finished += len(ids)
        self._depart(ids, now_s)
        self._set_alarm(now_s)
        self.ends.served(self.node, ids, now_s)

    def _stamp_end(self, rid: int, now_s: float) -> None:
        requests = self.requests
        del self._inside[rid]
        requests.t_finish_s[rid] = now_s
        requests.service_s[rid] = asked_s = requests.draw_s[rid]
        requests.stall_s[rid] = max(0.0, now_s - requests.t_start_s[rid] - asked_s)

    # --- faults and ends

    def _go_down(self, now_s: float) -> None:
        self._advance(now_s)
        super()._go_down(now_s)
        self._next += 1

    def _stop_serving(self) -> list[int]:
        ids = list(self._inside)
        self._inside.clear()
        self._ends.clear()
        self._attained_s = 0.0
        return ids

    def _go_on(self, now_s: float) -> None:
        """Let those go on who are inside still."""
        self._attained_at_s = now_s
        self._set_alarm(now_s)

    def present(self) -> list[int]:
        """Return the requests in the system: those being served, then those who wait."""
        return [*self._inside, *self._queue]
