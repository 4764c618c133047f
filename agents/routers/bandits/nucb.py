"""NeuralUCB over random candidates: Tanbr's closest relative without a tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from agents.routers.bandits.base import CandidateBandit
from agents.routers.bandits.config import NeuralParams
from agents.routers.gradient.model import GradientModel
from agents.routers.params import parse

if TYPE_CHECKING:
    from sim.ports import BlockSetup


class Nucb(CandidateBandit):
    """Serve the candidate with the best mean + upsilon sqrt(g' Z^-1 g), g the network's slope.

    Args:
        setup: The block. Parameters: see `NeuralParams`.

    Raises:
        InputError: A parameter is unknown or out of its limits, or the calibration does not fit.

    Source: Zhou et al. 2020 (NeuralUCB, arXiv 1911.04462), as the baseline Nucb of Han et al. 2025
    (arXiv 2509.19781). Deviation: see `GradientModel`; the network is trained every `period` slots.
    """

    name: ClassVar[str] = "nucb"
    parameters: ClassVar[str] = "agents.routers.bandits.config:NeuralParams"

    def __init__(self, setup: BlockSetup) -> None:
        p = parse(NeuralParams, setup.params, self.name)
        self.steps, self.period = p.steps, p.period
        shape = (setup.experts, setup.clusters)
        super().__init__(setup, p, lambda n: GradientModel((n, *shape), p, setup.pooled))
