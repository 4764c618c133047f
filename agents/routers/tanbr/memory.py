"""What the nodes of a block have observed: one ring of records per node."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from sim.arrays import AnyArray, FloatArray, IntArray


class Deck(NamedTuple):
    """Records of n' nodes in float32, to draw from: node after node, each with as many places."""

    x: Tensor  # (n' * L, K)
    y: Tensor  # (n' * L, V)
    w: Tensor  # (n' * L, V), scaled precisions
    first: Tensor  # (n', 1), place of each node's first record

    def take(self, picks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return records: x (..., n', B, K), y and w (..., n', B, V).

        Args:
            picks: Places in the nodes' rings, (..., n', B).
        """
        places = (picks + self.first).flatten()
        x, y, w = (
            part.index_select(0, places).view(*picks.shape, -1) for part in (self.x, self.y, self.w)
        )
        return x, y, w


class Memory:
    """Rings of observations (merge weights, rewards, weights of the rewards, slot of the decision).

    Args:
        shape: (n, K, V).
        limit: Most records per node; then the oldest is overwritten.
    """

    _NAMES = ("x", "y", "w", "decided")

    def __init__(self, shape: tuple[int, int, int], limit: int) -> None:
        n, k, v = shape
        self.limit = limit
        rows = min(64, limit)
        self.x: FloatArray = np.zeros((n, rows, k))
        self.y: FloatArray = np.zeros((n, rows, v))
        self.w: FloatArray = np.zeros((n, rows, v))  # precision of y
        self.decided: IntArray = np.zeros((n, rows), dtype=np.int64)
        self.size: IntArray = np.zeros(n, dtype=np.int64)
        self.head: IntArray = np.zeros(n, dtype=np.int64)  # place of the next record

    def add(self, row: int, x: FloatArray, y: FloatArray, w: FloatArray, decided: int) -> None:
        """Append one record of one node."""
        if self.size[row] == self.x.shape[1] < self.limit:
            self._grow()
        at = int(self.head[row])
        self.x[row, at], self.y[row, at], self.w[row, at], self.decided[row, at] = x, y, w, decided
        self.size[row] = min(int(self.size[row]) + 1, self.limit)
        self.head[row] = (at + 1) % self.x.shape[1] if self.x.shape[1] == self.limit else at + 1

    def _grow(self) -> None:
        # only reached while no ring of full length exists, so every ring still is a plain list
        rows = min(2 * self.x.shape[1], self.limit)
        for name in self._NAMES:
            old = getattr(self, name)
            new = np.zeros((old.shape[0], rows, *old.shape[2:]), dtype=old.dtype)
            new[:, : old.shape[1]] = old
            setattr(self, name, new)

    def keep_last(self, row: int, count: int) -> None:
        """Forget all but the last `count` records of one node."""
        self._pack(row, self._in_order(row)[max(0, int(self.size[row]) - count) :])

    def drop_last(self, row: int, count: int) -> None:
        """Forget the last `count` records of one node."""
        self._pack(row, self._in_order(row)[: max(0, int(self.size[row]) - count)])

    def renew(self, row: int, clusters: IntArray, whole: bool) -> None:
        """Forget what the records of one node say of some clusters.

        Args:
            row: The node.
            clusters: Which.
            whole: Drop every record that has something of them; False: only those left empty.
        """
        places = self._in_order(row)
        touched = self.w[row][np.ix_(places, clusters)].sum(axis=1) > 0.0
        for column in clusters.tolist():
            self.w[row, :, column] = self.y[row, :, column] = 0.0
        empty = touched if whole else self.w[row, places].sum(axis=1) == 0.0
        self._pack(row, places[~empty])

    def _in_order(self, row: int) -> IntArray:
        """Return the places of one node's records, oldest first."""
        size = int(self.size[row])
        return np.asarray((int(self.head[row]) - size + np.arange(size)) % self.x.shape[1])

    def _pack(self, row: int, places: IntArray) -> None:
        """Keep only the records at some places, which are in order, and start the ring there."""
        kept = len(places)
        for name in self._NAMES:
            ring = getattr(self, name)
            ring[row, :kept] = ring[row, places]
        self.size[row], self.head[row] = kept, kept % self.limit

    def oldest(self, row: int) -> int:
        """Return the earliest decision slot among the records of one node, -1 without records."""
        size = int(self.size[row])
        return int(self.decided[row, :size].min()) if size else -1

    def copy(self, row: int, other: Memory) -> None:
        """Take over node 0 of another block."""
        size = int(other.size[0])
        while self.x.shape[1] < size:
            self._grow()
        for name in self._NAMES:
            getattr(self, name)[row, :size] = getattr(other, name)[0, :size]
        self.size[row], self.head[row] = size, int(other.head[0])

    def precision(self, rows: IntArray) -> FloatArray:
        """Return the mean precision of a record, summed over clusters, per node of `rows`."""
        return np.array([self.w[r, : self.size[r]].sum() / self.size[r] for r in rows.tolist()])

    def deck(self, rows: IntArray, scale: FloatArray) -> Deck:
        """Return the records of some nodes to draw from.

        Args:
            rows: Nodes, (n',).
            scale: Factor of a node's precisions, (n',).
        """
        most = int(self.size[rows].max())
        weight = self.w[rows, :most] * scale[:, None, None]
        parts = (self.x[rows, :most], self.y[rows, :most], weight)
        x, y, w = (torch.from_numpy(part.astype(np.float32)).flatten(0, 1) for part in parts)
        return Deck(x, y, w, torch.arange(len(rows)).unsqueeze(1) * most)

    def nbytes(self, row: int) -> int:
        """Count the bytes of the records of one node."""
        return int(self.size[row]) * sum(int(getattr(self, n)[0, :1].nbytes) for n in self._NAMES)

    def snapshot(self) -> dict[str, AnyArray]:
        """Return a copy of all state."""
        state: dict[str, AnyArray] = {name: getattr(self, name).copy() for name in self._NAMES}
        return {**state, "size": self.size.copy(), "head": self.head.copy()}

    def restore(self, state: dict[str, AnyArray]) -> None:
        """Put a snapshot back."""
        for name in (*self._NAMES, "size", "head"):
            setattr(self, name, np.array(state[name]))
