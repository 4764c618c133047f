"""Moving requests and answers hop by hop along shortest paths."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from sim.clock import ARRIVE, Clock
from sim.records import DROPS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sim.network.links import Links
    from sim.records import Table
    from sim.request import Requests
    from sim.topology.graph import Network

LINK_DOWN, NO_ROUTE = DROPS.index("link_down"), DROPS.index("no_route")


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


class _Hop(NamedTuple):
    """One transfer on its way over one link."""

    rid: int
    link: int
    epoch: int  # of the link
    goal: int
    up: bool
    size_bytes: float


class Transfers:
    """Sends requests up to servers and answers down to sources, store and forward at every hop.

    Where no link ever fails and one link leads to the goal, nothing can happen to a transfer. A
    request's alarm then calls its server directly, and an answer needs none: its arrival is known
    when it is sent. What landed that way is counted after the run (`count_direct`).

    Args:
        clock: The run's clock.
        requests: Columns of all requests.
        links: Link states.
        network: Routes, recomputed on topology events.
        ends: Who takes what arrives.
        steady: No link ever fails.
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
        # by node: the only link to each goal, -1: there is none
        self._direct: dict[int, dict[int, int]] = defaultdict(dict)

    def direct(self, here: int, goal: int) -> int:
        """Return the link that leads directly from node to node on a steady network, else -1."""
        known = self._direct[here]
        if goal not in known:
            route = self.network.route(here, goal) if self.steady else None
            known[goal] = route[0] if route is not None and len(route) == 1 else -1
        return known[goal]

    def send_up(self, rid: int, here: int, server: int, now_s: float) -> None:
        """Send a request towards its server."""
        if here == server:
            self.ends.doors[server](rid, now_s)
            return
        link = self.direct(here, server)
        if link >= 0:
            due_s = self.links.put(link, self.requests.up_bytes[rid], now_s)
            self.clock.at(due_s, ARRIVE, rid, self.ends.doors[server], rid)
            return
        route = self.network.route(here, server)
        if route is None:
            self.ends.lose(rid, NO_ROUTE, now_s)
        else:
            self._hop(rid, route[0], server, now_s, up=True)

    def send_down(self, rid: int, here: int, source: int, now_s: float) -> None:
        """Send an answer towards its source."""
        if here == source:
            self.ends.returned(rid, now_s)
            return
        link = self.direct(here, source)
        if link >= 0:
            self.ends.returned(rid, self.links.put(link, self.requests.down_bytes[rid], now_s))
            return
        route = self.network.route(here, source)
        if route is None:
            self.ends.lose(rid, LINK_DOWN, now_s)
        else:
            self._hop(rid, route[0], source, now_s, up=False)

    def _hop(self, rid: int, link: int, goal: int, now_s: float, *, up: bool) -> None:
        requests, links = self.requests, self.links
        size_bytes = requests.up_bytes[rid] if up else requests.down_bytes[rid]
        hop = _Hop(rid, link, links.epoch[link], goal, up, size_bytes)
        self.clock.at(links.put(link, size_bytes, now_s), ARRIVE, rid, self._landed, hop)

    def _landed(self, hop: _Hop, now_s: float) -> None:
        rid, link, epoch, goal, up, size_bytes = hop
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
            self.ends.doors[goal](rid, now_s)
        else:
            self.ends.returned(rid, now_s)

    # --- what lies on links, for the laws

    def flying(self, late: Sequence[int]) -> list[tuple[int, float]]:
        """Return (link, bytes) of every request and answer that is still on its way.

        Args:
            late: Requests whose answer, sent directly, arrives after the end.
        """
        requests = self.requests
        found = []
        for item in self.clock.pending(ARRIVE):
            if isinstance(item, int):
                link = self.direct(requests.source[item], requests.server[item])
                found.append((link, requests.up_bytes[item]))
            elif isinstance(item, _Hop):
                found.append((item.link, item.size_bytes))
        for rid in late:
            link = self.direct(requests.server[rid], requests.source[rid])
            found.append((link, requests.down_bytes[rid]))
        return found

    def parcels(self) -> list[tuple[int, float]]:
        """Return (link, bytes) of every message (sim.network.post) that is still on its way."""
        pending = self.clock.pending(ARRIVE)
        return [(p.link, p.size_bytes) for p in pending if not isinstance(p, int | _Hop)]

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
        pairs, row = np.unique(pair, return_inverse=True)
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
