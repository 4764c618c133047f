"""A reward model whose confidence is the gradient of its whole network (NeuralUCB)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from torch import Tensor

from agents.routers.gradient.covariance import Covariance, DiagonalCovariance, FullCovariance
from agents.routers.gradient.nets import GradientNets
from agents.routers.gradient.work import GradientCosts
from agents.routers.model import Observations, Surprise, Work, slot_noise
from agents.routers.snapshots import below, flat
from agents.routers.tanbr.memory import Memory

if TYPE_CHECKING:
    from agents.routers.gradient.config import GradientParams
    from sim.arrays import AnyArray, FloatArray, IntArray
    from sim.ports import Calibration


class GradientModel:
    """Networks, confidence matrices and records of n nodes; a `RewardModel`.

    The slot's reward is sum_v mix_v f_v(x), g its slope with respect to all parameters, and its
    standard deviation upsilon sqrt(g' Z^-1 g). Every observation adds to Z = lambda I + sum g g',
    with the slopes of the network as it was then. With feedback per cluster each cluster adds its
    own slope, weighted by its share of the requests; with pooled feedback the mix adds one.

    Args:
        shape: (n, K, V).
        params: The configuration.
        pooled: A slot's reward is one number.

    Source: Zhou et al. 2020 (NeuralUCB, arXiv 1911.04462). Deviation: V outputs, see
    `GradientNets`; records weigh by their precision in training; upsilon is constant.
    """

    def __init__(
        self, shape: tuple[int, int, int], params: GradientParams, pooled: bool = False
    ) -> None:
        self.nodes, self.experts, self.clusters = shape
        self.params, self.pooled = params, pooled
        nets = (self.nodes, self.experts, params.width, self.clusters)
        self.nets = GradientNets(nets, params, pooled)
        full = params.covariance == "full"
        kind: type[FullCovariance | DiagonalCovariance] = (
            FullCovariance if full else DiagonalCovariance
        )
        self.covariance: Covariance = kind(self.nets, params.lambda0)
        self.memory = Memory(shape, params.records)
        self.fresh: IntArray = np.zeros(self.nodes, dtype=np.int64)  # records since the last fit
        self.since: IntArray = np.full(self.nodes, -1)  # records since the mark, -1: none
        self.marks: dict[int, Tensor] = {}  # confidence when it was marked
        self.costs = GradientCosts(self.experts, self.clusters, params.width, params.batch, full)

    # --- starting and forgetting ---

    def draw(self, row: int, rng: np.random.Generator) -> None:
        """Start one node cold."""
        self.nets.draw(row, rng)
        self.covariance.clear(row)
        self.memory.keep_last(row, 0)
        self.fresh[row] = 0
        self._unmark(row)

    def warm_up(self, calibration: Calibration, rng: np.random.Generator) -> None:
        """Learn the calibration points on node 0, drawn before, as if they had been observed."""
        count = np.asarray(calibration.count, dtype=np.float64)
        parts = np.diag(count) if self.pooled else count[None]  # each point as (parts, V) counts
        shape = (len(calibration.weights), len(parts))
        row = np.zeros(shape[0] * shape[1], dtype=np.int64)
        points, reward = (
            np.repeat(np.asarray(part, dtype=np.float64), shape[1], axis=0)
            for part in (calibration.weights, calibration.reward)
        )
        if self.pooled:
            own = np.tile(np.eye(self.clusters), (shape[0], 1))
            reward = np.tile((reward * own).sum(axis=1, keepdims=True), self.clusters)
        told = np.tile(parts, (shape[0], 1))
        used = told.sum(axis=1) > 0.0  # a cluster without items teaches nothing
        self.observe(Observations(row[used], points[used], reward[used], told[used], row[used] - 1))
        self.fit(np.zeros(1, dtype=np.int64), [rng], self.params.restart_steps)

    def copy(self, row: int, other: Self) -> None:
        """Take over node 0 of another model."""
        self.nets.copy(row, other.nets)
        self.covariance.copy(row, other.covariance)
        self.memory.copy(row, other.memory)
        self.fresh[row] = 0
        self._unmark(row)

    def forget(self, row: int, keep: int, rng: np.random.Generator) -> None:
        """Drop all but the last records of one node and give it a new network; the caller fits."""
        self.memory.keep_last(row, keep)
        self.nets.draw(row, rng)
        self._relearn(row)
        self._unmark(row)

    def renew(self, row: int, clusters: IntArray) -> None:
        """Forget what some clusters of one node have taught: outputs, confidence, records.

        A pooled record that has something of them cannot be taken apart, so it goes.
        """
        self.memory.renew(row, clusters, self.pooled)
        self.nets.renew(row, clusters)
        if self.pooled and len(clusters):
            self._relearn(row)
        else:
            self.covariance.renew(row, self.nets.places(clusters))
        self._unmark(row)

    def _relearn(self, row: int) -> None:
        """Build the confidence anew from the records of one node, with its present slopes."""
        self.covariance.clear(row)
        for i in range(int(self.memory.size[row])):
            _, slopes = self.nets.slopes(row, _tensor(self.memory.x[row, i]))
            weight = self.memory.w[row, i]
            self.covariance.learn(row, self._told(slopes, weight / weight.sum()))

    def mark(self, row: int) -> None:
        """Remember one node as it is now."""
        self.nets.mark(row)
        self.marks[row] = self.covariance.state[row].clone()
        self.since[row] = 0

    def back(self, row: int) -> bool:
        """Put one node back to where it was marked, without the records since; False: no way."""
        since = int(self.since[row])
        if since < 0 or since >= self.memory.size[row]:
            return False
        self.memory.drop_last(row, since)
        self.nets.back(row)
        self.covariance.state[row] = self.marks[row]
        self.since[row] = 0
        return True

    def _unmark(self, row: int) -> None:
        self.since[row] = -1
        self.marks.pop(row, None)

    # --- judging ---

    def aim(self, mix: FloatArray) -> Aimed:
        """Fix the slot's mix, (n, V)."""
        return Aimed(self, mix)

    def noise(self, requests: float) -> float:
        """Return the assumed standard deviation of the mean reward of some requests."""
        return slot_noise(requests, self.params.noise_min)

    # --- learning ---

    def observe(self, seen: Observations) -> Surprise:
        """Learn observations one after the other; return what was expected of each before."""
        mean, variance = np.empty_like(seen.reward), np.empty_like(seen.reward)
        for i, row in enumerate(seen.row.tolist()):
            total = float(seen.count[i].sum())
            share = seen.count[i] / total
            value, slopes = self.nets.slopes(row, _tensor(seen.point[i]))
            told = self._told(slopes, share)
            judged = told if self.pooled else slopes
            mean[i] = _tensor(share) @ value if self.pooled else value
            spread = self.covariance.variances(row, judged).clamp_(min=0.0)
            variance[i] = self.params.upsilon**2 * spread.numpy()
            self.covariance.learn(row, told)
            weight = share / self.noise(total) ** 2
            self.memory.add(row, seen.point[i], seen.reward[i], weight, int(seen.decided[i]))
            self.fresh[row] += 1
            self.since[row] += self.since[row] >= 0
        return Surprise(mean, variance)

    def _told(self, slopes: Tensor, share: FloatArray) -> Tensor:
        """Return the slopes that one observation adds, (r, p), from those per cluster, (V, p)."""
        weight = _tensor(share)
        if self.pooled:
            return (weight @ slopes).unsqueeze(0)
        told = weight > 0.0
        return slopes[told] * weight[told].sqrt().unsqueeze(1)

    def fit(self, rows: IntArray, rngs: list[np.random.Generator], steps: int) -> None:
        """Train the networks of some nodes on their records; Z stays as it was learned."""
        known = rows[self.memory.size[rows] > 0]
        self.nets.train(known, self.memory, rngs, steps)
        self.fresh[rows] = 0

    def stale(self, row: int) -> bool:
        """Tell whether a node has learned something since its last fit."""
        return bool(self.fresh[row] > 0)

    def oldest(self, row: int) -> int:
        """Return the earliest decision slot that a node remembers, -1 for none."""
        return self.memory.oldest(row)

    # --- what it costs ---

    def work_score(self, row: int, points: float, clusters: float) -> Work:
        """Return the work of judging some merges; clusters outside the mix cost the same."""
        return self.costs.score(points)

    def work_observe(self, row: int, clusters: float) -> Work:
        """Return the work of learning one observation of so many clusters."""
        return self.costs.observe(1.0 if self.pooled else clusters)

    def work_fit(self, row: int, steps: float) -> Work:
        """Return the work of gradient steps."""
        return self.costs.train(steps)

    def work_warm_up(self, points: float) -> Work:
        """Return the work of learning the calibration points, then of training on them."""
        learned = points * (self.clusters if self.pooled else 1)
        told = self.work_observe(0, float(self.clusters)).times(learned)
        return told + self.work_fit(0, float(self.params.restart_steps))

    def work_renew(self, row: int) -> Work:
        """Return the work of forgetting clusters: with pooled records, learning all others anew."""
        told = self.work_observe(row, float(self.clusters))
        return told.times(float(self.memory.size[row]) if self.pooled else 0.0)

    def state_bytes(self, row: int) -> int:
        """Count the resident bytes of one node."""
        known = self.nets.nbytes + self.covariance.nbytes + self.memory.nbytes(row)
        return known + self.nets.mark_bytes(row) + self.covariance.nbytes * (row in self.marks)

    # --- checkpoints ---

    def snapshot(self) -> dict[str, AnyArray]:
        """Return a copy of all state, flat."""
        parts = {"nets": self.nets.snapshot(), "memory": self.memory.snapshot()}
        marked = sorted(self.marks)
        kept = [self.marks[row].numpy() for row in marked]
        return {
            **flat(parts),
            "covariance": self.covariance.state.numpy().copy(),
            "marked": np.array(marked, dtype=np.int64),
            "marks": np.array(kept, dtype=np.float32),
            "fresh": self.fresh.copy(),
            "since": self.since.copy(),
        }

    def restore(self, state: dict[str, AnyArray]) -> None:
        """Put a snapshot back."""
        self.nets.restore(below(state, "nets"))
        self.memory.restore(below(state, "memory"))
        self.covariance.state = torch.from_numpy(np.array(state["covariance"]))
        kept = [torch.from_numpy(np.array(part)) for part in state["marks"]]
        self.marks = dict(zip(state["marked"].tolist(), kept, strict=True))
        self.fresh, self.since = np.array(state["fresh"]), np.array(state["since"])


class Aimed:
    """The gradient model of one slot; `Bounds`. Nodes are judged one by one, so none sees another.

    Args:
        model: What the block knows.
        mix: Estimated mix without negligible clusters, (n, V).
    """

    def __init__(self, model: GradientModel, mix: FloatArray) -> None:
        self._model, self._mix = model, _tensor(mix)
        self._folded: dict[int, Tensor] = {}

    def both(
        self, points: FloatArray, rows: IntArray | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Return mean and standard deviation of the slot's reward, (n', N, K) to (n', N) each."""
        nodes = list(range(self._model.nodes)) if rows is None else rows.tolist()
        pairs = [self._judge(row, _tensor(cloud)) for row, cloud in zip(nodes, points, strict=True)]
        means, deviations = (np.stack(part) for part in zip(*pairs, strict=True))
        return means.astype(np.float64), deviations.astype(np.float64)

    def _judge(self, row: int, points: Tensor) -> tuple[FloatArray, FloatArray]:
        model, mix = self._model, self._mix[row]
        if row not in self._folded:
            self._folded[row] = model.covariance.aim(row, mix)
        mean, slope = model.nets.folded(row, points, mix)
        variance = model.covariance.variance(self._folded[row], slope).clamp_(min=0.0)
        return mean.numpy(), (model.params.upsilon * variance.sqrt_()).numpy()


def _tensor(values: FloatArray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
