"""Links and journeys of the fused kernel, and what becomes of requests at their ends.

The twins are `sim.network.links`, `carrier` and `transfer`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.clock import ARRIVE
from sim.fast.access import Run, late_at, link_at, node_at, pace_at, req, route_in
from sim.fast.heap import at, item_of, order_of
from sim.fast.jit import jit
from sim.fast.layout import DOOR, FREE, FRESH, HOP, RETRY, SLOWED, WAITING
from sim.network.links import LINK_DOWN
from sim.network.transfer import NO_ROUTE

if TYPE_CHECKING:
    from sim.arrays import AnyArray

_DOUBLINGS = 1000


# --- ends


@jit
def stop(s: Run, now_s: float) -> None:
    """End the run when the last answer is back, but not before arrivals do."""
    last_s = max(now_s, s["last_s"])
    s["stop_s"] = min(max(s["duration_s"], last_s), s["limit_s"])


@jit
def returned(s: Run, rid: int, now_s: float) -> None:
    """Stamp the answer's arrival at the source, now or later."""
    req(s, rid)["t_return_s"] = now_s
    s["last_s"] = max(s["last_s"], now_s)
    s["outstanding"] -= 1
    if s["outstanding"] == 0:
        stop(s, now_s)


@jit
def lose(s: Run, rid: int, reason: int, now_s: float) -> None:
    """Drop a request with a reason."""
    req(s, rid)["drop"] = reason
    node_at(s, req(s, rid)["server"])["dropped"] += 1
    s["outstanding"] -= 1
    if s["outstanding"] == 0:
        stop(s, now_s)


# --- links


@jit
def put(s: Run, index: int, size_bytes: float, now_s: float) -> float:
    """Put a transfer on a link and return when its last bit arrives at the other end."""
    link = link_at(s, index)
    transmit_s = size_bytes / link["bytes_per_s"]
    link["sent_bytes"] += size_bytes
    kind = link["kind"]
    if kind == FREE:
        return now_s + transmit_s + link["delay_s"]
    if kind == SLOWED:
        return _put_slowed(s, index, transmit_s, now_s)
    gone_s = max(link["free_s"], now_s) + transmit_s
    link["free_s"] = gone_s
    return gone_s + link["delay_s"]


@jit
def _put_slowed(s: Run, index: int, transmit_s: float, now_s: float) -> float:
    link = link_at(s, index)
    begin_s = max(now_s, link["free_s"]) if link["fifo"] else now_s
    gone_s = _finish(s, link["pace_from"], link["pace_to"], begin_s, transmit_s)
    link["free_s"] = gone_s
    link["slowed_s"] += gone_s - begin_s - transmit_s
    low, high = link["late_from"], link["late_to"]
    while low < high:
        middle = (low + high) >> 1
        if gone_s < late_at(s, middle)["cut_s"]:
            high = middle
        else:
            low = middle + 1
    return gone_s + (link["delay_s"] + late_at(s, low)["value"])


@jit
def _finish(s: Run, first: int, last: int, start_s: float, work_s: float) -> float:
    """Return when work ends at a link's pace (`sim.pace.Pace.finish`)."""
    if first == last:
        return start_s + work_s
    low, high = first, last
    while low < high:
        middle = (low + high) >> 1
        if start_s < pace_at(s, middle)["cut_s"]:
            high = middle
        else:
            low = middle + 1
    while low < last:
        step = pace_at(s, low)
        done_s = (step["cut_s"] - start_s) * step["value"]
        if done_s >= work_s:
            return start_s + work_s / step["value"]
        work_s -= done_s
        start_s = step["cut_s"]
        low += 1
    return start_s + work_s / pace_at(s, last)["value"]


# --- routes


@jit
def find_route(run: AnyArray, here: int, goal: int) -> int:
    """Return what `route_at` does."""
    return route_at(run[0], here, goal)


@jit
def route_at(s: Run, here: int, goal: int) -> int:
    """Return the place of a route in the table, or -1 - the place where it belongs."""
    wanted = here * s["nodes_count"] + goal
    mask = s["routes_count"] - 1
    place = ((wanted * 0x9E3779B1) >> 7) & mask
    while route_in(s, place)["key"] != wanted:
        if route_in(s, place)["key"] < 0:
            return -1 - place
        place = (place + 1) & mask
    return place


