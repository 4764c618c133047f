"""The networks of the gradient model: values, and slopes with respect to all parameters."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from agents.routers.tanbr.net import Nets

if TYPE_CHECKING:
    from agents.routers.gradient.config import GradientParams
    from sim.arrays import IntArray


class GradientNets(Nets):
    """Networks K -> m -> V of n nodes, float32, that know their own slopes.

    Letters: p parameters of one network, q = p with the V output rows folded into one.

    Args:
        shape: (n, K, m, V).
        params: Activation and training.
        pooled: Records hold one reward for all clusters together.

    Source: Zhou et al. 2020 (NeuralUCB, arXiv 1911.04462). Deviation: output weights are
    theta2 / sqrt(m), so that its g'g / m is g'g here; biases; V outputs; tanh by default; Adam on
    drawn records instead of gradient descent on all.
    """

    def __init__(
        self, shape: tuple[int, int, int, int], params: GradientParams, pooled: bool
    ) -> None:
        super().__init__(shape, params.lr, params.batch, pooled)
        self.tanh = params.activation == "tanh"
        self.scale = 1.0 / math.sqrt(self.width)

    @property
    def params(self) -> int:
        """Count the parameters of one network, p."""
        return self.cuts[-1]

    def _bend(self, z: Tensor, room: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the hidden units and their derivative."""
        if self.tanh:
            return super()._bend(z, room)
        return torch.relu(z), (z > 0.0).to(z.dtype)

    def _parts(self, row: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        w1, b1, w2, b2 = self._views(self.weights[row : row + 1])
        return w1[0], b1[0, 0], w2[0], b2[0, 0]

    def folded(self, row: int, points: Tensor, mix: Tensor) -> tuple[Tensor, Tensor]:
        """Return mix'f of merges, (N,), and its slope, (N, q), where output rows share one place.

        The slope with respect to output row v is mix_v times the part for the output weights, so
        one such part is enough; see `fold`.

        Args:
            row: The node.
            points: Merges, (N, K).
            mix: Weight of each cluster, (V,).
        """
        w1, b1, w2, b2 = self._parts(row)
        hidden, bent = self._bend(points @ w1.T + b1)
        out = mix @ w2
        back = bent * out  # (N, m)
        inner = (back.unsqueeze(2) * points.unsqueeze(1)).flatten(1)
        slope = torch.cat([inner, back, hidden * self.scale, torch.ones(len(points), 1)], dim=1)
        return hidden @ out + mix @ b2, slope

    def slopes(self, row: int, point: Tensor) -> tuple[Tensor, Tensor]:
        """Return f of one merge, (V,), and the slope of each cluster's value, (V, p)."""
        w1, b1, w2, b2 = self._parts(row)
        hidden, bent = self._bend(w1 @ point + b1)
        back = w2 * bent  # (V, m)
        inner = (back.unsqueeze(2) * point).flatten(1)
        eye = torch.eye(self.clusters)
        outer = (eye.unsqueeze(2) * (hidden * self.scale)).flatten(1)
        return w2 @ hidden + b2, torch.cat([inner, back, outer, eye], dim=1)

    def fold(self, matrix: Tensor, mix: Tensor) -> Tensor:
        """Mix the rows of a matrix that belong to output weights, (p, .) to (q, .)."""
        _, inner, outer, end = self.cuts
        shared = torch.tensordot(mix, matrix[inner:outer].view(self.clusters, self.width, -1), 1)
        return torch.cat([matrix[:inner], shared, (mix @ matrix[outer:end]).unsqueeze(0)])

    def places(self, clusters: IntArray) -> Tensor:
        """Return where the output weights of some clusters stand among the p parameters."""
        _, inner, outer, _ = self.cuts
        at = torch.from_numpy(clusters)
        rows = (inner + at.unsqueeze(1) * self.width + torch.arange(self.width)).flatten()
        return torch.cat([rows, outer + at])
