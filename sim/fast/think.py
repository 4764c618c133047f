"""Batches of nodes with a model in the fused kernel; the twin is `sim.compute.deployment`.

A kernel starts a batch where its time follows from its size and the experts it touches, its memory
is free, and nobody has to be asked: the node is calm. All else it leaves to Python, before anything
has happened: `CALL` to start what is ready, `ENDED` to finish a batch.
"""

from __future__ import annotations

import sys

from sim.clock import END
from sim.compute.memory import ACTIVATIONS, KV
from sim.fast.access import (
    Run,
    ask_at,
    batch_at,
    mask_at,
    mind_at,
    node_at,
    note_at,
    over_at,
    price_at,
    req,
    tariff_at,
    used_at,
)
from sim.fast.heap import at, item_of, order_of
from sim.fast.jit import jit
from sim.fast.layout import BATCH_DONE, CALL, ENDED, MINDED, OVERFULL
from sim.fast.serve import answer, finish, gather, ready, release, stamp_end, still_warm, wake
from sim.records import MEMORY

CATEGORIES = len(MEMORY)
_COMPENSATED = sys.version_info >= (3, 12)  # how `sum` adds up floats
_NOTES = 2  # changes of memory that one step of a batch makes


@jit
def ask(s: Run, why: int, about: int) -> None:
    """Let Python go on before anything else happens."""
    if s["pause"] == 0:
        s["pause"], s["about"] = why, about


# --- memory


@jit
def _lost_bits(total: float, value: float, after: float) -> float:
    """Return what rounding has taken from a sum of two (Neumaier)."""
    if abs(total) >= abs(value):
        return (total - after) + value
    return (value - after) + total


@jit
def total_bytes(s: Run, node: int) -> float:
    """Return the bytes in use, as `sum` adds them up."""
    total = rest = 0.0
    for category in range(CATEGORIES):
        value = used_at(s, node * CATEGORIES + category)["bytes"]
        after = total + value
        if _COMPENSATED:
            rest += _lost_bits(total, value, after)
        total = after
    return total + rest


@jit
def _change(s: Run, node: int, category: int, delta_bytes: float, now_s: float) -> None:
    used = used_at(s, node * CATEGORIES + category)
    size_bytes = used["bytes"] + delta_bytes
    if size_bytes == used["bytes"]:
        return
    used["bytes"] = size_bytes
    if total_bytes(s, node) > mind_at(s, node)["budget_bytes"]:
        ask(s, OVERFULL, node)
    note = note_at(s, s["noted"])
    note["node"], note["category"], note["t_s"], note["bytes"] = node, category, now_s, size_bytes
    s["noted"] += 1


@jit
def _hold(s: Run, node: int, size: int, each_bytes: float, now_s: float) -> None:
    """Take the working memory of so many requests (fewer than none: give it back)."""
    _change(s, node, ACTIVATIONS, size * each_bytes, now_s)
    kv_bytes = size * mind_at(s, node)["kv_bytes"]
    if kv_bytes != 0.0:
        _change(s, node, KV, kv_bytes, now_s)


@jit
def _fitting(s: Run, node: int, size: int) -> int:
    """Return how many requests' working memory is free now, 0 where that is for Python to say."""
    m = mind_at(s, node)
    total = total_bytes(s, node)
    for number in range(size, 0, -1):
        need_bytes = number * m["each_bytes"] + number * m["kv_bytes"]
        if total + need_bytes <= m["budget_bytes"]:
            return number
        if m["spare"]:
            return 0
    return 0


# --- what a batch costs


@jit
def _count_bits(mask: int) -> int:
    found = 0
    while mask != 0:
        mask &= mask - 1
        found += 1
    return found


@jit
def _service_s(s: Run, slot: int, masks: int, place: int) -> float:
    """Add up the times of the layers, each for the experts that the batch touches in it."""
    total = rest = 0.0
    layers = s["layers"]
    for layer in range(layers):
        mask, rid = 0, batch_at(s, slot)["first"]
        while rid >= 0:
            row = ask_at(s, req(s, rid)["id"])["input"] * layers
            mask |= mask_at(s, masks + row + layer)["experts"]
            rid = req(s, rid)["mate"]
        value = price_at(s, place + _count_bits(mask))["value"]
        after = total + value
        if _COMPENSATED:
            rest += _lost_bits(total, value, after)
        total = after
    return total + rest


