"""Ridge regression over features of merges: what the nodes of a block have learned.

The features are learned (`net.Nets`) or drawn once (`fourier.Fourier`); heads and records are the
same for both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, Self

import numpy as np
import torch

from agents.routers.model import Observations, Surprise, Work, slot_noise
from agents.routers.snapshots import below, flat
from agents.routers.tanbr.cost import Costs
from agents.routers.tanbr.heads import Heads, PooledHeads, score
from agents.routers.tanbr.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from sim.arrays import AnyArray, FloatArray, IntArray
    from sim.ports import Calibration


@dataclass(frozen=True, slots=True)
class RidgeParams:
    """What a ridge model needs to know beside its features."""

    lambda0: float = 1.0
    noise_min: float = 0.02  # smallest standard deviation assumed of a slot's mean reward
    records: int = 4000
    restart_steps: int = 300  # gradient steps of a warm start
    pooled: bool = False  # one regression over mix (x) features, for rewards in one number


class Basis(Protocol):
    """Features of merges for n nodes, (n, N, K) to (n, N, D)."""

    trained: ClassVar[bool]
    nodes: int
    experts: int
    width: int
    clusters: int
    batch: int

    @property
    def features(self) -> int:
        """Count the features, D."""
        ...

    @property
    def nbytes(self) -> int:
        """Count the bytes of one node."""
        ...

    def embed(self, points: FloatArray, rows: IntArray | None = None) -> Tensor:
        """Return features of merges per node, float64."""
        ...

    def draw(self, row: int, rng: np.random.Generator) -> None:
        """Give one node fresh random parts."""
        ...

    def copy(self, row: int, other: Self) -> None:
        """Take over node 0 of another block."""
        ...

    def train(
        self, rows: IntArray, memory: Memory, rngs: list[np.random.Generator], steps: int
    ) -> None:
        """Improve the features of some nodes from their records."""
        ...

    def renew(self, row: int, clusters: IntArray) -> None:
        """Forget what some clusters of one node have taught."""
        ...

    def mark(self, row: int) -> None:
        """Remember one node as it is now."""
        ...

    def back(self, row: int) -> None:
        """Put one node back to where it was marked."""
        ...

    def mark_bytes(self, row: int) -> int:
        """Count the bytes of what is remembered of one node."""
        ...

    def snapshot(self) -> dict[str, AnyArray]:
        """Return a copy of all state."""
        ...

    def restore(self, state: dict[str, AnyArray]) -> None:
        """Put a snapshot back."""
        ...


class FixedBasis:
    """What a basis whose features never move need not do."""

    def train(
        self, rows: IntArray, memory: Memory, rngs: list[np.random.Generator], steps: int
    ) -> None:
        """Do nothing: the features are fixed."""

    def renew(self, row: int, clusters: IntArray) -> None:
        """Do nothing: the features know no clusters."""

    def mark(self, row: int) -> None:
        """Do nothing: the features do not move."""

    def back(self, row: int) -> None:
        """Do nothing: the features did not move."""

    def mark_bytes(self, row: int) -> int:
        """Return 0: nothing needs remembering."""
        del row
        return 0


class RidgeBounds:
    """Means and deviations of one slot: the heads mixed once, then cheap per candidate.

    Source: Xu et al. 2022 (Neural-LinUCB): mean and deviation of the last layer. Deviation: means
    add over clusters by the mix and variances by its square, since the clusters' rewards are
    observed apart.
    """

    def __init__(self, basis: Basis, theta: Tensor, inverse: Tensor) -> None:
        self._basis, self._theta, self._inverse = basis, theta, inverse

    def both(
        self, points: FloatArray, rows: IntArray | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Return mean and standard deviation of merges, (n, N, K) to (n, N) each."""
        phi = self._basis.embed(points, rows)
        return score(phi, _of(self._theta, rows), _of(self._inverse, rows))


def rounds(rows: IntArray) -> Iterator[IntArray]:
    """Yield the places of the first entries of all nodes, then of the second ones, and so on."""
    seen: dict[int, int] = {}
    turn = np.zeros(len(rows), np.int64)
    for place, row in enumerate(rows.tolist()):
        turn[place] = seen[row] = seen.get(row, -1) + 1
    for each in range(int(turn.max(initial=-1)) + 1):
        yield np.flatnonzero(turn == each)


