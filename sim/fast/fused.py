"""The fused kernel: one compiled loop over all events between two instants of SimPy's clock.

Emissions are merged with the heap and never put on it. The twin is `sim.fleet`, whose order of
equal times it keeps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.clock import EMIT
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
    finish,
    give_up,
    plain_done,
    plain_enqueue,
    start_ready,
    warmed,
)
from sim.fast.share import admit_all, shared_done, shared_enqueue

if TYPE_CHECKING:
    from sim.arrays import IntArray
    from sim.fast.layout import State

_KIND = (1 << KIND_BITS) - 1


@jit
def advance(s: State, until_s: float, until_order: int) -> int:
    """Let time pass up to an instant, but not beyond the end of the run.

    Args:
        s: The state.
        until_s: Everything before (until_s, until_order) happens.
        until_order: Rank and key.

    Returns:
        REACHED, or what must be done before calling again: GROW the heap, find a ROUTE, DRAW
        numbers; BROKEN names a node with more running than servers.
    """
    run = s.run[0]
    while True:
        if run["unrouted"] >= 0:
            return ROUTE
        if run["broken"] >= 0:
            return BROKEN
        if run["heap"] + _room(s) > s.heap.t_s.shape[0]:
            return GROW
        emits = _emission_first(s)
        if emits:
            rid = run["next"]
            t_s, order = s.asked.t_emit_s[rid], order_of(EMIT, rid)
        elif run["heap"] > 0:
            t_s, order = s.heap.t_s[0], s.heap.order[0]
        else:
            return REACHED
        if t_s > run["stop_s"] or not (t_s < until_s or (t_s == until_s and order < until_order)):
            return REACHED
        if emits:
            if run["draw"] + MOST_DRAWS > s.choice.draws.shape[0]:
                return DRAWS
            run["now_s"] = t_s
            _emit(s, rid, t_s, until_s, until_order)
        else:
            run["now_s"] = t_s
            item, aux = s.heap.item[0], s.heap.aux[0]
            drop_first(s)
            _happen(s, item & _KIND, item >> KIND_BITS, aux, t_s)


@jit
def _room(s: State) -> int:
    """Return how many events the next one may bring about."""
    run = s.run[0]
    if run["heap"] > 0 and (s.heap.item[0] & _KIND) == CHECK:
        return int(run["room"] + s.nodes[s.heap.item[0] >> KIND_BITS]["waiting"])
    return int(run["room"])


@jit
def _emission_first(s: State) -> bool:
    run = s.run[0]
    rid = run["next"]
    if rid >= run["emitted"]:
        return False
    if run["heap"] == 0:
        return True
    t_s, first_s = s.asked.t_emit_s[rid], s.heap.t_s[0]
    return bool(t_s < first_s or (t_s == first_s and order_of(EMIT, rid) < s.heap.order[0]))


@jit
def _emit(s: State, rid: int, now_s: float, until_s: float, until_order: int) -> None:
    """Choose a server; if nothing happens while that takes its time, send at once."""
    run = s.run[0]
    run["next"] = rid + 1
    source = int(s.asked.source[rid])
    s.marks.server[rid] = pick(s, source)
    sent_s, order = now_s + s.nodes[source]["choice_s"], order_of(EMIT, rid)
    if sent_s == now_s or _idle_before(s, sent_s, order, until_s, until_order):
        run["now_s"] = sent_s
        send_up(s, rid, source, sent_s)
    else:
        at(s, sent_s, order, item_of(SENT, rid), 0)


@jit
def _idle_before(s: State, t_s: float, order: int, until_s: float, until_order: int) -> bool:
    run, heap = s.run[0], s.heap
    following = run["next"]
    if following >= run["emitted"] or t_s > s.asked.t_emit_s[following]:
        return False
    if not (t_s < until_s or (t_s == until_s and order < until_order)):
        return False
    if run["heap"] == 0:
        return True
    return bool(t_s < heap.t_s[0] or (t_s == heap.t_s[0] and order < heap.order[0]))


@jit
def send_up(s: State, rid: int, here: int, now_s: float) -> None:
    """Send a request from a node to its server."""
    server = int(s.marks.server[rid])
    if here == server:
        enter(s, server, rid, now_s)
        return
    set_out(s, rid, here, server, 1)
    depart(s, rid, now_s)


@jit
def enter(s: State, node: int, rid: int, now_s: float) -> None:
    """Knock at a station's door."""
    kind = s.nodes[node]["kind"]
    if kind == PLAIN:
        plain_enqueue(s, node, rid, now_s)
    elif kind == SHARING:
        shared_enqueue(s, node, rid, now_s)
    else:
        enqueue(s, node, rid, now_s)


@jit
def dispatch_anew(s: State, ids: IntArray, here: int, now_s: float) -> None:
    """Send requests on from a node that crashed."""
    for i in range(ids.shape[0]):
        s.marks.server[ids[i]] = pick(s, here)
        send_up(s, ids[i], here, now_s)


@jit
def _happen(s: State, kind: int, what: int, aux: int, now_s: float) -> None:
    if kind == DOOR:
        enter(s, int(s.marks.server[what]), what, now_s)
    elif kind == DONE:
        plain_done(s, what, now_s)
    elif kind == BATCH_DONE:
        finish(s, what, aux, now_s)
    elif kind == CHECK:
        _check(s, what, now_s)
    elif kind == SHARED_DONE:
        shared_done(s, what, aux, now_s)
    elif kind == HOP:
        _landed(s, what, now_s)
    elif kind == SENT:
        send_up(s, what, int(s.asked.source[what]), now_s)
    elif kind == GIVE_UP:
        give_up(s, what, aux, now_s)
    elif kind == WARMED:
        warmed(s, what, aux, now_s)
    elif kind == RETRY:
        depart(s, what, now_s)


@jit
def _check(s: State, node: int, now_s: float) -> None:
    n = s.nodes[node]
    n["check_s"] = s.run[0]["nan"]
    if n["up"]:
        if n["kind"] == SHARING:
            admit_all(s, node, now_s)
        else:
            start_ready(s, node, now_s)


@jit
def _landed(s: State, rid: int, now_s: float) -> None:
    if not land(s, rid, now_s):
        return
    ties = s.ties
    if ties.here[rid] != ties.goal[rid]:
        depart(s, rid, now_s)
    elif ties.upward[rid]:
        enter(s, ties.goal[rid], rid, now_s)
    else:
        returned(s, rid, now_s)
