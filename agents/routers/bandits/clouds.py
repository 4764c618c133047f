"""Fresh candidate merges: broad, uneven and sparse ones in equal parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sim.arrays import FloatArray

_UNEVEN = 0.3  # Dirichlet parameter of the second third
_FEW = 3  # most experts in a sparse merge
_DRAW_FLOP = 20.0  # one draw and its share of the normalisation


def draw_cloud(rng: np.random.Generator, count: int, size: int) -> FloatArray:
    """Draw merges of one node, (count, size).

    A third is uniform on the simplex, a third is Dirichlet(0.3), and a third is uniform on a random
    face of one to three experts, so that vertices and pairs are among them.

    Source: Nucb's random candidates, Han et al. 2025 (arXiv 2509.19781). Deviation: their law is
    not published; uniform draws alone would hardly come near the faces, where the best merges lie.
    """
    broad, uneven = (count + 2) // 3, (count + 1) // 3
    parts = [
        rng.dirichlet(np.ones(size), broad),
        rng.dirichlet(np.full(size, _UNEVEN), uneven),
        _sparse(rng, count - broad - uneven, size),
    ]
    return np.vstack(parts)


def _sparse(rng: np.random.Generator, count: int, size: int) -> FloatArray:
    rank = rng.random((count, size)).argsort(axis=1).argsort(axis=1)
    few = rng.integers(1, min(_FEW, size) + 1, (count, 1))
    weight = rng.standard_exponential((count, size)) * (rank < few)
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))


def draw_flop(count: float, size: float) -> float:
    """Return the work of drawing so many merges."""
    return _DRAW_FLOP * count * size
