"""Links and journeys of the fused kernel, and what becomes of requests at their ends.

The twins are `sim.network.links`, `carrier` and `transfer`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.clock import ARRIVE
from sim.fast.heap import at, item_of, order_of
from sim.fast.jit import jit
from sim.fast.layout import DOOR, FREE, FRESH, HOP, RETRY, SLOWED, WAITING
from sim.network.links import LINK_DOWN
from sim.network.transfer import NO_ROUTE

if TYPE_CHECKING:
    from sim.arrays import FloatArray
    from sim.fast.layout import State

_DOUBLINGS = 1000


# --- ends


@jit
def stop(s: State, now_s: float) -> None:
    """End the run when the last answer is back, but not before arrivals do."""
    run = s.run[0]
    last_s = max(now_s, run["last_s"])
    run["stop_s"] = min(max(run["duration_s"], last_s), run["limit_s"])


@jit
def returned(s: State, rid: int, now_s: float) -> None:
    """Stamp the answer's arrival at the source, now or later."""
    run = s.run[0]
    s.marks.t_return_s[rid] = now_s
    run["last_s"] = max(run["last_s"], now_s)
    run["outstanding"] -= 1
    if run["outstanding"] == 0:
        stop(s, now_s)


@jit
def lose(s: State, rid: int, reason: int, now_s: float) -> None:
    """Drop a request with a reason."""
    run = s.run[0]
    s.marks.drop[rid] = reason
    s.nodes[int(s.marks.server[rid])]["dropped"] += 1
    run["outstanding"] -= 1
    if run["outstanding"] == 0:
        stop(s, now_s)


# --- links


@jit
def put(s: State, index: int, size_bytes: float, now_s: float) -> float:
    """Put a transfer on a link and return when its last bit arrives at the other end."""
    link = s.links[index]
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
def _put_slowed(s: State, index: int, transmit_s: float, now_s: float) -> float:
    link, weathers = s.links[index], s.weathers
    begin_s = max(now_s, link["free_s"]) if link["fifo"] else now_s
    gone_s = _finish(s, link["pace_from"], link["pace_to"], begin_s, transmit_s)
    link["free_s"] = gone_s
    link["slowed_s"] += gone_s - begin_s - transmit_s
    late = _place(weathers.late_cut_s, link["late_from"], link["late_to"], gone_s)
    return gone_s + (link["delay_s"] + weathers.late_s[late])


@jit
def _place(cuts_s: FloatArray, first: int, last: int, t_s: float) -> int:
    """Return the place of the value that holds from an instant on, behind the cuts up to it."""
    low, high = first, last
    while low < high:
        middle = (low + high) >> 1
        if t_s < cuts_s[middle]:
            high = middle
        else:
            low = middle + 1
    return low


@jit
def _finish(s: State, first: int, last: int, start_s: float, work_s: float) -> float:
    """Return when work ends at a link's pace (`sim.pace.Pace.finish`)."""
    cuts_s, speeds = s.weathers.pace_cut_s, s.weathers.pace
    if first == last:
        return start_s + work_s
    index = _place(cuts_s, first, last, start_s)
    while index < last:
        done_s = (cuts_s[index] - start_s) * speeds[index]
        if done_s >= work_s:
            return start_s + work_s / speeds[index]
        work_s -= done_s
        start_s = cuts_s[index]
        index += 1
    return start_s + work_s / speeds[last]


# --- routes


@jit
def route_at(s: State, here: int, goal: int) -> int:
    """Return the place of a route in the table, or -1 - the place where it belongs."""
    table = s.routes
    wanted = here * s.nodes.shape[0] + goal
    mask = table.key.shape[0] - 1
    place = ((wanted * 0x9E3779B1) >> 7) & mask
    while table.key[place] != wanted:
        if table.key[place] < 0:
            return -1 - place
        place = (place + 1) & mask
    return place


# --- journeys


