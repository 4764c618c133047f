"""Policy-gradient routing: a softmax policy picks one expert per slot and learns by REINFORCE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from agents.routers.context import ContextParams
from agents.routers.model import Work
from agents.routers.params import limited, parse
from agents.routers.rngs import load_rngs, save_rngs
from agents.routers.slotwise import Pick, Slotwise
from sim.plans import Single
from sim.rng import Streams

if TYPE_CHECKING:
    from agents.routers.pulls import Answer
    from sim.arrays import AnyArray, BoolArray, FloatArray
    from sim.ports import BlockSetup, Calibration

_VERTEX_SLACK = 1e-6
_EXP_FLOP, _FLOAT_BYTES = 10.0, 8.0


@dataclass(frozen=True, slots=True)
class ReinforceParams(ContextParams):
    """Parameters of `reinforce`."""

    lr: float = limited(3.0, 1e-9)  # step size of the logits
    baseline_rate: float = limited(0.1, 0.0, 1.0)  # step size of the baseline
    warm_start: bool = True  # logits start from the calibration rewards of the single experts
    temperature: float = limited(0.1, 1e-6)  # reward that is worth one unit of logit there


class Reinforce(Slotwise):
    """Sample one expert per slot from p = sum_v mix_v softmax(theta_v) and follow the reward.

    theta += lr (reward - mix . b) grad log p(expert), with the gradient of the slot in which the
    expert was sampled; the baseline b, one number per cluster, follows the reward by normalised
    least mean squares.

    Args:
        setup: The block. Parameters: see `ReinforceParams`.

    Raises:
        InputError: A parameter is unknown or out of its limits.

    Source: Williams 1992 (REINFORCE with a reinforcement baseline); the RL baseline of Muqeeth et
    al. 2023 (SMEAR, arXiv 2306.03745) and of Han et al. 2025. Deviation: one sample per slot
    instead of one per example, since one model serves the slot; logits per cluster instead of a
    gate on hidden states.
    """

    oracle: ClassVar[bool] = False
    learns: ClassVar[bool] = True
    parameters: ClassVar[str] = "agents.routers.reinforce:ReinforceParams"

    def __init__(self, setup: BlockSetup) -> None:
        self.params = parse(ReinforceParams, setup.params, "reinforce")
        super().__init__(setup, self.params)
        streams, shape = Streams(setup.seed), (setup.clusters, setup.experts)
        self.rngs = [streams.stream("router", "reinforce", node) for node in self.nodes]
        self._logits, self._level = np.zeros(shape), np.full(setup.clusters, 0.5)
        if self.params.warm_start:
            self._logits, self._level = warm(setup.calibration, shape, self.params.temperature)
        self.theta: FloatArray = np.zeros((len(self.nodes), *shape))
        self.base: FloatArray = np.zeros((len(self.nodes), setup.clusters))
        self.begin()

    def _work(self, passes: float) -> Work:
        """Return the work of some passes over all logits of a node."""
        size = float(self.clusters * self.experts)
        return Work(passes * size, _FLOAT_BYTES * size)

    def start(self, row: int) -> Work:
        """Put a node back to where the calibration left it."""
        self.theta[row], self.base[row] = self._logits, self._level
        return self._work(_EXP_FLOP + 6.0 if self.params.warm_start else 0.0)

    def renew(self, row: int, renewed: BoolArray) -> None:
        """Forget the preferences of clusters that mean something else now, waiting steps too."""
        self.theta[row, renewed] = 0.0
        for choice in self.pulls[row].choices():
            choice[self.clusters :].reshape(self.clusters, self.experts)[renewed] = 0.0
        self.base[row, renewed] = self.base[row, ~renewed].mean() if not renewed.all() else 0.5

    def pick(self, row: int, mix: FloatArray) -> Pick:
        """Sample an expert, and keep the gradient of the logarithm of its chance."""
        policy = softmax(self.theta[row])
        chance = mix @ policy
        steps = np.cumsum(chance)
        draw = self.rngs[row].random() * steps[-1]
        expert = min(int(np.searchsorted(steps, draw, side="right")), self.experts - 1)
        gradient = score(policy, mix, expert)
        self.charge(row, self._work(_EXP_FLOP + 9.0))
        choice = np.concatenate([mix, gradient.ravel()])
        return Pick(Single(expert), choice, expert != int(chance.argmax()))

    def learn(self, row: int, answer: Answer) -> None:
        """Step along the gradient by the advantage; a later part adds what it changes."""
        mix = answer.choice[: self.clusters]
        gradient = answer.choice[self.clusters :].reshape(self.clusters, self.experts)
        advantage = answer.change
        if answer.first:
            advantage = answer.reward - float(mix @ self.base[row])
            step = self.params.baseline_rate * advantage / float(mix @ mix)
            self.base[row] += step * mix
        self.theta[row] += self.params.lr * advantage * gradient
        self.charge(row, self._work(3.0))

    def node_bytes(self, row: int) -> int:
        """Count the bytes of logits and baseline."""
        return int(self.theta[row].nbytes + self.base[row].nbytes)

    def snapshot(self) -> dict[str, AnyArray]:
        """Return a copy of all state that changes, as flat numpy arrays."""
        own = {"theta": self.theta.copy(), "base": self.base.copy(), "rngs": save_rngs(self.rngs)}
        return super().snapshot() | own

    def restore(self, state: dict[str, AnyArray]) -> None:
        """Put a snapshot of a router with the same setup back."""
        super().restore(state)
        self.theta, self.base = np.array(state["theta"]), np.array(state["base"])
        load_rngs(self.rngs, state["rngs"])


def softmax(logits: FloatArray) -> FloatArray:
    """Return probabilities, (..., K) to (..., K)."""
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))


def score(policy: FloatArray, mix: FloatArray, expert: int) -> FloatArray:
    """Return the gradient of ln sum_v mix_v policy_v(expert) by the logits, (V, K).

    Args:
        policy: Softmax of the logits per cluster, (V, K).
        mix: Shares of the clusters, (V,).
        expert: The one that was sampled; its chance is positive.
    """
    blame = mix * policy[:, expert] / (mix @ policy[:, expert])
    gradient = -policy
    gradient[:, expert] += 1.0
    return np.asarray(blame[:, None] * gradient)


def warm(
    calibration: Calibration, shape: tuple[int, int], temperature: float
) -> tuple[FloatArray, FloatArray]:
    """Return logits and baseline that follow from the calibration's single experts.

    Args:
        calibration: Experts that it does not isolate count as average.
        shape: (V, K).
        temperature: Reward that is worth one unit of logit.

    Returns:
        Logits, (V, K), and the reward that their policy expects per cluster, (V,).
    """
    pure = np.flatnonzero(calibration.weights.max(axis=1) > 1.0 - _VERTEX_SLACK)
    if not len(pure):
        return np.zeros(shape), np.full(shape[0], 0.5)
    mean = calibration.reward[pure].mean(axis=0)
    reward = np.tile(mean[:, None], (1, shape[1]))
    reward[:, calibration.weights[pure].argmax(axis=1)] = calibration.reward[pure].T
    logits = np.asarray((reward - mean[:, None]) / temperature)
    return logits, np.asarray((softmax(logits) * reward).sum(axis=1))
