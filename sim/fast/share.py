"""Shared stations of the fused kernel; the twin is `sim.compute.sharing`.

Ends are kept in a skew heap whose branches are chains of requests, so no station has a size.

Source: skew heaps, Sleator and Tarjan 1986 (doi 10.1137/0215004). Deviation: none.
"""

from __future__ import annotations

from sim.clock import END
from sim.fast.access import Run, node_at, req
from sim.fast.heap import at, item_of, order_of
from sim.fast.jit import jit
from sim.fast.layout import SHARED_DONE
from sim.fast.lines import append, popleft
from sim.fast.move import send_down
from sim.fast.serve import count, join, watch

# --- the heap of ends


@jit
def _before(s: Run, one: int, other: int) -> bool:
    one_s, other_s = req(s, one)["key_s"], req(s, other)["key_s"]
    return bool(one_s < other_s or (one_s == other_s and one < other))


@jit
def _meld(s: Run, one: int, other: int) -> int:
    """Join two heaps and return the root."""
    if one < 0 or other < 0:
        return max(one, other)
    if _before(s, other, one):
        one, other = other, one
    root = here = one
    while True:
        branch = req(s, here)["mate"]
        req(s, here)["mate"] = req(s, here)["child"]
        if branch < 0:
            req(s, here)["child"] = other
            return root
        if _before(s, other, branch):
            branch, other = other, branch
        req(s, here)["child"] = branch
        here = branch


# --- who is inside, in order of joining


@jit
def _come_in(s: Run, node: int, rid: int) -> None:
    n = node_at(s, node)
    last = n["inside_tail"]
    req(s, rid)["before"], req(s, rid)["after"], req(s, rid)["serving"] = last, -1, node
    if last >= 0:
        req(s, last)["after"] = rid
    else:
        n["inside_head"] = rid
    n["inside_tail"] = rid
    n["inside"] += 1
    req(s, rid)["child"] = req(s, rid)["mate"] = -1
    n["root"] = _meld(s, n["root"], rid)


@jit
def _go_out(s: Run, node: int) -> int:
    """Take the request whose service ends first."""
    n = node_at(s, node)
    rid = n["root"]
    n["root"] = _meld(s, req(s, rid)["child"], req(s, rid)["mate"])
    before, after = req(s, rid)["before"], req(s, rid)["after"]
    if before >= 0:
        req(s, before)["after"] = after
    else:
        n["inside_head"] = after
    if after >= 0:
        req(s, after)["before"] = before
    else:
        n["inside_tail"] = before
    n["inside"] -= 1
    req(s, rid)["serving"] = -1
    return int(rid)


@jit
def clear_inside(s: Run, node: int) -> None:
    """Forget who is inside."""
    n = node_at(s, node)
    rid = n["inside_head"]
    while rid >= 0:
        req(s, rid)["serving"] = -1
        rid = req(s, rid)["after"]
    n["inside_head"] = n["inside_tail"] = n["root"] = -1
    n["inside"] = 0
    n["attained_s"] = 0.0


# --- service


@jit
def rate(s: Run, node: int) -> float:
    """Return the speed at which each request progresses, in servers."""
    n = node_at(s, node)
    if n["inside"] == 0:
        return 0.0
    return float(min(n["job_share"], n["servers"] / n["inside"]))


@jit
def shared_busy(s: Run, node: int, now_s: float) -> None:
    """Bring the integral of server speed in use up to now."""
    n = node_at(s, node)
    n["busy_area"] += n["inside"] * rate(s, node) * (now_s - n["busy_s"])
    n["busy_s"] = now_s


@jit
def attain(s: Run, node: int, now_s: float) -> None:
    """Let service be attained, and server time be used, up to now."""
    n = node_at(s, node)
    n["attained_s"] += rate(s, node) * (now_s - n["attained_at_s"])
    n["attained_at_s"] = now_s
    shared_busy(s, node, now_s)


@jit
def set_alarm(s: Run, node: int, now_s: float) -> None:
    """Set the alarm for the next end; earlier ones are void."""
    n = node_at(s, node)
    n["alarm"] += 1
    rid = n["root"]
    if rid >= 0:
        left_s = max(0.0, req(s, rid)["key_s"] - n["attained_s"])
        due_s = now_s + left_s / rate(s, node)
        at(s, due_s, order_of(END, rid), item_of(SHARED_DONE, node), n["alarm"])


@jit
def _admit(s: Run, node: int, rid: int, now_s: float) -> None:
    n = node_at(s, node)
    attain(s, node, now_s)
    req(s, rid)["t_start_s"] = now_s
    req(s, rid)["batch"], req(s, rid)["batch_size"] = s["batch"], 1
    s["batch"] += 1
    req(s, rid)["key_s"] = n["attained_s"] + req(s, rid)["draw_s"]
    _come_in(s, node, rid)
    n["most_running"] = max(n["most_running"], n["inside"] * rate(s, node))
    set_alarm(s, node, now_s)


@jit
def shared_enqueue(s: Run, node: int, rid: int, now_s: float) -> None:
    """Serve a request at once, let it wait for the node, or refuse it."""
    if not join(s, node, rid, now_s):
        return
    if node_at(s, node)["up"]:
        _admit(s, node, rid, now_s)
    else:
        append(s, node, rid)
        watch(s, node, rid, now_s)


@jit
def admit_all(s: Run, node: int, now_s: float) -> None:
    """Let all start who have waited for the node to come back."""
    while node_at(s, node)["waiting"] > 0:
        _admit(s, node, popleft(s, node), now_s)


@jit
def shared_done(s: Run, node: int, number: int, now_s: float) -> None:
    """End the services that are due, unless somebody came or went since the alarm was set."""
    n = node_at(s, node)
    if number != n["alarm"]:
        return
    attain(s, node, now_s)
    n["attained_s"] = req(s, n["root"])["key_s"]
    first = last = -1
    ended = 0
    while n["root"] >= 0 and req(s, n["root"])["key_s"] <= n["attained_s"]:
        rid = _go_out(s, node)
        asked_s = req(s, rid)["draw_s"]
        req(s, rid)["t_finish_s"], req(s, rid)["service_s"] = now_s, asked_s
        req(s, rid)["stall_s"] = max(0.0, now_s - req(s, rid)["t_start_s"] - asked_s)
        n["stays_s"] += now_s - req(s, rid)["t_enqueue_s"]
        ended += 1
        req(s, rid)["mate"] = -1
        if last >= 0:
            req(s, last)["mate"] = rid
        else:
            first = rid
        last = rid
    if n["root"] < 0:
        n["attained_s"] = 0.0
    n["finished"] += ended
    count(s, node, n["in_system"] - ended, now_s)
    set_alarm(s, node, now_s)
    while first >= 0:
        following = req(s, first)["mate"]
        send_down(s, first, node, now_s)
        first = following