@jit
def set_out(s: State, rid: int, here: int, goal: int, upward: int) -> None:
    """Stand at a node, about to leave for another one."""
    ties = s.ties
    ties.here[rid], ties.goal[rid], ties.upward[rid] = here, goal, upward
    ties.failures[rid] = ties.sent[rid] = 0
    ties.link[rid] = FRESH


@jit
def depart(s: State, rid: int, now_s: float) -> None:
    """Leave, if the route is known; else line up, and with it all who leave in the same event."""
    run = s.run[0]
    place = -1 if run["unrouted"] >= 0 else route_at(s, s.ties.here[rid], s.ties.goal[rid])
    if place >= 0:
        _go(s, rid, place, now_s)
        return
    s.ties.mate[rid] = -1
    if run["unrouted"] < 0:
        run["unrouted"], run["then_s"] = rid, now_s
    else:
        s.ties.mate[run["unrouted_last"]] = rid
    run["unrouted_last"] = rid


@jit
def depart_all(s: State) -> None:
    """Let those leave who lined up, as far as routes are known now."""
    run = s.run[0]
    rid, now_s = run["unrouted"], run["then_s"]
    run["unrouted"] = -1
    while rid >= 0:
        following = s.ties.mate[rid]
        depart(s, rid, now_s)
        rid = following


@jit
def _go(s: State, rid: int, place: int, now_s: float) -> None:
    ties = s.ties
    size_bytes = s.asked.up_bytes[rid] if ties.upward[rid] else s.asked.down_bytes[rid]
    index = s.routes.link[place]
    if index < 0:
        never = ties.upward[rid] == 1 and ties.sent[rid] == 0
        ties.link[rid] = WAITING
        _failed(s, rid, NO_ROUTE if never else LINK_DOWN, now_s)
        return
    due_s = put(s, index, size_bytes, now_s)
    if ties.link[rid] == FRESH and s.routes.direct[place]:
        if ties.upward[rid]:
            at(s, due_s, order_of(ARRIVE, rid), item_of(DOOR, rid), 0)
        else:
            returned(s, rid, due_s)
        return
    ties.sent[rid] = 1
    ties.link[rid], ties.link_epoch[rid] = index, s.links[index]["epoch"]
    at(s, due_s, order_of(ARRIVE, rid), item_of(HOP, rid), 0)


@jit
def _failed(s: State, rid: int, reason: int, now_s: float) -> None:
    """Try again later, unless it has been tried often enough."""
    ties, run = s.ties, s.run[0]
    ties.failures[rid] += 1
    if ties.failures[rid] >= run["tries"]:
        lose(s, rid, reason, now_s)
        return
    wait_s = run["backoff_s"] * 2.0 ** min(ties.failures[rid] - 1, _DOUBLINGS)
    at(s, now_s + wait_s, order_of(ARRIVE, rid), item_of(RETRY, rid), 0)


@jit
def land(s: State, rid: int, now_s: float) -> bool:
    """End a hop; True: the journey is at the far end of its link, not lost with it."""
    ties = s.ties
    index = ties.link[rid]
    link = s.links[index]
    size_bytes = s.asked.up_bytes[rid] if ties.upward[rid] else s.asked.down_bytes[rid]
    ties.link[rid] = WAITING
    if link["epoch"] != ties.link_epoch[rid]:
        link["lost_bytes"] += size_bytes
        link["lost"] += 1
        _failed(s, rid, LINK_DOWN, now_s)
        return False
    link["landed_bytes"] += size_bytes
    ties.here[rid], ties.failures[rid] = link["dst"], 0
    return True


# --- answers


@jit
def send_down(s: State, rid: int, here: int, now_s: float) -> None:
    """Send an answer towards its source."""
    source = int(s.asked.source[rid])
    if here == source:
        returned(s, rid, now_s)
        return
    set_out(s, rid, here, source, 0)
    depart(s, rid, now_s)
