"""The fused kernel: one compiled loop over all events between two instants of SimPy's clock.

Emissions are merged with the heap and never put on it. The twin is `sim.fleet`, whose order of
equal times it keeps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.clock import EMIT
from sim.fast.access import Run, event_at, node_at, req
from sim.fast.heap import at, drop_first, item_of, order_of
from sim.fast.jit import jit
from sim.fast.layout import (
    BATCH_DONE,
    BROKEN,
    CHECK,
    DONE,
    DOOR,
    DRAWS,
    GIVE_UP,
    GROW,
    HOP,
    KIND_BITS,
    MINDED,
    MORE,
    PLAIN,
    REACHED,
    RETRY,
    ROUTE,
    SENT,
    SHARED_DONE,
    SHARING,
    WARMED,
)
from sim.fast.move import depart, land, returned, set_out
from sim.fast.pick import MOST_DRAWS, pick
from sim.fast.serve import (
    enqueue,
    give_up,
    plain_done,
    plain_enqueue,
    start_ready,
    warmed,
)
from sim.fast.share import admit_all, shared_done, shared_enqueue
from sim.fast.think import batch_done, start_minded

if TYPE_CHECKING:
    from sim.arrays import AnyArray, IntArray

_KIND = (1 << KIND_BITS) - 1


@jit
def advance(run: AnyArray, until_s: float, until_order: int) -> int:  # noqa: PLR0911, PLR0912
    """Let time pass up to an instant, but not beyond the end of the run.

    Args:
        run: The record of the run, (1,).
        until_s: Everything before (until_s, until_order) happens.
        until_order: Rank and key.

    Returns:
        REACHED, or what must be done before calling again: GROW the heap, find a ROUTE, DRAW
        numbers, load MORE emissions, or what a model asks for: CALL a node to start what is ready,
        finish a batch that ENDED; BROKEN names a node with more running than servers, OVERFULL one
        with more in memory than there is.
    """
    s = run[0]
    while True:
        if s["unrouted"] >= 0:
            return ROUTE
        if s["broken"] >= 0:
            return BROKEN
        if s["pause"] > 0:
            return int(s["pause"])
        if s["pending"] + _room(s) > s["heap_count"]:
            return GROW
        if s["more"] and s["next"] >= s["emitted"]:
            return MORE
        emits = _emission_first(s)
        if emits:
            rid = s["next"]
            t_s, order = req(s, rid)["t_emit_s"], order_of(EMIT, rid)
        elif s["pending"] > 0:
            t_s, order = event_at(s, 0)["t_s"], event_at(s, 0)["order"]
        else:
            return REACHED
        if t_s > s["stop_s"] or not (t_s < until_s or (t_s == until_s and order < until_order)):
            return REACHED
        if emits:
            if s["draw"] + MOST_DRAWS > s["draws_count"]:
                return DRAWS
            s["now_s"] = t_s
            _emit(s, rid, t_s, until_s, until_order)
        else:
            s["now_s"] = t_s
            item, aux = event_at(s, 0)["item"], event_at(s, 0)["aux"]
            drop_first(s)
            _happen(s, item & _KIND, item >> KIND_BITS, aux, t_s)


@jit
def _room(s: Run) -> int:
    """Return how many events the next one may bring about."""
    if s["pending"] > 0 and (event_at(s, 0)["item"] & _KIND) == CHECK:
        return int(s["room"] + node_at(s, event_at(s, 0)["item"] >> KIND_BITS)["waiting"])
    return int(s["room"])


@jit
def _emission_first(s: Run) -> bool:
    rid = s["next"]
    if rid >= s["emitted"]:
        return False
    if s["pending"] == 0:
        return True
    t_s, first_s = req(s, rid)["t_emit_s"], event_at(s, 0)["t_s"]
    return bool(t_s < first_s or (t_s == first_s and order_of(EMIT, rid) < event_at(s, 0)["order"]))


@jit
def _emit(s: Run, rid: int, now_s: float, until_s: float, until_order: int) -> None:
    """Choose a server; if nothing happens while that takes its time, send at once."""
    s["next"] = rid + 1
    source = req(s, rid)["source"]
    req(s, rid)["server"] = pick(s, source)
    sent_s, order = now_s + node_at(s, source)["choice_s"], order_of(EMIT, rid)
    if sent_s == now_s or _idle_before(s, sent_s, order, until_s, until_order):
        s["now_s"] = sent_s
        send_up(s, rid, source, sent_s)
    else:
        at(s, sent_s, order, item_of(SENT, rid), 0)


@jit
def _idle_before(s: Run, t_s: float, order: int, until_s: float, until_order: int) -> bool:
    following = s["next"]
    if following >= s["emitted"] or t_s > req(s, following)["t_emit_s"]:
        return False
    if not (t_s < until_s or (t_s == until_s and order < until_order)):
        return False
    if s["pending"] == 0:
        return True
    first = event_at(s, 0)
    return bool(t_s < first["t_s"] or (t_s == first["t_s"] and order < first["order"]))


@jit
def send_up(s: Run, rid: int, here: int, now_s: float) -> None:
    """Send a request from a node to its server."""
    server = req(s, rid)["server"]
    if here == server:
        enter(s, server, rid, now_s)
        return
    set_out(s, rid, here, server, 1)
    depart(s, rid, now_s)


@jit
def enter(s: Run, node: int, rid: int, now_s: float) -> None:
    """Knock at a station's door."""
    kind = node_at(s, node)["kind"]
    if kind == PLAIN:
        plain_enqueue(s, node, rid, now_s)
    elif kind == SHARING:
        shared_enqueue(s, node, rid, now_s)
    else:
        enqueue(s, node, rid, now_s)


@jit
def dispatch_anew(run: AnyArray, ids: IntArray, here: int, now_s: float) -> None:
    """Send requests on from a node that crashed."""
    s = run[0]
    for i in range(ids.shape[0]):
        req(s, ids[i])["server"] = pick(s, here)
        send_up(s, ids[i], here, now_s)


@jit
def _happen(s: Run, kind: int, what: int, aux: int, now_s: float) -> None:
    if kind == DOOR:
        enter(s, req(s, what)["server"], what, now_s)
    elif kind == DONE:
        plain_done(s, what, now_s)
    elif kind == BATCH_DONE:
        batch_done(s, what, aux, now_s)
    elif kind == CHECK:
        _check(s, what, now_s)
    elif kind == SHARED_DONE:
        shared_done(s, what, aux, now_s)
    elif kind == HOP:
        _landed(s, what, now_s)
    elif kind == SENT:
        send_up(s, what, req(s, what)["source"], now_s)
    elif kind == GIVE_UP:
        give_up(s, what, aux, now_s)
    elif kind == WARMED:
        warmed(s, what, aux, now_s)
    elif kind == RETRY:
        depart(s, what, now_s)


@jit
def _check(s: Run, node: int, now_s: float) -> None:
    n = node_at(s, node)
    n["check_s"] = s["nan"]
    if n["up"]:
        if n["kind"] == SHARING:
            admit_all(s, node, now_s)
        elif n["kind"] == MINDED:
            start_minded(s, node, now_s)
        else:
            start_ready(s, node, now_s)


@jit
def _landed(s: Run, rid: int, now_s: float) -> None:
    if not land(s, rid, now_s):
        return
    if req(s, rid)["here"] != req(s, rid)["goal"]:
        depart(s, rid, now_s)
    elif req(s, rid)["upward"]:
        enter(s, req(s, rid)["goal"], rid, now_s)
    else:
        returned(s, rid, now_s)
