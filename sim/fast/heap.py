"""Pending events of the fused kernel, by (time, rank, key): the order of `sim.clock`.

Events that agree in all three have the same effect or none, so nothing depends on their order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.fast.jit import jit
from sim.fast.layout import KIND_BITS

if TYPE_CHECKING:
    from sim.fast.layout import State

_RANK, _KEY = 1 << 48, 1 << 47


@jit
def order_of(rank: int, key: int) -> int:
    """Pack rank and key (which may be negative) into one number of the same order."""
    return rank * _RANK + key + _KEY


@jit
def at(s: State, t_s: float, order: int, item: int, aux: int) -> None:
    """Add an event; there is room for it."""
    heap, run = s.heap, s.run[0]
    place = run["heap"]
    run["heap"] = place + 1
    run["events"] += 1
    while place > 0:
        above = (place - 1) >> 1
        above_s = heap.t_s[above]
        if above_s < t_s or (above_s == t_s and heap.order[above] <= order):
            break
        heap.t_s[place] = above_s
        heap.order[place] = heap.order[above]
        heap.item[place] = heap.item[above]
        heap.aux[place] = heap.aux[above]
        place = above
    heap.t_s[place] = t_s
    heap.order[place] = order
    heap.item[place] = item
    heap.aux[place] = aux


@jit
def drop_first(s: State) -> None:
    """Remove the first event: the last one takes its place and sinks."""
    heap, run = s.heap, s.run[0]
    size = run["heap"] - 1
    run["heap"] = size
    t_s, order = heap.t_s[size], heap.order[size]
    place = 0
    while True:
        below = 2 * place + 1
        if below >= size:
            break
        other = below + 1
        if other < size and _before(s, other, below):
            below = other
        below_s = heap.t_s[below]
        if t_s < below_s or (t_s == below_s and order <= heap.order[below]):
            break
        heap.t_s[place] = below_s
        heap.order[place] = heap.order[below]
        heap.item[place] = heap.item[below]
        heap.aux[place] = heap.aux[below]
        place = below
    heap.t_s[place] = t_s
    heap.order[place] = order
    heap.item[place] = heap.item[size]
    heap.aux[place] = heap.aux[size]


@jit
def _before(s: State, one: int, other: int) -> bool:
    heap = s.heap
    if heap.t_s[one] != heap.t_s[other]:
        return bool(heap.t_s[one] < heap.t_s[other])
    return bool(heap.order[one] < heap.order[other])


@jit
def item_of(kind: int, what: int) -> int:
    """Pack what an event is about."""
    return (what << KIND_BITS) | kind
