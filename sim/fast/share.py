"""Shared stations of the fused kernel; the twin is `sim.compute.sharing`.

Ends are kept in a skew heap whose branches are chains of requests, so no station has a size.

Source: skew heaps, Sleator and Tarjan 1986 (doi 10.1137/0215004). Deviation: none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.clock import END
from sim.fast.heap import at, item_of, order_of
from sim.fast.jit import jit
from sim.fast.layout import SHARED_DONE
from sim.fast.lines import append, popleft
from sim.fast.move import send_down
from sim.fast.serve import count, join, watch

if TYPE_CHECKING:
    from sim.fast.layout import State


# --- the heap of ends


@jit
def _before(s: State, one: int, other: int) -> bool:
    key_s = s.ties.key_s
    return bool(key_s[one] < key_s[other] or (key_s[one] == key_s[other] and one < other))


@jit
def _meld(s: State, one: int, other: int) -> int:
    """Join two heaps and return the root."""
    left, right = s.ties.child, s.ties.mate
    if one < 0 or other < 0:
        return max(one, other)
    if _before(s, other, one):
        one, other = other, one
    root = here = one
    while True:
        branch = right[here]
        right[here] = left[here]
        if branch < 0:
            left[here] = other
            return root
        if _before(s, other, branch):
            branch, other = other, branch
        left[here] = branch
        here = branch


# --- who is inside, in order of joining


@jit
def _come_in(s: State, node: int, rid: int) -> None:
    n, ties = s.nodes[node], s.ties
    last = n["inside_tail"]
    ties.before[rid], ties.after[rid], ties.serving[rid] = last, -1, node
    if last >= 0:
        ties.after[last] = rid
    else:
        n["inside_head"] = rid
    n["inside_tail"] = rid
    n["inside"] += 1
    ties.child[rid] = ties.mate[rid] = -1
    n["root"] = _meld(s, n["root"], rid)


@jit
def _go_out(s: State, node: int) -> int:
    """Take the request whose service ends first."""
    n, ties = s.nodes[node], s.ties
    rid = n["root"]
    n["root"] = _meld(s, ties.child[rid], ties.mate[rid])
    before, after = ties.before[rid], ties.after[rid]
    if before >= 0:
        ties.after[before] = after
    else:
        n["inside_head"] = after
    if after >= 0:
        ties.before[after] = before
    else:
        n["inside_tail"] = before
    n["inside"] -= 1
    ties.serving[rid] = -1
    return int(rid)


@jit
def clear_inside(s: State, node: int) -> None:
    """Forget who is inside."""
    n = s.nodes[node]
    rid = n["inside_head"]
    while rid >= 0:
        s.ties.serving[rid] = -1
        rid = s.ties.after[rid]
    n["inside_head"] = n["inside_tail"] = n["root"] = -1
    n["inside"] = 0
    n["attained_s"] = 0.0


# --- service


@jit
def rate(s: State, node: int) -> float:
    """Return the speed at which each request progresses, in servers."""
    n = s.nodes[node]
    if n["inside"] == 0:
        return 0.0
    return float(min(n["job_share"], n["servers"] / n["inside"]))


@jit
def shared_busy(s: State, node: int, now_s: float) -> None:
    """Bring the integral of server speed in use up to now."""
    n = s.nodes[node]
    n["busy_area"] += n["inside"] * rate(s, node) * (now_s - n["busy_s"])
    n["busy_s"] = now_s


@jit
def attain(s: State, node: int, now_s: float) -> None:
    """Let service be attained, and server time be used, up to now."""
    n = s.nodes[node]
    n["attained_s"] += rate(s, node) * (now_s - n["attained_at_s"])
    n["attained_at_s"] = now_s
    shared_busy(s, node, now_s)


@jit
def set_alarm(s: State, node: int, now_s: float) -> None:
    """Set the alarm for the next end; earlier ones are void."""
    n = s.nodes[node]
    n["alarm"] += 1
    rid = n["root"]
    if rid >= 0:
        left_s = max(0.0, s.ties.key_s[rid] - n["attained_s"])
        due_s = now_s + left_s / rate(s, node)
        at(s, due_s, order_of(END, rid), item_of(SHARED_DONE, node), n["alarm"])


@jit
def _admit(s: State, node: int, rid: int, now_s: float) -> None:
    n, run = s.nodes[node], s.run[0]
    attain(s, node, now_s)
    s.marks.t_start_s[rid] = now_s
    s.marks.batch[rid], s.marks.batch_size[rid] = run["batch"], 1
    run["batch"] += 1
    s.ties.key_s[rid] = n["attained_s"] + s.asked.draw_s[rid]
    _come_in(s, node, rid)
    n["most_running"] = max(n["most_running"], n["inside"] * rate(s, node))
    set_alarm(s, node, now_s)


@jit
def shared_enqueue(s: State, node: int, rid: int, now_s: float) -> None:
    """Serve a request at once, let it wait for the node, or refuse it."""
    if not join(s, node, rid, now_s):
        return
    if s.nodes[node]["up"]:
        _admit(s, node, rid, now_s)
    else:
        append(s, node, rid)
        watch(s, node, rid, now_s)


@jit
def admit_all(s: State, node: int, now_s: float) -> None:
    """Let all start who have waited for the node to come back."""
    while s.nodes[node]["waiting"] > 0:
        _admit(s, node, popleft(s, node), now_s)


@jit
def shared_done(s: State, node: int, number: int, now_s: float) -> None:
    """End the services that are due, unless somebody came or went since the alarm was set."""
    n, ties, marks = s.nodes[node], s.ties, s.marks
    if number != n["alarm"]:
        return
    attain(s, node, now_s)
    n["attained_s"] = ties.key_s[n["root"]]
    first = last = -1
    ended = 0
    while n["root"] >= 0 and ties.key_s[n["root"]] <= n["attained_s"]:
        rid = _go_out(s, node)
        asked_s = s.asked.draw_s[rid]
        marks.t_finish_s[rid], marks.service_s[rid] = now_s, asked_s
        marks.stall_s[rid] = max(0.0, now_s - marks.t_start_s[rid] - asked_s)
        n["stays_s"] += now_s - marks.t_enqueue_s[rid]
        ended += 1
        ties.mate[rid] = -1
        if last >= 0:
            ties.mate[last] = rid
        else:
            first = rid
        last = rid
    if n["root"] < 0:
        n["attained_s"] = 0.0
    n["finished"] += ended
    count(s, node, n["in_system"] - ended, now_s)
    set_alarm(s, node, now_s)
    while first >= 0:
        following = ties.mate[first]
        send_down(s, first, node, now_s)
        first = following
