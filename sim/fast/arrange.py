"""Brings the requests of a step to their stations: up links first, then bucketed, then in order."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.compute.floor import DEADLINE, PATIENCE
from sim.fast.flow_state import COMES
from sim.fast.jit import jit

if TYPE_CHECKING:
    from sim.arrays import AnyArray, IntArray
    from sim.fast.flow_state import Grid, Sent

_BUDGET = 8  # moves a request that sorting by insertion may take


@jit
def send_up(sent: Sent, ups: AnyArray, grid: Grid, come: IntArray) -> None:
    """Put requests on their up links, as far as a step goes; count who arrives where in it.

    Args:
        sent: Requests; those with a NaN in `due_s` have not set out.
        ups: WAY, (P,).
        grid: The step.
        come: By station, (M,); is added to.
    """
    k, bounds = 0, len(grid.bound_s)
    for row in range(len(sent.pair)):
        up = ups[sent.pair[row]]
        if np.isnan(sent.due_s[row]):
            sent_s = sent.emit_s[row] + up["choice_s"]
            if sent_s > grid.last_s:
                continue
            # a source's requests set out in the order of ids, those of different sources nearly so
            while k < bounds and grid.bound_s[k] <= sent_s:
                k += 1
            while k > 0 and grid.bound_s[k - 1] > sent_s:
                k -= 1
            sent.due_s[row] = sent_s if up["here"] else _put_up(sent, row, k, ups, grid)
        if sent.due_s[row] <= grid.last_s:
            come[up["station"]] += 1


@jit
def _put_up(sent: Sent, row: int, k: int, ups: AnyArray, grid: Grid) -> float:
    """Put a request on its link up; return when it arrives (see sim.network.links)."""
    pair, size_bytes = sent.pair[row], sent.up_bytes[row]
    up = ups[pair]
    begin_s = sent.emit_s[row] + up["choice_s"]
    transmit_s = size_bytes / up["bytes_per_s"]
    grid.up_bytes[k, pair] += size_bytes
    if up["fifo"]:
        begin_s = max(up["free_s"], begin_s)
        up["free_s"] = begin_s + transmit_s
    return float(begin_s + transmit_s + up["delay_s"])


@jit
def bucket(
    sent: Sent, first: int, ups: AnyArray, cursor: IntArray, lanes: AnyArray, last_s: float
) -> None:
    """Hand the requests that arrive in a step to their stations, in the order of ids.

    Args:
        sent: Requests.
        first: Row of the first of them.
        ups: WAY, (P,).
        cursor: By station, (M,): its next free lane; moves on.
        lanes: LANE.
        last_s: The last instant of the step.
    """
    impatient = len(sent.patience_s) > 0
    for row in range(len(sent.pair)):
        due_s, pair = sent.due_s[row], sent.pair[row]
        if due_s <= last_s:
            up = ups[pair]
            place = cursor[up["station"]]
            cursor[up["station"]] = place + 1
            if not up["here"]:
                up["landed_bytes"] += sent.up_bytes[row]
            lane = lanes[place]
            lane["due_s"], lane["service_s"] = due_s, sent.service_s[row]
            lane["down_bytes"], lane["pair"] = sent.down_bytes[row], pair
            lane["id"], lane["row"] = sent.id[row], first + row
            lane["state"], lane["leave_s"] = COMES, inf
            lane["late"] = due_s == sent.emit_s[row] + up["choice_s"]
            if impatient:
                _may_leave(lane, sent.patience_s[row], sent.expires_s[row])


@jit
def _may_leave(lane: Any, patience_s: float, expires_s: float) -> None:
    """Note when a request leaves the queue by itself, and why; -inf: it comes too late to join."""
    due_s = lane["due_s"]
    patient_s = due_s + patience_s
    lane["reason"] = DEADLINE if expires_s <= patient_s else PATIENCE
    lane["leave_s"] = max(due_s, min(patient_s, expires_s)) if expires_s > due_s else -inf


@jit
def in_order(lanes: AnyArray, fresh: IntArray, span: IntArray) -> None:
    """Sort those who come to each station by arrival; who sets out at that very instant comes last.

    Ties keep their order, which is that of ids. Mostly all are in order, or nearly so.

    Args:
        lanes: LANE, (S + 1,); the last one is scratch.
        fresh: By station, (M,): its first lane of those who come.
        span: Where a station's lanes begin, (M + 1,).
    """
    for m in range(len(fresh)):
        begin, stop = fresh[m], span[m + 1]
        budget = _BUDGET * (stop - begin)
        for place in range(begin + 1, stop):
            if _before(lanes, place, place - 1):
                budget -= _insert(lanes, begin, place)
                if budget < 0:
                    _merge_sort(lanes[begin:stop])
                    break


@jit
def _before(lanes: AnyArray, one: int, other: int) -> bool:
    mine, theirs = lanes[one], lanes[other]
    if mine["due_s"] != theirs["due_s"]:
        return bool(mine["due_s"] < theirs["due_s"])
    return bool(mine["late"] < theirs["late"])


@jit
def _insert(lanes: AnyArray, begin: int, place: int) -> int:
    """Move a request to its place among those before it; return by how many places."""
    scratch, i = len(lanes) - 1, place
    lanes[scratch] = lanes[place]
    while i > begin and _before(lanes, scratch, i - 1):
        lanes[i] = lanes[i - 1]
        i -= 1
    lanes[i] = lanes[scratch]
    return place - i


@jit
def _merge_sort(lanes: AnyArray) -> None:
    """Sort stably in n log n, whatever the order was."""
    size, width = len(lanes), 1
    order, other = np.arange(size), np.empty(size, np.int64)
    while width < size:
        for left in range(0, size, 2 * width):
            _merge(lanes, order, other, left, width)
        order, other = other, order
        width *= 2
    copy = lanes.copy()
    for i in range(size):
        lanes[i] = copy[order[i]]


@jit
def _merge(lanes: AnyArray, order: IntArray, merged: IntArray, left: int, width: int) -> None:
    """Merge two neighbouring sorted runs."""
    middle = min(left + width, len(order))
    stop = min(middle + width, len(order))
    i, j = left, middle
    for k in range(left, stop):
        if i < middle and (j >= stop or not _before(lanes, order[j], order[i])):
            merged[k] = order[i]
            i += 1
        else:
            merged[k] = order[j]
            j += 1
