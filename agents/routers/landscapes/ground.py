"""What a landscape is: expected rewards per cluster as a function of the merge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from sim.ports import Calibration
from sim.rng import Streams

if TYPE_CHECKING:
    from agents.routers.landscapes.search import Effort
    from sim.arrays import FloatArray


class Landscape(Protocol):
    """Expected reward per cluster of every merge, and the best for each mix of a pool."""

    @property
    def kind(self) -> str:
        """Return the word that draws it."""
        ...

    @property
    def experts(self) -> int:
        """Return K."""
        ...

    @property
    def clusters(self) -> int:
        """Return V."""
        ...

    @property
    def mixes(self) -> FloatArray:
        """Return the pool of mixes, (P, V)."""
        ...

    @property
    def best(self) -> FloatArray:
        """Return the best reward over all merges per mix, (P,)."""
        ...

    def reward(self, points: FloatArray) -> FloatArray:
        """Return the expected reward of merges per cluster, (..., K) to (..., V)."""
        ...

    @property
    def effort(self) -> Effort:
        """Return how hard the best merge must be searched."""
        ...

    def seeds(self) -> FloatArray:
        """Return merges that a search had better try first, (S, K)."""
        ...


def calibration_points(land: Landscape, seed: int, items: float = 500.0) -> Calibration:
    """Return noisy rewards of all vertices, the centre and all pair averages: a warm start.

    The noise is that of `items` yes/no outcomes per cluster.
    """
    clusters, experts = land.clusters, land.experts
    eye = np.eye(experts)
    pairs = [(eye[i] + eye[j]) / 2.0 for i in range(experts) for j in range(i)]
    points = np.vstack([eye, np.full((1, experts), 1.0 / experts), *pairs])
    rng = Streams(seed).stream("landscape", "calibration")
    noise = 0.5 / np.sqrt(items) * rng.standard_normal((len(points), clusters))
    prior = np.full(clusters, 1.0 / clusters)
    return Calibration(points, land.reward(points) + noise, np.full(clusters, items), prior)
