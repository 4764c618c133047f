"""Crashes and restarts of nodes in the fused kernel; the twin is `sim.compute.station`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.clock import END
from sim.compute.floor import NODE_DOWN
from sim.fast.access import Run, batch_at, event_at, line_at, node_at, req
from sim.fast.heap import at, item_of, order_of
from sim.fast.jit import jit
from sim.fast.layout import BATCH_DONE, DONE, KIND_BITS, PLAIN, SHARING
from sim.fast.lines import put_back
from sim.fast.move import lose
from sim.fast.serve import busy, count, depart_from, take_server, wake, watch
from sim.fast.share import attain, clear_inside, set_alarm, shared_busy

if TYPE_CHECKING:
    from sim.arrays import AnyArray, IntArray

DROP, KEEP, RESUME, MIGRATE = range(4)


# --- who is there


@jit
def served_here(s: Run, node: int, out: IntArray) -> int:
    """List the requests being served, in order of their starts; return how many."""
    kind = node_at(s, node)["kind"]
    if kind == PLAIN:
        return _in_plain_service(s, node, out)
    found = 0
    if kind == SHARING:
        rid = node_at(s, node)["inside_head"]
        while rid >= 0:
            out[found] = rid
            found += 1
            rid = req(s, rid)["after"]
        return found
    slot = next_batch(s, node, -1)
    while slot >= 0:
        rid = batch_at(s, slot)["first"]
        while rid >= 0:
            out[found] = rid
            found += 1
            rid = req(s, rid)["mate"]
        slot = next_batch(s, node, batch_at(s, slot)["id"])
    return found


@jit
def _in_plain_service(s: Run, node: int, out: IntArray) -> int:
    """List by pending ends: a plain station keeps no list (nobody asks for its order)."""
    found = 0
    for i in range(s["pending"]):
        item = event_at(s, i)["item"]
        rid = item >> KIND_BITS
        if (item & ((1 << KIND_BITS) - 1)) == DONE and req(s, rid)["serving"] == node:
            out[found] = rid
            found += 1
    return found


@jit
def next_batch(s: Run, node: int, after: int) -> int:
    """Return the place of the running batch with the least id above one, -1: there is none."""
    first, best = node_at(s, node)["first_batch"], -1
    for slot in range(first, first + node_at(s, node)["all_servers"]):
        batch = batch_at(s, slot)
        runs = batch["live"] and batch["id"] > after
        if runs and (best < 0 or batch["id"] < batch_at(s, best)["id"]):
            best = slot
    return best


@jit
def waiting_here(s: Run, node: int, out: IntArray, found: int) -> int:
    """List those who wait behind what is listed, in the order of their turns; return how many."""
    for rank in range(s["classes"]):
        rid = line_at(s, node * s["classes"] + rank)["head"]
        while rid >= 0:
            out[found] = rid
            found += 1
            rid = req(s, rid)["after"]
    return found


# --- going down


@jit
def crash(run: AnyArray, node: int, now_s: float, work: int, out: IntArray) -> int:
    """Go down.

    Args:
        run: The record of the run, (1,).
        node: The node.
        now_s: Time.
        work: What happens to the requests.
        out: Scratch for as many as are in the system.

    Returns:
        How many left to be dispatched anew; they are in `out`.
    """
    s = run[0]
    n = node_at(s, node)
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
        req(s, out[i])["t_enqueue_s"] = s["nan"]
    return gone


@jit
def _go_down(s: Run, node: int, now_s: float) -> None:
    n = node_at(s, node)
    if n["kind"] == SHARING:
        attain(s, node, now_s)
        n["alarm"] += 1
    else:
        busy(s, node, now_s)
    n["up_area_s"] += now_s - n["up_s"]
    n["up"], n["down_s"] = 0, now_s
    s["alive"] = -1
    n["servers"] = n["free"] = n["warming"] = n["warm"] = 0
    n["epoch"] += 1


@jit
def _stop_serving(s: Run, node: int, ids: IntArray, served: int) -> None:
    n = node_at(s, node)
    if n["kind"] == SHARING:
        clear_inside(s, node)
        return
    for i in range(served):
        req(s, ids[i])["serving"] = -1
    if n["kind"] != PLAIN:
        for slot in range(n["first_batch"], n["first_batch"] + n["all_servers"]):
            batch_at(s, slot)["live"] = 0


@jit
def _unstamp(s: Run, ids: IntArray, number: int) -> None:
    for i in range(number):
        req(s, ids[i])["t_start_s"] = s["nan"]
        req(s, ids[i])["batch"], req(s, ids[i])["batch_size"] = -1, 0


@jit
def _clear_queue(s: Run, node: int) -> None:
    for rank in range(s["classes"]):
        rid = line_at(s, node * s["classes"] + rank)["head"]
        while rid >= 0:
            req(s, rid)["where"] = -1
            rid = req(s, rid)["after"]
        line_at(s, node * s["classes"] + rank)["head"] = line_at(s, node * s["classes"] + rank)[
            "tail"
        ] = -1
    node_at(s, node)["waiting"] = 0


@jit
def _drop_all(s: Run, node: int, ids: IntArray, gone: int, now_s: float) -> None:
    n = node_at(s, node)
    ids[:gone].sort()
    n["lost"] += gone
    for i in range(gone):
        depart_from(s, node, ids[i], now_s)
    for i in range(gone):
        lose(s, ids[i], NODE_DOWN, now_s)


# --- coming back


@jit
def restart(run: AnyArray, node: int, now_s: float) -> None:
    """Come back, with the requests that the crash has left here."""
    s = run[0]
    n = node_at(s, node)
    settle_busy(s, node, now_s)
    n["up"] = n["open"] = 1
    s["alive"] = -1
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
def _go_on(s: Run, node: int, now_s: float) -> None:
    """Resume what ran: ends that were set before are void."""
    n = node_at(s, node)
    slot = next_batch(s, node, -1)
    while slot >= 0:
        batch = batch_at(s, slot)
        batch["stall_s"] += now_s - n["down_s"]
        batch["due_s"] = now_s + (batch["due_s"] - n["down_s"])
        take_server(s, node, now_s)
        order = order_of(END, batch["first"])
        at(s, batch["due_s"], order, item_of(BATCH_DONE, slot), n["epoch"])
        slot = next_batch(s, node, batch["id"])


# --- slot boundaries


@jit
def settle_busy(s: Run, node: int, now_s: float) -> None:
    """Bring the integral of busy servers up to now."""
    if node_at(s, node)["kind"] == SHARING:
        shared_busy(s, node, now_s)
    else:
        busy(s, node, now_s)


@jit
def settle_all(run: AnyArray, now_s: float) -> None:
    """Bring the integrals of all nodes with servers up to now."""
    s = run[0]
    for node in range(s["nodes_count"]):
        n = node_at(s, node)
        if n["kind"] == 0:
            continue
        count(s, node, n["in_system"], now_s)
        settle_busy(s, node, now_s)
        if n["up"]:
            n["up_area_s"] += now_s - n["up_s"]
            n["up_s"] = now_s
