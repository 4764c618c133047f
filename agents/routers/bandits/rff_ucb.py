"""Gaussian-process UCB over random candidates, by random Fourier features."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from agents.routers.bandits.base import CandidateBandit
from agents.routers.bandits.config import RffUcbParams
from agents.routers.params import parse
from agents.routers.tanbr.fourier import FourierModel
from agents.routers.tanbr.learner import RidgeParams

if TYPE_CHECKING:
    from sim.ports import BlockSetup


class RffUcb(CandidateBandit):
    """Serve the candidate with the best upper confidence bound of a smooth random function.

    Args:
        setup: The block. Parameters: see `RffUcbParams`.

    Raises:
        InputError: A parameter is unknown or out of its limits, or the calibration does not fit.

    Source: Srinivas et al. 2010 (GP-UCB, arXiv 0912.3995), Rahimi and Recht 2007. Deviation: beta
    is constant; see `FourierModel`.
    """

    name: ClassVar[str] = "rff-ucb"
    parameters: ClassVar[str] = "agents.routers.bandits.config:RffUcbParams"

    def __init__(self, setup: BlockSetup) -> None:
        p = parse(RffUcbParams, setup.params, self.name)
        self.beta = p.beta
        ridge = RidgeParams(p.lambda0, p.noise_min, p.records, 0, setup.pooled)
        shape = (setup.experts, p.waves, setup.clusters)
        super().__init__(setup, p, lambda n: FourierModel((n, *shape), p.scale, ridge))
