"""The arrays of the fused kernel, as Python sees them: made, replaced, and known by address."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim.fast.access import address, ints_of, word
from sim.fast.layout import ARRAYS, RUN

if TYPE_CHECKING:
    from sim.arrays import AnyArray

_TYPES = dict(ARRAYS)
_PENDING = word(RUN, "pending")
_LEAST = 1  # records of an array, so that it has an address


class State:
    """All arrays of one run, and the record that leads kernels to them.

    Attributes:
        run: RUN, (1,).
        nodes, links, batches, requests, heap, lines, routes, candidates, draws, paces, lates,
        minds, used, asks, tariffs, prices, masks, notes, over:
            Arrays of the records of `sim.fast.layout`.
    """

    nodes: AnyArray
    links: AnyArray
    batches: AnyArray
    requests: AnyArray
    heap: AnyArray
    lines: AnyArray
    routes: AnyArray
    candidates: AnyArray
    draws: AnyArray
    paces: AnyArray
    lates: AnyArray
    minds: AnyArray
    used: AnyArray
    asks: AnyArray
    tariffs: AnyArray
    prices: AnyArray
    masks: AnyArray
    notes: AnyArray
    over: AnyArray

    def __init__(self) -> None:
        self.run: AnyArray = np.zeros(1, RUN)
        self.facts = self.run[0]
        self._rooms = [np.empty(0, _TYPES["requests"]) for _ in range(2)]
        self.ints = ints_of(self.run)  # the same, faster
        for name, dtype in ARRAYS:
            self.put(name, np.zeros(0, dtype))

    def put(self, name: str, array: AnyArray) -> None:
        """Let an array take the place of the one of that name."""
        count = len(array)
        if count < _LEAST:
            array = np.zeros(_LEAST, _TYPES[name])
        setattr(self, name, array)
        self.facts[f"{name}_at"] = address(array)
        self.facts[f"{name}_count"] = count

    def other_requests(self, count: int) -> AnyArray:
        """Return room for so many requests beside those that are there, used in turns.

        (Fresh memory from the system costs more than all that happens to a request.)
        """
        self._rooms.reverse()
        if len(self._rooms[0]) < count:
            self._rooms[0] = np.empty(count + count // 4, _TYPES["requests"])
        return self._rooms[0][:count]

    def reserve(self, events: int) -> None:
        """Make sure that so many more events find room."""
        pending = self.ints[_PENDING]
        if pending + events > len(self.heap):
            wider = np.zeros(2 * (pending + events), _TYPES["heap"])
            wider[:pending] = self.heap[:pending]
            self.put("heap", wider)
