"""Landscapes given by a formula: quad, bump, ripple. Made up; one optimum per cluster."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from agents.routers.landscapes.search import Effort, search_best
from sim.rng import Streams

if TYPE_CHECKING:
    from sim.arrays import FloatArray

SMOOTH = ("quad", "bump", "ripple")


@dataclass(frozen=True, slots=True)
class Smooth:
    """Expected reward per cluster as a function of the merge, with the best for a pool of mixes.

    quad: 1 - |x-a_v|^2 / 2. bump: exp(-|x-a_v|^2 / 2 w^2). ripple: bump with valleys between
    experts, minus 0.15 sin^2(3 pi |x-a_v|^2) sqrt(1-|x|^2).

    Source: our own. Deviation: none.
    """

    kind: str
    optima: FloatArray  # a_v, (V, K)
    width: float
    mixes: FloatArray  # (P, V)
    best: FloatArray  # (P,), best reward over all merges per mix

    @property
    def experts(self) -> int:
        """Return K."""
        return int(self.optima.shape[1])

    @property
    def clusters(self) -> int:
        """Return V."""
        return len(self.optima)

    @property
    def effort(self) -> Effort:
        """Return how hard the best merge is searched."""
        return Effort()

    def reward(self, points: FloatArray) -> FloatArray:
        """Return the expected reward of merges per cluster, (..., K) to (..., V)."""
        gap = points[..., None, :] - self.optima
        squared = (gap * gap).sum(axis=-1)
        if self.kind == "quad":
            return np.asarray(1.0 - 0.5 * squared)
        bump = np.exp(-squared / (2.0 * self.width**2))
        if self.kind == "bump":
            return np.asarray(bump)
        spread = np.sqrt(np.maximum(1.0 - (points * points).sum(axis=-1), 0.0))[..., None]
        valley = 0.15 * np.sin(3.0 * np.pi * squared) ** 2 * spread
        return np.asarray(np.clip(bump - valley, 0.0, 1.0))

    def seeds(self) -> FloatArray:
        """Return the optima of the clusters, (V, K)."""
        return self.optima


def draw_smooth(kind: str, experts: int, clusters: int, seed: int, mixes: int) -> Smooth:
    """Draw a landscape: optima from Dirichlet(0.5), a pool of mixes from Dirichlet(0.6)."""
    rng = Streams(seed).stream("landscape", experts, clusters)
    optima = rng.dirichlet(np.full(experts, 0.5), clusters)
    pool = rng.dirichlet(np.full(clusters, 0.6), mixes)
    return _solved(Smooth(kind, optima, 0.5 if experts > 4 else 0.35, pool, np.zeros(mixes)), rng)


def shift_smooth(land: Smooth, seed: int) -> Smooth:
    """Return the same landscape with all optima drawn anew."""
    rng = Streams(seed).stream("landscape", "shift")
    optima = rng.dirichlet(np.full(land.experts, 0.5), land.clusters)
    return _solved(replace(land, optima=optima), rng)


def _solved(land: Smooth, rng: np.random.Generator) -> Smooth:
    if land.kind == "quad":  # closed form: x* = sum psi_v a_v
        best = land.reward(land.mixes @ land.optima)
        return replace(land, best=np.einsum("pv,pv->p", best, land.mixes))
    return replace(land, best=search_best(land, rng))
