"""Holds the fused kernel to the laws of `sim.laws`, all nodes and links at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sim.errors import LawViolation
from sim.fast.jit import jit
from sim.fast.layout import DONE, DOOR, FORWARDS, HOP, KIND_BITS, RETRY, SENT, SHARING
from sim.fast.move import route_at
from sim.laws import REL
from sim.network.transfer import NO_ROUTE

if TYPE_CHECKING:
    from sim.arrays import AnyArray, FloatArray, IntArray
    from sim.fast.layout import State
    from sim.records import Table

_KIND = (1 << KIND_BITS) - 1


# --- nodes


@jit
def walk(s: State, now_s: float, due: IntArray, present: IntArray, open_s: FloatArray) -> None:
    """Count who is present at nodes that are due, and how long they have been there so far.

    Args:
        s: The state.
        now_s: Time.
        due: By node, 1: walk there.
        present: By node, zeros; requests found there.
        open_s: By node, zeros; their stays so far.
    """
    enqueue_s = s.marks.t_enqueue_s
    for i in range(s.run[0]["heap"]):  # who is being served at plain stations
        rid = s.heap.item[i] >> KIND_BITS
        if (s.heap.item[i] & _KIND) == DONE:
            node = s.ties.serving[rid]
            if node >= 0 and due[node]:
                present[node] += 1
                open_s[node] += now_s - enqueue_s[rid]
    for slot in range(s.batches.shape[0]):
        batch = s.batches[slot]
        node = batch["node"]
        if batch["live"] and due[node]:
            rid = batch["first"]
            while rid >= 0:
                present[node] += 1
                open_s[node] += now_s - enqueue_s[rid]
                rid = s.ties.mate[rid]
    for node in range(s.nodes.shape[0]):
        if due[node]:
            if s.nodes[node]["kind"] == SHARING:
                _walk_chain(s, s.nodes[node]["inside_head"], node, now_s, present, open_s)
            for rank in range(s.lines.head.shape[1]):
                _walk_chain(s, s.lines.head[node, rank], node, now_s, present, open_s)


@jit
def _walk_chain(
    s: State, rid: int, node: int, now_s: float, present: IntArray, open_s: FloatArray
) -> None:
    while rid >= 0:
        present[node] += 1
        open_s[node] += now_s - s.marks.t_enqueue_s[rid]
        rid = s.ties.after[rid]


class NodeAudit:
    """Checks conservation, capacity and Little's identity, node by node (L1 L3 L8).

    A node is skipped at a slot boundary while more requests are there than came since its last
    check, as by `sim.auditor`.

    Args:
        nodes: Their number.
    """

    def __init__(self, nodes: int) -> None:
        self._checked = np.zeros(nodes, np.int64)

    def check(self, s: State, now_s: float, *, every: bool) -> int:
        """Check the nodes that are due, or every one; return how many requests are present.

        Raises:
            LawViolation: A law is broken.
        """
        nodes = s.nodes
        due = (nodes["in_system"] <= nodes["arrived"] - self._checked) | every
        due &= nodes["kind"] != FORWARDS
        present, open_s = np.zeros(len(nodes), np.int64), np.zeros(len(nodes))
        walk(s, now_s, due.astype(np.int64), present, open_s)
        self._checked[due] = nodes["arrived"][due]
        _hold(nodes, due, present, open_s)
        return int(present.sum())


def _hold(nodes: AnyArray, due: AnyArray, present: IntArray, open_s: FloatArray) -> None:
    left = nodes["finished"] + nodes["lost"] + nodes["moved"] + present
    for node in np.flatnonzero(due & (nodes["arrived"] != left))[:1].tolist():
        n = nodes[node]
        raise LawViolation(
            f"L1: node {node}: {n['arrived']} arrived, {n['finished']} finished, "
            f"{n['lost']} lost, {n['moved']} moved, {present[node]} present"
        )
    wide = due & (nodes["most_running"] > nodes["all_servers"] * (1.0 + REL))
    for node in np.flatnonzero(wide)[:1].tolist():
        n = nodes[node]
        raise LawViolation(f"L3: node {node} ran {n['most_running']} of {n['all_servers']}")
    stays_s = nodes["stays_s"] + open_s
    _close("L8 Little: node", np.where(due, nodes["area"], 0.0), np.where(due, stays_s, 0.0))


def _close(what: str, left: FloatArray, right: FloatArray) -> None:
    far = np.abs(left - right) > REL * np.maximum(1.0, np.maximum(np.abs(left), np.abs(right)))
    for place in np.flatnonzero(far)[:1].tolist():
        raise LawViolation(f"{what} {place}: {left[place]} is not {right[place]}")


# --- what is on its way


class Pending(NamedTuple):
    """What the heap holds, by request."""

    choosing: IntArray  # not yet dispatched
    doors: IntArray  # on a sure link to their server
    hops: IntArray  # on any other link
    retries: IntArray  # waiting for another try

    @property
    def aloft(self) -> int:
        """Return how many requests and answers are on their way."""
        return len(self.doors) + len(self.hops) + len(self.retries)


def pending(s: State) -> Pending:
    """Return what is still to come."""
    items = s.heap.item[: int(s.run[0]["heap"])]
    kinds, ids = items & _KIND, items >> KIND_BITS
    return Pending(*(np.sort(ids[kinds == kind]) for kind in (SENT, DOOR, HOP, RETRY)))


def check_links(s: State, sent_bytes: FloatArray, table: Table, on_way: Pending) -> None:
    """Check that every byte put on a link landed, was lost, or is on its way (L1).

    Args:
        s: The state at the end.
        sent_bytes: By link, up to its last flush.
        table: The table `requests`, returns after the end taken away.
        on_way: What the heap holds.
    """
    links, asked = s.links, s.asked
    flying: FloatArray = np.zeros(len(links))
    np.add.at(flying, s.ties.link[on_way.hops], _size(s, on_way.hops))
    source, server = table["source"], table["server"]
    reached = ~np.isnan(table["t_enqueue_s"]) | ((table["drop"] >= 0) & (table["drop"] != NO_ROUTE))
    landed = _direct(s, source, server, np.where(reached, table["up_bytes"], 0.0))
    back = ~np.isnan(table["t_return_s"])
    landed += _direct(s, server, source, np.where(back, table["down_bytes"], 0.0))
    doors = on_way.doors
    flying += _direct(s, source[doors], server[doors], asked.up_bytes[doors])
    answered = ~np.isnan(table["t_finish_s"]) & ~back & (table["drop"] < 0)
    aloft = np.zeros(len(source), np.bool_)
    aloft[on_way.hops], aloft[on_way.retries] = True, True
    late = np.flatnonzero(answered & ~aloft)
    flying += _direct(s, server[late], source[late], asked.down_bytes[late])
    gone = links["landed_bytes"] + landed + links["lost_bytes"] + flying
    _close("L1 bytes: link", sent_bytes + links["sent_bytes"], gone)


def _size(s: State, ids: IntArray) -> FloatArray:
    upward = s.ties.upward[ids] == 1
    size: FloatArray = np.where(upward, s.asked.up_bytes[ids], s.asked.down_bytes[ids])
    return size


def _direct(s: State, here: AnyArray, goal: AnyArray, size_bytes: FloatArray) -> FloatArray:
    """Add up by link the bytes that went over sure links."""
    total: FloatArray = np.zeros(len(s.links))
    if s.run[0]["steady"]:
        _add_direct(s, here.astype(np.int64), goal.astype(np.int64), size_bytes, total)
    return total


@jit
def _add_direct(
    s: State, here: IntArray, goal: IntArray, size_bytes: FloatArray, total: FloatArray
) -> None:
    for i in range(here.shape[0]):
        if size_bytes[i] > 0.0 and here[i] != goal[i] and goal[i] >= 0 and here[i] >= 0:
            place = route_at(s, here[i], goal[i])
            if place >= 0 and s.routes.direct[place]:
                total[s.routes.link[place]] += size_bytes[i]
