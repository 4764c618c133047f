"""Four ways to cut the simplex into cells, so that a binary tree can search it.

A cell is one array, its outline. `simplex` keeps K vertices, (K, K); the boxes keep lower and upper
bounds, (2, K); `cube` keeps bounds in the cube of the stick-breaking map, (2, K-1).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import numpy as np

from agents.routers.simplex import stick_breaking
from sim.errors import UnknownName

if TYPE_CHECKING:
    from collections.abc import Callable

    from sim.arrays import FloatArray

_WIDEST = math.sqrt(2.0)  # diameter of the simplex
_HALVINGS = 60  # of the interval [-1, 1] of the shift: to the last bit


class Cells(Protocol):
    """How the cells of one kind look, for K experts."""

    shape: tuple[int, ...]

    def root(self) -> FloatArray:
        """Return the cell that is the whole simplex."""
        ...

    def split(self, cell: FloatArray, depth: int) -> list[FloatArray]:
        """Return the one or two halves of a cell of that depth that hold a merge."""
        ...

    def centre(self, cell: FloatArray) -> FloatArray:
        """Return the point of the simplex that stands for a cell, (K,)."""
        ...

    def diameter(self, cell: FloatArray) -> float:
        """Return the largest distance in a cell, or a bound of it."""
        ...


class SimplexCells:
    """Longest-edge bisection: a cell is a simplex, its centroid stands for it.

    Source: Rivara 1984. Deviation: none; ties go to the first edge.
    """

    def __init__(self, experts: int) -> None:
        self.shape: tuple[int, ...] = (experts, experts)

    def root(self) -> FloatArray:
        """Return the vertices of the simplex."""
        return np.eye(self.shape[0])

    def split(self, cell: FloatArray, depth: int) -> list[FloatArray]:
        """Cut at the middle of the longest edge."""
        i, j = divmod(int(_squared_edges(cell).argmax()), self.shape[0])
        middle = (cell[i] + cell[j]) / 2.0
        halves = []
        for corner in (i, j):
            half = cell.copy()
            half[corner] = middle
            halves.append(half)
        return halves

    def centre(self, cell: FloatArray) -> FloatArray:
        """Return the centroid."""
        return np.asarray(cell.mean(axis=0))

    def diameter(self, cell: FloatArray) -> float:
        """Return the longest edge."""
        return math.sqrt(float(_squared_edges(cell).max()))


class BoxCells:
    """Midpoint splits of [0, 1]^K, one coordinate after the other; what lies off the simplex goes.

    A box is kept iff sum(lower) <= 1 <= sum(upper); the point of the simplex nearest its centre
    stands for it.

    Source: the cover tree over [0, 1]^K of Han et al. 2025 (arXiv 2509.19781). Deviation: order of
    the coordinates and the point that stands for a box are our reading.
    """

    def __init__(self, experts: int) -> None:
        self.shape: tuple[int, ...] = (2, experts)

    def root(self) -> FloatArray:
        """Return the whole box."""
        return np.stack([np.zeros(self.shape[1]), np.ones(self.shape[1])])

    def split(self, cell: FloatArray, depth: int) -> list[FloatArray]:
        """Cut the coordinate whose turn it is; at most one half holds nothing of the simplex."""
        halves = _halves(cell, depth % self.shape[1])
        return [half for half in halves if half[0].sum() <= 1.0 <= half[1].sum()]

    def centre(self, cell: FloatArray) -> FloatArray:
        """Return clip(middle - shift, lower, upper), shifted so that it sums to 1."""
        low, high = -1.0, 1.0
        middle = cell.mean(axis=0)
        for _ in range(_HALVINGS):
            shift = (low + high) / 2.0
            if np.clip(middle - shift, cell[0], cell[1]).sum() > 1.0:
                low = shift
            else:
                high = shift
        return np.asarray(np.clip(middle - high, cell[0], cell[1]))

    def diameter(self, cell: FloatArray) -> float:
        """Return the diagonal, a bound of what the simplex cuts out of the box."""
        return min(_WIDEST, float(np.linalg.norm(cell[1] - cell[0])))


class TightBoxCells(BoxCells):
    """Boxes shrunk to what they hold of the simplex, cut across their widest side.

    Source: bounds consistency of a linear equation (Harvey and Schimpf 2002). Deviation: none.
    """

    def split(self, cell: FloatArray, depth: int) -> list[FloatArray]:
        """Cut the widest side; both halves hold a part of the simplex."""
        return [_tightened(half) for half in _halves(cell, int((cell[1] - cell[0]).argmax()))]


class CubeCells:
    """Boxes of the cube that the stick-breaking map spreads over the simplex, widest side first.

    Source: stick breaking by Beta(1, K-1-k) quantiles, see `stick_breaking`. Deviation: none.
    """

    def __init__(self, experts: int) -> None:
        self.shape: tuple[int, ...] = (2, experts - 1)

    def root(self) -> FloatArray:
        """Return the whole cube."""
        return np.stack([np.zeros(self.shape[1]), np.ones(self.shape[1])])

    def split(self, cell: FloatArray, depth: int) -> list[FloatArray]:
        """Cut the widest side."""
        return _halves(cell, int((cell[1] - cell[0]).argmax()))

    def centre(self, cell: FloatArray) -> FloatArray:
        """Return the image of the middle."""
        return stick_breaking(cell.mean(axis=0))

    def diameter(self, cell: FloatArray) -> float:
        """Return the diagonal of the image as if it were a box: exact for cells that are small."""
        middle, sides = cell.mean(axis=0), np.eye(self.shape[1], dtype=np.bool_)
        ends = [stick_breaking(np.where(sides, bound, middle)) for bound in cell]
        return min(_WIDEST, float(np.linalg.norm(ends[1] - ends[0])))


CELLS: dict[str, Callable[[int], Cells]] = {
    "box": BoxCells,
    "cube": CubeCells,
    "simplex": SimplexCells,
    "tight-box": TightBoxCells,
}


def cells_of(kind: str, experts: int) -> Cells:
    """Return the cells of a kind for so many experts.

    Raises:
        UnknownName: No such kind.
    """
    if kind not in CELLS:
        raise UnknownName("cells of a tree", kind, sorted(CELLS))
    return CELLS[kind](experts)


def _halves(cell: FloatArray, axis: int) -> list[FloatArray]:
    middle = (cell[0, axis] + cell[1, axis]) / 2.0
    lower, upper = cell.copy(), cell.copy()
    lower[1, axis] = upper[0, axis] = middle
    return [lower, upper]


def _tightened(cell: FloatArray) -> FloatArray:
    low, high = cell
    least = np.maximum(low, 1.0 - (high.sum() - high))
    most = np.minimum(high, 1.0 - (low.sum() - low))
    return np.stack([least, most])


def _squared_edges(vertices: FloatArray) -> FloatArray:
    gap = vertices[:, None, :] - vertices[None, :, :]
    return np.asarray((gap * gap).sum(axis=-1))
