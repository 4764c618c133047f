"""What the nodes of a block have learned: networks, heads and the records behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from agents.routers.tanbr.heads import Heads, Surprise
from agents.routers.tanbr.memory import Memory
from agents.routers.tanbr.net import Nets

if TYPE_CHECKING:
    from torch import Tensor

    from agents.routers.tanbr.config import TanbrParams
    from sim.arrays import AnyArray, FloatArray, IntArray
    from sim.ports import Calibration


class Learner:
    """Networks, heads and records of n nodes, kept in step.

    Args:
        nodes: n.
        experts: K.
        clusters: V.
        params: The configuration.
    """

    def __init__(self, nodes: int, experts: int, clusters: int, params: TanbrParams) -> None:
        self.params = params
        self.nets = Nets((nodes, experts, params.width, clusters), params.lr, params.batch)
        self.heads = Heads((nodes, clusters, self.nets.features), params.lambda0)
        self.memory = Memory((nodes, experts, clusters), params.records)
        self.fresh: IntArray = np.zeros(nodes, dtype=np.int64)  # records since the last fit

    def noise(self, requests: float) -> float:
        """Return the assumed standard deviation of the mean reward of some requests.

        Source: a mean of n yes/no outcomes has at most 0.5/sqrt(n). Deviation: never below
        `noise_min`.
        """
        return float(max(self.params.noise_min, 0.5 / np.sqrt(requests)))

    def precision(self, count: FloatArray) -> FloatArray:
        """Return the precision of each cluster's mean reward from its count of requests, (V,)."""
        total = float(count.sum())
        return np.asarray(count / total / self.noise(total) ** 2)

    def warm_up(self, calibration: Calibration, rng: np.random.Generator) -> None:
        """Learn the calibration points on node 0, as if they had been observed."""
        weight = self.precision(np.asarray(calibration.count, dtype=np.float64))
        for x, y in zip(calibration.weights, calibration.reward, strict=True):
            self.memory.add(0, x, y, weight, -1)
        self.fit(np.zeros(1, dtype=np.int64), [rng], self.params.restart_steps)

    def copy(self, row: int, other: Learner) -> None:
        """Take over node 0 of another learner."""
        self.nets.copy(row, other.nets)
        self.heads.copy(row, other.heads)
        self.memory.copy(row, other.memory)
        self.fresh[row] = 0

    def observe(
        self, row: int, phi: Tensor, x: FloatArray, y: FloatArray, count: FloatArray, decided: int
    ) -> Surprise:
        """Learn one observation of one node; return what the heads had expected."""
        weight = self.precision(count)
        self.memory.add(row, x, y, weight, decided)
        self.fresh[row] += 1
        return self.heads.observe(row, phi, y, weight)

    def fit(self, rows: IntArray, rngs: list[np.random.Generator], steps: int) -> None:
        """Train the networks of some nodes, then fit their heads to the moved features.

        Args:
            rows: Nodes, each with at least one record.
            rngs: Streams of all nodes of the block.
            steps: Gradient steps.
        """
        self.nets.train(rows, self.memory, rngs, steps)
        for row in rows.tolist():
            size = int(self.memory.size[row])
            x, y, w = (part[row, :size] for part in (self.memory.x, self.memory.y, self.memory.w))
            phi = self.nets.embed(x[None], np.array([row]))[0]
            self.heads.refit(row, phi, y, w)
            self.fresh[row] = 0

    def forget(self, row: int, keep: int, rng: np.random.Generator) -> None:
        """Drop all but the last records of one node and give it a new network; the caller fits."""
        self.memory.keep_last(row, keep)
        self.nets.draw(row, rng)

    def state_bytes(self, row: int) -> int:
        """Count the resident bytes of one node."""
        return self.nets.nbytes + self.heads.nbytes + self.memory.nbytes(row)

    def snapshot(self) -> dict[str, AnyArray]:
        """Return a copy of all state, flat."""
        parts = {
            "nets": self.nets.snapshot(),
            "heads": self.heads.snapshot(),
            "memory": self.memory.snapshot(),
        }
        flat = {f"{p}.{k}": v for p, part in parts.items() for k, v in part.items()}
        return {**flat, "fresh": self.fresh.copy()}

    def restore(self, state: dict[str, AnyArray]) -> None:
        """Put a snapshot back."""
        self.nets.restore(below(state, "nets"))
        self.heads.restore(below(state, "heads"))
        self.memory.restore(below(state, "memory"))
        self.fresh = np.array(state["fresh"])


def below(state: dict[str, AnyArray], part: str) -> dict[str, AnyArray]:
    """Return the entries of a flat snapshot that belong to one part, without its name."""
    return {k[len(part) + 1 :]: v for k, v in state.items() if k.startswith(part + ".")}
