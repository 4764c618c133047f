"""Fair links: flows that drain at max-min fair rates, with the exact times at which they end."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from math import inf
from typing import TYPE_CHECKING, Generic, TypeVar

from sim.clock import END, Clock
from sim.network.maxmin import max_min

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Item = TypeVar("Item")

_SLACK = 64  # stale entries that the heap may hold beside four per flow


class _Flow(Generic[Item]):
    """One transfer that occupies all links of its way at once."""

    __slots__ = ("due_s", "item", "key", "left_bytes", "links", "number", "rate", "since_s")

    def __init__(
        self, item: Item, key: int, number: int, links: Sequence[int], size_bytes: float
    ) -> None:
        self.item, self.key, self.number, self.links = item, key, number, links
        self.left_bytes, self.rate, self.since_s, self.due_s = size_bytes, 0.0, 0.0, inf

    def turn(self, rate: float, now_s: float) -> None:
        """Go on at another rate."""
        done_bytes = self.rate * (now_s - self.since_s)
        self.left_bytes = max(0.0, self.left_bytes - done_bytes)
        self.rate, self.since_s = rate, now_s
        self.due_s = now_s + self.left_bytes / rate


class Fluid(Generic[Item]):
    """Flows on links with fixed routes; rates change only when a flow or a capacity does.

    Then only flows that share links with the changed ones, directly or through others, get new
    rates. One alarm waits for the next end of a flow. Ends of the same instant come before its
    arrivals, like ends of services; among themselves they go by key.

    Args:
        clock: The run's clock.
        bytes_per_s: Capacity by link.
        gone: Called with an item and the time when its last byte has left, or when a cut ends it.

    Source: fluid model of elastic flows, rates by progressive filling (sim.network.maxmin).
    Deviation: none; rates hold from the instant of a change on, as if ends adapted at once.
    """

    def __init__(
        self, clock: Clock, bytes_per_s: Sequence[float], gone: Callable[[Item, float], None]
    ) -> None:
        self.clock, self.gone = clock, gone
        self.bytes_per_s = list(bytes_per_s)
        self._on: list[dict[int, _Flow[Item]]] = [{} for _ in self.bytes_per_s]
        self._flows: dict[int, _Flow[Item]] = {}
        self._dues: list[tuple[float, int, int, _Flow[Item]]] = []  # stale ones among them
        self._armed_s = inf
        self._started = 0

    def start(
        self, item: Item, key: int, links: Sequence[int], size_bytes: float, now_s: float
    ) -> None:
        """Let an item flow over links from now on."""
        if size_bytes <= 0.0 or all(self.bytes_per_s[link] == inf for link in links):
            self.gone(item, now_s)
            return
        self._started += 1
        flow = _Flow(item, key, self._started, links, size_bytes)
        self._flows[flow.number] = flow
        for link in links:
            self._on[link][flow.number] = flow
        self._share(links, now_s)

    def change(self, link: int, bytes_per_s: float, now_s: float) -> None:
        """Let a link have another capacity from now on."""
        if bytes_per_s != self.bytes_per_s[link]:
            self.bytes_per_s[link] = bytes_per_s
            self._share((link,), now_s)

    def cut(self, link: int, now_s: float) -> None:
        """End the flows that cross a link."""
        self._end(_in_order(self._on[link].values()), now_s)

    def items(self) -> list[Item]:
        """Return what flows, in order of keys."""
        return [flow.item for flow in _in_order(self._flows.values())]

    def _end(self, flows: Sequence[_Flow[Item]], now_s: float) -> None:
        links: dict[int, None] = {}
        for flow in flows:
            del self._flows[flow.number]
            flow.due_s = inf  # its entries in the heap are stale
            for link in flow.links:
                del self._on[link][flow.number]
                links[link] = None
        self._share(links, now_s)
        for flow in flows:
            self.gone(flow.item, now_s)

    def _share(self, links: Iterable[int], now_s: float) -> None:
        """Give the flows that a change of some links concerns their new rates."""
        flows = self._neighbours(links)
        rates = max_min(self.bytes_per_s, [flow.links for flow in flows])
        for flow, rate in zip(flows, rates, strict=True):
            if rate != flow.rate:
                flow.turn(rate, now_s)
                heappush(self._dues, (flow.due_s, flow.key, flow.number, flow))
        self._arm()

    def _neighbours(self, links: Iterable[int]) -> list[_Flow[Item]]:
        """Return the flows on some links, on links of those flows, and so on."""
        found: dict[int, _Flow[Item]] = {}
        seen = dict.fromkeys(links)
        ahead = list(seen)
        for link in ahead:  # grows meanwhile
            for number, flow in self._on[link].items():
                if number not in found:
                    found[number] = flow
                    fresh = [other for other in flow.links if other not in seen]
                    seen.update(dict.fromkeys(fresh))
                    ahead += fresh
        return _in_order(found.values())

    def _arm(self) -> None:
        """Set the alarm for the next end of a flow, if it is not the one that is set."""
        dues = self._dues
        if len(dues) > 4 * len(self._flows) + _SLACK:
            dues[:] = [due for due in dues if due[0] == due[3].due_s]
            heapify(dues)
        while dues and dues[0][0] != dues[0][3].due_s:
            heappop(dues)
        next_s = dues[0][0] if dues else inf
        if next_s != self._armed_s:
            self._armed_s = next_s
            if dues:
                self.clock.at(next_s, END, -1, self._ring, next_s)

    def _ring(self, due_s: float, now_s: float) -> None:
        if due_s != self._armed_s:
            return  # rates have changed since this alarm was set
        self._armed_s = inf
        ended: dict[int, _Flow[Item]] = {}
        while self._dues and self._dues[0][0] <= now_s:
            stale_s, _, number, flow = heappop(self._dues)
            if stale_s == flow.due_s:
                ended[number] = flow
        self._end(list(ended.values()), now_s)


def _in_order(flows: Iterable[_Flow[Item]]) -> list[_Flow[Item]]:
    return sorted(flows, key=lambda flow: (flow.key, flow.number))
