"""Moving requests and answers hop by hop along shortest paths."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from sim.clock import ARRIVE
from sim.network.carrier import Cargo, Carrier
from sim.network.links import LINK_DOWN
from sim.network.ways import Made, Way, free_down, free_up
from sim.records import DROPS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sim.arrays import IntArray
    from sim.config import TransportSpec
    from sim.records import Table
    from sim.request import Requests

NO_ROUTE = DROPS.index("no_route")
_DOUBLINGS = 1000  # of a wait; more would leave the range of floats


class Ends(Protocol):
    """What happens at the ends of a journey."""

    @property
    def doors(self) -> Sequence[Callable[[int, float], None]]:
        """Return, by node, what takes a request there."""
        ...

    def returned(self, rid: int, now_s: float) -> None:
        """Note that an answer reached (or, on a network without faults, will reach) its source."""
        ...

    def lose(self, rid: int, reason: int, now_s: float) -> None:
        """Drop a request or answer on the way."""
        ...


class Journey(Cargo):
    """A request on its way up to its server, or its answer on its way down."""

    __slots__ = ("failures", "rid", "sent", "transfers", "up")

    def __init__(self, transfers: Transfers, rid: int, here: int, goal: int, *, up: bool) -> None:
        requests = transfers.requests
        size_bytes = requests.up_bytes[rid] if up else requests.down_bytes[rid]
        # one that moves on from a server that crashed must not meet the luck it had before
        moves = transfers.moves.get(rid, 0) if up else 0
        luck = 2 * (rid + moves * requests.count) + (not up)
        super().__init__(rid, luck, here, goal, size_bytes)
        self.transfers, self.rid, self.up = transfers, rid, up
        self.failures, self.sent = 0, False

    def landed(self, now_s: float) -> None:
        """Go on to the next hop, or in at the door."""
        self.transfers.landed(self, now_s)

    def failed(self, reason: int, now_s: float) -> None:
        """Wait for another try, or give up."""
        self.transfers.failed(self, reason, now_s)


class Transfers:
    """Sends requests up to servers and answers down to sources, store and forward at every hop.

    A try that fails is repeated from where it was made, by the way that leads on then, after a wait
    that doubles with every failure in a row; after so many failures it is given up. Where one sure
    link leads to the goal and no link ever fails, nothing can happen to a transfer. A request's
    alarm then calls its server directly, and an answer needs none: its arrival is known when it is
    sent. What landed that way is counted after the run (`count_direct`).

    Args:
        carrier: Sends over links; it knows clock and routes.
        requests: Columns of all requests.
        ends: Who takes what arrives.
        transport: Tries and waits.
        steady: No link ever fails, and answers start where requests went.

    Source: bounded binary exponential backoff (Metcalfe and Boggs 1976, doi 10.1145/360248.360253).
    Deviation: waits are the bounds, not drawn below them, because transfers do not collide.
    """

    def __init__(
        self,
        carrier: Carrier,
        requests: Requests,
        ends: Ends,
        transport: TransportSpec,
        *,
        steady: bool,
    ) -> None:
        self.carrier, self.clock, self.links = carrier, carrier.clock, carrier.links
        self.requests, self.network, self.ends = requests, carrier.network, ends
        self.tries, self.backoff_s, self.steady = transport.tries, transport.backoff_s, steady
        self.moves: dict[
            int, int
        ] = {}  # how often requests were sent on from a server that crashed
        # by node: the only link to each goal, -1: there is none
        self._direct: dict[int, dict[int, int]] = defaultdict(dict)
        # by node, by goal
        self.ways_up = Made(lambda here: Made(partial(self._way_up, here)))
        self.ways_down = Made(lambda here: Made(partial(self._way_down, here)))

    def direct(self, here: int, goal: int) -> int:
        """Return the sure link that leads from node to node on a steady network, else -1."""
        known = self._direct[here]
        if goal not in known:
            route = self.network.route(here, goal) if self.steady else None
            alone = route is not None and len(route) == 1 and self.links.sure(route[0])
            known[goal] = route[0] if route is not None and alone else -1
        return known[goal]

    def _way_up(self, here: int, server: int) -> Way:
        door, link = self.ends.doors[server], self.direct(here, server)
        links, clock, sizes_bytes = self.links, self.clock, self.requests.up_bytes

        def direct(rid: int, now_s: float) -> None:
            clock.at(links.put(link, sizes_bytes[rid], now_s), ARRIVE, rid, door, rid)

        def journey(rid: int, now_s: float) -> None:
            self._send(Journey(self, rid, here, server, up=True), now_s)

        if here == server:
            return door
        if link < 0:
            return journey
        return free_up(links, link, sizes_bytes, clock, door) if links.free(link) else direct

    def _way_down(self, here: int, source: int) -> Way:
        returned, link = self.ends.returned, self.direct(here, source)
        links, sizes_bytes = self.links, self.requests.down_bytes

        def direct(rid: int, now_s: float) -> None:
            returned(rid, links.put(link, sizes_bytes[rid], now_s))

        def journey(rid: int, now_s: float) -> None:
            self._send(Journey(self, rid, here, source, up=False), now_s)

        if here == source:
            return returned
        if link < 0:
            return journey
        return free_down(links, link, sizes_bytes, returned) if links.free(link) else direct

    def send_up(self, rid: int, here: int, server: int, now_s: float) -> None:
        """Send a request towards its server."""
        self.ways_up[here][server](rid, now_s)

    def send_on(self, rid: int, here: int, server: int, now_s: float) -> None:
        """Send a request on from a server that crashed."""
        self.moves[rid] = self.moves.get(rid, 0) + 1
        self.send_up(rid, here, server, now_s)

    def send_down(self, rid: int, here: int, source: int, now_s: float) -> None:
        """Send an answer towards its source."""
        self.ways_down[here][source](rid, now_s)

    def _send(self, journey: Journey, now_s: float) -> None:
        if self.carrier.send(journey, now_s):
            journey.sent = True
        else:
            never = journey.up and not journey.sent
            self.failed(journey, NO_ROUTE if never else LINK_DOWN, now_s)

    def landed(self, journey: Journey, now_s: float) -> None:
        """Go on from the end of a hop."""
        rid, goal = journey.rid, journey.goal
        journey.failures = 0
        if journey.here != goal:
            self._send(journey, now_s)
        elif journey.up:
            self.ends.doors[goal](rid, now_s)
        else:
            self.ends.returned(rid, now_s)

    def failed(self, journey: Journey, reason: int, now_s: float) -> None:
        """Try again later, unless it has been tried often enough."""
        journey.failures += 1
        if journey.failures >= self.tries:
            self.ends.lose(journey.rid, reason, now_s)
            return
        wait_s = self.backoff_s * 2.0 ** min(journey.failures - 1, _DOUBLINGS)
        self.clock.at(now_s + wait_s, ARRIVE, journey.rid, self._send, journey)

    def link_changed(self, link: int, now_s: float) -> None:
        """Take note that the bandwidth of a link begins or ceases to be another."""
        self.carrier.link_changed(link, now_s)

    # --- what lies on links, for the laws

    def flying(self, late: Sequence[int]) -> tuple[int, list[tuple[int, float]]]:
        """Return what is still on its way: the count of requests, and (link, bytes) of everything.

        Requests count with their answers, and while they wait for another try; messages, which are
        on links, too, count in bytes only.

        Args:
            late: Requests whose answer, sent directly, arrives after the end.
        """
        requests, aloft = self.requests, self.carrier.aloft()
        found = [(link, cargo.size_bytes) for cargo in aloft for link in cargo.way]
        ups = [rid for rid in self.clock.pending(ARRIVE) if isinstance(rid, int)]
        for rid in ups:
            link = self.direct(requests.source[rid], requests.server[rid])
            found.append((link, requests.up_bytes[rid]))
        for rid in late:
            link = self.direct(requests.server[rid], requests.source[rid])
            found.append((link, requests.down_bytes[rid]))
        journeys = sum(isinstance(cargo, Journey) for cargo in aloft)
        return journeys + len(ups) + len(late), found

    def count_direct(self, table: Table) -> None:
        """Count what landed over direct ways: requests that a server took or refused, answers.

        Args:
            table: The table `requests` at the end of the run.
        """
        reached = ~np.isnan(table["t_enqueue_s"])
        reached |= (table["drop"] >= 0) & (table["drop"] != NO_ROUTE)
        up_bytes = np.where(reached, table["up_bytes"], 0.0)
        down_bytes = np.where(np.isnan(table["t_return_s"]), 0.0, table["down_bytes"])
        nodes = int(max(table["source"].max(initial=0), table["server"].max(initial=0))) + 1
        pair = table["source"].astype(np.int64) * nodes + table["server"]
        pairs, row = _distinct(pair, nodes * nodes)
        for index, (up, down) in enumerate(
            zip(np.bincount(row, up_bytes), np.bincount(row, down_bytes), strict=True)
        ):
            source, server = divmod(int(pairs[index]), nodes)
            self._count(source, server, float(up))
            self._count(server, source, float(down))

    def _count(self, here: int, goal: int, size_bytes: float) -> None:
        link = self.direct(here, goal) if here != goal and size_bytes > 0.0 else -1
        if link >= 0:
            self.links.total_landed_bytes[link] += size_bytes


def _distinct(values: IntArray, limit: int) -> tuple[IntArray, IntArray]:
    """Return the distinct values, ascending, and the place of each value among them.

    Where values are below a limit that is not much larger than their number, marking them is
    faster than sorting.
    """
    if limit > 4 * len(values) or (len(values) and values.min() < 0):
        distinct, place = np.unique(values, return_inverse=True)
        return distinct, place
    seen = np.zeros(limit, np.bool_)
    seen[values] = True
    distinct = np.flatnonzero(seen)
    places = np.zeros(limit, np.int64)
    places[distinct] = np.arange(len(distinct))
    return distinct, places[values]
