"""What a reward model must offer, so that Tanbr's tree and plain candidate bandits can share them.

Letters: n nodes of a block, K coordinates of a merge, V clusters, N candidates, r observations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    import numpy as np

    from sim.arrays import AnyArray, FloatArray, IntArray
    from sim.ports import Calibration


@dataclass(frozen=True, slots=True)
class Work:
    """FLOP done and bytes read from memory, on one node."""

    flop: float
    read_bytes: float

    def __add__(self, other: Work) -> Work:
        return Work(self.flop + other.flop, self.read_bytes + other.read_bytes)

    def times(self, often: float) -> Work:
        """Return the work of doing this so often."""
        return Work(often * self.flop, often * self.read_bytes)


def slot_noise(requests: float, least: float) -> float:
    """Return the assumed standard deviation of the mean reward of some requests.

    Source: a mean of n yes/no outcomes has at most 0.5/sqrt(n). Deviation: never below `least`.
    """
    return max(least, 0.5 / math.sqrt(requests))


@dataclass(frozen=True, slots=True)
class Observations:
    """Rewards that came back, in the order in which they are to be learned; nodes may repeat."""

    row: IntArray  # (r,), node of the block
    point: FloatArray  # (r, K), merge that was in force
    reward: FloatArray  # (r, V), 0 where count is 0; one number repeated with pooled feedback
    count: FloatArray  # (r, V), requests behind each mean, some positive in every row
    decided: IntArray  # (r,), slot of the decision


@dataclass(frozen=True, slots=True)
class Surprise:
    """What a model expected of observations before it learned them.

    Of clusters that an observation says nothing of they may be 0. With pooled feedback both are
    those of the slot as a whole, repeated.
    """

    mean: FloatArray  # (r, V)
    variance: FloatArray  # (r, V), of the expectation, without the noise


class Bounds(Protocol):
    """The model of one slot: the mix is fixed, so that many merges can be judged cheaply."""

    def both(
        self, points: FloatArray, rows: IntArray | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Return mean and standard deviation of the slot's reward, (n', N, K) to (n', N) each.

        Args:
            points: Merges per node.
            rows: Which nodes; None: all of the block in order.
        """
        ...


class RewardModel(Protocol):
    """Learns the map from merges to rewards per cluster, for every node of a block by itself.

    All randomness comes from the streams handed in, one per node; a node's results depend on its
    own history only, never on who else is in the block.
    """

    def warm_up(self, calibration: Calibration, rng: np.random.Generator) -> None:
        """Start node 0 from the calibration points, as if they had been observed (in the cloud)."""
        ...

    def draw(self, row: int, rng: np.random.Generator) -> None:
        """Start one node cold: nothing learned, fresh random parts."""
        ...

    def copy(self, row: int, other: Self) -> None:
        """Take over node 0 of another model of the same shape."""
        ...

    def aim(self, mix: FloatArray) -> Bounds:
        """Fix the slot's mix, (n, V), rows sum to at most 1 (negligible clusters left out)."""
        ...

    def observe(self, seen: Observations) -> Surprise:
        """Learn observations one after the other; return what was expected of each before."""
        ...

    def fit(self, rows: IntArray, rngs: list[np.random.Generator], steps: int) -> None:
        """Train what needs training for some nodes (each has observations), then refit.

        Args:
            rows: Nodes.
            rngs: Streams of all nodes of the block.
            steps: Gradient steps; models without a network ignore them.
        """
        ...

    def stale(self, row: int) -> bool:
        """Tell whether a node has learned something since its last fit."""
        ...

    def forget(self, row: int, keep: int, rng: np.random.Generator) -> None:
        """Drop all but the last `keep` observations of a node; the caller fits."""
        ...

    def renew(self, row: int, clusters: IntArray) -> None:
        """Forget what some clusters of a node have taught: they mean something else now."""
        ...

    def mark(self, row: int) -> None:
        """Remember one node as it is now; the only way back is to the last mark."""
        ...

    def back(self, row: int) -> bool:
        """Put one node back to its mark; False where forgetting has left no way back."""
        ...

    def oldest(self, row: int) -> int:
        """Return the earliest decision slot that a node remembers, -1 for none."""
        ...

    def noise(self, requests: float) -> float:
        """Return the assumed standard deviation of the mean reward of some requests."""
        ...

    def work_score(self, row: int, points: float, clusters: float) -> Work:
        """Return the work of judging some merges with so many clusters in the mix."""
        ...

    def work_observe(self, row: int, clusters: float) -> Work:
        """Return the work of learning one observation of so many clusters."""
        ...

    def work_fit(self, row: int, steps: float) -> Work:
        """Return the work of one `fit` of a node with what it remembers now."""
        ...

    def work_warm_up(self, points: float) -> Work:
        """Return the work of a `warm_up` that has taught node 0 so many calibration points."""
        ...

    def work_renew(self, row: int) -> Work:
        """Return the work of a `renew` that has left a node what it remembers now."""
        ...

    def state_bytes(self, row: int) -> int:
        """Count the resident bytes of one node."""
        ...

    def snapshot(self) -> dict[str, AnyArray]:
        """Return a copy of all state as flat numpy arrays."""
        ...

    def restore(self, state: dict[str, AnyArray]) -> None:
        """Put a snapshot back."""
        ...
