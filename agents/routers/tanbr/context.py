"""The estimate of the mix of clusters: decayed counters, no tags."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim.errors import ShapeError

if TYPE_CHECKING:
    from sim.arrays import BoolArray, FloatArray

_SMALLEST_SHARE = 1e-3  # clusters below it are not scored


class MixEstimate:
    """Exponential moving average of the cluster shares of served requests, per node.

    Args:
        nodes: n.
        prior: Shares before any request was seen, (V,).
        alpha: Weight of the last slot.

    Source: Han et al. 2025 name exponential moving averages and sketches as the monitor.
    Deviation: exact counters.
    """

    def __init__(self, nodes: int, prior: FloatArray, alpha: float) -> None:
        self.prior = _shares(np.asarray(prior, dtype=np.float64))
        self.alpha = alpha
        self.mix: FloatArray = np.tile(self.prior, (nodes, 1))

    def observe(self, counts: FloatArray, active: BoolArray) -> None:
        """Take in the counts of the last slot, (n, V); a node without requests keeps its mix."""
        if counts.shape != self.mix.shape:
            raise ShapeError(f"context counts: expected {self.mix.shape}, found {counts.shape}")
        total = counts.sum(axis=1)
        seen = active & (total > 0.0)
        share = counts[seen] / total[seen, None]
        self.mix[seen] += self.alpha * (share - self.mix[seen])

    def restart(self, row: int) -> None:
        """Go back to the prior."""
        self.mix[row] = self.prior

    def relevant(self) -> FloatArray:
        """Return the mix without its negligible clusters, (n, V): they only cost time."""
        return np.where(self.mix > _SMALLEST_SHARE, self.mix, 0.0)


def _shares(prior: FloatArray) -> FloatArray:
    total = float(prior.sum())
    return np.asarray(prior / total) if total > 0.0 else np.full(len(prior), 1.0 / len(prior))
