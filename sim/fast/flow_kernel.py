"""The kernel of one station: c servers, K places, patience; all events of a step in their order.

What `sim.compute.plain` does inside SimPy's loop, with the same float operations in the same order.
At one instant: ends, then arrivals over links, then a slot boundary, then arrivals that began in
this very instant, then those who lose patience (see sim.clock).
"""

from __future__ import annotations

from math import inf, nan
from typing import TYPE_CHECKING

from sim.compute.floor import DEADLINE, PATIENCE, QUEUE_FULL
from sim.fast.jit import jit

if TYPE_CHECKING:
    from sim.fast.flow_state import Job, Rows

WAITS, RUNS, GONE = 1, 2, 3  # states of a request in Lanes


@jit
def serve(job: Job) -> tuple[int, int]:
    """Let every station live through a step.

    Returns:
        How many requests came to their end, and how many stay.
    """
    retired = kept = 0
    for m in range(len(job.desks.number)):
        retired = _live(job, m, retired)
        kept = _keep(job, m, kept)
    return retired, kept


@jit
def _live(job: Job, m: int, retired: int) -> int:
    lanes, desks, tops, grid = job.lanes, job.desks, job.tops, job.grid
    place, stop = _open(job, m), lanes.span[m + 1]
    first, bounds = tops.first[m], len(grid.bound_s)
    for k in range(bounds + 1):
        whole = k == bounds
        limit_s = grid.last_s if whole else grid.bound_s[k]
        while True:
            end_s = tops.end_s[first] if tops.size[m] else inf
            due_s = lanes.due_s[place] if place < stop else inf
            leave_s = lanes.leave_s[lanes.turn[lanes.span[m]]] if desks.turns[m] else inf
            if end_s <= due_s and end_s <= leave_s:
                if end_s > limit_s:
                    break
                retired = _end(job, m, k, retired)
            elif due_s <= leave_s:
                if due_s > limit_s or (due_s == limit_s and not whole and _late(job, place)):
                    break
                retired = _arrive(job, m, place, retired)
                place += 1
            else:
                if leave_s > limit_s or (leave_s == limit_s and not whole):
                    break
                retired = _give_up(job, m, leave_s, retired)
        if not whole:
            settle(job, m, k)
    return retired


@jit
def _late(job: Job, place: int) -> bool:
    """Tell whether a request sets out in the very instant of its arrival."""
    row = job.lanes.row[place]
    return bool(job.rows.sent_s[row] == job.rows.due_s[row])


@jit
def _open(job: Job, m: int) -> int:
    """Set up the queue of those carried over; return the place of the first who comes."""
    lanes, desks = job.lanes, job.desks
    running = job.tops.size[m]
    fresh, first = lanes.fresh[m], lanes.span[m]
    desks.head[m], desks.turns[m] = first + running, 0
    for i in range(job.tops.first[m], job.tops.first[m] + running):
        job.tops.place[i] += first
    for place in range(first, fresh):
        lanes.state[place] = RUNS if place < first + running else WAITS
        if place >= first + running and len(job.rows.patience_s):
            _watch(job, m, place)
    return int(fresh)


@jit
def request_id(rows: Rows, row: int) -> int:
    """Return the id of the request in a row."""
    olds = len(rows.old_id)
    return int(rows.old_id[row]) if row < olds else rows.first + row - olds


# --- what happens


@jit
def _count(job: Job, m: int, number: int, now_s: float) -> None:
    desks = job.desks
    desks.area[m] += desks.number[m] * (now_s - desks.area_s[m])
    desks.area_s[m] = now_s
    desks.number[m] = number


@jit
def _busy(job: Job, m: int, now_s: float) -> None:
    desks = job.desks
    desks.busy_area[m] += job.tops.size[m] * (now_s - desks.busy_s[m])
    desks.busy_s[m] = now_s


@jit
def _arrive(job: Job, m: int, place: int, retired: int) -> int:
    lanes, desks, rows = job.lanes, job.desks, job.rows
    now_s, row = lanes.due_s[place], lanes.row[place]
    desks.arrived[m] += 1
    pair = rows.pair[row]
    if not job.ways.here[pair]:
        job.ways.landed_up_bytes[pair] += rows.up_bytes[row]
    number = desks.number[m]
    if len(rows.expires_s) and rows.expires_s[row] <= now_s:
        return _lose(job, m, place, now_s, DEADLINE, retired)
    if number >= desks.capacity[m]:
        return _lose(job, m, place, now_s, QUEUE_FULL, retired)
    _count(job, m, number + 1, now_s)
    desks.queue_max[m] = max(desks.queue_max[m], number + 1)
    running = job.tops.size[m]
    if running < desks.servers[m]:
        _busy(job, m, now_s)
        desks.most_running[m] = max(desks.most_running[m], running + 1)
        _start(job, m, place, now_s)
    else:
        lanes.state[place], lanes.start_s[place] = WAITS, nan
        if len(rows.patience_s):
            _watch(job, m, place)
    return retired


