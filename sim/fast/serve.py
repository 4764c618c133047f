"""Stations of the fused kernel: servers, queues, batches, set-ups, patience.

The twins are `sim.compute.plain` (PLAIN) and `sim.compute.station` with `setup` (STATION); every
float is computed by the same operations in the same order.
"""

from __future__ import annotations

from sim.clock import END, LEAVE, START
from sim.compute.floor import DEADLINE, NODE_DOWN, PATIENCE, QUEUE_FULL
from sim.fast.access import Run, batch_at, node_at, req
from sim.fast.heap import at, item_of, order_of
from sim.fast.jit import jit
from sim.fast.layout import BATCH_DONE, CHECK, DONE, GIVE_UP, WARMED
from sim.fast.lines import append, oldest_s, popleft, remove
from sim.fast.move import lose, send_down

_INF = float("inf")


# --- meters


@jit
def count(s: Run, node: int, number: int, now_s: float) -> None:
    """Set the number in system."""
    n = node_at(s, node)
    n["area"] += n["in_system"] * (now_s - n["area_s"])
    n["area_s"] = now_s
    n["in_system"] = number
    n["queue_max"] = max(n["queue_max"], number)


@jit
def busy(s: Run, node: int, now_s: float) -> None:
    """Bring the integral of busy servers up to now."""
    n = node_at(s, node)
    n["busy_area"] += (n["servers"] - n["free"]) * (now_s - n["busy_s"])
    n["busy_s"] = now_s


@jit
def refuse(s: Run, node: int, rid: int, reason: int, now_s: float) -> None:
    """Turn a request away."""
    node_at(s, node)["lost"] += 1
    lose(s, rid, reason, now_s)


@jit
def depart_from(s: Run, node: int, rid: int, now_s: float) -> None:
    """Count out one request."""
    n = node_at(s, node)
    n["stays_s"] += now_s - req(s, rid)["t_enqueue_s"]
    count(s, node, n["in_system"] - 1, now_s)


# --- servers


@jit
def take_server(s: Run, node: int, now_s: float) -> None:
    """Occupy a server; where they need a set-up, the one that became idle last."""
    n = node_at(s, node)
    if n["warm"] > 0:
        n["warm"] -= 1
    busy(s, node, now_s)
    n["free"] -= 1
    used = n["servers"] - n["free"]
    n["most_running"] = max(n["most_running"], float(used))
    if n["free"] < 0:
        s["broken"] = node


@jit
def release(s: Run, node: int, now_s: float) -> None:
    """Let a server become idle."""
    n = node_at(s, node)
    busy(s, node, now_s)
    n["free"] += 1
    if n["cold"]:
        batch_at(s, n["first_batch"] + n["warm"])["warm_s"] = now_s + n["keep_s"]
        n["warm"] += 1


# --- plain stations


@jit
def plain_enqueue(s: Run, node: int, rid: int, now_s: float) -> None:
    """Take a request into service or into the queue, or refuse it."""
    n = node_at(s, node)
    n["arrived"] += 1
    if s["impatient"] and n["up"] and req(s, rid)["expires_s"] <= now_s:
        refuse(s, node, rid, DEADLINE, now_s)
        return
    number = n["in_system"]
    if not n["up"] or number >= n["capacity"]:
        refuse(s, node, rid, QUEUE_FULL if n["up"] else NODE_DOWN, now_s)
        return
    req(s, rid)["t_enqueue_s"] = now_s
    count(s, node, number + 1, now_s)
    if n["free"] > 0:
        take_server(s, node, now_s)
        plain_serve(s, node, rid, now_s)
        return
    append(s, node, rid)
    if s["impatient"]:
        watch(s, node, rid, now_s)


@jit
def plain_serve(s: Run, node: int, rid: int, now_s: float) -> None:
    """Begin a service: a batch of one, with the request's number until starts can be counted."""
    r = req(s, rid)
    r["t_start_s"], r["serving"] = now_s, node
    r["batch"], r["batch_size"] = r["id"], 1
    at(s, now_s + req(s, rid)["draw_s"], order_of(END, rid), item_of(DONE, rid), 0)


