"""Crashes and restarts of nodes in the fused kernel; the twin is `sim.compute.station`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.clock import END
from sim.compute.floor import NODE_DOWN
from sim.fast.heap import at, item_of, order_of
from sim.fast.jit import jit
from sim.fast.layout import BATCH_DONE, DONE, KIND_BITS, PLAIN, SHARING
from sim.fast.lines import put_back
from sim.fast.move import lose
from sim.fast.serve import busy, count, depart_from, take_server, wake, watch
from sim.fast.share import attain, clear_inside, set_alarm, shared_busy

if TYPE_CHECKING:
    from sim.arrays import IntArray
    from sim.fast.layout import State

DROP, KEEP, RESUME, MIGRATE = range(4)


# --- who is there


@jit
def served_here(s: State, node: int, out: IntArray) -> int:
    """List the requests being served, in order of their starts; return how many."""
    kind = s.nodes[node]["kind"]
    if kind == PLAIN:
        return _in_plain_service(s, node, out)
    found = 0
    if kind == SHARING:
        rid = s.nodes[node]["inside_head"]
        while rid >= 0:
            out[found] = rid
            found += 1
            rid = s.ties.after[rid]
        return found
    slot = next_batch(s, node, -1)
    while slot >= 0:
        rid = s.batches[slot]["first"]
        while rid >= 0:
            out[found] = rid
            found += 1
            rid = s.ties.mate[rid]
        slot = next_batch(s, node, s.batches[slot]["id"])
    return found


@jit
def _in_plain_service(s: State, node: int, out: IntArray) -> int:
    """List by pending ends: a plain station keeps no list (nobody asks for its order)."""
    found = 0
    for i in range(s.run[0]["heap"]):
        item = s.heap.item[i]
        rid = item >> KIND_BITS
        if (item & ((1 << KIND_BITS) - 1)) == DONE and s.ties.serving[rid] == node:
            out[found] = rid
            found += 1
    return found


@jit
def next_batch(s: State, node: int, after: int) -> int:
    """Return the place of the running batch with the least id above one, -1: there is none."""
    first, best = s.nodes[node]["first_batch"], -1
    for slot in range(first, first + s.nodes[node]["all_servers"]):
        batch = s.batches[slot]
        runs = batch["live"] and batch["id"] > after
        if runs and (best < 0 or batch["id"] < s.batches[best]["id"]):
            best = slot
    return best


@jit
def waiting_here(s: State, node: int, out: IntArray, found: int) -> int:
    """List those who wait behind what is listed, in the order of their turns; return how many."""
    for rank in range(s.lines.head.shape[1]):
        rid = s.lines.head[node, rank]
        while rid >= 0:
            out[found] = rid
            found += 1
            rid = s.ties.after[rid]
    return found


# --- going down


@jit
def crash(s: State, node: int, now_s: float, work: int, out: IntArray) -> int:
    """Go down.

    Args:
        s: The state.
        node: The node.
        now_s: Time.
        work: What happens to the requests.
        out: Scratch for as many as are in the system.

    Returns:
        How many left to be dispatched anew; they are in `out`.
    """
    n = s.nodes[node]
    _go_down(s, node, now_s)
    n["open"] = 1 if work in (KEEP, RESUME) else 0
    if work == RESUME:
        return 0
    served = served_here(s, node, out)
    _stop_serving(s, node, out, served)
    if work == KEEP:
        _unstamp(s, out, served)
        for i in range(served - 1, -1, -1):
            put_back(s, node, out[i])
        for i in range(served):
            watch(s, node, out[i], now_s)
        return 0
    gone = waiting_here(s, node, out, served)
    _clear_queue(s, node)
    if work == DROP:
        _drop_all(s, node, out, gone, now_s)
        return 0
    n["moved"] += gone
    for i in range(gone):
        depart_from(s, node, out[i], now_s)
    _unstamp(s, out, gone)
    for i in range(gone):
        s.marks.t_enqueue_s[out[i]] = s.run[0]["nan"]
    return gone


@jit
def _go_down(s: State, node: int, now_s: float) -> None:
    n = s.nodes[node]
    if n["kind"] == SHARING:
        attain(s, node, now_s)
        n["alarm"] += 1
    else:
        busy(s, node, now_s)
    n["up_area_s"] += now_s - n["up_s"]
    n["up"], n["down_s"] = 0, now_s
    n["servers"] = n["free"] = n["warming"] = n["warm"] = 0
    n["epoch"] += 1


@jit
def _stop_serving(s: State, node: int, ids: IntArray, served: int) -> None:
    n = s.nodes[node]
    if n["kind"] == SHARING:
        clear_inside(s, node)
        return
    for i in range(served):
        s.ties.serving[ids[i]] = -1
    if n["kind"] != PLAIN:
        for slot in range(n["first_batch"], n["first_batch"] + n["all_servers"]):
            s.batches[slot]["live"] = 0


@jit
def _unstamp(s: State, ids: IntArray, number: int) -> None:
    for i in range(number):
        s.marks.t_start_s[ids[i]] = s.run[0]["nan"]
        s.marks.batch[ids[i]], s.marks.batch_size[ids[i]] = -1, 0


@jit
def _clear_queue(s: State, node: int) -> None:
    for rank in range(s.lines.head.shape[1]):
        rid = s.lines.head[node, rank]
        while rid >= 0:
            s.ties.where[rid] = -1
            rid = s.ties.after[rid]
        s.lines.head[node, rank] = s.lines.tail[node, rank] = -1
    s.nodes[node]["waiting"] = 0


@jit
def _drop_all(s: State, node: int, ids: IntArray, gone: int, now_s: float) -> None:
    n = s.nodes[node]
    ids[:gone].sort()
    n["lost"] += gone
    for i in range(gone):
        depart_from(s, node, ids[i], now_s)
    for i in range(gone):
        lose(s, ids[i], NODE_DOWN, now_s)


# --- coming back


@jit
def restart(s: State, node: int, now_s: float) -> None:
    """Come back, with the requests that the crash has left here."""
    n = s.nodes[node]
    settle_busy(s, node, now_s)
    n["up"] = n["open"] = 1
    n["up_s"] = now_s
    n["servers"] = n["free"] = n["all_servers"]
    if n["kind"] == SHARING:
        n["attained_at_s"] = now_s
        set_alarm(s, node, now_s)
    elif n["kind"] != PLAIN:
        _go_on(s, node, now_s)
    if n["waiting"] > 0:
        wake(s, node, now_s)


@jit
def _go_on(s: State, node: int, now_s: float) -> None:
    """Resume what ran: ends that were set before are void."""
    n = s.nodes[node]
    slot = next_batch(s, node, -1)
    while slot >= 0:
        batch = s.batches[slot]
        batch["stall_s"] += now_s - n["down_s"]
        batch["due_s"] = now_s + (batch["due_s"] - n["down_s"])
        take_server(s, node, now_s)
        order = order_of(END, batch["first"])
        at(s, batch["due_s"], order, item_of(BATCH_DONE, slot), n["epoch"])
        slot = next_batch(s, node, batch["id"])


# --- slot boundaries


@jit
def settle_busy(s: State, node: int, now_s: float) -> None:
    """Bring the integral of busy servers up to now."""
    if s.nodes[node]["kind"] == SHARING:
        shared_busy(s, node, now_s)
    else:
        busy(s, node, now_s)


@jit
def settle_all(s: State, now_s: float) -> None:
    """Bring the integrals of all nodes with servers up to now."""
    for node in range(s.nodes.shape[0]):
        n = s.nodes[node]
        if n["kind"] == 0:
            continue
        count(s, node, n["in_system"], now_s)
        settle_busy(s, node, now_s)
        if n["up"]:
            n["up_area_s"] += now_s - n["up_s"]
            n["up_s"] = now_s
