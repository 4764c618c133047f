"""Two heaps of every station: services that run, and requests that may leave the queue."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from sim.fast.jit import lean

if TYPE_CHECKING:
    from sim.fast.flow_state import Job


# --- services that run, by (end, request)


@lean
def push(job: Job, m: int, end_s: float, place: int) -> None:
    """Add a service, of the request at a place of the lanes."""
    desk = job.desks[m]
    base, i = desk["top"], desk["running"]
    desk["running"] = i + 1
    while i > 0:
        above = (i - 1) >> 1
        if not _ends_first(job, end_s, place, base + above):
            break
        job.tops[base + i] = job.tops[base + above]
        i = above
    top = job.tops[base + i]
    top["end_s"], top["place"] = end_s, place


@lean
def pop(job: Job, m: int) -> None:
    """Take away the service that ends first."""
    desk, tops = job.desks[m], job.tops
    base, size = desk["top"], desk["running"] - 1
    desk["running"] = size
    end_s, place = tops[base + size]["end_s"], tops[base + size]["place"]
    i, below = 0, 1
    while below < size:
        left = tops[base + below]
        if below + 1 < size and not _ends_first(
            job, left["end_s"], left["place"], base + below + 1
        ):
            below += 1
        if _ends_first(job, end_s, place, base + below):
            break
        tops[base + i] = tops[base + below]
        i, below = below, 2 * below + 1
    top = tops[base + i]
    top["end_s"], top["place"] = end_s, place


@lean
def _ends_first(job: Job, end_s: float, place: int, other: int) -> bool:
    """Tell whether a service ends before the one at a place of the heap."""
    rival = job.tops[other]
    if end_s != rival["end_s"]:
        return bool(end_s < rival["end_s"])
    return bool(job.lanes[place]["id"] < job.lanes[rival["place"]]["id"])


# --- requests that may leave, by (time, request); one that has started is skipped at the top


@lean
def watch(job: Job, m: int, place: int) -> None:
    """Add a request that waits, if it may ever leave."""
    desk, base = job.desks[m], job.span[m]
    if job.lanes[place]["leave_s"] == inf:
        return
    i = desk["turns"]
    desk["turns"] = i + 1
    while i > 0:
        above = (i - 1) >> 1
        if not _leaves_first(job, place, job.turn[base + above]):
            break
        job.turn[base + i] = job.turn[base + above]
        i = above
    job.turn[base + i] = place


@lean
def unwatch(job: Job, m: int) -> None:
    """Take away the request that may leave first."""
    desk, base, turn = job.desks[m], job.span[m], job.turn
    size = desk["turns"] - 1
    desk["turns"] = size
    last = turn[base + size]
    i, below = 0, 1
    while below < size:
        if below + 1 < size and _leaves_first(job, turn[base + below + 1], turn[base + below]):
            below += 1
        if _leaves_first(job, last, turn[base + below]):
            break
        turn[base + i] = turn[base + below]
        i, below = below, 2 * below + 1
    turn[base + i] = last


@lean
def _leaves_first(job: Job, one: int, other: int) -> bool:
    mine, theirs = job.lanes[one], job.lanes[other]
    if mine["leave_s"] != theirs["leave_s"]:
        return bool(mine["leave_s"] < theirs["leave_s"])
    return bool(mine["id"] < theirs["id"])
