"""Closes slots of all nodes and links at once; the twins are `SlotMeter.row` and `Links.flush`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim.records import columns, dtype

if TYPE_CHECKING:
    from sim.arrays import AnyArray, IntArray
    from sim.config import World
    from sim.records import Table


class SlotBook:
    """Turns the running integrals of all nodes with servers into rows of the table `slots`.

    Args:
        world: The run.
        nodes: Records of its nodes.
        plans: By node: the plan in force, -1: none.
    """

    def __init__(self, world: World, nodes: AnyArray, plans: IntArray | None = None) -> None:
        serving = [n for n in world.nodes if n.servers]
        self._nodes, self._ids = nodes, np.array([n.id for n in serving], dtype=np.int64)
        self._servers = np.array([n.servers for n in serving])
        self._idle_w = np.array([n.hardware.idle_w for n in serving])
        self._more_w = np.array([n.hardware.busy_w for n in serving]) - self._idle_w
        self._plans = np.full(len(nodes), -1) if plans is None else plans
        self._busy_area = self._up_s = np.zeros(len(serving))

    def close(self, slot: int) -> Table:
        """Close a slot whose integrals are settled."""
        nodes = self._nodes[self._ids]
        busy_s, up_s = nodes["busy_area"] - self._busy_area, nodes["up_area_s"] - self._up_s
        known = {
            "slot": np.full(len(self._ids), slot), "node": self._ids,
            "plan": self._plans[self._ids], "served": np.zeros(len(self._ids)),
            "dropped": nodes["dropped"], "task": np.full(len(self._ids), -1),
            "busy_s": busy_s, "queue_max": nodes["queue_max"],
            "energy_j": self._idle_w * up_s + self._more_w * (busy_s / self._servers),
        }  # fmt: skip
        self._busy_area, self._up_s = nodes["busy_area"], nodes["up_area_s"]
        self._nodes["dropped"] = 0
        self._nodes["queue_max"] = self._nodes["in_system"]
        nothing = np.full(len(self._ids), np.nan)
        return {c.name: known.get(c.name, nothing).astype(dtype(c)) for c in columns("slots")}


class LinkBook:
    """Turns what links carried into rows of the table `links`.

    Args:
        links: Their records.
    """

    def __init__(self, links: AnyArray) -> None:
        self._links = links
        self.sent_bytes = np.zeros(len(links))  # up to the last flush

    def close(self, slot: int) -> Table:
        """Close a slot: only links that were used in it get a row."""
        links = self._links
        used = np.flatnonzero((links["sent_bytes"] != 0.0) | (links["lost"] != 0))
        sent = links["sent_bytes"][used]
        values = (
            used, np.full(len(used), slot), sent,
            sent / links["bytes_per_s"][used] + links["slowed_s"][used], links["lost"][used],
        )  # fmt: skip
        self.sent_bytes[used] += sent
        for name in ("sent_bytes", "slowed_s", "lost"):
            links[name] = 0
        schema = columns("links")
        return {c.name: v.astype(dtype(c)) for c, v in zip(schema, values, strict=True)}
