"""Messages between routers: their bytes share the simulated links with requests and answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sim.clock import ARRIVE, Clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from sim.network.links import Links
    from sim.ports import Message
    from sim.topology.graph import Network


class Parcel(NamedTuple):
    """One message on its way over one link."""

    message: Message
    link: int
    epoch: int  # of the link
    size_bytes: float


class Post:
    """Carries messages hop by hop, store and forward; a lost one is lost, as a datagram.

    Args:
        clock: The run's clock.
        links: Link states.
        network: Routes, recomputed on topology events.
        deliver: Called with a message that reached its node, and the time.
        lose: Called with a message that was lost, and the time; for bookkeeping, since neither
            end can know.
    """

    def __init__(
        self,
        clock: Clock,
        links: Links,
        network: Network,
        deliver: Callable[[Message, float], None],
        lose: Callable[[Message, float], None] | None = None,
    ) -> None:
        self.clock, self.links, self.network = clock, links, network
        self.deliver, self.lose = deliver, lose or _silently
        self._sent = 0

    def send(self, message: Message, now_s: float) -> None:
        """Send a message from its node."""
        self._sent += 1
        self._forward(message, message.src, -self._sent, now_s)

    def _forward(self, message: Message, here: int, key: int, now_s: float) -> None:
        if here == message.dst:
            self.deliver(message, now_s)
            return
        route = self.network.route(here, message.dst)
        if route is None:
            self.lose(message, now_s)
            return
        link = route[0]
        due_s = self.links.put(link, message.size_bytes, now_s)
        parcel = Parcel(message, link, self.links.epoch[link], message.size_bytes)
        self.clock.at(due_s, ARRIVE, key, self._landed, parcel)

    def _landed(self, parcel: Parcel, now_s: float) -> None:
        message, link, epoch, size_bytes = parcel
        if self.links.landed(link, size_bytes, epoch):
            self._sent += 1
            self._forward(message, self.links.dst[link], -self._sent, now_s)
        else:
            self.lose(message, now_s)


def _silently(message: Message, now_s: float) -> None:
    """Tell nobody."""
