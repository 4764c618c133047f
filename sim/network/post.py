"""Messages between routers: their bytes share the simulated links with requests and answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.network.carrier import Cargo, Carrier

if TYPE_CHECKING:
    from collections.abc import Callable

    from sim.ports import Message


class Parcel(Cargo):
    """One message on its way."""

    __slots__ = ("message", "post")

    def __init__(self, post: Post, message: Message, key: int) -> None:
        luck = post.carrier.number()
        super().__init__(key, luck, message.src, message.dst, message.size_bytes)
        self.post, self.message = post, message

    def landed(self, now_s: float) -> None:
        """Go on to the next hop, or to who waits for it."""
        self.post.landed(self, now_s)

    def failed(self, reason: int, now_s: float) -> None:
        """Be lost."""
        self.post.lose(self.message, now_s)


class Post:
    """Carries messages hop by hop, store and forward; a lost one is lost, as a datagram.

    Args:
        carrier: Sends over the links that requests share.
        deliver: Called with a message that reached its node, and the time.
        lose: Called with a message that was lost, and the time; for bookkeeping, since neither
            end can know.
    """

    def __init__(
        self,
        carrier: Carrier,
        deliver: Callable[[Message, float], None],
        lose: Callable[[Message, float], None] | None = None,
    ) -> None:
        self.carrier = carrier
        self.deliver, self.lose = deliver, lose or _silently
        self._sent = 0

    def send(self, message: Message, now_s: float) -> None:
        """Send a message from its node."""
        self._sent += 1
        self._forward(Parcel(self, message, -self._sent), now_s)

    def landed(self, parcel: Parcel, now_s: float) -> None:
        """Go on from the end of a hop, as the last one sent so far."""
        self._sent += 1
        parcel.key = -self._sent
        self._forward(parcel, now_s)

    def _forward(self, parcel: Parcel, now_s: float) -> None:
        if parcel.here == parcel.goal:
            self.deliver(parcel.message, now_s)
        elif not self.carrier.send(parcel, now_s):
            self.lose(parcel.message, now_s)


def _silently(message: Message, now_s: float) -> None:
    """Tell nobody."""