@jit
def _lose(job: Job, m: int, place: int, now_s: float, reason: int, retired: int) -> int:
    out, desks = job.out, job.desks
    job.lanes.state[place] = GONE
    desks.lost[m] += 1
    desks.dropped[m] += 1
    desks.last_s[m] = max(desks.last_s[m], now_s)
    out.row[retired], out.drop[retired] = job.lanes.row[place], reason
    out.enqueue_s[retired] = out.start_s[retired] = nan
    out.finish_s[retired] = out.return_s[retired] = nan
    return retired + 1


@jit
def _start(job: Job, m: int, place: int, now_s: float) -> None:
    lanes = job.lanes
    lanes.start_s[place] = now_s
    lanes.state[place] = RUNS
    _push(job, m, now_s + lanes.service_s[place], place)


@jit
def _end(job: Job, m: int, k: int, retired: int) -> int:
    lanes, desks, tops = job.lanes, job.desks, job.tops
    now_s, place = tops.end_s[tops.first[m]], tops.place[tops.first[m]]
    lanes.state[place] = GONE
    desks.stays_s[m] += now_s - lanes.due_s[place]
    desks.finished[m] += 1
    number, running = desks.number[m], tops.size[m]
    _count(job, m, number - 1, now_s)
    if number > running:  # the server passes on
        _pop(job, m)
        head = desks.head[m]
        while lanes.state[head] != WAITS:
            head += 1
        desks.head[m] = head + 1
        _start(job, m, head, now_s)
    else:
        _busy(job, m, now_s)
        _pop(job, m)
    out = job.out
    out.row[retired], out.drop[retired] = lanes.row[place], -1
    out.enqueue_s[retired], out.start_s[retired] = lanes.due_s[place], lanes.start_s[place]
    out.finish_s[retired] = now_s
    out.return_s[retired] = _answer(job, m, k, lanes.row[place], now_s)
    return retired + 1


@jit
def _answer(job: Job, m: int, k: int, row: int, now_s: float) -> float:
    """Send an answer; return when it is back, NaN: after the end of the run."""
    ways, rows, desks = job.ways, job.rows, job.desks
    pair = rows.pair[row]
    if ways.here[pair]:
        desks.last_s[m] = max(desks.last_s[m], now_s)
        return now_s
    size_bytes = rows.down_bytes[row]
    transmit_s = size_bytes / ways.down_bytes_per_s[pair]
    job.grid.sent_down_bytes[k, pair] += size_bytes
    begin_s = now_s
    if ways.down_fifo[pair]:
        begin_s = max(ways.down_free_s[pair], now_s)
        ways.down_free_s[pair] = begin_s + transmit_s
    back_s = begin_s + transmit_s + ways.down_delay_s[pair]
    desks.last_s[m] = max(desks.last_s[m], back_s)
    if back_s > job.grid.limit_s:
        desks.late[m] += 1
        ways.late_down_bytes[pair] += size_bytes
        return nan
    ways.landed_down_bytes[pair] += size_bytes
    return float(back_s)


# --- the end of a slot, the end of a step


@jit
def settle(job: Job, m: int, k: int) -> None:
    """Bring a station's integrals up to a slot boundary, and note them."""
    desks, grid = job.desks, job.grid
    now_s, number = grid.bound_s[k], desks.number[m]
    _count(job, m, number, now_s)
    _busy(job, m, now_s)
    grid.busy_area[k, m], grid.area[k, m] = desks.busy_area[m], desks.area[m]
    grid.stays_s[k, m], grid.number[k, m] = desks.stays_s[m], number
    grid.queue_max[k, m], grid.dropped[k, m] = desks.queue_max[m], desks.dropped[m]
    grid.arrived[k, m], grid.finished[k, m] = desks.arrived[m], desks.finished[m]
    grid.lost[k, m] = desks.lost[m]
    desks.queue_max[m], desks.dropped[m] = number, 0
    # as often as sim.auditor does, so that all checks together take a step a request at most
    grid.open_s[k, m] = nan
    if number <= desks.arrived[m] - desks.checked[m]:
        desks.checked[m] = desks.arrived[m]
        grid.open_s[k, m] = _open_stays(job, m, now_s)


@jit
def _open_stays(job: Job, m: int, now_s: float) -> float:
    """Return the stays so far of the requests that are here."""
    tops, lanes = job.tops, job.lanes
    total_s = 0.0
    for i in range(tops.first[m], tops.first[m] + tops.size[m]):
        total_s += now_s - lanes.due_s[tops.place[i]]
    left, place = job.desks.number[m] - tops.size[m], job.desks.head[m]
    while left:
        if lanes.state[place] == WAITS:
            total_s += now_s - lanes.due_s[place]
            left -= 1
        place += 1
    return total_s


