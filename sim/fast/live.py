"""The requests that a kernel works on: those under way, and the next window of emissions.

Requests that came to their end make room at every window, so that memory follows what is in the
system, not the length of the run. Places keep the order of ids; pending events are told the new
places, and those that can have no effect any more are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sim.arrays import AnyArray, FloatArray, IntArray  # noqa: TC001  (fields of named tuples)
from sim.fast.access import Run, req
from sim.fast.heap import KEY, RANK
from sim.fast.jit import jit
from sim.fast.layout import (
    BATCH_DONE,
    CHECK,
    DONE,
    GIVE_UP,
    KIND_BITS,
    SHARED_DONE,
    WARMED,
)

if TYPE_CHECKING:
    from sim.fast.state import State

_KIND = (1 << KIND_BITS) - 1
_CHAINS = ("after", "before", "mate", "child")


class Window(NamedTuple):
    """Emissions of a run in a row, (n,) each."""

    t_emit_s: FloatArray
    stream: AnyArray
    source: AnyArray
    priority: AnyArray
    deadline_s: FloatArray
    up_bytes: FloatArray
    down_bytes: FloatArray
    service_s: FloatArray
    patience_s: FloatArray
    expires_s: FloatArray
    rank: IntArray  # class of priority, 0: served first


class Rows(NamedTuple):
    """Columns of the table `requests`, (n,) each."""

    id: IntArray
    stream: AnyArray
    source: AnyArray
    t_emit_s: FloatArray
    priority: AnyArray
    deadline_s: FloatArray
    up_bytes: FloatArray
    down_bytes: FloatArray
    server: AnyArray
    t_enqueue_s: FloatArray
    t_start_s: FloatArray
    t_finish_s: FloatArray
    t_return_s: FloatArray
    stall_s: FloatArray
    service_s: FloatArray
    batch: AnyArray
    batch_size: AnyArray
    drop: AnyArray


FIXED = Rows._fields[1:8]  # at emission


@jit
def ended(s: Run, place: int) -> bool:
    """Tell whether a request came to its end: no event will touch it again."""
    r = req(s, place)
    return bool(r["t_return_s"] == r["t_return_s"] or r["drop"] >= 0)


@jit
def take_down(run: AnyArray, rows: Rows, by_id: int, everybody: int, new: IntArray) -> int:
    """Take down what became of requests that ended, and number the others.

    Args:
        run: The record of the run, (1,).
        rows: Written: in order where `by_id` is 0, else at the place of the id.
        by_id: Whether rows are those of the whole run, whose fixed columns are known.
        everybody: Whether those that did not end are taken down, too.
        new: By place: the new place, -1 for who ended. One longer than there are requests.

    Returns:
        How many were taken down.
    """
    s = run[0]
    count = left = 0
    for place in range(s["emitted"]):
        r = req(s, place)
        over = ended(s, place)
        new[place] = -1 if over else left
        left += 0 if over else 1
        if over or everybody:
            if not by_id:
                _write_fixed(r, rows, count)
            _write(r, rows, r["id"] if by_id else count)
            count += 1
    new[s["emitted"]] = -1
    return count


@jit
def _write(r: Run, rows: Rows, at: int) -> None:
    rows.server[at] = r["server"]
    rows.t_enqueue_s[at] = r["t_enqueue_s"]
    rows.t_start_s[at] = r["t_start_s"]
    rows.t_finish_s[at] = r["t_finish_s"]
    rows.t_return_s[at] = r["t_return_s"]
    rows.stall_s[at] = r["stall_s"]
    rows.service_s[at] = r["service_s"]
    rows.batch[at] = r["batch"]
    rows.batch_size[at] = r["batch_size"]
    rows.drop[at] = r["drop"]


@jit
def _write_fixed(r: Run, rows: Rows, at: int) -> None:
    rows.id[at] = r["id"]
    rows.stream[at] = r["stream"]
    rows.source[at] = r["source"]
    rows.t_emit_s[at] = r["t_emit_s"]
    rows.priority[at] = r["priority"]
    rows.deadline_s[at] = r["deadline_s"]
    rows.up_bytes[at] = r["up_bytes"]
    rows.down_bytes[at] = r["down_bytes"]


@jit
def fill(run: AnyArray, window: Window, first_place: int, first_id: int) -> None:
    """Write what is fixed at emission; nothing has happened to the requests yet."""
    s = run[0]
    nan = s["nan"]
    for i in range(window.t_emit_s.shape[0]):
        r = req(s, first_place + i)
        r["id"] = first_id + i
        r["t_emit_s"], r["source"] = window.t_emit_s[i], window.source[i]
        r["up_bytes"], r["down_bytes"] = window.up_bytes[i], window.down_bytes[i]
        r["draw_s"], r["rank"] = window.service_s[i], window.rank[i]
        r["stream"], r["priority"] = window.stream[i], window.priority[i]
        r["deadline_s"] = window.deadline_s[i]
        r["patience_s"], r["expires_s"] = window.patience_s[i], window.expires_s[i]
        r["server"] = r["drop"] = r["serving"] = r["where"] = r["batch"] = r["link"] = -1
        r["after"] = r["before"] = r["mate"] = r["child"] = -1
        r["batch_size"] = 0
        r["t_enqueue_s"] = r["t_start_s"] = r["t_finish_s"] = r["t_return_s"] = nan
        r["stall_s"] = r["service_s"] = nan


def renew(state: State, new: IntArray, window: Window, first_id: int) -> None:
    """Let ended requests make room for a window of emissions.

    Args:
        state: Of the run.
        new: What `take_down` has said.
        window: The next emissions.
        first_id: The id of the first of them.
    """
    old = state.requests[: len(new) - 1]
    alive = np.flatnonzero(new[:-1] >= 0)
    count = len(alive) + len(window.t_emit_s)
    requests = state.other_requests(count)
    kept = requests[: len(alive)]
    kept[:] = old[alive]
    for name in _CHAINS:
        kept[name] = new[kept[name]]
    _tell_events(state, new)
    _tell_nodes(state, new)
    state.put("requests", requests)
    state.facts["next"], state.facts["emitted"] = len(alive), count
    fill(state.run, window, len(alive), first_id)


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