@jit
def plain_done(s: Run, rid: int, now_s: float) -> None:
    """End a service, unless a crash took it."""
    node = req(s, rid)["serving"]
    if node < 0:
        return
    req(s, rid)["serving"] = -1
    n = node_at(s, node)
    r = req(s, rid)
    r["t_finish_s"], r["service_s"], r["stall_s"] = now_s, r["draw_s"], 0.0
    n["finished"] += 1
    depart_from(s, node, rid, now_s)
    if n["waiting"] > 0:
        plain_serve(s, node, popleft(s, node), now_s)
    else:
        busy(s, node, now_s)
        n["free"] += 1
    send_down(s, rid, node, now_s)


# --- stations: requests come


@jit
def join(s: Run, node: int, rid: int, now_s: float) -> bool:
    """Count a request in, unless it is refused."""
    n = node_at(s, node)
    n["arrived"] += 1
    present = n["in_system"]
    if not n["open"]:
        refuse(s, node, rid, NODE_DOWN, now_s)
    elif s["impatient"] and req(s, rid)["expires_s"] <= now_s:
        refuse(s, node, rid, DEADLINE, now_s)
    elif present >= n["capacity"]:
        refuse(s, node, rid, QUEUE_FULL, now_s)
    else:
        req(s, rid)["t_enqueue_s"] = now_s
        count(s, node, present + 1, now_s)
        return True
    return False


@jit
def enqueue(s: Run, node: int, rid: int, now_s: float) -> None:
    """Take a request into the queue, or refuse it."""
    if not join(s, node, rid, now_s):
        return
    append(s, node, rid)
    if s["impatient"]:
        watch(s, node, rid, now_s)
    if node_at(s, node)["free"] > 0:
        wake(s, node, now_s)


@jit
def wake(s: Run, node: int, now_s: float) -> None:
    """Start what may start after everything else that happens at this instant."""
    n = node_at(s, node)
    if n["check_s"] != now_s:
        n["check_s"] = now_s
        at(s, now_s, order_of(START, node), item_of(CHECK, node), 0)


# --- stations: service starts


@jit
def start_ready(s: Run, node: int, now_s: float) -> None:
    """Let batches start while servers are free."""
    n = node_at(s, node)
    while n["free"] > 0 and ready(s, node, now_s) > 0 and may_work(s, node, now_s):
        _start_batch(s, node, min(n["waiting"], n["max_size"]), now_s)


@jit
def ready(s: Run, node: int, now_s: float) -> int:
    """Return how many requests wait for nothing but a server; 0 if a batch is not due yet."""
    n = node_at(s, node)
    waiting = n["waiting"]
    if waiting == 0 or waiting >= n["max_size"] or n["max_wait_s"] == 0.0:
        return waiting
    due_s = oldest_s(s, node) + n["max_wait_s"]
    if now_s >= due_s:
        return waiting
    if n["timer_s"] != due_s:
        n["timer_s"] = due_s
        at(s, due_s, order_of(START, node), item_of(CHECK, node), 0)
    return 0


@jit
def may_work(s: Run, node: int, now_s: float) -> bool:
    """Tell whether a free server can begin at once; else let cold ones begin their set-up."""
    if still_warm(s, node, now_s):
        return True
    n = node_at(s, node)
    wanted = ready(s, node, now_s)
    while n["free"] > 0 and wanted > n["warming"] * n["max_size"]:
        n["warming"] += 1
        take_server(s, node, now_s)
        order = order_of(END, -1 - node)
        at(s, now_s + n["setup_s"], order, item_of(WARMED, node), n["epoch"])
    return False


@jit
def still_warm(s: Run, node: int, now_s: float) -> bool:
    """Tell whether a free server needs no set-up."""
    n = node_at(s, node)
    if not n["cold"]:
        return True
    first, gone = n["first_batch"], 0
    while gone < n["warm"] and batch_at(s, first + gone)["warm_s"] < now_s:
        gone += 1
    if gone > 0:
        for i in range(n["warm"] - gone):
            batch_at(s, first + i)["warm_s"] = batch_at(s, first + gone + i)["warm_s"]
        n["warm"] -= gone
    return bool(n["warm"] > 0)


@jit
def warmed(s: Run, node: int, epoch: int, now_s: float) -> None:
    """End a set-up."""
    n = node_at(s, node)
    if epoch == n["epoch"]:
        n["warming"] -= 1
        release(s, node, now_s)
        wake(s, node, now_s)


