"""Ways between pairs of nodes: what every request takes is looked up once for each pair."""

from __future__ import annotations

from heapq import heappush
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from sim.clock import ARRIVE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sim.clock import Clock
    from sim.network.links import Links

T = TypeVar("T")
Way: TypeAlias = "Callable[[int, float], None]"  # sends a request or its answer: (id, now_s)


class Made(dict[int, T]):
    """A dictionary whose values are made when they are first asked for.

    Args:
        make: Makes the value of a key.
    """

    __slots__ = ("_make",)

    def __init__(self, make: Callable[[int], T]) -> None:
        self._make = make

    def __missing__(self, key: int) -> T:
        value = self[key] = self._make(key)
        return value


def free_up(links: Links, link: int, sizes_bytes: Sequence[float], clock: Clock, door: Way) -> Way:
    """Return the way of requests over one uncontended link of unchanging speed to a door.

    Here and in `free_down` the sums are those of `Links.put`, without a call.
    """
    heap, sent_bytes = clock.heap, links.sent_bytes
    bytes_per_s, delay_s = links.bytes_per_s[link], links.delay_s[link]

    def send(rid: int, now_s: float) -> None:
        size_bytes = sizes_bytes[rid]
        sent_bytes[link] += size_bytes
        clock.alarms = nth = clock.alarms + 1
        due_s = now_s + size_bytes / bytes_per_s + delay_s
        heappush(heap, (due_s, ARRIVE, rid, nth, door, rid))

    return send


def free_down(links: Links, link: int, sizes_bytes: Sequence[float], returned: Way) -> Way:
    """Return the way of answers over such a link: their arrival is known when they are sent."""
    sent_bytes = links.sent_bytes
    bytes_per_s, delay_s = links.bytes_per_s[link], links.delay_s[link]

    def send(rid: int, now_s: float) -> None:
        size_bytes = sizes_bytes[rid]
        sent_bytes[link] += size_bytes
        returned(rid, now_s + size_bytes / bytes_per_s + delay_s)

    return send
