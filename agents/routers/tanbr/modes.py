"""Which reward model a configuration of Tanbr asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.routers.gradient.config import GradientParams
from agents.routers.gradient.model import GradientModel
from agents.routers.tanbr.fourier import FourierModel
from agents.routers.tanbr.learner import Learner, RidgeParams
from agents.routers.tanbr.net import Nets

if TYPE_CHECKING:
    from agents.routers.model import RewardModel
    from agents.routers.tanbr.config import TanbrParams


def model_for(shape: tuple[int, int, int], params: TanbrParams, pooled: bool) -> RewardModel:
    """Return a reward model for n nodes, K experts and V clusters.

    Args:
        shape: (n, K, V).
        params: The configuration.
        pooled: A slot's reward is one number.
    """
    n, k, v = shape
    p = params
    if p.mode == "paper":
        chosen = GradientParams(
            width=p.width,
            lambda0=p.lambda0,
            upsilon=1.0,  # the router's beta is upsilon
            lr=p.lr,
            batch=p.batch,
            restart_steps=p.restart_steps,
            records=p.records,
            noise_min=p.noise_min,
        )
        return GradientModel(shape, chosen, pooled)
    ridge = RidgeParams(p.lambda0, p.noise_min, p.records, p.restart_steps, pooled)
    if p.features == "rff":
        return FourierModel((n, k, p.waves, v), p.scale, ridge)
    return Learner(Nets((n, k, p.width, v), p.lr, p.batch, pooled), ridge)
