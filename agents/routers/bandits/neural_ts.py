"""Neural Thompson sampling over random candidates."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from agents.routers.bandits.base import CandidateBandit
from agents.routers.bandits.config import NeuralParams
from agents.routers.gradient.model import GradientModel
from agents.routers.params import parse

if TYPE_CHECKING:
    from sim.arrays import FloatArray, IntArray
    from sim.ports import BlockSetup


class NeuralTS(CandidateBandit):
    """Sample every candidate's reward from N(mean, deviation^2), serve the best.

    Args:
        setup: The block. Parameters: see `NeuralParams`.

    Raises:
        InputError: A parameter is unknown or out of its limits, or the calibration does not fit.

    Source: Zhang et al. 2021 (NeuralTS, arXiv 2010.00827). Deviation: the deviation is
    upsilon sqrt(g' Z^-1 g) without their factor sqrt(lambda), which is 1 by default; see
    `GradientModel`; candidates are sampled independently, as theirs are.
    """

    name: ClassVar[str] = "neural-ts"
    parameters: ClassVar[str] = "agents.routers.bandits.config:NeuralParams"

    def __init__(self, setup: BlockSetup) -> None:
        p = parse(NeuralParams, setup.params, self.name)
        self.steps, self.period = p.steps, p.period
        shape = (setup.experts, setup.clusters)
        super().__init__(setup, p, lambda n: GradientModel((n, *shape), p, setup.pooled))

    def worth(self, mean: FloatArray, deviation: FloatArray, rows: IntArray) -> FloatArray:
        """Return one draw per candidate, each node from its own stream."""
        noise = [self.rngs[row].standard_normal(mean.shape[1]) for row in rows.tolist()]
        return np.asarray(mean + deviation * np.stack(noise))
