"""Geometry of the simplex: projection, a uniform map from the cube, and sparse points."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sim.arrays import FloatArray


def project(points: FloatArray) -> FloatArray:
    """Return the nearest point of the simplex to each point, (..., K) to (..., K).

    Source: Held, Wolfe and Crowder 1974; Duchi et al. 2008. Deviation: none.
    """
    experts = points.shape[-1]
    falling = -np.sort(-points, axis=-1)
    excess = np.cumsum(falling, axis=-1) - 1.0
    rank = np.arange(1, experts + 1)
    support = (falling - excess / rank > 0.0).sum(axis=-1, keepdims=True)
    shift = np.take_along_axis(excess, support - 1, axis=-1) / support
    return np.asarray(np.maximum(points - shift, 0.0))


def stick_breaking(cube: FloatArray) -> FloatArray:
    """Map points of the cube to the simplex so that uniform stays uniform, (N, K-1) to (N, K).

    Source: stick breaking by Beta(1, K-1-k) quantiles. Deviation: none.
    """
    dims = cube.shape[-1]
    rest = np.ones(cube.shape[:-1])
    point = np.empty((*cube.shape[:-1], dims + 1))
    for k in range(dims):
        share = 1.0 - (1.0 - np.clip(cube[..., k], 0.0, 1.0)) ** (1.0 / (dims - k))
        point[..., k] = rest * share
        rest = rest * (1.0 - share)
    point[..., dims] = rest
    return point


def sparsify(points: FloatArray, active: int) -> FloatArray:
    """Keep the `active` largest weights of each point and renormalise, (..., K) to (..., K)."""
    experts = points.shape[-1]
    if active >= experts:
        return points
    drop = np.argsort(-points, axis=-1, kind="stable")[..., active:]
    kept = points.copy()
    np.put_along_axis(kept, drop, 0.0, axis=-1)
    return np.asarray(kept / kept.sum(axis=-1, keepdims=True))