# --- service starts


@jit
def start_minded(s: Run, node: int, now_s: float) -> None:
    """Let batches start while servers are free, as far as that needs no questions."""
    n, m = node_at(s, node), mind_at(s, node)
    while n["free"] > 0:
        if m["jobs"] == 0 and (m["blocked"] or ready(s, node, now_s) == 0):
            return
        if m["jobs"] > 0 or not m["calm"] or not still_warm(s, node, now_s):
            ask(s, CALL, node)
            return
        size = _fitting(s, node, min(n["waiting"], n["max_size"]))
        place = tariff_at(s, m["tariff"] + size)["at"] if size > 0 else -1
        if place < 0 or s["noted"] + _NOTES > s["notes_count"]:
            ask(s, CALL, node)
            return
        _start(s, node, size, place, now_s)


@jit
def _start(s: Run, node: int, size: int, place: int, now_s: float) -> None:
    slot = gather(s, node, size, now_s)
    take_plan(s, node, slot)
    n, m, batch = node_at(s, node), mind_at(s, node), batch_at(s, slot)
    _hold(s, node, size, m["each_bytes"], now_s)
    m["flop"] += price_at(s, place)["value"]
    if m["gated"]:
        m["gated_running"] += 1
    if m["masks"] >= 0:
        batch["service_s"] = _service_s(s, slot, m["masks"], place)
    else:
        batch["service_s"] = price_at(s, place + 1)["value"]
    order = order_of(END, batch["first"])
    at(s, now_s + batch["service_s"], order, item_of(BATCH_DONE, slot), n["epoch"])


@jit
def take_plan(s: Run, node: int, slot: int) -> None:
    """Serve a batch under the plan in force."""
    batch, m = batch_at(s, slot), mind_at(s, node)
    batch["plan"], batch["weights"], batch["gated"] = m["plan"], m["weights"], m["gated"]
    batch["each_bytes"] = m["each_bytes"]
    batch["service_s"] = batch["stall_s"] = 0.0
    m["running"] += 1


# --- service ends


@jit
def batch_done(s: Run, slot: int, epoch: int, now_s: float) -> None:
    """End a batch's service; ignored when a crash has taken it."""
    node = batch_at(s, slot)["node"]
    if node_at(s, node)["kind"] != MINDED:
        finish(s, slot, epoch, now_s)
    elif epoch == node_at(s, node)["epoch"]:
        if mind_at(s, node)["tell"] or s["noted"] + _NOTES > s["notes_count"]:
            ask(s, ENDED, slot)
            return
        let_go(s, slot, now_s)
        batch = batch_at(s, slot)
        _hold(s, node, -batch["size"], batch["each_bytes"], now_s)
        if batch["gated"]:
            mind_at(s, node)["gated_running"] -= 1
        stamp(s, slot, now_s)
        note_over(s, slot)
        answer(s, slot, now_s)


@jit
def let_go(s: Run, slot: int, now_s: float) -> None:
    """Let a batch leave its server."""
    batch = batch_at(s, slot)
    batch["live"] = 0
    mind_at(s, batch["node"])["running"] -= 1
    release(s, batch["node"], now_s)


@jit
def stamp(s: Run, slot: int, now_s: float) -> None:
    """Stamp the end of a batch's service, count its requests out and let others start."""
    stamp_end(s, slot, now_s)
    node, rid = batch_at(s, slot)["node"], batch_at(s, slot)["first"]
    while rid >= 0:
        ask_at(s, req(s, rid)["id"])["plan"] = batch_at(s, slot)["plan"]
        rid = req(s, rid)["mate"]
    if node_at(s, node)["waiting"] > 0 or mind_at(s, node)["jobs"] > 0:
        wake(s, node, now_s)


@jit
def note_over(s: Run, slot: int) -> None:
    """Remember whose service ended, for the hosts: a request ends once, so there is room."""
    rid = batch_at(s, slot)["first"]
    while rid >= 0:
        over_at(s, s["overs"])["id"] = req(s, rid)["id"]
        s["overs"] += 1
        rid = req(s, rid)["mate"]
