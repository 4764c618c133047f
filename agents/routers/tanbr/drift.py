"""The drift alarm: a one-sided CUSUM of standardised surprises, per node."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sim.arrays import AnyArray, FloatArray, IntArray

_CAP = 25.0  # one outlier alone raises no alarm
_SLACK = 1.5  # slots vary more than their sampling noise


class Cusum:
    """S <- max(0, S + z^2 - 1 - delta), alarm when S > height.

    Args:
        nodes: n.
        delta: Allowed excess of the mean of z^2.
        height: Threshold of the alarm.
        warm: Slots after a start in which nothing is tested.

    Source: Page 1954. Deviation: z^2 = min(25, (y - mean)^2 / (variance + 1.5 noise^2)).
    """

    def __init__(self, nodes: int, delta: float, height: float, warm: int) -> None:
        self.delta, self.height, self.warm = delta, height, warm
        self.sum: FloatArray = np.zeros(nodes)
        self.age: IntArray = np.zeros(nodes, dtype=np.int64)  # slots since the start

    def test(self, row: int, error: float, variance: float, noise: float) -> bool:
        """Take in the error of one slot's mean reward; tell whether that raises the alarm."""
        if self.age[row] <= self.warm:
            return False
        z2 = min(_CAP, error * error / (variance + _SLACK * noise * noise))
        self.sum[row] = max(0.0, float(self.sum[row]) + z2 - 1.0 - self.delta)
        return bool(self.sum[row] > self.height)

    def restart(self, row: int) -> None:
        """Start again, untested."""
        self.sum[row], self.age[row] = 0.0, 0

    def snapshot(self) -> dict[str, AnyArray]:
        """Return a copy of all state."""
        return {"sum": self.sum.copy(), "age": self.age.copy()}

    def restore(self, state: dict[str, AnyArray]) -> None:
        """Put a snapshot back."""
        self.sum, self.age = np.array(state["sum"]), np.array(state["age"])
