"""Fixed random features instead of a network: kernel regression without training."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from agents.routers.tanbr.learner import FixedBasis, Learner, RidgeParams

if TYPE_CHECKING:
    from sim.arrays import AnyArray, FloatArray, IntArray


class Fourier(FixedBasis):
    """Random cosines of merges for n nodes: sqrt(2/m) cos(W x + b), then x, then 1/2.

    W ~ N(0, 1/scale^2) per entry, b uniform on a period.

    Args:
        shape: (n, K, m, V).
        scale: Length-scale of the kernel exp(-|x - y|^2 / 2 scale^2) that they stand for.

    Source: Rahimi and Recht 2007, random Fourier features. Deviation: the merge itself and a
    constant are features, too.
    """

    trained: ClassVar[bool] = False
    _NAMES = ("waves", "shift")

    def __init__(self, shape: tuple[int, int, int, int], scale: float) -> None:
        self.nodes, self.experts, self.width, self.clusters = shape
        self.scale, self.batch = scale, 0
        self.waves = torch.zeros(shape[0], shape[2], shape[1], dtype=torch.float64)  # (n, m, K)
        self.shift = torch.zeros(shape[0], 1, shape[2], dtype=torch.float64)

    @property
    def features(self) -> int:
        """Count the features: cosines, the merge weights themselves, a constant."""
        return self.width + self.experts + 1

    @property
    def nbytes(self) -> int:
        """Count the bytes of one node's features."""
        return self.width * (self.experts + 1) * 8

    def draw(self, row: int, rng: np.random.Generator) -> None:
        """Give one node new waves."""
        waves = rng.standard_normal((self.width, self.experts)) / self.scale
        self.waves[row] = torch.from_numpy(waves)
        self.shift[row, 0] = torch.from_numpy(rng.random(self.width) * 2.0 * math.pi)

    def copy(self, row: int, other: Fourier) -> None:
        """Take over node 0 of another block."""
        for name in self._NAMES:
            getattr(self, name)[row] = getattr(other, name)[0]

    def embed(self, points: FloatArray, rows: IntArray | None = None) -> Tensor:
        """Return features, (n, N, K) to (n, N, D) float64.

        Args:
            points: Merge weights per node.
            rows: Which node each leading entry belongs to; None: all nodes in order.
        """
        at = slice(None) if rows is None else torch.from_numpy(rows)
        x = torch.from_numpy(np.ascontiguousarray(points))
        out = torch.empty(*x.shape[:2], self.features, dtype=torch.float64)
        angle = torch.baddbmm(self.shift[at], x, self.waves[at].transpose(1, 2))
        out[..., : self.width] = angle.cos_().mul_(math.sqrt(2.0 / self.width))
        out[..., self.width : -1] = x
        out[..., -1] = 0.5
        return out

    def snapshot(self) -> dict[str, AnyArray]:
        """Return a copy of all state."""
        return {name: getattr(self, name).numpy().copy() for name in self._NAMES}

    def restore(self, state: dict[str, AnyArray]) -> None:
        """Put a snapshot back."""
        for name in self._NAMES:
            setattr(self, name, torch.from_numpy(np.array(state[name])))


class FourierModel(Learner):
    """Ridge regression over random Fourier features: GP-UCB's reward model in its cheap form.

    Args:
        shape: (n, K, m, V): nodes, experts, cosines, clusters.
        scale: Length-scale.
        params: The configuration.

    Source: Srinivas et al. 2010 (GP-UCB) with the features of Rahimi and Recht 2007. Deviation: one
    regression per cluster, weighted by the precision of its mean reward.
    """

    def __init__(self, shape: tuple[int, int, int, int], scale: float, params: RidgeParams) -> None:
        super().__init__(Fourier(shape, scale), params)
