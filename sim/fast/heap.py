"""Pending events of the fused kernel, by (time, rank, key): the order of `sim.clock`.

Events that agree in all three have the same effect or none, so nothing depends on their order.
"""

from __future__ import annotations

from sim.fast.access import Run, event_at
from sim.fast.jit import jit
from sim.fast.layout import KIND_BITS

RANK, KEY = 1 << 48, 1 << 47


@jit
def order_of(rank: int, key: int) -> int:
    """Pack rank and key (which may be negative) into one number of the same order."""
    return rank * RANK + key + KEY


@jit
def at(s: Run, t_s: float, order: int, item: int, aux: int) -> None:
    """Add an event; there is room for it."""
    place = s["pending"]
    s["pending"] = place + 1
    s["events"] += 1
    while place > 0:
        above = (place - 1) >> 1
        above_s = event_at(s, above)["t_s"]
        if above_s < t_s or (above_s == t_s and event_at(s, above)["order"] <= order):
            break
        _move(s, above, place)
        place = above
    event_at(s, place)["t_s"] = t_s
    event_at(s, place)["order"] = order
    event_at(s, place)["item"] = item
    event_at(s, place)["aux"] = aux


@jit
def _move(s: Run, source: int, place: int) -> None:
    here, there = event_at(s, place), event_at(s, source)
    here["t_s"], here["order"] = there["t_s"], there["order"]
    here["item"], here["aux"] = there["item"], there["aux"]


@jit
def drop_first(s: Run) -> None:
    """Remove the first event: the last one takes its place and sinks."""
    size = s["pending"] - 1
    s["pending"] = size
    t_s, order = event_at(s, size)["t_s"], event_at(s, size)["order"]
    place = 0
    while True:
        below = 2 * place + 1
        if below >= size:
            break
        other = below + 1
        if other < size and _before(s, other, below):
            below = other
        below_s = event_at(s, below)["t_s"]
        if t_s < below_s or (t_s == below_s and order <= event_at(s, below)["order"]):
            break
        _move(s, below, place)
        place = below
    _move(s, size, place)


@jit
def _before(s: Run, one: int, other: int) -> bool:
    if event_at(s, one)["t_s"] != event_at(s, other)["t_s"]:
        return bool(event_at(s, one)["t_s"] < event_at(s, other)["t_s"])
    return bool(event_at(s, one)["order"] < event_at(s, other)["order"])


@jit
def item_of(kind: int, what: int) -> int:
    """Pack what an event is about."""
    return (what << KIND_BITS) | kind
