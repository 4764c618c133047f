"""Brings the requests of a step to their stations: up links first, then bucketed, then in order."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sim.compute.floor import DEADLINE, PATIENCE
from sim.fast.flow_state import COMES
from sim.fast.jit import lean

if TYPE_CHECKING:
    from sim.arrays import AnyArray, FloatArray, IntArray
    from sim.fast.flow_state import Grid, Sent

_BUDGET = 8  # moves a request that sorting by insertion may take


@lean
def send_up(sent: Sent, ups: AnyArray, station: AnyArray, grid: Grid, come: IntArray) -> None:
    """Put requests on their up links, as far as a step goes; count who arrives where in it.

    Args:
        sent: Requests; those with a NaN in `due_s` have not set out.
        ups: WAY, (P,).
        station: Of each pair, (P,) int32.
        grid: The step.
        come: By station, (M,); is added to.
    """
    k, bounds = 0, len(grid.bound_s)
    for row in range(len(sent.pair)):
        pair = sent.pair[row]
        if np.isnan(sent.due_s[row]):
            up = ups[pair]
            sent_s = sent.emit_s[row] + up["choice_s"]
            if sent_s > grid.last_s:
                continue
            # a source's requests set out in the order of ids, those of different sources nearly so
            while k < bounds and grid.bound_s[k] <= sent_s:
                k += 1
            while k > 0 and grid.bound_s[k - 1] > sent_s:
                k -= 1
            due_s = sent_s if up["here"] else _put_up(sent, row, k, ups, grid)
            sent.due_s[row], sent.late[row] = due_s, due_s == sent_s
        if sent.due_s[row] <= grid.last_s:
            come[station[pair]] += 1


@lean
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


class Floor(NamedTuple):
    """Where those who arrive in a step go."""

    station: AnyArray  # of each pair, (P,) int32
    cursor: AnyArray  # CURSOR, (M,)
    lanes: AnyArray  # LANE
    landed_bytes: FloatArray  # by pair, (P,)


# A station's next free lane, and when who came last arrives.
CURSOR = np.dtype([("place", "i8"), ("due_s", "f8")])


@lean
def bucket(sent: Sent, first: int, floor: Floor, last_s: float) -> bool:
    """Hand the requests that arrive in a step to their stations, in the order of ids.

    Args:
        sent: Requests.
        first: Row of the first of them.
        floor: Where they go.
        last_s: The last instant of the step.

    Returns:
        Whether somebody may be out of order.
    """
    impatient, new, disorder = len(sent.patience_s) > 0, not len(sent.id), False
    for row in range(len(sent.pair)):
        due_s, pair = sent.due_s[row], sent.pair[row]
        if due_s <= last_s:
            cursor = floor.cursor[floor.station[pair]]
            lane = floor.lanes[cursor["place"]]
            cursor["place"] += 1
            disorder |= due_s <= cursor["due_s"] and (due_s < cursor["due_s"] or not sent.late[row])
            cursor["due_s"] = due_s
            floor.landed_bytes[pair] += sent.up_bytes[row]
            lane["due_s"], lane["service_s"] = due_s, sent.service_s[row]
            lane["down_bytes"], lane["pair"] = sent.down_bytes[row], pair
            lane["id"], lane["row"] = sent.first + row if new else sent.id[row], first + row
            lane["state"], lane["leave_s"], lane["late"] = COMES, inf, sent.late[row]
            if impatient:
                _may_leave(lane, sent.patience_s[row], sent.expires_s[row])
    return disorder


@lean
def _may_leave(lane: Any, patience_s: float, expires_s: float) -> None:
    """Note when a request leaves the queue by itself, and why; -inf: it comes too late to join."""
    due_s = lane["due_s"]
    patient_s = due_s + patience_s
    lane["reason"] = DEADLINE if expires_s <= patient_s else PATIENCE
    lane["leave_s"] = max(due_s, min(patient_s, expires_s)) if expires_s > due_s else -inf


@lean
def in_order(lanes: AnyArray, fresh: IntArray, span: IntArray, spare: AnyArray) -> None:
    """Sort those who come to each station by arrival; who sets out at that very instant comes last.

    Ties keep their order, which is that of ids. Mostly all are in order, or nearly so.

    Args:
        lanes: LANE, (S + 1,); the last one is scratch.
        fresh: By station, (M,): its first lane of those who come.
        span: Where a station's lanes begin, (M + 1,).
        spare: LANE, (S,), scratch.
    """
    for m in range(len(fresh)):
        begin, stop = fresh[m], span[m + 1]
        budget = _BUDGET * (stop - begin)
        for place in range(begin + 1, stop):
            if _before(lanes[place], lanes[place - 1]):
                budget -= _insert(lanes, begin, place)
                if budget < 0:
                    _merge_sort(lanes, spare, begin, stop)
                    break


@lean
def _before(one: Any, other: Any) -> bool:
    if one["due_s"] != other["due_s"]:
        return bool(one["due_s"] < other["due_s"])
    return bool(one["late"] < other["late"])


@lean
def _insert(lanes: AnyArray, begin: int, place: int) -> int:
    """Move a request to its place among those before it; return by how many places."""
    scratch, i = len(lanes) - 1, place
    lanes[scratch] = lanes[place]
    while i > begin and _before(lanes[scratch], lanes[i - 1]):
        lanes[i] = lanes[i - 1]
        i -= 1
    lanes[i] = lanes[scratch]
    return place - i


@lean
def _merge_sort(lanes: AnyArray, spare: AnyArray, begin: int, stop: int) -> None:
    """Sort stably in n log n, whatever the order was."""
    width = 1
    while width < stop - begin:
        for left in range(begin, stop, 2 * width):
            middle = min(left + width, stop)
            _merge(lanes, spare, left, middle, min(middle + width, stop))
        for place in range(begin, stop):
            lanes[place] = spare[place]
        width *= 2


@lean
def _merge(lanes: AnyArray, merged: AnyArray, left: int, middle: int, stop: int) -> None:
    """Merge two neighbouring sorted runs."""
    i, j = left, middle
    for k in range(left, stop):
        if i < middle and (j >= stop or not _before(lanes[j], lanes[i])):
            merged[k] = lanes[i]
            i += 1
        else:
            merged[k] = lanes[j]
            j += 1


@lean
def stay(here: AnyArray, kept: IntArray, span: IntArray, lanes: AnyArray) -> None:
    """Give those who are at stations already the first lanes there.

    Args:
        here: LANE, station by station.
        kept: By station, (M,), how many they are.
        span: Where a station's lanes begin, (M + 1,).
        lanes: LANE.
    """
    i = 0
    for m in range(len(kept)):
        for place in range(span[m], span[m] + kept[m]):
            lanes[place] = here[i]
            i += 1


@lean
def pick(old: AnyArray, new: AnyArray, rows: IntArray, picked: AnyArray) -> None:
    """Take rows of two columns, one behind the other, without joining them."""
    olds = len(old)
    for i in range(len(rows)):
        row = rows[i]
        picked[i] = old[row] if row < olds else new[row - olds]
