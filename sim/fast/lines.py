"""Queues of the fused kernel: chains of requests, one per node and class of priority.

The twin is `sim.compute.waiting`: a class is a queue of its own, first come, first served, and the
next to be served heads the first class that is not empty. Whoever comes back goes to the head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.fast.jit import jit

if TYPE_CHECKING:
    from sim.fast.layout import State


@jit
def class_of(s: State, node: int, rid: int) -> int:
    """Return the queue of a node that a request joins."""
    return s.asked.rank[rid] if s.nodes[node]["ranked"] else 0


@jit
def append(s: State, node: int, rid: int) -> None:
    """Let a request join."""
    rank = class_of(s, node, rid)
    last = s.lines.tail[node, rank]
    s.ties.before[rid] = last
    s.ties.after[rid] = -1
    if last >= 0:
        s.ties.after[last] = rid
    else:
        s.lines.head[node, rank] = rid
    s.lines.tail[node, rank] = rid
    s.ties.where[rid] = node
    s.nodes[node]["waiting"] += 1


@jit
def put_back(s: State, node: int, rid: int) -> None:
    """Let a request come back to the head of its class."""
    rank = class_of(s, node, rid)
    first = s.lines.head[node, rank]
    s.ties.after[rid] = first
    s.ties.before[rid] = -1
    if first >= 0:
        s.ties.before[first] = rid
    else:
        s.lines.tail[node, rank] = rid
    s.lines.head[node, rank] = rid
    s.ties.where[rid] = node
    s.nodes[node]["waiting"] += 1


@jit
def remove(s: State, node: int, rid: int) -> None:
    """Let a request leave from wherever it stands."""
    rank = class_of(s, node, rid)
    before, after = s.ties.before[rid], s.ties.after[rid]
    if before >= 0:
        s.ties.after[before] = after
    else:
        s.lines.head[node, rank] = after
    if after >= 0:
        s.ties.before[after] = before
    else:
        s.lines.tail[node, rank] = before
    s.ties.where[rid] = -1
    s.nodes[node]["waiting"] -= 1


@jit
def popleft(s: State, node: int) -> int:
    """Take the request whose turn it is."""
    rank = 0
    while s.lines.head[node, rank] < 0:
        rank += 1
    rid = s.lines.head[node, rank]
    remove(s, node, rid)
    return rid


@jit
def oldest_s(s: State, node: int) -> float:
    """Return when the request that has waited longest joined: each class is in order of joining."""
    found = -1.0
    for rank in range(s.lines.head.shape[1]):
        rid = s.lines.head[node, rank]
        if rid >= 0 and (found < 0.0 or s.marks.t_enqueue_s[rid] < found):
            found = s.marks.t_enqueue_s[rid]
    return found
