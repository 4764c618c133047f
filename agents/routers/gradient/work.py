"""The work of the gradient model on one node by formula, unscaled; one FLOP per + or *.

Letters: K coordinates, V clusters, m hidden units, p parameters, q folded ones, N candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

from agents.routers.model import Work

_BEND_FLOP = 12.0  # a tanh and its derivative
_FLOAT32_BYTES = 4.0


@dataclass(frozen=True, slots=True)
class GradientCosts:
    """Formulas for one node.

    Source: operation counts of the dense kernels (Golub and Van Loan 2013, section 1.1).
    Deviation: lower-order terms are left out.
    """

    experts: int
    clusters: int
    width: int
    batch: int
    full: bool

    @property
    def params(self) -> float:
        """Count the parameters, p."""
        return float(self.width * (self.experts + 1 + self.clusters) + self.clusters)

    @property
    def folded(self) -> float:
        """Count the folded parameters, q."""
        return float(self.width * (self.experts + 2) + 1)

    def _slopes(self, points: float) -> Work:
        m, k = float(self.width), float(self.experts)
        read = _FLOAT32_BYTES * self.params
        return Work(points * m * (3.0 * k + _BEND_FLOP + 4.0) + 2.0 * m * self.clusters, read)

    def score(self, points: float) -> Work:
        """Return the work of folding for one mix, then of means and widths of some candidates."""
        p, q = self.params, self.folded
        if not self.full:
            return self._slopes(points) + Work(3.0 * p + 3.0 * points * q, _FLOAT32_BYTES * p)
        outer = self.clusters * (self.width + 1.0)
        fold = 2.0 * outer * (p + q)
        form = points * (2.0 * q * q + 2.0 * q)
        return self._slopes(points) + Work(fold + form, _FLOAT32_BYTES * (p * p + p * q + q * q))

    def observe(self, learned: float) -> Work:
        """Return the work of one observation: what was expected, then so many rank-one updates."""
        p, v = self.params, float(self.clusters)
        if not self.full:
            return self._slopes(v) + Work(3.0 * p * (v + learned), 2.0 * _FLOAT32_BYTES * p)
        flop = 2.0 * p * p * (v + 2.0 * learned)
        return self._slopes(v) + Work(flop, 4.0 * _FLOAT32_BYTES * p * p)

    def train(self, steps: float) -> Work:
        """Return the work of gradient steps: forward, backward, Adam."""
        k, v, m = float(self.experts), float(self.clusters), float(self.width)
        passes = self.batch * m * (4.0 * k + 6.0 * v + _BEND_FLOP + 2.0)
        read = _FLOAT32_BYTES * (4.0 * self.params + self.batch * (k + 2.0 * v))
        return Work(steps * (passes + 14.0 * self.params), steps * read)
