"""Queues of the fused kernel: chains of requests, one per node and class of priority.

The twin is `sim.compute.waiting`: a class is a queue of its own, first come, first served, and the
next to be served heads the first class that is not empty. Whoever comes back goes to the head.
"""

from __future__ import annotations

from sim.fast.access import Run, line_at, node_at, req
from sim.fast.jit import jit


@jit
def class_of(s: Run, node: int, rid: int) -> int:
    """Return the queue of a node that a request joins."""
    return req(s, rid)["rank"] if node_at(s, node)["ranked"] else 0


@jit
def append(s: Run, node: int, rid: int) -> None:
    """Let a request join."""
    rank = class_of(s, node, rid)
    last = line_at(s, node * s["classes"] + rank)["tail"]
    req(s, rid)["before"] = last
    req(s, rid)["after"] = -1
    if last >= 0:
        req(s, last)["after"] = rid
    else:
        line_at(s, node * s["classes"] + rank)["head"] = rid
    line_at(s, node * s["classes"] + rank)["tail"] = rid
    req(s, rid)["where"] = node
    node_at(s, node)["waiting"] += 1


@jit
def put_back(s: Run, node: int, rid: int) -> None:
    """Let a request come back to the head of its class."""
    rank = class_of(s, node, rid)
    first = line_at(s, node * s["classes"] + rank)["head"]
    req(s, rid)["after"] = first
    req(s, rid)["before"] = -1
    if first >= 0:
        req(s, first)["before"] = rid
    else:
        line_at(s, node * s["classes"] + rank)["tail"] = rid
    line_at(s, node * s["classes"] + rank)["head"] = rid
    req(s, rid)["where"] = node
    node_at(s, node)["waiting"] += 1


@jit
def remove(s: Run, node: int, rid: int) -> None:
    """Let a request leave from wherever it stands."""
    rank = class_of(s, node, rid)
    before, after = req(s, rid)["before"], req(s, rid)["after"]
    if before >= 0:
        req(s, before)["after"] = after
    else:
        line_at(s, node * s["classes"] + rank)["head"] = after
    if after >= 0:
        req(s, after)["before"] = before
    else:
        line_at(s, node * s["classes"] + rank)["tail"] = before
    req(s, rid)["where"] = -1
    node_at(s, node)["waiting"] -= 1


@jit
def popleft(s: Run, node: int) -> int:
    """Take the request whose turn it is."""
    rank = 0
    while line_at(s, node * s["classes"] + rank)["head"] < 0:
        rank += 1
    rid = line_at(s, node * s["classes"] + rank)["head"]
    remove(s, node, rid)
    return rid


@jit
def oldest_s(s: Run, node: int) -> float:
    """Return when the request that has waited longest joined: each class is in order of joining."""
    found = -1.0
    for rank in range(s["classes"]):
        rid = line_at(s, node * s["classes"] + rank)["head"]
        if rid >= 0 and (found < 0.0 or req(s, rid)["t_enqueue_s"] < found):
            found = req(s, rid)["t_enqueue_s"]
    return found