@jit
def _keep(job: Job, m: int, kept: int) -> int:
    """Put those who stay where the next step finds them; return how many there are by now."""
    tops, first = job.tops, kept
    for i in range(tops.first[m], tops.first[m] + tops.size[m]):
        _copy(job, tops.place[i], kept)
        tops.place[i] = kept - first
        kept += 1
    left, place = job.desks.number[m] - tops.size[m], job.desks.head[m]
    while left:
        if job.lanes.state[place] == WAITS:
            _copy(job, place, kept)
            kept += 1
            left -= 1
        place += 1
    job.desks.kept[m] = kept - first
    return kept


@jit
def _copy(job: Job, place: int, kept: int) -> None:
    lanes, room = job.lanes, job.kept
    room.due_s[kept], room.service_s[kept] = lanes.due_s[place], lanes.service_s[place]
    room.start_s[kept], room.row[kept] = lanes.start_s[place], lanes.row[place]


# --- a heap of services that run, by (end, request id)


@jit
def _push(job: Job, m: int, end_s: float, place: int) -> None:
    tops = job.tops
    base, i = tops.first[m], tops.size[m]
    tops.size[m] = i + 1
    while i > 0:
        above = base + ((i - 1) >> 1)
        if not _sooner(job, end_s, place, above):
            break
        tops.end_s[base + i], tops.place[base + i] = tops.end_s[above], tops.place[above]
        i = (i - 1) >> 1
    tops.end_s[base + i], tops.place[base + i] = end_s, place


@jit
def _pop(job: Job, m: int) -> None:
    tops = job.tops
    base, size = tops.first[m], tops.size[m] - 1
    tops.size[m] = size
    end_s, place = tops.end_s[base + size], tops.place[base + size]
    i, below = 0, 1
    while below < size:
        right = base + below + 1
        if below + 1 < size and not _sooner(
            job, tops.end_s[base + below], tops.place[base + below], right
        ):
            below += 1
        if _sooner(job, end_s, place, base + below):
            break
        tops.end_s[base + i] = tops.end_s[base + below]
        tops.place[base + i] = tops.place[base + below]
        i, below = below, 2 * below + 1
    tops.end_s[base + i], tops.place[base + i] = end_s, place


@jit
def _sooner(job: Job, end_s: float, place: int, other: int) -> bool:
    """Tell whether a service ends before the one at a place of the heap."""
    tops = job.tops
    if end_s != tops.end_s[other]:
        return bool(end_s < tops.end_s[other])
    row = job.lanes.row
    rival = row[tops.place[other]]
    return request_id(job.rows, row[place]) < request_id(job.rows, rival)


# --- a heap of those that may leave, by (time, request id); who has started is skipped at the top


@jit
def _watch(job: Job, m: int, place: int) -> None:
    lanes, rows, desks = job.lanes, job.rows, job.desks
    row = lanes.row[place]
    leave_s = min(lanes.due_s[place] + rows.patience_s[row], rows.expires_s[row])
    lanes.leave_s[place] = leave_s
    if leave_s == inf:
        return
    base, i = lanes.span[m], desks.turns[m]
    desks.turns[m] = i + 1
    lanes.leave_s[place] = max(lanes.due_s[place], leave_s)
    while i > 0:
        above = (i - 1) >> 1
        if not _leaves_first(job, place, lanes.turn[base + above]):
            break
        lanes.turn[base + i] = lanes.turn[base + above]
        i = above
    lanes.turn[base + i] = place


@jit
def _leaves_first(job: Job, one: int, other: int) -> bool:
    lanes = job.lanes
    if lanes.leave_s[one] != lanes.leave_s[other]:
        return bool(lanes.leave_s[one] < lanes.leave_s[other])
    return request_id(job.rows, lanes.row[one]) < request_id(job.rows, lanes.row[other])


@jit
def _give_up(job: Job, m: int, now_s: float, retired: int) -> int:
    """Let the top of the heap leave the queue, unless it has been served meanwhile."""
    lanes, rows, desks = job.lanes, job.rows, job.desks
    place = lanes.turn[lanes.span[m]]
    _unwatch(job, m)
    if lanes.state[place] != WAITS:
        return retired
    row, enqueue_s = lanes.row[place], lanes.due_s[place]
    late = rows.expires_s[row] == min(enqueue_s + rows.patience_s[row], rows.expires_s[row])
    desks.stays_s[m] += now_s - enqueue_s
    _count(job, m, desks.number[m] - 1, now_s)
    _lose(job, m, place, now_s, DEADLINE if late else PATIENCE, retired)
    job.out.enqueue_s[retired] = enqueue_s
    return retired + 1


@jit
def _unwatch(job: Job, m: int) -> None:
    lanes, desks = job.lanes, job.desks
    base, size = lanes.span[m], desks.turns[m] - 1
    desks.turns[m] = size
    last = lanes.turn[base + size]
    i, below = 0, 1
    while below < size:
        if below + 1 < size and _leaves_first(
            job, lanes.turn[base + below + 1], lanes.turn[base + below]
        ):
            below += 1
        if _leaves_first(job, last, lanes.turn[base + below]):
            break
        lanes.turn[base + i] = lanes.turn[base + below]
        i, below = below, 2 * below + 1
    lanes.turn[base + i] = last
