"""The networks of a block: one small network per node, trained together as one batch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from agents.routers.tanbr.memory import Memory
    from sim.arrays import AnyArray, FloatArray, IntArray

_DECAY, _DECAY_SQUARED, _TINY = 0.9, 0.999, 1e-8  # Adam
_CHUNK = 10  # gradient steps whose records are fetched at once
_ONE = torch.ones(())
_PULL = 1e-2  # strength of the pull to the start, over the number of records


class Room(NamedTuple):
    """Where the large results of a gradient step go.

    Memory that is asked for anew in every step costs as much as the arithmetic (measured).
    """

    hidden: Tensor  # (n, batch, m) each
    bent: Tensor
    back: Tensor

    @classmethod
    def of(cls, nodes: int, batch: int, width: int) -> Room:
        """Return unset memory."""
        return cls(*(torch.empty(nodes, batch, width) for _ in range(3)))


class Nets:
    """Networks K -> m tanh -> V of n nodes, float32, all parameters of a node in one row.

    The second half of the hidden units mirrors the first with opposite outputs, so that a new
    network answers 0.

    Args:
        shape: (n, K, m, V).
        lr: Step size of Adam.
        batch: Records per gradient step, drawn with replacement.
        pooled: A record's reward is one number, that of its mix of clusters.
    """

    trained: ClassVar[bool] = True
    _NAMES = ("weights", "start", "mean", "square")

    def __init__(
        self, shape: tuple[int, int, int, int], lr: float, batch: int, pooled: bool = False
    ) -> None:
        self.nodes, self.experts, self.width, self.clusters = shape
        self.lr, self.batch, self.pooled = lr, batch, pooled
        k, m, v = shape[1:]
        self.cuts = [m * k, m * k + m, m * k + m + v * m, m * k + m + v * m + v]
        self.weights, self.start, self.mean, self.square = (
            torch.zeros(shape[0], self.cuts[-1]) for _ in self._NAMES
        )
        self.steps: IntArray = np.zeros(shape[0], dtype=np.int64)
        self.marks: dict[int, tuple[Tensor, int]] = {}

    @property
    def features(self) -> int:
        """Count the features: hidden units, the merge weights themselves, a constant."""
        return self.width + self.experts + 1

    def draw(self, row: int, rng: np.random.Generator) -> None:
        """Give one node a new network.

        Source: NeuralUCB's mirrored start (Zhou et al. 2020). Deviation: tanh units, W1 ~ N(0, 2),
        b1 ~ N(0, 1/4).
        """
        k, half, v = self.experts, self.width // 2, self.clusters
        w1 = rng.standard_normal((half, k)) * math.sqrt(2.0)
        b1 = rng.standard_normal(half) * 0.5
        w2 = rng.standard_normal((v, half)) / math.sqrt(self.width)
        parts = [np.vstack([w1, w1]), np.concatenate([b1, b1]), np.hstack([w2, -w2]), np.zeros(v)]
        flat = np.concatenate([part.ravel() for part in parts]).astype(np.float32)
        self.weights[row] = self.start[row] = torch.from_numpy(flat)
        self.mean[row] = self.square[row] = 0.0
        self.steps[row] = 0
        self.marks.pop(row, None)

    def copy(self, row: int, other: Nets) -> None:
        """Take over node 0 of another block."""
        for name in self._NAMES:
            getattr(self, name)[row] = getattr(other, name)[0]
        self.steps[row] = other.steps[0]
        self.marks.pop(row, None)

    def renew(self, row: int, clusters: IntArray) -> None:
        """Put the outputs of some clusters back to where they started."""
        at, chosen = torch.tensor([row]), torch.from_numpy(clusters)
        for name in ("weights", "mean", "square"):
            flat = getattr(self, name)[at]
            start = self.start[at] if name == "weights" else torch.zeros_like(flat)
            (_, _, w2, b2), (_, _, w2_start, b2_start) = self._views(flat), self._views(start)
            w2[:, chosen] = w2_start[:, chosen]
            b2[:, :, chosen] = b2_start[:, :, chosen]
            getattr(self, name)[at] = flat

    def mark(self, row: int) -> None:
        """Remember one node's network and optimiser as they are now."""
        kept = torch.stack([getattr(self, name)[row] for name in self._NAMES])
        self.marks[row] = kept, int(self.steps[row])

    def back(self, row: int) -> None:
        """Put one node's network and optimiser back to where they were marked."""
        kept, steps = self.marks[row]
        for name, value in zip(self._NAMES, kept, strict=True):
            getattr(self, name)[row] = value
        self.steps[row] = steps

    def _views(self, flat: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        n, (a, b, c, d) = len(flat), self.cuts
        w1 = flat[:, :a].view(n, self.width, self.experts)
        w2 = flat[:, b:c].view(n, self.clusters, self.width)
        return w1, flat[:, a:b].unsqueeze(1), w2, flat[:, c:d].unsqueeze(1)

    def embed(self, points: FloatArray, rows: IntArray | None = None) -> Tensor:
        """Return features, (n, N, K) to (n, N, D) float64: 2/sqrt(m) tanh(W1 x + b1), x, 1/2.

        Args:
            points: Merge weights per node.
            rows: Which node each leading entry belongs to; None: all nodes in order.
        """
        flat = self.weights if rows is None else self.weights[torch.from_numpy(rows)]
        w1, b1, _, _ = self._views(flat)
        x = torch.from_numpy(np.ascontiguousarray(points))
        hidden = torch.tanh(torch.bmm(x.float(), w1.transpose(1, 2)) + b1)
        out = torch.empty(*x.shape[:2], self.features, dtype=torch.float64)
        out[..., : self.width] = hidden
        out[..., : self.width] *= 2.0 / math.sqrt(self.width)
        out[..., self.width : -1] = x
        out[..., -1] = 0.5
        return out

    def train(
        self, rows: IntArray, memory: Memory, rngs: list[np.random.Generator], steps: int
    ) -> None:
        """Take gradient steps for some nodes, each on records that its own stream draws.

        Loss per record: sum_v weight_v (f_v(x) - y_v)^2 / 2, or with one number for all clusters
        weight (sum_v share_v f_v(x) - y)^2 / 2; plus a pull to the start.
        """
        if not len(rows) or not steps:
            return
        at = torch.from_numpy(rows)
        state = [getattr(self, name)[at] for name in self._NAMES]
        records = memory.size[rows]
        draws = [rngs[r].integers(0, memory.size[r], (steps, self.batch)) for r in rows.tolist()]
        picks = torch.from_numpy(np.stack(draws, axis=1))  # (steps, n', batch)
        scale = (1 if self.pooled else self.clusters) / memory.precision(rows) / self.batch
        pull = torch.from_numpy((_PULL / records).astype(np.float32)).unsqueeze(1)
        rates = self._rates(self.steps[rows], steps)
        deck, room = memory.deck(rows, scale), Room.of(len(rows), self.batch, self.width)
        for step in range(steps):
            if step % _CHUNK == 0:
                chunk = deck.take(picks[step : step + _CHUNK])
            x, y, w = (part[step % _CHUNK] for part in chunk)
            gradient = self._gradient(state[0], x, y, w, room)
            gradient += pull * (state[0] - state[1])
            self._adam(state, gradient, rates[0][step], rates[1][step])
        self.steps[rows] += steps
        for name, value in zip(self._NAMES, state, strict=True):
            getattr(self, name)[at] = value

    def _bend(self, z: Tensor, room: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the hidden units and their derivative; with room, in `z` and in there."""
        hidden = torch.tanh(z) if room is None else z.tanh_()
        bent = torch.mul(hidden, hidden, out=room)
        return hidden, torch.sub(_ONE, bent, out=bent)

    def _gradient(
        self, flat: Tensor, x: Tensor, y: Tensor, w: Tensor, room: Room | None = None
    ) -> Tensor:
        """Return the gradient of sum_v w_v (f_v - y_v)^2 / 2, or of the same of the mix, (n, p)."""
        if room is None:
            room = Room.of(len(flat), x.shape[1], self.width)
        w1, b1, w2, b2 = self._views(flat)
        z = torch.baddbmm(b1, x, w1.transpose(1, 2), out=room.hidden)
        hidden, bent = self._bend(z, room.bent)
        error = (torch.baddbmm(b2, hidden, w2.transpose(1, 2)) - y).mul_(w)  # (n, batch, V)
        if self.pooled:  # w is weight times share, so that this is share weight (share f - y)
            total = w.sum(dim=2, keepdim=True).clamp_(min=_TINY)
            error = error.sum(dim=2, keepdim=True) * w / total
        back = torch.bmm(error, w2, out=room.back).mul_(bent)  # (n, batch, m)
        parts = [
            torch.bmm(back.transpose(1, 2), x),
            back.sum(1),
            torch.bmm(error.transpose(1, 2), hidden),
            error.sum(1),
        ]
        return torch.cat([part.flatten(1) for part in parts], dim=1)

    def _rates(self, taken: IntArray, steps: int) -> tuple[Tensor, Tensor]:
        """Return Adam's two corrections of the steps to come, (steps, n', 1) each."""
        age = taken + np.arange(1, steps + 1)[:, None]
        first = self.lr / (1.0 - _DECAY**age)
        second = 1.0 / np.sqrt(1.0 - _DECAY_SQUARED**age)
        parts = (torch.from_numpy(p.astype(np.float32)).unsqueeze(2) for p in (first, second))
        return next(parts), next(parts)

    def _adam(self, state: list[Tensor], gradient: Tensor, first: Tensor, second: Tensor) -> None:
        """Step once.

        Source: Kingma and Ba 2015. Deviation: none.
        """
        weights, _, mean, square = state
        mean.lerp_(gradient, 1.0 - _DECAY)
        square.mul_(_DECAY_SQUARED).addcmul_(gradient, gradient, value=1.0 - _DECAY_SQUARED)
        weights.sub_(mean.mul(first).div_(square.sqrt().mul_(second).add_(_TINY)))

    @property
    def nbytes(self) -> int:
        """Count the bytes of one node's network with its optimiser."""
        return len(self._NAMES) * self.cuts[-1] * 4

    def mark_bytes(self, row: int) -> int:
        """Count the bytes of what is remembered of one node."""
        return self.nbytes if row in self.marks else 0

    def snapshot(self) -> dict[str, AnyArray]:
        """Return a copy of all state."""
        state: dict[str, AnyArray] = {
            name: getattr(self, name).numpy().copy() for name in self._NAMES
        }
        state["steps"] = self.steps.copy()
        rows = sorted(self.marks)
        state["marked"] = np.array([[r, self.marks[r][1]] for r in rows], dtype=np.int64)
        kept = [self.marks[r][0].numpy() for r in rows]
        state["marks"] = np.array(kept, dtype=np.float32)
        return state

    def restore(self, state: dict[str, AnyArray]) -> None:
        """Put a snapshot back."""
        for name in self._NAMES:
            setattr(self, name, torch.from_numpy(np.array(state[name])))
        self.steps = np.array(state["steps"])
        marked = state["marked"].reshape(-1, 2).tolist()
        kept = [torch.from_numpy(np.array(part)) for part in state["marks"]]
        self.marks = {r: (part, steps) for (r, steps), part in zip(marked, kept, strict=True)}
