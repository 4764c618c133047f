"""The requests that a kernel works on: those under way, and the next window of emissions.

Requests that came to their end make room at every window, so that memory follows what is in the
system, not the length of the run. Places keep the order of ids; pending events are told the new
places, and those that can have no effect any more are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim.fast.heap import KEY, RANK
from sim.fast.layout import (
    BATCH_DONE,
    CHECK,
    DONE,
    GIVE_UP,
    KIND_BITS,
    REQUEST,
    SHARED_DONE,
    WARMED,
)

if TYPE_CHECKING:
    from sim.arrays import AnyArray, IntArray
    from sim.arrivals.workload import Workload
    from sim.fast.state import State

_KIND = (1 << KIND_BITS) - 1
_NOBODY = (
    "drop", "server", "serving", "after", "before", "where", "mate", "child", "link", "batch",
)  # fmt: skip
_NEVER = ("t_enqueue_s", "t_start_s", "t_finish_s", "t_return_s", "stall_s", "service_s")
_CHAINS = ("after", "before", "mate", "child")


def blank(count: int) -> AnyArray:
    """Return records of requests to which nothing has happened."""
    pattern = np.zeros(1, REQUEST)
    for name in _NOBODY:
        pattern[name] = -1
    for name in _NEVER:
        pattern[name] = np.nan
    return np.repeat(pattern, count)


def ended(requests: AnyArray) -> AnyArray:
    """Tell which requests came to their end: no event will touch them again."""
    done: AnyArray = ~np.isnan(requests["t_return_s"]) | (requests["drop"] >= 0)
    return done


def fill(requests: AnyArray, window: Workload, first_id: int, priorities: IntArray) -> None:
    """Write what is fixed at emission.

    Args:
        requests: Blank records, one per row of the window.
        window: Emissions.
        first_id: The id of the first.
        priorities: All different ones of the run, ascending; (1,) where no node asks for them.
    """
    for name in ("t_emit_s", "source", "up_bytes", "down_bytes", "patience_s", "expires_s"):
        requests[name] = getattr(window, name)
    requests["draw_s"] = window.service_s
    requests["id"] = np.arange(first_id, first_id + len(requests))
    if len(priorities) > 1:
        above = np.searchsorted(priorities, window.priority)
        requests["rank"] = len(priorities) - 1 - above


def renew(state: State, window: Workload, first_id: int, priorities: IntArray) -> None:
    """Let ended requests make room for a window of emissions; who has read them has them."""
    old = state.requests[: int(state.facts["emitted"])]
    alive = np.flatnonzero(~ended(old))
    place = np.full(len(old) + 1, -1, np.int64)  # the last: nobody
    place[alive] = np.arange(len(alive))
    requests = blank(len(alive) + len(window.t_emit_s))
    kept = requests[: len(alive)]
    kept[:] = old[alive]
    for name in _CHAINS:
        kept[name] = place[kept[name]]
    fill(requests[len(alive) :], window, first_id, priorities)
    _tell_events(state, place)
    _tell_nodes(state, place)
    state.put("requests", requests)
    state.facts["next"], state.facts["emitted"] = len(alive), len(requests)


def _tell_nodes(state: State, place: IntArray) -> None:
    for name in ("root", "inside_head", "inside_tail"):
        state.nodes[name] = place[state.nodes[name]]
    for name in ("head", "tail"):
        state.lines[name] = place[state.lines[name]]
    live = state.batches["live"] == 1
    state.batches["first"][live] = place[state.batches["first"][live]]


def _tell_events(state: State, place: IntArray) -> None:
    """Give pending events the new places of what they are about, which are in the same order."""
    heap = state.heap[: int(state.facts["pending"])]
    kind, what = heap["item"] & _KIND, heap["item"] >> KIND_BITS
    by_node = (kind == CHECK) | (kind == WARMED)
    shared, batch = kind == SHARED_DONE, kind == BATCH_DONE
    about = np.where(by_node | shared | batch, -1, what)  # a request
    about[shared] = state.nodes["root"][what[shared]]
    about[batch] = state.batches["first"][what[batch]]
    counts = by_node | (place[about] >= 0)
    counts &= ~shared | (heap["aux"] == state.nodes["alarm"][np.where(shared, what, 0)])
    owner = state.batches["node"][np.where(batch, what, 0)]
    counts &= ~batch | (heap["aux"] == state.nodes["epoch"][owner])
    request = state.requests[np.maximum(about, 0)]
    counts &= (kind != DONE) | (request["serving"] >= 0)
    counts &= (kind != GIVE_UP) | (request["where"] == heap["aux"])
    new = heap[counts].copy()
    about, mine = place[about[counts]], ~by_node[counts]
    rank = new["order"] // RANK
    new["order"][mine] = rank[mine] * RANK + about[mine] + KEY
    plain = mine & ~(shared | batch)[counts]
    new["item"][plain] = (about[plain] << KIND_BITS) | (new["item"][plain] & _KIND)
    new = new[np.lexsort((new["order"], new["t_s"]))]  # sorted is a heap
    state.heap[: len(new)] = new
    state.facts["pending"] = len(new)
