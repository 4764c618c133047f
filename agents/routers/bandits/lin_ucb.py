"""LinUCB over random candidates: reward per cluster linear in the merge weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from agents.routers.bandits.base import CandidateBandit
from agents.routers.bandits.config import LinUcbParams
from agents.routers.params import parse
from agents.routers.tanbr.learner import FixedBasis, Learner, RidgeParams

if TYPE_CHECKING:
    from sim.arrays import AnyArray, FloatArray, IntArray
    from sim.ports import BlockSetup


class Linear(FixedBasis):
    """The merge itself and a constant as features of n nodes, x and 1.

    Args:
        shape: (n, K, V).
    """

    trained: ClassVar[bool] = False
    width, batch, nbytes = 0, 0, 0

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.nodes, self.experts, self.clusters = shape

    @property
    def features(self) -> int:
        """Count the features."""
        return self.experts + 1

    def embed(self, points: FloatArray, rows: IntArray | None = None) -> Tensor:
        """Return features, (n, N, K) to (n, N, K + 1) float64."""
        del rows
        return torch.from_numpy(np.concatenate([points, np.ones((*points.shape[:2], 1))], axis=2))

    def draw(self, row: int, rng: np.random.Generator) -> None:
        """Do nothing: there is nothing random."""

    def copy(self, row: int, other: Linear) -> None:
        """Do nothing: all are alike."""

    def snapshot(self) -> dict[str, AnyArray]:
        """Return nothing: there is no state."""
        return {}

    def restore(self, state: dict[str, AnyArray]) -> None:
        """Do nothing."""


class LinUcb(CandidateBandit):
    """Serve the candidate with the best upper confidence bound of a linear reward.

    Args:
        setup: The block. Parameters: see `LinUcbParams`.

    Raises:
        InputError: A parameter is unknown or out of its limits, or the calibration does not fit.

    Source: Li et al. 2010 (LinUCB, arXiv 1003.0146), Abbasi-Yadkori et al. 2011. Deviation: one
    regression per cluster, mixed by the estimated mix; beta is constant.
    """

    name: ClassVar[str] = "lin-ucb"
    parameters: ClassVar[str] = "agents.routers.bandits.config:LinUcbParams"

    def __init__(self, setup: BlockSetup) -> None:
        p = parse(LinUcbParams, setup.params, self.name)
        self.beta = p.beta
        ridge = RidgeParams(p.lambda0, p.noise_min, p.records, 0, setup.pooled)
        shape = (setup.experts, setup.clusters)
        super().__init__(setup, p, lambda n: Learner(Linear((n, *shape)), ridge))
