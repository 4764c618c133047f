"""The kernel of stations: c servers, K places, patience; all events of a step in their order.

What `sim.compute.plain` does inside SimPy's loop, with the same float operations in the same order.
At one instant: ends, then arrivals over links, then a slot boundary, then arrivals that began in
this very instant, then those who lose patience (see sim.clock).
"""

from __future__ import annotations

from math import inf, nan
from typing import TYPE_CHECKING

from sim.compute.floor import QUEUE_FULL
from sim.fast.flow_desk import busy, count, end, keep, lose, settle
from sim.fast.flow_heaps import pop, push, unwatch, watch
from sim.fast.flow_single import rush
from sim.fast.flow_state import GONE, RUNS, WAITS
from sim.fast.jit import lean

if TYPE_CHECKING:
    from sim.fast.flow_state import Job


@lean
def serve(job: Job) -> tuple[int, int]:
    """Let every station live through a step.

    Returns:
        How many requests came to their end, and how many stay.
    """
    done = kept = len(job.done) - len(job.done)  # (numba compiles anew for a literal 0)
    bounds = len(job.grid.bound_s)
    for m in range(len(job.desks)):
        place = _open(job, m)
        single = job.desks[m]["servers"] == 1 and not len(job.turn)
        for k in range(bounds + 1):
            if single:
                place, done = rush(job, m, k, place, done)
            else:
                place, done = _walk(job, m, k, place, done)
            if k < bounds:
                settle(job, m, k)
        kept = keep(job, m, kept)
    return done, kept


@lean
def _open(job: Job, m: int) -> int:
    """Set up the queue of those carried over; return the place of the first who comes."""
    desk, first = job.desks[m], job.span[m]
    running, fresh = desk["running"], first + desk["kept"]
    desk["head"], desk["turns"] = first + running, 0
    for i in range(desk["top"], desk["top"] + running):
        job.tops[i]["place"] += first
    if len(job.turn):
        for place in range(first + running, fresh):
            watch(job, m, place)
    return int(fresh)


@lean
def _walk(job: Job, m: int, k: int, place: int, done: int) -> tuple[int, int]:
    """Let a station live up to a slot boundary, or to the end of the step; return what follows."""
    desk, stop, whole = job.desks[m], job.span[m + 1], k == len(job.grid.bound_s)
    limit_s = job.grid.last_s if whole else job.grid.bound_s[k]
    while True:
        end_s = job.tops[desk["top"]]["end_s"] if desk["running"] else inf
        due_s = job.lanes[place]["due_s"] if place < stop else inf
        leave_s = job.lanes[job.turn[job.span[m]]]["leave_s"] if desk["turns"] else inf
        if end_s <= due_s and end_s <= leave_s:
            if end_s > limit_s:
                break
            done = _end(job, m, k, done)
        elif due_s <= leave_s:
            if due_s > limit_s or (due_s == limit_s and not whole and job.lanes[place]["late"]):
                break
            done = _arrive(job, m, place, done)
            place += 1
        else:
            if leave_s > limit_s or (leave_s == limit_s and not whole):
                break
            done = _give_up(job, m, leave_s, done)
    return place, done


@lean
def _arrive(job: Job, m: int, place: int, done: int) -> int:
    lane, desk = job.lanes[place], job.desks[m]
    now_s, number = lane["due_s"], desk["number"]
    desk["arrived"] += 1
    if lane["leave_s"] == -inf:
        return lose(job, m, place, now_s, done)
    if number >= desk["capacity"]:
        lane["reason"] = QUEUE_FULL
        return lose(job, m, place, now_s, done)
    count(desk, number + 1, now_s)
    desk["queue_max"] = max(desk["queue_max"], number + 1)
    if desk["running"] < desk["servers"]:
        busy(desk, now_s)
        desk["most_running"] = max(desk["most_running"], desk["running"] + 1)
        _start(job, m, place, now_s)
    else:
        lane["state"], lane["start_s"] = WAITS, nan
        if len(job.turn):
            watch(job, m, place)
    return done


@lean
def _start(job: Job, m: int, place: int, now_s: float) -> None:
    lane = job.lanes[place]
    lane["start_s"], lane["state"] = now_s, RUNS
    push(job, m, now_s + lane["service_s"], place)


@lean
def _end(job: Job, m: int, k: int, done: int) -> int:
    desk = job.desks[m]
    top = job.tops[desk["top"]]
    now_s, place = top["end_s"], top["place"]
    lane = job.lanes[place]
    lane["state"] = GONE
    desk["stays_s"] += now_s - lane["due_s"]
    desk["finished"] += 1
    count(desk, desk["number"] - 1, now_s)
    if desk["number"] >= desk["running"]:  # somebody waits: the server passes on
        pop(job, m)
        head = desk["head"]
        while job.lanes[head]["state"] != WAITS:
            head += 1
        desk["head"] = head + 1
        _start(job, m, head, now_s)
    else:
        busy(desk, now_s)
        pop(job, m)
    return end(job, m, k, place, now_s, done)


@lean
def _give_up(job: Job, m: int, now_s: float, done: int) -> int:
    """Let the top of the heap leave the queue, unless it has been served meanwhile."""
    place = job.turn[job.span[m]]
    unwatch(job, m)
    lane, desk = job.lanes[place], job.desks[m]
    if lane["state"] != WAITS:
        return done
    desk["stays_s"] += now_s - lane["due_s"]
    count(desk, desk["number"] - 1, now_s)
    lose(job, m, place, now_s, done)
    job.done[done]["enqueue_s"] = lane["due_s"]
    return done + 1
