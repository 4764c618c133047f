"""One try of one cargo over the next part of its way, whatever kind of links it leads over."""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import takewhile
from typing import TYPE_CHECKING

from sim.clock import ARRIVE, Clock
from sim.network.fluid import Fluid
from sim.network.links import LANDED, Links

if TYPE_CHECKING:
    from sim.topology.graph import Network, Route


class Cargo(ABC):
    """Something on its way from node to node.

    Args:
        key: Order among arrivals of the same instant.
        luck: What tells its luck on lossy links from that of others.
        here: Node where it is.
        goal: Node that it is for.
        size_bytes: What it weighs.

    Attributes:
        way: The links that it is on, () while it is on none.
    """

    __slots__ = ("_epochs", "_loser", "_tried", "goal", "here", "key", "luck", "size_bytes", "way")

    def __init__(self, key: int, luck: int, here: int, goal: int, size_bytes: float) -> None:
        self.key, self.luck, self.here, self.goal = key, luck, here, goal
        self.size_bytes = size_bytes
        self.way: Route = ()
        self._epochs: tuple[int, ...] = ()
        self._loser = -1
        self._tried: dict[int, int] | None = None

    @abstractmethod
    def landed(self, now_s: float) -> None:
        """Go on: it is `here`, at the end of the part of its way that it was sent over."""

    @abstractmethod
    def failed(self, reason: int, now_s: float) -> None:
        """Take note that the try failed, which is known at the node where it was made."""

    def loser(self, way: Route, links: Links, now_s: float) -> int:
        """Return the first link that loses the try that begins now, -1: none does."""
        found = -1
        tried = self._tried = self._tried or {}
        for link in way:
            if links.lossy[link]:
                tried[link] = nth = tried.get(link, 0) + 1
                if links.loses(link, self.luck, nth, now_s) and found < 0:
                    found = link
        return found


class Carrier:
    """Sends cargo over the links that lead on from where it is.

    A try takes one FIFO or uncontended link, or all links of a maximal run of fair ones, as one
    flow. Cuts and losses are known where the try began at the moment at which it should have
    arrived; a flow that a cut ends, when what had left by then has arrived.

    Args:
        clock: The run's clock.
        links: Link states.
        network: Routes, recomputed on topology events.
    """

    def __init__(self, clock: Clock, links: Links, network: Network) -> None:
        self.clock, self.links, self.network = clock, links, network
        capacity = [links.capacity(i, 0.0) for i in range(len(links.specs))]
        self.fluid: Fluid[Cargo] = Fluid(clock, capacity, self._gone)
        self._numbers = 0

    def number(self) -> int:
        """Return a fresh luck key for a cargo that is no request; those of requests are >= 0."""
        self._numbers -= 1
        return self._numbers

    def send(self, cargo: Cargo, now_s: float) -> bool:
        """Try to pass a cargo on towards its goal; False: no way leads there."""
        route = self.network.route(cargo.here, cargo.goal)
        if route is None:
            return False
        links, first = self.links, route[0]
        if links.fair[first]:
            self._flow(cargo, tuple(takewhile(links.fair.__getitem__, route)), now_s)
            return True
        cargo.way = (first,)
        cargo._epochs = (links.epoch[first],)
        cargo._loser = cargo.loser(cargo.way, links, now_s) if links.lossy[first] else -1
        due_s = links.put(first, cargo.size_bytes, now_s)
        self.clock.at(due_s, ARRIVE, cargo.key, self._due, cargo)
        return True

    def _flow(self, cargo: Cargo, way: Route, now_s: float) -> None:
        links = self.links
        cargo.way, cargo._epochs = way, tuple(links.epoch[link] for link in way)
        cargo._loser = cargo.loser(way, links, now_s)
        links.fill(way, cargo.size_bytes)
        self.fluid.start(cargo, cargo.key, way, cargo.size_bytes, now_s)

    def _gone(self, cargo: Cargo, now_s: float) -> None:
        """Let what left its first node arrive."""
        delay_s = sum(self.links.delay_at(link, now_s) for link in cargo.way)
        self.clock.at(now_s + delay_s, ARRIVE, cargo.key, self._due, cargo)

    def _due(self, cargo: Cargo, now_s: float) -> None:
        links, way = self.links, cargo.way
        reason = links.settle(way, cargo._epochs, cargo.size_bytes, cargo._loser)
        cargo.way = ()
        if reason == LANDED:
            cargo.here = links.dst[way[-1]]
            cargo.landed(now_s)
        else:
            cargo.failed(reason, now_s)

    def cut(self, link: int, now_s: float) -> None:
        """Take a link down: what is on it is lost."""
        self.links.fail(link)
        self.network.set_link(link, up=False)
        self.fluid.cut(link, now_s)

    def mend(self, link: int, now_s: float) -> None:
        """Bring a link up, empty."""
        self.links.repair(link, now_s)
        self.network.set_link(link, up=True)

    def link_changed(self, link: int, now_s: float) -> None:
        """Let flows take the bandwidth that the timetable of faults gives a link from now on."""
        if self.links.fair[link]:
            self.fluid.change(link, self.links.capacity(link, now_s), now_s)

    def aloft(self) -> list[Cargo]:
        """Return every cargo that is still to come somewhere, or waits for another try."""
        pending = [item for item in self.clock.pending(ARRIVE) if isinstance(item, Cargo)]
        return [*pending, *self.fluid.items()]
