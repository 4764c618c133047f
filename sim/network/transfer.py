"""Moving requests and answers hop by hop along shortest paths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sim.clock import ARRIVE, Alarm, Clock
from sim.records import DROPS

if TYPE_CHECKING:
    from sim.network.links import Links
    from sim.request import Requests
    from sim.topology.graph import Network

LINK_DOWN, NO_ROUTE = DROPS.index("link_down"), DROPS.index("no_route")


class Ends(Protocol):
    """What happens at the ends of a journey."""

    def arrive(self, rid: int, now_s: float) -> None:
        """Take a request at its server."""
        ...

    def returned(self, rid: int, now_s: float) -> None:
        """Note that an answer reached (or, on a network without faults, will reach) its source."""
        ...

    def lose(self, rid: int, reason: int, now_s: float) -> None:
        """Drop a request or answer on the way."""
        ...


class Transfers:
    """Sends requests up to servers and answers down to sources, store and forward at every hop.

    Args:
        clock: The run's clock.
        requests: Columns of all requests.
        links: Link states.
        network: Routes, recomputed on topology events.
        ends: Who takes what arrives.
        steady: No link ever fails, so the last hop of an answer needs no event: its arrival is
        known when it is sent.
    """

    def __init__(
        self,
        clock: Clock,
        requests: Requests,
        links: Links,
        network: Network,
        ends: Ends,
        *,
        steady: bool,
    ) -> None:
        self.clock, self.requests, self.links = clock, requests, links
        self.network, self.ends, self.steady = network, ends, steady

    def send_up(self, rid: int, here: int, server: int, now_s: float) -> None:
        """Send a request towards its server."""
        route = self.network.route(here, server)
        if route is None:
            self.ends.lose(rid, NO_ROUTE, now_s)
        else:
            self._hop(rid, route[0], server, now_s, up=True)

    def send_down(self, rid: int, here: int, source: int, now_s: float) -> None:
        """Send an answer towards its source."""
        route = self.network.route(here, source)
        if route is None:
            self.ends.lose(rid, LINK_DOWN, now_s)
            return
        link = route[0]
        if self.steady and len(route) == 1:
            size_bytes = self.requests.down_bytes[rid]
            self.links.total_landed_bytes[link] += size_bytes
            self.ends.returned(rid, self.links.put(link, size_bytes, now_s))
        else:
            self._hop(rid, link, source, now_s, up=False)

    def _hop(self, rid: int, link: int, goal: int, now_s: float, *, up: bool) -> None:
        requests, links = self.requests, self.links
        size_bytes = requests.up_bytes[rid] if up else requests.down_bytes[rid]
        item = (rid, link, links.epoch[link], goal, up, size_bytes)
        self.clock.at(links.put(link, size_bytes, now_s), ARRIVE, rid, self._landed, item)

    def flying(self) -> list[tuple[int, float]]:
        """Return (link, bytes) of every transfer that is still on its way."""
        return [(item[1], item[5]) for item in self.clock.pending(ARRIVE)]

    def _landed(self, alarm: Alarm) -> None:
        rid, link, epoch, goal, up, size_bytes = alarm.item
        now_s = self.clock.now
        if not self.links.landed(link, size_bytes, epoch):
            self.ends.lose(rid, LINK_DOWN, now_s)
            return
        here = self.links.dst[link]
        if here != goal:
            route = self.network.route(here, goal)
            if route is None:
                self.ends.lose(rid, LINK_DOWN, now_s)
            else:
                self._hop(rid, route[0], goal, now_s, up=up)
        elif up:
            self.ends.arrive(rid, now_s)
        else:
            self.ends.returned(rid, now_s)
