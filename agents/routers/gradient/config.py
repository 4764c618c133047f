"""What may be set of the gradient model; the parameters of routers inherit from it."""

from __future__ import annotations

from dataclasses import dataclass

from agents.routers.params import check_word, limited
from sim.errors import InputError

ACTIVATIONS = ("relu", "tanh")
COVARIANCES = ("diagonal", "full")


@dataclass(frozen=True)  # no slots: routers inherit from this beside other parameters
class GradientParams:
    """The network, its confidence and its training."""

    width: int = limited(64, 2, 4096)  # hidden units, even
    activation: str = "tanh"
    covariance: str = "full"  # of all parameters, or of each alone
    lambda0: float = limited(1.0, 1e-9)  # ridge
    upsilon: float = limited(
        0.1, 0.0
    )  # standard deviation per unit of gradient, see `GradientModel`
    lr: float = limited(5e-3, 1e-9, 1.0)
    batch: int = limited(64, 1, 4096)
    restart_steps: int = limited(300, 0)  # gradient steps of a warm start
    records: int = limited(4000, 16)  # observations kept
    noise_min: float = limited(0.02, 1e-6)  # smallest deviation of a slot's mean reward

    def __post_init__(self) -> None:
        if self.width % 2:
            raise InputError(f"gradient model: width: expected an even number, found {self.width}")
        check_word("activation of the gradient model", self.activation, ACTIVATIONS)
        check_word("covariance of the gradient model", self.covariance, COVARIANCES)
