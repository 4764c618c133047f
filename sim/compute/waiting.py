"""The requests that wait at a station, in the order in which they will be served.

A request may leave from the middle of the queue (its patience ends), and may come back to its head
(a crash took its server).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sim.config import Discipline
    from sim.request import Requests


class PatientLine(deque[int]):
    """First come, first served; nobody leaves from the middle.

    Args:
        requests: Columns of all requests.
    """

    def __init__(self, requests: Requests) -> None:
        super().__init__()
        self._enqueue_s = requests.t_enqueue_s

    def put_back(self, ids: Sequence[int]) -> None:
        """Give requests that were being served their places back, ahead of all that waited."""
        self.extendleft(reversed(ids))

    def oldest_s(self) -> float:
        """Return when the request that has waited longest joined."""
        return self._enqueue_s[self[0]]


class Line:
    """First come, first served; every change takes constant time.

    Args:
        requests: Columns of all requests.
    """

    def __init__(self, requests: Requests) -> None:
        self._enqueue_s = requests.t_enqueue_s
        self._order: OrderedDict[int, int] = OrderedDict()  # by joining; request -> its number

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, rid: int) -> bool:
        return rid in self._order

    def __iter__(self) -> Iterator[int]:
        return iter(self._order)

    def append(self, rid: int) -> None:
        """Let a request join."""
        self._order[rid] = 0

    def popleft(self) -> int:
        """Take the request whose turn it is."""
        return self._order.popitem(last=False)[0]

    def remove(self, rid: int) -> None:
        """Let a request leave from wherever it stands."""
        del self._order[rid]

    def put_back(self, ids: Sequence[int]) -> None:
        """Give requests that were being served their places back, ahead of all that waited."""
        for rid in reversed(ids):
            self._order[rid] = 0
            self._order.move_to_end(rid, last=False)

    def oldest_s(self) -> float:
        """Return when the request that has waited longest joined."""
        return self._enqueue_s[next(iter(self._order))]

    def clear(self) -> None:
        """Let all leave."""
        self._order.clear()


class RankedLine(Line):
    """The highest priority first; within one, first come, first served.

    A request that comes back goes ahead of its own priority only. Those that leave stay in the heap
    until they reach its top, or are most of it.

    Args:
        requests: Columns of all requests.
    """

    def __init__(self, requests: Requests) -> None:
        super().__init__(requests)
        self._priority = requests.priority
        self._heap: list[tuple[int, int, int]] = []  # (-priority, number, request)
        self._first = self._last = 0  # numbers in order of joining; those put back count down

    def __iter__(self) -> Iterator[int]:
        return (rid for _, number, rid in sorted(self._heap) if self._order.get(rid) == number)

    def append(self, rid: int) -> None:
        """Let a request join."""
        self._last += 1
        self._push(rid, self._last)

    def _push(self, rid: int, number: int) -> None:
        self._order[rid] = number
        heappush(self._heap, (-self._priority[rid], number, rid))

    def popleft(self) -> int:
        """Take the request whose turn it is."""
        while True:
            _, number, rid = heappop(self._heap)
            if self._order.get(rid) == number:
                del self._order[rid]
                return rid

    def remove(self, rid: int) -> None:
        """Let a request leave from wherever it stands."""
        del self._order[rid]
        if len(self._heap) > 2 * len(self._order) + 16:
            self._heap = [each for each in self._heap if self._order.get(each[2]) == each[1]]
            heapify(self._heap)

    def put_back(self, ids: Sequence[int]) -> None:
        """Give requests that were being served their places back, ahead of their priority."""
        for rid in reversed(ids):
            self._first -= 1
            self._push(rid, self._first)
        by_age = sorted(self._order, key=self._enqueue_s.__getitem__)
        self._order = OrderedDict((rid, self._order[rid]) for rid in by_age)

    def clear(self) -> None:
        """Let all leave."""
        super().clear()
        self._heap.clear()


def line(discipline: Discipline, requests: Requests, *, removable: bool) -> PatientLine | Line:
    """Make the queue of a discipline; who shares a server waits only while it is down.

    Args:
        discipline: Who is served next.
        requests: Columns of all requests.
        removable: Requests may leave from the middle.
    """
    if discipline == "priority":
        return RankedLine(requests)
    return Line(requests) if removable else PatientLine(requests)
