"""Holds the fused kernel to the laws of `sim.laws`, all nodes and links at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sim.errors import LawViolation
from sim.fast.access import Run, batch_at, event_at, line_at, node_at, req, route_in
from sim.fast.jit import jit
from sim.fast.layout import DONE, DOOR, FORWARDS, HOP, KIND_BITS, RETRY, SENT, SHARING
from sim.fast.live import ended
from sim.fast.move import route_at
from sim.laws import REL
from sim.network.transfer import NO_ROUTE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.arrays import AnyArray, FloatArray, IntArray
    from sim.fast.state import State

_KIND = (1 << KIND_BITS) - 1


# --- nodes


@jit
def walk(run: AnyArray, now_s: float, due: IntArray, present: IntArray, open_s: FloatArray) -> None:
    """Count who is present at nodes that are due, and how long they have been there so far.

    Args:
        run: The record of the run, (1,).
        now_s: Time.
        due: By node, 1: walk there.
        present: By node, zeros; requests found there.
        open_s: By node, zeros; their stays so far.
    """
    s = run[0]
    for i in range(s["pending"]):  # who is being served at plain stations
        item = event_at(s, i)["item"]
        if (item & _KIND) == DONE:
            node = req(s, item >> KIND_BITS)["serving"]
            if node >= 0 and due[node]:
                _see(s, item >> KIND_BITS, node, now_s, present, open_s)
    for slot in range(s["batches_count"]):
        batch = batch_at(s, slot)
        if batch["live"] and due[batch["node"]]:
            rid = batch["first"]
            while rid >= 0:
                _see(s, rid, batch["node"], now_s, present, open_s)
                rid = req(s, rid)["mate"]
    for node in range(s["nodes_count"]):
        if due[node]:
            if node_at(s, node)["kind"] == SHARING:
                _walk_chain(s, node_at(s, node)["inside_head"], node, now_s, present, open_s)
            for rank in range(s["classes"]):
                first = line_at(s, node * s["classes"] + rank)["head"]
                _walk_chain(s, first, node, now_s, present, open_s)


@jit
def _see(s: Run, rid: int, node: int, now_s: float, present: IntArray, open_s: FloatArray) -> None:
    present[node] += 1
    open_s[node] += now_s - req(s, rid)["t_enqueue_s"]


@jit
def _walk_chain(
    s: Run, rid: int, node: int, now_s: float, present: IntArray, open_s: FloatArray
) -> None:
    while rid >= 0:
        _see(s, rid, node, now_s, present, open_s)
        rid = req(s, rid)["after"]


class NodeAudit:
    """Checks conservation, capacity and Little's identity, node by node (L1 L3 L8).

    A node is skipped at a slot boundary while more requests are there than came since its last
    check, as by `sim.auditor`.

    Args:
        nodes: Their number.
    """

    def __init__(self, nodes: int) -> None:
        self._checked = np.zeros(nodes, np.int64)

    def check(self, state: State, now_s: float, *, every: bool) -> int:
        """Check the nodes that are due, or every one; return how many requests are present.

        Raises:
            LawViolation: A law is broken.
        """
        nodes = state.nodes
        due = (nodes["in_system"] <= nodes["arrived"] - self._checked) | every
        due &= nodes["kind"] != FORWARDS
        present, open_s = np.zeros(len(nodes), np.int64), np.zeros(len(nodes))
        walk(state.run, now_s, due.astype(np.int64), present, open_s)
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
    agree("L8 Little: node", np.where(due, nodes["area"], 0.0), np.where(due, stays_s, 0.0))


def agree(what: str, left: FloatArray, right: FloatArray) -> None:
    """Check that two sums agree, by place."""
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


def pending(state: State) -> Pending:
    """Return what is still to come, by places of requests."""
    items = state.heap["item"][: int(state.facts["pending"])]
    kinds, ids = items & _KIND, items >> KIND_BITS
    return Pending(*(np.sort(ids[kinds == kind]) for kind in (SENT, DOOR, HOP, RETRY)))


class LinkAudit:
    """Checks that every byte put on a link landed, was lost, or is on its way (L1).

    What went over sure links is counted from the stamps, when requests came to their end.

    Args:
        state: Of the run.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._landed: FloatArray = np.zeros(len(state.links))
        self._late: FloatArray = np.zeros(len(state.links))  # lands after the run

    def count(self, *, everybody: bool = False) -> None:
        """Count what landed over sure links of requests that ended, or of all at the end."""
        if self._state.facts["steady"]:
            _add_landed(self._state.run, everybody, self._landed, self._late)

    def _direct(self, here: AnyArray, goal: AnyArray, size_bytes: FloatArray) -> FloatArray:
        """Add up by link the bytes that are on sure links."""
        total: FloatArray = np.zeros(len(self._state.links))
        if self._state.facts["steady"]:
            _add_direct(self._state.run, here, goal, size_bytes, total)
        return total

    def check(
        self, sent_bytes: FloatArray, on_way: Pending, parcels: Sequence[tuple[int, float]] = ()
    ) -> None:
        """Check all links at the end.

        Args:
            sent_bytes: By link, up to its last flush.
            on_way: What the heap holds.
            parcels: (link, bytes) of messages on their way.

        Raises:
            LawViolation: Bytes are missing.
        """
        links, requests = self._state.links, self._state.requests
        flying: FloatArray = np.zeros(len(links))
        hops = requests[on_way.hops]
        size_bytes = np.where(hops["upward"] == 1, hops["up_bytes"], hops["down_bytes"])
        np.add.at(flying, hops["link"], size_bytes)
        for link, parcel_bytes in parcels:
            flying[link] += parcel_bytes
        doors = requests[on_way.doors]
        flying += self._direct(doors["source"], doors["server"], doors["up_bytes"])
        flying += self._late
        gone = links["landed_bytes"] + self._landed + links["lost_bytes"] + flying
        agree("L1 bytes: link", sent_bytes + links["sent_bytes"], gone)


@jit
def _add_direct(
    run: AnyArray, here: IntArray, goal: IntArray, size_bytes: FloatArray, total: FloatArray
) -> None:
    s = run[0]
    for i in range(here.shape[0]):
        if size_bytes[i] > 0.0 and here[i] != goal[i] and goal[i] >= 0 and here[i] >= 0:
            place = route_at(s, here[i], goal[i])
            if place >= 0 and route_in(s, place)["direct"]:
                total[route_in(s, place)["link"]] += size_bytes[i]


@jit
def _add_landed(run: AnyArray, everybody: bool, total: FloatArray, late: FloatArray) -> None:
    s = run[0]
    for place in range(s["emitted"]):
        r = req(s, place)
        source, server = r["source"], r["server"]
        if source == server or server < 0 or not (everybody or ended(s, place)):
            continue
        joined = r["t_enqueue_s"] == r["t_enqueue_s"]
        if joined or (r["drop"] >= 0 and r["drop"] != NO_ROUTE):
            _land(s, source, server, r["up_bytes"], total)
        if r["t_return_s"] <= s["limit_s"]:
            _land(s, server, source, r["down_bytes"], total)
        elif r["t_return_s"] == r["t_return_s"]:
            _land(s, server, source, r["down_bytes"], late)


@jit
def _land(s: Run, here: int, goal: int, size_bytes: float, total: FloatArray) -> None:
    place = route_at(s, here, goal)
    if place >= 0 and route_in(s, place)["direct"]:
        total[route_in(s, place)["link"]] += size_bytes
