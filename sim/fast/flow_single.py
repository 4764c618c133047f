"""The kernel of stations with one server whose queue nobody leaves: the most frequent one.

It does what the general kernel does, with the station's state in local variables.
"""

from __future__ import annotations

from math import inf, nan
from typing import TYPE_CHECKING

from sim.compute.floor import QUEUE_FULL
from sim.fast.flow_desk import end, lose
from sim.fast.flow_state import GONE, WAITS
from sim.fast.jit import lean

if TYPE_CHECKING:
    from sim.fast.flow_state import Job


@lean
def rush(job: Job, m: int, k: int, place: int, done: int) -> tuple[int, int]:
    """Let a station live up to a slot boundary, or to the end of the step.

    Args:
        job: The step.
        m: The station.
        k: The boundary.
        place: Who comes next, in the lanes.
        done: How many requests have come to their end.

    Returns:
        The last two, at the boundary.
    """
    desk, lanes, stop, whole = job.desks[m], job.lanes, job.span[m + 1], k == len(job.grid.bound_s)
    limit_s = job.grid.last_s if whole else job.grid.bound_s[k]
    number, capacity, queue_max = desk["number"], desk["capacity"], desk["queue_max"]
    area, area_s, stays_s = desk["area"], desk["area_s"], desk["stays_s"]
    top, first = job.tops[desk["top"]], place
    runs, end_s = (top["place"], top["end_s"]) if number else (place, inf)
    finished = 0
    while True:
        due_s = lanes[place]["due_s"] if place < stop else inf
        if end_s <= due_s:
            if end_s > limit_s:
                break
            lane = lanes[runs]
            stays_s += end_s - lane["due_s"]
            area += number * (end_s - area_s)
            area_s = end_s
            done = end(job, m, k, runs, end_s, done)
            finished, number, runs = finished + 1, number - 1, runs + 1
            if number:
                while lanes[runs]["state"] == GONE:
                    runs += 1
                lane = lanes[runs]
                lane["start_s"], end_s = end_s, end_s + lane["service_s"]
            else:
                desk["busy_area"] += end_s - desk["busy_s"]
                desk["busy_s"], end_s = end_s, inf
            continue
        lane = lanes[place]
        if due_s > limit_s or (due_s == limit_s and not whole and lane["late"]):
            break
        if number < capacity:
            area += number * (due_s - area_s)
            area_s = due_s
            lane["state"], lane["start_s"] = WAITS, nan
            if not number:
                desk["busy_s"] = lane["start_s"] = due_s
                runs, end_s = place, due_s + lane["service_s"]
            number += 1
            queue_max = max(queue_max, number)
        else:
            lane["reason"] = QUEUE_FULL
            done = lose(job, m, place, due_s, done)
        place += 1
    desk["number"], desk["queue_max"], desk["area"], desk["area_s"] = (
        number,
        queue_max,
        area,
        area_s,
    )
    desk["stays_s"], desk["running"], desk["head"] = stays_s, min(number, 1), runs + min(number, 1)
    desk["most_running"] = max(desk["most_running"], min(queue_max, 1))
    desk["arrived"] += place - first
    desk["finished"] += finished
    top["place"], top["end_s"] = runs, end_s
    return place, done
