"""The parameters of the candidate bandits, with their limits; loads no torch."""

from __future__ import annotations

from dataclasses import dataclass

from agents.routers.context import ContextParams
from agents.routers.gradient.config import GradientParams
from agents.routers.params import limited


@dataclass(frozen=True, slots=True)
class CandidateParams(ContextParams):
    """What all candidate bandits may set; the same words mean the same as for Tanbr."""

    candidates: int = limited(100, 1, 100_000)  # fresh merges per slot
    anchors: bool = False  # after a warm start, its points are candidates, too
    max_active: int = limited(0, 0)  # most experts in a merge, 0: all
    groups: int = limited(0, -1, 4096)  # super-experts; 0: 8 for more than 8 experts, -1: off
    grouping: str = "profile"  # how experts are put together: profile, usage
    warm_start: bool = True
    hysteresis: float = limited(0.1, 0.0)  # a change must gain this many times what its merge costs


@dataclass(frozen=True, slots=True)
class NeuralParams(CandidateParams, GradientParams):
    """Parameters of `nucb` and `neural-ts`: candidates, and the gradient model.

    Measured (quad and bump, K = 4 and 8, 1000 slots, 3 seeds): the diagonal's regret is that of the
    whole matrix within noise, at a tenth of its time and a thousandth of its memory. Training in
    every slot beats every fifth (bump, K = 4: 32 against 38 in 600 slots); upsilon 0.03 to 0.1
    beats 0.3 and 1, at which it explores for ever.
    """

    covariance: str = "diagonal"
    steps: int = limited(10, 0, 1000)  # gradient steps per slot, done `period` slots at a time
    period: int = limited(1, 1)


@dataclass(frozen=True, slots=True)
class LinUcbParams(CandidateParams):
    """Parameters of `lin-ucb`."""

    lambda0: float = limited(1.0, 1e-9)  # ridge
    beta: float = limited(2.0, 0.0)  # weight of the uncertainty
    noise_min: float = limited(0.02, 1e-6)  # smallest deviation of a slot's mean reward
    records: int = limited(4000, 16)  # observations kept


@dataclass(frozen=True, slots=True)
class RffUcbParams(LinUcbParams):
    """Parameters of `rff-ucb`."""

    waves: int = limited(192, 2, 4096)  # random Fourier features
    scale: float = limited(0.5, 1e-3, 100.0)  # their length-scale
