"""What Tanbr keeps per node beside what it has learned: ages, open decisions, work, events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from agents.routers.tanbr.tree import NewCell
from sim.plans import Merged, Plan
from sim.ports import Receipts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agents.routers.model import Work
    from agents.routers.tanbr.choice import Choice
    from agents.routers.tanbr.tree import Tree
    from sim.arrays import AnyArray, BoolArray, FloatArray, IntArray

_OPEN_DECISIONS = 512  # decisions per node that may still be answered
EVENTS = ("alarm", "rollback", "detected")
Row = dict[str, float | int | str]


class Ledger:
    """The books of one block.

    Args:
        nodes: Global ids of the nodes.
        experts: K.
    """

    _NAMES = ("age", "epoch", "hurry", "fallback", "last", "since", "cell", "flop", "read_bytes")

    def __init__(self, nodes: Sequence[int], experts: int) -> None:
        n = len(nodes)
        self.nodes = nodes
        self.age: IntArray = np.zeros(n, dtype=np.int64)  # decisions since the start
        self.epoch: IntArray = np.zeros(n, dtype=np.int64)  # older decisions teach nothing
        self.hurry: BoolArray = np.zeros(n, dtype=np.bool_)  # trains at the early period
        self.fallback: BoolArray = np.zeros(n, dtype=np.bool_)  # next decision is the safe one
        self.last: FloatArray = np.full((n, experts), np.nan)  # merge decided last
        self.since: IntArray = np.full(n, -1, dtype=np.int64)  # slot of that decision
        self.cell: IntArray = np.full(n, -1, dtype=np.int64)  # cell that proposed it last
        self.flop: FloatArray = np.zeros(n)  # work since the last decision
        self.read_bytes: FloatArray = np.zeros(n)
        self.open: list[dict[int, int]] = [{} for _ in range(n)]  # slot -> cell, unanswered
        self.new_cells: list[tuple[int, NewCell]] = []
        self.events: list[tuple[int, int, str]] = []  # (slot, row, kind)

    def restart(self, row: int, hurry: bool) -> None:
        """Start one node's books anew."""
        self.new_cells = [entry for entry in self.new_cells if entry[0] != row]
        self.age[row], self.epoch[row], self.last[row] = 0, -1, np.nan
        self.since[row] = self.cell[row] = -1
        self.hurry[row], self.fallback[row] = hurry, False
        self.open[row] = {}
        self.flop[row] = self.read_bytes[row] = 0.0

    def charge(self, row: int, work: Work) -> None:
        """Note work that one node has done."""
        self.flop[row] += work.flop
        self.read_bytes[row] += work.read_bytes

    def receipts(self, active: BoolArray, state_bytes: FloatArray) -> Receipts:
        """Hand over the work since the last decision of each active node."""
        flop, read = np.where(active, self.flop, 0.0), np.where(active, self.read_bytes, 0.0)
        self.flop[active] = self.read_bytes[active] = 0.0
        return Receipts(flop, read, np.zeros(len(flop)), state_bytes)

    def issue(self, row: int, choice: Choice, slot: int) -> Plan | None:
        """Turn a node's choice into a plan, or None when the node was given that merge last."""
        point, kept = choice.point[row], np.array_equal(choice.point[row], self.last[row])
        if not kept:
            self.last[row], self.since[row] = point, slot
        self.cell[row] = choice.cell[row]
        # a merge that is chosen again keeps its old name, and is a choice of its cell all the same
        opened = self.open[row]
        opened[int(self.since[row])] = int(choice.cell[row])
        if len(opened) > _OPEN_DECISIONS:
            del opened[next(iter(opened))]
        return None if kept else Merged(tuple(point.tolist()))

    def telemetry(self, slot: int, trees: Sequence[Tree], means: FloatArray) -> list[Row]:
        """Return rows for the tables `tree` and `drift` and forget them.

        Args:
            slot: The slot about to start.
            trees: One per node.
            means: Expected reward of every leaf, (n, N).
        """
        rows = [
            self._cell_row(slot, row, cell, trees[row], means[row]) for row, cell in self.new_cells
        ]
        for seen, row, kind in self.events:
            node = self.nodes[row]
            rows.append({"table": "drift", "slot": seen, "node": node, "kind": kind})
        self.new_cells, self.events = [], []
        return rows

    def _cell_row(self, slot: int, row: int, new: NewCell, tree: Tree, means: FloatArray) -> Row:
        leaf = tree.leaf(new.cell)
        value = float("nan") if leaf is None else float(means[leaf])
        return {
            "table": "tree",
            "slot": slot,
            "node": self.nodes[row],
            "cell": new.cell,
            "parent": new.parent,
            "depth": new.depth,
            "n": new.pulls,
            "value": value,
        }

    def snapshot(self) -> dict[str, AnyArray]:
        """Return a copy of all state, flat."""
        state: dict[str, AnyArray] = {name: getattr(self, name).copy() for name in self._NAMES}
        for row, opened in enumerate(self.open):
            state[f"open{row}"] = np.array(list(opened.items()), dtype=np.int64).reshape(-1, 2)
        cells = [(row, new.cell, new.parent, new.depth, new.pulls) for row, new in self.new_cells]
        state["new_cells"] = np.array(cells, dtype=np.int64).reshape(-1, 5)
        events = [(slot, row, EVENTS.index(kind)) for slot, row, kind in self.events]
        state["events"] = np.array(events, dtype=np.int64).reshape(-1, 3)
        return state

    def restore(self, state: dict[str, AnyArray]) -> None:
        """Put a snapshot back."""
        for name in self._NAMES:
            setattr(self, name, np.array(state[name]))
        for row in range(len(self.open)):
            self.open[row] = {int(slot): int(cell) for slot, cell in state[f"open{row}"]}
        self.new_cells = [(row, NewCell(*rest)) for row, *rest in state["new_cells"].tolist()]
        self.events = [(slot, row, EVENTS[kind]) for slot, row, kind in state["events"].tolist()]
