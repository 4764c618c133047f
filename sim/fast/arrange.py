"""Brings the requests of a step to their stations: up links first, then bucketed, then in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim.fast.jit import jit

if TYPE_CHECKING:
    from sim.arrays import IntArray
    from sim.fast.flow_state import Grid, Lanes, Rows, Ways

_BUDGET = 8  # moves a request that sorting by insertion may take


@jit
def send_up(rows: Rows, part: tuple[int, int], ways: Ways, grid: Grid, come: IntArray) -> None:
    """Put requests on their up links, as far as a step goes; count who arrives where in it.

    Args:
        rows: Requests.
        part: First row, and row after the last one; in the order of ids.
        ways: Their ways.
        grid: The step.
        come: By station, is added to.
    """
    k, bounds = 0, len(grid.bound_s)
    for row in range(*part):
        due_s, pair = rows.due_s[row], rows.pair[row]
        sent_s = rows.sent_s[row]
        if np.isnan(due_s) and sent_s <= grid.last_s:
            # a source's requests set out in the order of ids, those of different sources nearly so
            while k < bounds and grid.bound_s[k] <= sent_s:
                k += 1
            while k > 0 and grid.bound_s[k - 1] > sent_s:
                k -= 1
            due_s = sent_s if ways.here[pair] else _put_up(rows, row, k, ways, grid)
            rows.due_s[row] = due_s
        if due_s <= grid.last_s:
            come[ways.station[pair]] += 1


@jit
def _put_up(rows: Rows, row: int, k: int, ways: Ways, grid: Grid) -> float:
    """Put a request on its link up; return when it arrives (see sim.network.links)."""
    pair, size_bytes, begin_s = rows.pair[row], rows.up_bytes[row], rows.sent_s[row]
    transmit_s = size_bytes / ways.up_bytes_per_s[pair]
    grid.sent_up_bytes[k, pair] += size_bytes
    if ways.up_fifo[pair]:
        begin_s = max(ways.up_free_s[pair], begin_s)
        ways.up_free_s[pair] = begin_s + transmit_s
    return float(begin_s + transmit_s + ways.up_delay_s[pair])


@jit
def bucket(
    rows: Rows, part: tuple[int, int], ways: Ways, lanes: Lanes, cursor: IntArray, last_s: float
) -> None:
    """Hand the requests that arrive in a step to their stations, in the order of rows.

    Args:
        rows: Requests.
        part: First row, and row after the last one.
        ways: Their ways.
        lanes: Where they go.
        cursor: By station, its next free place; moves on.
        last_s: The last instant of the step.
    """
    for row in range(*part):
        due_s = rows.due_s[row]
        if due_s <= last_s:
            station = ways.station[rows.pair[row]]
            place = cursor[station]
            cursor[station] = place + 1
            lanes.due_s[place] = due_s
            lanes.service_s[place] = rows.service_s[row]
            lanes.row[place] = row


@jit
def in_order(rows: Rows, lanes: Lanes) -> None:
    """Sort those who come to each station by arrival; who sets out at that very instant comes last.

    Ties keep their order, which is that of ids. Mostly all are in order, or nearly so.
    """
    for m in range(len(lanes.fresh)):
        begin, stop = lanes.fresh[m], lanes.span[m + 1]
        budget = _BUDGET * (stop - begin)
        for place in range(begin + 1, stop):
            if _before(rows, lanes, place, place - 1):
                budget -= _insert(rows, lanes, begin, place)
                if budget < 0:
                    _merge_sort(rows, lanes, begin, stop)
                    break


@jit
def _before(rows: Rows, lanes: Lanes, one: int, other: int) -> bool:
    return _sooner(rows, lanes.due_s[one], lanes.row[one], lanes.due_s[other], lanes.row[other])


@jit
def _sooner(rows: Rows, one_s: float, one: int, other_s: float, other: int) -> bool:
    if one_s != other_s:
        return bool(one_s < other_s)
    return bool(rows.sent_s[one] < one_s and not rows.sent_s[other] < other_s)


@jit
def _insert(rows: Rows, lanes: Lanes, begin: int, place: int) -> int:
    """Move a request to its place among those before it; return by how many places."""
    due_s, service_s, row = lanes.due_s[place], lanes.service_s[place], lanes.row[place]
    i = place
    while i > begin and _sooner(rows, due_s, row, lanes.due_s[i - 1], lanes.row[i - 1]):
        lanes.due_s[i], lanes.service_s[i] = lanes.due_s[i - 1], lanes.service_s[i - 1]
        lanes.row[i] = lanes.row[i - 1]
        i -= 1
    lanes.due_s[i], lanes.service_s[i], lanes.row[i] = due_s, service_s, row
    return place - i


@jit
def _merge_sort(rows: Rows, lanes: Lanes, begin: int, stop: int) -> None:
    """Sort stably in n log n, whatever the order was."""
    size = stop - begin
    order, other = np.arange(begin, stop), np.empty(size, np.int64)
    width = 1
    while width < size:
        for left in range(0, size, 2 * width):
            _merge(rows, lanes, order, other, (left, min(left + width, size), width))
        order, other = other, order
        width *= 2
    due_s, service_s = lanes.due_s[begin:stop].copy(), lanes.service_s[begin:stop].copy()
    row = lanes.row[begin:stop].copy()
    for i in range(size):
        source = order[i] - begin
        lanes.due_s[begin + i], lanes.service_s[begin + i] = due_s[source], service_s[source]
        lanes.row[begin + i] = row[source]


@jit
def _merge(
    rows: Rows, lanes: Lanes, order: IntArray, merged: IntArray, run: tuple[int, int, int]
) -> None:
    """Merge two neighbouring sorted runs."""
    left, middle, width = run
    stop = min(middle + width, len(order))
    i, j = left, middle
    for k in range(left, stop):
        if i < middle and (j >= stop or not _before(rows, lanes, order[j], order[i])):
            merged[k] = order[i]
            i += 1
        else:
            merged[k] = order[j]
            j += 1
