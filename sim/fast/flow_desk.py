"""What the kernels of stations share: meters, losses, answers, the ends of slots and of steps."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING, Any

from sim.fast.flow_state import GONE, WAITS
from sim.fast.jit import lean

if TYPE_CHECKING:
    from sim.fast.flow_state import Job


@lean
def count(desk: Any, number: int, now_s: float) -> None:
    """Note that so many requests are in the system from now on."""
    desk["area"] += desk["number"] * (now_s - desk["area_s"])
    desk["area_s"] = now_s
    desk["number"] = number


@lean
def busy(desk: Any, now_s: float) -> None:
    """Bring the integral of busy servers up to now."""
    desk["busy_area"] += desk["running"] * (now_s - desk["busy_s"])
    desk["busy_s"] = now_s


@lean
def end(job: Job, m: int, k: int, place: int, now_s: float, done: int) -> int:
    """Send the answer of a request whose service ends."""
    lane, told = job.lanes[place], job.done[done]
    told["row"], told["pair"], told["drop"] = lane["row"], lane["pair"], -1
    told["enqueue_s"], told["start_s"], told["finish_s"] = lane["due_s"], lane["start_s"], now_s
    told["return_s"] = _answer(job, m, k, lane, now_s)
    return done + 1


@lean
def lose(job: Job, m: int, place: int, now_s: float, done: int) -> int:
    """Drop a request that has not joined the queue, or has just left it; its lane says why."""
    desk, lane, told = job.desks[m], job.lanes[place], job.done[done]
    lane["state"] = GONE
    desk["lost"] += 1
    desk["dropped"] += 1
    desk["last_s"] = max(desk["last_s"], now_s)
    told["row"], told["pair"], told["drop"] = lane["row"], lane["pair"], lane["reason"]
    told["enqueue_s"] = told["start_s"] = told["finish_s"] = told["return_s"] = nan
    return done + 1


@lean
def _answer(job: Job, m: int, k: int, lane: Any, now_s: float) -> float:
    """Return when a request's answer is back, NaN: after the end of the run."""
    pair, size_bytes = lane["pair"], lane["down_bytes"]
    down, desk = job.downs[pair], job.desks[m]
    if down["here"]:
        desk["last_s"] = max(desk["last_s"], now_s)
        return now_s
    transmit_s = size_bytes / down["bytes_per_s"]
    job.grid.down_bytes[k, pair] += size_bytes
    gone_s = now_s + transmit_s
    if down["fifo"]:
        gone_s = max(down["free_s"], now_s) + transmit_s
        down["free_s"] = gone_s
    back_s = gone_s + down["delay_s"]
    desk["last_s"] = max(desk["last_s"], back_s)
    if back_s > job.grid.limit_s:
        desk["late"] += 1
        job.late_bytes[pair] += size_bytes
        return nan
    job.landed_bytes[pair] += size_bytes
    return float(back_s)


@lean
def settle(job: Job, m: int, k: int) -> None:
    """Bring a station's integrals up to a slot boundary, and note them."""
    desk, mark, now_s = job.desks[m], job.grid.marks[k, m], job.grid.bound_s[k]
    count(desk, desk["number"], now_s)
    busy(desk, now_s)
    mark["busy_area"], mark["area"] = desk["busy_area"], desk["area"]
    mark["stays_s"], mark["number"] = desk["stays_s"], desk["number"]
    mark["queue_max"], mark["dropped"] = desk["queue_max"], desk["dropped"]
    mark["arrived"], mark["finished"] = desk["arrived"], desk["finished"]
    mark["lost"], mark["open_s"] = desk["lost"], nan
    desk["queue_max"], desk["dropped"] = desk["number"], 0
    # as often as sim.auditor does, so that all checks together take a step a request at most
    if desk["number"] <= desk["arrived"] - desk["checked"]:
        desk["checked"] = desk["arrived"]
        mark["open_s"] = _open_stays(job, m, now_s)


@lean
def _open_stays(job: Job, m: int, now_s: float) -> float:
    """Return the stays so far of the requests that are here."""
    desk, total_s = job.desks[m], 0.0
    for i in range(desk["top"], desk["top"] + desk["running"]):
        total_s += now_s - job.lanes[job.tops[i]["place"]]["due_s"]
    left, place = desk["number"] - desk["running"], desk["head"]
    while left > 0:
        if job.lanes[place]["state"] == WAITS:
            total_s += now_s - job.lanes[place]["due_s"]
            left -= 1
        place += 1
    return total_s


@lean
def keep(job: Job, m: int, kept: int) -> int:
    """Put those who stay where the next step finds them; return how many there are by now."""
    desk, first = job.desks[m], kept
    for i in range(desk["top"], desk["top"] + desk["running"]):
        top = job.tops[i]
        job.kept[kept] = job.lanes[top["place"]]
        top["place"] = kept - first
        kept += 1
    left, place = desk["number"] - desk["running"], desk["head"]
    while left > 0:
        if job.lanes[place]["state"] == WAITS:
            job.kept[kept] = job.lanes[place]
            kept += 1
            left -= 1
        place += 1
    desk["kept"] = kept - first
    return kept