# --- journeys


@jit
def set_out(s: Run, rid: int, here: int, goal: int, upward: int) -> None:
    """Stand at a node, about to leave for another one."""
    req(s, rid)["here"], req(s, rid)["goal"], req(s, rid)["upward"] = here, goal, upward
    req(s, rid)["failures"] = req(s, rid)["sent"] = 0
    req(s, rid)["link"] = FRESH


@jit
def depart(s: Run, rid: int, now_s: float) -> None:
    """Leave, if the route is known; else line up, and with it all who leave in the same event."""
    place = -1 if s["unrouted"] >= 0 else route_at(s, req(s, rid)["here"], req(s, rid)["goal"])
    if place >= 0:
        _go(s, rid, place, now_s)
        return
    req(s, rid)["mate"] = -1
    if s["unrouted"] < 0:
        s["unrouted"], s["then_s"] = rid, now_s
    else:
        req(s, s["unrouted_last"])["mate"] = rid
    s["unrouted_last"] = rid


@jit
def depart_all(run: AnyArray) -> None:
    """Let those leave who lined up, as far as routes are known now."""
    s = run[0]
    rid, now_s = s["unrouted"], s["then_s"]
    s["unrouted"] = -1
    while rid >= 0:
        following = req(s, rid)["mate"]
        depart(s, rid, now_s)
        rid = following


@jit
def _go(s: Run, rid: int, place: int, now_s: float) -> None:
    size_bytes = req(s, rid)["up_bytes"] if req(s, rid)["upward"] else req(s, rid)["down_bytes"]
    index = route_in(s, place)["link"]
    if index < 0:
        never = req(s, rid)["upward"] == 1 and req(s, rid)["sent"] == 0
        req(s, rid)["link"] = WAITING
        _failed(s, rid, NO_ROUTE if never else LINK_DOWN, now_s)
        return
    due_s = put(s, index, size_bytes, now_s)
    if req(s, rid)["link"] == FRESH and route_in(s, place)["direct"]:
        if req(s, rid)["upward"]:
            at(s, due_s, order_of(ARRIVE, rid), item_of(DOOR, rid), 0)
        else:
            returned(s, rid, due_s)
        return
    req(s, rid)["sent"] = 1
    req(s, rid)["link"], req(s, rid)["link_epoch"] = index, link_at(s, index)["epoch"]
    at(s, due_s, order_of(ARRIVE, rid), item_of(HOP, rid), 0)


@jit
def _failed(s: Run, rid: int, reason: int, now_s: float) -> None:
    """Try again later, unless it has been tried often enough."""
    req(s, rid)["failures"] += 1
    if req(s, rid)["failures"] >= s["tries"]:
        lose(s, rid, reason, now_s)
        return
    wait_s = s["backoff_s"] * 2.0 ** min(req(s, rid)["failures"] - 1, _DOUBLINGS)
    at(s, now_s + wait_s, order_of(ARRIVE, rid), item_of(RETRY, rid), 0)


@jit
def land(s: Run, rid: int, now_s: float) -> bool:
    """End a hop; True: the journey is at the far end of its link, not lost with it."""
    index = req(s, rid)["link"]
    link = link_at(s, index)
    size_bytes = req(s, rid)["up_bytes"] if req(s, rid)["upward"] else req(s, rid)["down_bytes"]
    req(s, rid)["link"] = WAITING
    if link["epoch"] != req(s, rid)["link_epoch"]:
        link["lost_bytes"] += size_bytes
        link["lost"] += 1
        _failed(s, rid, LINK_DOWN, now_s)
        return False
    link["landed_bytes"] += size_bytes
    req(s, rid)["here"], req(s, rid)["failures"] = link["dst"], 0
    return True


# --- answers


@jit
def send_down(s: Run, rid: int, here: int, now_s: float) -> None:
    """Send an answer towards its source."""
    source = req(s, rid)["source"]
    if here == source:
        returned(s, rid, now_s)
        return
    set_out(s, rid, here, source, 0)
    depart(s, rid, now_s)