@jit
def _start_batch(s: Run, node: int, size: int, now_s: float) -> None:
    slot = gather(s, node, size, now_s)
    batch, n = batch_at(s, slot), node_at(s, node)
    longest_s = batch["service_s"]
    if size > 1:
        longest_s = longest_s + (size - 1) * n["each_s"]
    batch["service_s"], batch["stall_s"], batch["due_s"] = longest_s, 0.0, now_s + longest_s
    order = order_of(END, batch["first"])
    at(s, batch["due_s"], order, item_of(BATCH_DONE, slot), n["epoch"])


@jit
def gather(s: Run, node: int, size: int, now_s: float) -> int:
    """Let the next requests take a server together; return the batch, with the longest draw."""
    slot = node_at(s, node)["first_batch"]
    while batch_at(s, slot)["live"]:
        slot += 1
    batch = batch_at(s, slot)
    batch["id"], batch["size"], batch["live"] = s["batch"], size, 1
    s["batch"] += 1
    longest_s, last = 0.0, -1
    for _ in range(size):
        rid = popleft(s, node)
        req(s, rid)["t_start_s"] = now_s
        req(s, rid)["batch"] = batch["id"]
        req(s, rid)["batch_size"] = size
        if last < 0:
            batch["first"], longest_s = rid, req(s, rid)["draw_s"]
        else:
            req(s, last)["mate"] = rid
            longest_s = max(longest_s, req(s, rid)["draw_s"])
        last = rid
    req(s, last)["mate"] = -1
    take_server(s, node, now_s)
    batch["service_s"] = longest_s
    return int(slot)


# --- stations: service ends


@jit
def finish(s: Run, slot: int, epoch: int, now_s: float) -> None:
    """End a batch's service; ignored when a crash has taken it."""
    batch = batch_at(s, slot)
    node = batch["node"]
    n = node_at(s, node)
    if epoch != n["epoch"]:
        return
    batch["live"] = 0
    release(s, node, now_s)
    stamp_end(s, slot, now_s)
    if n["waiting"] > 0:
        wake(s, node, now_s)
    answer(s, slot, now_s)


@jit
def stamp_end(s: Run, slot: int, now_s: float) -> None:
    """Stamp the end of a batch's service, and count its requests out."""
    batch = batch_at(s, slot)
    node = batch["node"]
    n = node_at(s, node)
    rid = batch["first"]
    while rid >= 0:
        req(s, rid)["t_finish_s"] = now_s
        req(s, rid)["service_s"] = batch["service_s"]
        req(s, rid)["stall_s"] = batch["stall_s"]
        n["stays_s"] += now_s - req(s, rid)["t_enqueue_s"]
        rid = req(s, rid)["mate"]
    n["finished"] += batch["size"]
    count(s, node, n["in_system"] - batch["size"], now_s)


@jit
def answer(s: Run, slot: int, now_s: float) -> None:
    """Send the answers of a batch."""
    node, rid = batch_at(s, slot)["node"], batch_at(s, slot)["first"]
    while rid >= 0:
        following = req(s, rid)["mate"]
        send_down(s, rid, node, now_s)
        rid = following


# --- patience


@jit
def leave_s(s: Run, rid: int) -> float:
    """Return when a request that waits will leave."""
    return min(req(s, rid)["t_enqueue_s"] + req(s, rid)["patience_s"], req(s, rid)["expires_s"])


@jit
def watch(s: Run, node: int, rid: int, now_s: float) -> None:
    """Let a request that waits leave when its time is over."""
    due_s = leave_s(s, rid)
    if due_s < _INF:
        at(s, max(now_s, due_s), order_of(LEAVE, rid), item_of(GIVE_UP, rid), node)


@jit
def give_up(s: Run, rid: int, node: int, now_s: float) -> None:
    """Drop a request if it waits here and its time is over (it may have joined anew)."""
    if req(s, rid)["where"] != node:
        return
    due_s = leave_s(s, rid)
    if due_s > now_s:
        return
    remove(s, node, rid)
    node_at(s, node)["lost"] += 1
    depart_from(s, node, rid, now_s)
    lose(s, rid, DEADLINE if req(s, rid)["expires_s"] == due_s else PATIENCE, now_s)
