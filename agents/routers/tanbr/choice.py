"""How a block chooses merges: score every leaf, then search around the best, all nodes at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from agents.routers.simplex import project, sparsify

if TYPE_CHECKING:
    from agents.routers.model import Bounds
    from agents.routers.tanbr.space import Space
    from agents.routers.tanbr.tree import Tree
    from sim.arrays import FloatArray, IntArray

POLISH_ROUNDS = 2
_POLISH_STEP = 0.3  # of the diameter of the cell


@dataclass(slots=True)
class Choice:
    """The best candidates so far; n nodes, N leaves (padded), G coordinates of the search."""

    point: FloatArray  # (n, G); at the end the merge itself, (n, K)
    cell: IntArray  # (n,), leaf it came from, -1: none
    bound: FloatArray  # (n,), upper confidence bound
    mean: FloatArray  # (n,)
    greedy: FloatArray  # (n,), best mean among all candidates seen
    means: FloatArray  # (n, N), of the leaves, then of others


class Scorer:
    """Upper confidence bounds of one slot, in the space that is searched.

    Args:
        model: Means and deviations of merges.
        beta: Weight of the uncertainty per node, (n,).
        space: What a point stands for.

    Source: UCB, mean + beta sd (Xu et al. 2022; Zhou et al. 2020). Deviation: beta is a constant.
    """

    def __init__(self, model: Bounds, beta: FloatArray, space: Space) -> None:
        self.model, self.beta, self.space = model, beta[:, None], space

    def both(
        self, points: FloatArray, rows: IntArray | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Return mean and standard deviation of points, (n, N, G) to (n, N) each."""
        return self.model.both(self.space.served(points), rows)

    def bounds(self, points: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return upper confidence bound and mean of points, (n, N, G) to (n, N) each."""
        mean, deviation = self.both(points)
        return mean + self.beta * deviation, mean


def best_candidate(trees: list[Tree], anchors: FloatArray, scorer: Scorer) -> Choice:
    """Score the centroids of all leaves, and anchors beside them, and take the best of each node.

    Args:
        trees: One per node.
        anchors: Points that every node considers and that belong to no cell, (A, G).
        scorer: The slot's bounds.
    """
    width = max(tree.size for tree in trees)
    points = np.stack([np.vstack([_padded(tree, width), anchors]) for tree in trees])
    bound, mean = scorer.bounds(points)
    column = np.arange(points.shape[1])
    spare = (column >= np.array([tree.size for tree in trees])[:, None]) & (column < width)
    bound = np.where(spare, -np.inf, bound)
    row, best = np.arange(len(trees)), bound.argmax(axis=1)
    cells = [
        tree.cell[b] if b < width else -1 for tree, b in zip(trees, best.tolist(), strict=True)
    ]
    greedy = np.where(spare, -np.inf, mean).max(axis=1)
    return Choice(
        points[row, best], np.array(cells), bound[row, best], mean[row, best], greedy, mean
    )


def _padded(tree: Tree, width: int) -> FloatArray:
    points = np.empty((width, tree.experts))
    points[: tree.size] = tree.centre[: tree.size]
    points[tree.size :] = tree.centre[0]
    return points


def polish(choice: Choice, reach: FloatArray, noise: FloatArray, scorer: Scorer) -> None:
    """Search around the chosen points; the cell stays the one that proposed.

    Source: our own (random local search of the upper bound, as Bayesian optimisers refine their
    best candidates). Deviation: none.

    Args:
        choice: Changed in place.
        reach: Diameter of each chosen cell, (n,).
        noise: Standard normal draws, (n, rounds, points, G).
        scorer: The slot's bounds.
    """
    row = np.arange(len(reach))
    step = _POLISH_STEP * reach / np.sqrt(noise.shape[-1])
    for turn in range(noise.shape[1]):
        moved = choice.point[:, None, :] + step[:, None, None] * noise[:, turn]
        points = sparsify(project(moved), scorer.space.tree_active)
        bound, mean = scorer.bounds(points)
        best = bound.argmax(axis=1)
        won = bound[row, best] > choice.bound
        choice.point = np.where(won[:, None], points[row, best], choice.point)
        choice.bound = np.where(won, bound[row, best], choice.bound)
        choice.mean = np.where(won, mean[row, best], choice.mean)
        choice.greedy = np.maximum(choice.greedy, mean.max(axis=1))
        step = step / 2.0
