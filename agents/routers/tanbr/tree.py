"""The tree of one node: the simplex cut in halves, cell by cell."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from agents.routers.simplex import sparsify
from agents.routers.tanbr.cells import cells_of

if TYPE_CHECKING:
    from sim.arrays import AnyArray, FloatArray, IntArray

_DELTA = 0.01  # failure probability of the confidence term


@dataclass(frozen=True, slots=True)
class SplitRule:
    """When a cell is cut: after tau = c^2 ln(1/d) rho^(-2 depth) / nu^2 choices.

    Source: HCT (Azar et al. 2014), d = min(1/2, (rho/3nu)^(1/8) 0.01 / 2^ceil(log2 t)). Deviation:
    t is the age of the node in slots, counted from one.
    """

    c: float
    nu: float
    rho: float

    def threshold(self, depth: int, age: int) -> int:
        """Return how many choices a cell of this depth needs at this age."""
        doubling: float = 2.0 ** float(math.ceil(math.log2(age + 1)))
        delta = min(0.5, (self.rho / (3.0 * self.nu)) ** 0.125 * _DELTA / doubling)
        needed: float = self.c**2 * math.log(1.0 / delta) * self.rho ** (-2.0 * depth) / self.nu**2
        return math.ceil(needed)


@dataclass(frozen=True, slots=True)
class NewCell:
    """One row of the table `tree`, but for slot, node and value. `pulls`: of the parent."""

    cell: int
    parent: int
    depth: int
    pulls: int


class Tree:
    """Leaves of a binary tree over the simplex; a leaf stands for one merge, its centre.

    Arrays have one row per leaf; rows from `size` on are spare. A new tree is empty until `restart`
    plants it.

    Args:
        experts: K.
        max_active: Most experts in a centre's merge.
        max_leaves: The tree stops growing there.
        cells: How the simplex is cut, see `CELLS`.

    Raises:
        UnknownName: No such cells.
    """

    _NAMES = ("outline", "centre", "diameter", "depth", "pulls", "cell")

    def __init__(
        self, experts: int, max_active: int, max_leaves: int, cells: str = "simplex"
    ) -> None:
        self.experts, self.max_active, self.max_leaves = experts, max_active, max_leaves
        self.cells = cells_of(cells, experts)
        self.next_cell = 0
        self._allocate(16)

    def _allocate(self, rows: int) -> None:
        self.size = 0
        self.outline: FloatArray = np.zeros((rows, *self.cells.shape))
        self.centre: FloatArray = np.zeros((rows, self.experts))
        self.diameter: FloatArray = np.zeros(rows)
        self.depth: IntArray = np.zeros(rows, dtype=np.int64)
        self.pulls: IntArray = np.zeros(rows, dtype=np.int64)
        self.cell: IntArray = np.zeros(rows, dtype=np.int64)

    def restart(self, depth: int) -> list[NewCell]:
        """Start again with 2^depth cells and return them; ids go on."""
        self.size = 0
        self._leaf: dict[int, int] = {}
        new = [self._put(0, self.cells.root(), 0, -1, 0)]
        self.size = 1
        while self.size < min(2**depth, self.max_leaves) and self.experts > 1:
            new += self.split(int(self.depth[: self.size].argmin()))
        return new

    def leaf(self, cell: int) -> int | None:
        """Return the row of a cell, or None when it is no leaf any more."""
        return self._leaf.get(cell)

    def credit(self, cell: int, rule: SplitRule, age: int) -> list[NewCell]:
        """Count one answered choice of a cell, cut it when ripe, return the new cells."""
        row = self._leaf.get(cell)
        if row is None:
            return []
        self.pulls[row] += 1
        ripe = self.pulls[row] >= rule.threshold(int(self.depth[row]), age)
        return self.split(row) if ripe and self.size < self.max_leaves and self.experts > 1 else []

    def split(self, row: int) -> list[NewCell]:
        """Cut a leaf in two; the children start unchosen, one that holds no merge is left out."""
        depth, parent = int(self.depth[row]), int(self.cell[row])
        pulls = int(self.pulls[row])
        halves = self.cells.split(self.outline[row], depth)
        del self._leaf[parent]
        children = [self._put(row, halves[0], depth + 1, parent, pulls)]
        for half in halves[1:]:
            if self.size == len(self.depth):
                self._grow()
            children.append(self._put(self.size, half, depth + 1, parent, pulls))
            self.size += 1
        return children

    def _put(self, row: int, outline: FloatArray, depth: int, parent: int, pulls: int) -> NewCell:
        cell, self.next_cell = self.next_cell, self.next_cell + 1
        self.outline[row], self.depth[row] = outline, depth
        self.pulls[row], self.cell[row] = 0, cell
        self.centre[row] = sparsify(self.cells.centre(outline), self.max_active)
        self.diameter[row] = self.cells.diameter(outline)
        self._leaf[cell] = row
        return NewCell(cell, parent, depth, pulls)

    def _grow(self) -> None:
        for name in self._NAMES:
            old = getattr(self, name)
            setattr(self, name, np.concatenate([old, np.zeros_like(old)]))

    @property
    def nbytes(self) -> int:
        """Count the bytes of the leaves."""
        return sum(int(getattr(self, name)[: self.size].nbytes) for name in self._NAMES)

    def snapshot(self) -> dict[str, AnyArray]:
        """Return a copy of all state."""
        state: dict[str, AnyArray] = {n: getattr(self, n)[: self.size].copy() for n in self._NAMES}
        state["next_cell"] = np.array(self.next_cell)
        return state

    def restore(self, state: dict[str, AnyArray]) -> None:
        """Put a snapshot back."""
        for name in self._NAMES:
            setattr(self, name, np.array(state[name]))
        self.next_cell = int(state["next_cell"])
        self.size = len(self.cell)
        self._leaf = {int(cell): row for row, cell in enumerate(self.cell)}
