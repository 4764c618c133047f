"""Tree bandits over the unit cube: cells halved along their longest side, values backed up."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from agents.routers.model import Work

if TYPE_CHECKING:
    from sim.arrays import AnyArray, FloatArray

ROOT = 0
_CELL_FLOP, _CELL_BYTES = 12.0, 48.0  # of judging one cell: a root, a power, sums; its numbers


class BoxTree:
    """A binary partition of the unit cube into boxes; a cell is an index, children are adjacent.

    Cells of depth h have been halved along dimensions 0, 1, ..., in turn, so a cell's sides follow
    from its depth.

    Args:
        dims: Dimensions of the cube; 0: a single point.
    """

    def __init__(self, dims: int) -> None:
        self.dims = dims
        self.parent, self.child, self.depth = [-1], [-1], [0]
        self._low: list[FloatArray] = [np.zeros(dims)]

    def __len__(self) -> int:
        return len(self.parent)

    def sides(self, cell: int) -> FloatArray:
        """Return the side lengths of a cell, (dims,)."""
        whole, rest = divmod(self.depth[cell], max(1, self.dims))
        return np.asarray(0.5 ** (whole + (np.arange(self.dims) < rest)))

    def centre(self, cell: int) -> FloatArray:
        """Return the middle of a cell, (dims,)."""
        return np.asarray(self._low[cell] + self.sides(cell) / 2.0)

    def split(self, cell: int) -> int:
        """Halve a leaf and return its first child; the second is the next index."""
        assert self.child[cell] < 0, "only leaves are split"
        first, depth = len(self), self.depth[cell] + 1
        low, high = self._low[cell], self._low[cell].copy()
        if self.dims:
            axis = self.depth[cell] % self.dims
            high[axis] += self.sides(cell)[axis] / 2.0
        self.child[cell] = first
        self.parent += [cell, cell]
        self.child += [-1, -1]
        self.depth += [depth, depth]
        self._low += [low, high]
        return first

    def up(self, cell: int) -> list[int]:
        """Return the way from a cell to the root, both included."""
        way = [cell]
        while self.parent[way[-1]] >= 0:
            way.append(self.parent[way[-1]])
        return way


class BoxBandit(ABC):
    """Optimism on a tree: U bounds a cell by itself, B also by what its children say.

    Args:
        dims: Dimensions of the cube.
        nu: Smoothness: cells of depth h differ by at most nu rho^h within.
        rho: See nu.
        max_cells: The tree grows no further.

    Source: Bubeck et al. 2011 (X-armed bandits, JMLR 12). Deviation: ties go to the second child.
    """

    def __init__(self, dims: int, nu: float, rho: float, max_cells: int) -> None:
        self.tree, self.nu, self.rho, self.max_cells = BoxTree(dims), nu, rho, max_cells
        self.pulls, self.total = [0], [0.0]  # per cell: answers, and the sum of their rewards
        self.upper, self.bound = [math.inf], [math.inf]  # U, B
        self.time = 1  # answers so far, plus one
        self.touched = 0  # cells looked at since `work` was asked
        self.expand(ROOT)

    @abstractmethod
    def width(self, cell: int) -> float:
        """Return the confidence width of a cell that has answers, without nu rho^h."""

    @abstractmethod
    def stops(self, cell: int) -> bool:
        """Tell whether the walk down ends in a cell that has children."""

    @abstractmethod
    def credit(self, cell: int, reward: float) -> None:
        """Learn the reward of a cell that was played."""

    @abstractmethod
    def amend(self, cell: int, change: float) -> None:
        """Learn that a reward that was credited has changed."""

    def choose(self) -> tuple[int, bool]:
        """Return the cell to play, and whether a sibling on the way looked better by its mean."""
        cell, explored = ROOT, False
        while self.tree.child[cell] >= 0 and not self.stops(cell):
            first = self.tree.child[cell]
            second = int(self.bound[first + 1] >= self.bound[first])
            cell = first + second
            explored |= self.mean(first + 1 - second) > self.mean(cell)
            self.touched += 2
        return cell, explored or not self.pulls[cell]

    def mean(self, cell: int) -> float:
        """Return the mean reward of a cell, minus infinity when it has none."""
        return self.total[cell] / self.pulls[cell] if self.pulls[cell] else -math.inf

    def expand(self, cell: int) -> None:
        """Split a leaf unless the tree is full."""
        if self.tree.child[cell] >= 0 or len(self.tree) + 2 > self.max_cells:
            return
        self.tree.split(cell)
        self.pulls += [0, 0]
        self.total += [0.0, 0.0]
        self.upper += [math.inf, math.inf]
        self.bound += [math.inf, math.inf]

    def judge(self, cell: int) -> None:
        """Compute U of a cell anew."""
        if self.pulls[cell]:
            slack = self.nu * self.rho ** self.tree.depth[cell]
            self.upper[cell] = self.mean(cell) + slack + self.width(cell)
        self.touched += 1

    def back_up(self, cell: int) -> None:
        """Compute B of a cell anew from its own U and its children."""
        first = self.tree.child[cell]
        below = max(self.bound[first], self.bound[first + 1]) if first >= 0 else math.inf
        self.bound[cell] = min(self.upper[cell], below)
        self.touched += 1

    def refresh(self) -> None:
        """Compute all U, then all B; children have higher indices than their parents."""
        for cell in range(len(self.tree)):
            self.judge(cell)
        for cell in reversed(range(len(self.tree))):
            self.back_up(cell)

    def work(self) -> Work:
        """Return the work since it was asked last."""
        touched, self.touched = float(self.touched), 0
        return Work(_CELL_FLOP * touched, _CELL_BYTES * touched)

    @property
    def nbytes(self) -> int:
        """Count the bytes of the tree."""
        return len(self.tree) * (int(_CELL_BYTES) + 8 * self.tree.dims)

    def snapshot(self) -> dict[str, AnyArray]:
        """Return a copy of all state."""
        return {
            "parent": np.array(self.tree.parent),
            "cells": np.array([self.total, self.upper, self.bound]),
            "pulls": np.array(self.pulls),
            "clock": np.array([self.time, self.touched]),
        }

    def restore(self, state: dict[str, AnyArray]) -> None:
        """Put a snapshot back: split again in the old order, then fill in the numbers."""
        self.tree = BoxTree(self.tree.dims)
        for parent in np.asarray(state["parent"])[1::2].tolist():
            self.tree.split(parent)
        self.total, self.upper, self.bound = np.asarray(state["cells"]).tolist()
        self.pulls = np.asarray(state["pulls"]).tolist()
        self.time, self.touched = np.asarray(state["clock"]).tolist()