def _of(values: Tensor, rows: IntArray | None) -> Tensor:
    return values if rows is None else values[rows.tolist()]


class Learner:
    """Features, heads and records of n nodes, kept in step: a `RewardModel`.

    Args:
        basis: The features.
        params: The configuration.
    """

    def __init__(self, basis: Basis, params: RidgeParams) -> None:
        self.params, self.basis = params, basis
        n, k, v = basis.nodes, basis.experts, basis.clusters
        self.heads: Heads | PooledHeads
        kind = PooledHeads if params.pooled else Heads
        self.heads = kind((n, v, basis.features), params.lambda0)
        self.memory = Memory((n, k, v), params.records)
        self.fresh: IntArray = np.zeros(n, dtype=np.int64)  # records since the last fit
        self.since: IntArray = np.full(n, -1, dtype=np.int64)  # records since the mark, -1: none
        self.costs = Costs(k, v, basis.width, basis.batch, basis.trained, params.pooled)

    def noise(self, requests: float) -> float:
        """Return the assumed standard deviation of the mean reward of some requests."""
        return slot_noise(requests, self.params.noise_min)

    def precision(self, count: FloatArray) -> FloatArray:
        """Return the precision of each cluster's mean reward from its count of requests, (V,)."""
        total = float(count.sum())
        return np.asarray(count / total / self.noise(total) ** 2)

    # --- starting ---

    def warm_up(self, calibration: Calibration, rng: np.random.Generator) -> None:
        """Learn the calibration points on node 0, as if they had been observed.

        They are known per cluster. A pooled regression learns one record per point and cluster.
        """
        count = np.asarray(calibration.count, dtype=np.float64)
        weight = self.precision(count)
        parts = np.diag(weight) if self.params.pooled else weight[None]
        for x, y in zip(calibration.weights, calibration.reward, strict=True):
            for part in parts:
                self.memory.add(0, x, y, part, -1)
        self.fit(np.zeros(1, dtype=np.int64), [rng], self.params.restart_steps)

    def draw(self, row: int, rng: np.random.Generator) -> None:
        """Start one node cold."""
        self.basis.draw(row, rng)
        self.heads.clear(row)
        self.memory.keep_last(row, 0)
        self.fresh[row], self.since[row] = 0, -1

    def copy(self, row: int, other: Learner) -> None:
        """Take over node 0 of another learner."""
        self.basis.copy(row, other.basis)
        self.heads.copy(row, other.heads)  # type: ignore[arg-type]
        self.memory.copy(row, other.memory)
        self.fresh[row], self.since[row] = 0, -1

    # --- judging and learning ---

    def aim(self, mix: FloatArray) -> RidgeBounds:
        """Fix the slot's mix, (n, V)."""
        return RidgeBounds(self.basis, *self.heads.combine(mix))

    def observe(self, seen: Observations) -> Surprise:
        """Learn observations one after the other; return what the heads had expected of each.

        Nodes are apart from each other, so the first observations of all of them are learned
        together, then the second ones, and so on.
        """
        phi = self.basis.embed(seen.point[:, None, :], seen.row)[:, 0]
        weight = np.stack([self.precision(count) for count in seen.count])
        mean, variance = np.empty_like(seen.reward), np.empty_like(seen.reward)
        for at in rounds(seen.row):
            mean[at], variance[at] = self.heads.observe_all(
                seen.row[at], phi[torch.from_numpy(at)], seen.reward[at], weight[at]
            )
        for i, row in enumerate(seen.row.tolist()):
            self.memory.add(row, seen.point[i], seen.reward[i], weight[i], int(seen.decided[i]))
            self.fresh[row] += 1
            self.since[row] += self.since[row] >= 0
        return Surprise(mean, variance)

    def fit(self, rows: IntArray, rngs: list[np.random.Generator], steps: int) -> None:
        """Train the features of some nodes, then fit their heads to the moved features.

        Args:
            rows: Nodes, each with at least one record.
            rngs: Streams of all nodes of the block.
            steps: Gradient steps.
        """
        self.basis.train(rows, self.memory, rngs, steps)
        for row in rows.tolist():
            self._refit(row)

    def _refit(self, row: int) -> None:
        size = int(self.memory.size[row])
        x, y, w = (part[row, :size] for part in (self.memory.x, self.memory.y, self.memory.w))
        phi = self.basis.embed(x[None], np.array([row]))[0]
        self.heads.refit(row, phi, y, w)
        self.fresh[row] = 0

    def stale(self, row: int) -> bool:
        """Tell whether a fit would change something: fixed features leave exact heads exact."""
        return self.basis.trained and bool(self.fresh[row] > 0)

    # --- forgetting ---

    def forget(self, row: int, keep: int, rng: np.random.Generator) -> None:
        """Drop all but the last records of one node and draw new features; the caller fits."""
        self.memory.keep_last(row, keep)
        self.basis.draw(row, rng)
        self.since[row] = -1

    def renew(self, row: int, clusters: IntArray) -> None:
        """Forget what some clusters of one node have taught.

        A pooled regression drops every record that had something of them.
        """
        self.memory.renew(row, clusters, self.params.pooled)
        self.basis.renew(row, clusters)
        self.heads.forget(row, clusters)
        self.fresh[row], self.since[row] = self.memory.size[row], -1
        if self.params.pooled and self.memory.size[row]:
            self._refit(row)

    def mark(self, row: int) -> None:
        """Remember one node as it is now: its features, and which records it has."""
        self.basis.mark(row)
        self.since[row] = 0

    def back(self, row: int) -> bool:
        """Put one node back to where it was marked; False if there is no way back.

        Records since then are dropped and the heads fitted to those before, which is what they
        were up to rounding.
        """
        since, size = int(self.since[row]), int(self.memory.size[row])
        if since < 0 or since >= size:
            return False
        self.memory.drop_last(row, since)
        self.basis.back(row)
        self._refit(row)
        self.since[row] = 0
        return True

    def oldest(self, row: int) -> int:
        """Return the earliest decision slot among the records of one node, -1 without records."""
        return self.memory.oldest(row)

    # --- what it costs ---

    def work_score(self, row: int, points: float, clusters: float) -> Work:
        """Return the work of mixing the heads of so many clusters and judging some merges."""
        del row
        return self.costs.combine(clusters) + self.costs.score(points)

    def work_observe(self, row: int, clusters: float) -> Work:
        """Return the work of learning one observation of so many clusters."""
        del row
        return self.costs.observe(clusters)

    def work_fit(self, row: int, steps: float) -> Work:
        """Return the work of one `fit` of a node with what it remembers now."""
        return self.costs.train(steps) + self.costs.refit(float(self.memory.size[row]))

    def work_warm_up(self, points: float) -> Work:
        """Return the work of training on the calibration's records, which node 0 holds."""
        del points
        return self.work_fit(0, float(self.params.restart_steps))

    def work_renew(self, row: int) -> Work:
        """Return the work of forgetting clusters: heads apart are cleared, pooled ones refitted."""
        return self.work_fit(row, 0.0) if self.params.pooled else Work(0.0, 0.0)

    def state_bytes(self, row: int) -> int:
        """Count the resident bytes of one node."""
        known = self.basis.nbytes + self.heads.nbytes + self.memory.nbytes(row)
        return known + self.basis.mark_bytes(row)

    # --- checkpoints ---

    def snapshot(self) -> dict[str, AnyArray]:
        """Return a copy of all state, flat."""
        parts = {
            "basis": self.basis.snapshot(),
            "heads": self.heads.snapshot(),
            "memory": self.memory.snapshot(),
        }
        return {**flat(parts), "fresh": self.fresh.copy(), "since": self.since.copy()}

    def restore(self, state: dict[str, AnyArray]) -> None:
        """Put a snapshot back."""
        self.basis.restore(below(state, "basis"))
        self.heads.restore(below(state, "heads"))
        self.memory.restore(below(state, "memory"))
        self.fresh, self.since = np.array(state["fresh"]), np.array(state["since"])
