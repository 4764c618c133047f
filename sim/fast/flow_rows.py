"""Rows of tables, and the laws, from what a flow pass tells of slot boundaries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim.errors import LawViolation
from sim.fast.flow_ways import LinkTable
from sim.laws import REL
from sim.records import columns, dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.arrays import AnyArray
    from sim.config import LinkSpec, NodeSpec
    from sim.fast.flow_step import Closing, Settled
    from sim.fast.flow_ways import Pairs
    from sim.records import Table


def slot_rows(settled: Settled, nodes: Sequence[NodeSpec]) -> Table:
    """Return rows of the table `slots` (see sim.slots), boundary after boundary.

    Args:
        settled: The boundaries.
        nodes: The stations' nodes.
    """
    slots, stations = settled.busy_s.shape
    idle_w = np.array([n.hardware.idle_w for n in nodes])
    busy_w = np.array([n.hardware.busy_w for n in nodes])
    share_s = settled.busy_s / np.array([n.servers for n in nodes])
    energy_j = idle_w * settled.up_s[:, None] + (busy_w - idle_w) * share_s
    told = {
        "slot": np.repeat(settled.first + np.arange(slots), stations),
        "node": np.tile(np.array([n.id for n in nodes]), slots),
        "served": np.zeros(slots * stations),
        "dropped": settled.marks["dropped"].ravel(),
        "busy_s": settled.busy_s.ravel(),
        "queue_max": settled.marks["queue_max"].ravel(),
        "energy_j": energy_j.ravel(),
    }
    empty = {"f": np.nan, "i": -1}
    return {
        c.name: told[c.name].astype(dtype(c), copy=False)
        if c.name in told
        else np.full(slots * stations, empty[dtype(c).kind], dtype(c))
        for c in columns("slots")
    }


def link_rows(settled: Settled, pairs: Pairs, links: Sequence[LinkSpec]) -> Table:
    """Return rows of the table `links` (see sim.network.links): links used in each slot."""
    slots, table = len(settled.bound_s), LinkTable(links)
    sent = np.zeros((slots, len(links) + 1))
    sent[:, pairs.up_link] = settled.up_bytes
    sent[:, pairs.down_link] += settled.down_bytes
    slot, link = np.nonzero(sent[:, :-1])
    sent_bytes = sent[slot, link]
    told = {
        "link": link,
        "slot": settled.first + slot,
        "sent_bytes": sent_bytes,
        "busy_s": sent_bytes / table.bytes_per_s[link],
        "lost": np.zeros(len(link)),
    }
    return {c.name: told[c.name].astype(dtype(c), copy=False) for c in columns("links")}


class FlowLaws:
    """Holds a flow pass to the laws of stations and links (L1 L3 L8, see sim.laws).

    Args:
        nodes: The stations' nodes.
        pairs: How many pairs of source and server there are.
    """

    def __init__(self, nodes: Sequence[NodeSpec], pairs: int) -> None:
        self._nodes = nodes
        self._sent_up, self._sent_down = np.zeros((2, pairs))

    def check(self, settled: Settled) -> None:
        """Check conservation and Little's identity where a station is due for it.

        Raises:
            LawViolation: A law is broken.
        """
        self._sent_up += settled.up_bytes.sum(axis=0)
        self._sent_down += settled.down_bytes.sum(axis=0)
        marks = settled.marks
        due = ~np.isnan(marks["open_s"])
        left = marks["finished"] + marks["lost"] + marks["number"]
        self._refuse("L1: arrived, and finished, lost or present", marks["arrived"], left, due)
        stays_s = marks["stays_s"] + marks["open_s"]
        self._refuse("L8 Little", marks["area"], stays_s, due)

    def close(self, closing: Closing) -> None:
        """Check the end of a run.

        Raises:
            LawViolation: A law is broken.
        """
        self.check(closing.settled)
        servers = np.array([node.servers for node in self._nodes])
        most = closing.most_running
        self._refuse("L3: ran, and servers", most, np.minimum(most, servers), most >= 0)
        for way, sent, landed, flying in (
            ("up", self._sent_up, closing.landed_up_bytes, closing.flying_up_bytes),
            ("down", self._sent_down, closing.landed_down_bytes, closing.flying_down_bytes),
        ):
            wrong = _differ(sent, landed + flying)
            if wrong.any():
                pair = int(np.flatnonzero(wrong)[0])
                gone = landed[pair] + flying[pair]
                raise LawViolation(f"L1 bytes {way}: pair {pair}: {sent[pair]} is not {gone}")

    def _refuse(self, law: str, one: AnyArray, other: AnyArray, due: AnyArray) -> None:
        wrong = _differ(one, other) & due
        if wrong.any():
            place = tuple(int(i[0]) for i in np.nonzero(wrong))
            node = self._nodes[place[-1]].id
            raise LawViolation(f"{law}: node {node}: {one[place]} is not {other[place]}")


def _differ(one: AnyArray, other: AnyArray) -> AnyArray:
    scale = np.maximum(1.0, np.maximum(np.abs(one), np.abs(other)))
    wrong: AnyArray = np.abs(one - other) > REL * scale
    return wrong
