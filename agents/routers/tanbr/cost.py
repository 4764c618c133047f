"""The work of Tanbr on one node by formula, unscaled; each multiplication or addition is one FLOP.

Letters: K experts, V clusters, m hidden units, D features, a clusters in the mix, N candidates, R
records.
"""

from __future__ import annotations

from dataclasses import dataclass

from agents.routers.model import Work

_TANH_FLOP = 10.0
_FLOAT64_BYTES, _FLOAT32_BYTES = 8.0, 4.0


@dataclass(frozen=True, slots=True)
class Costs:
    """Formulas for one node.

    Source: operation counts of the dense kernels (Golub and Van Loan 2013, section 1.1).
    Deviation: lower-order terms are left out; a tanh or a cosine counts ten.

    Args:
        experts: K.
        clusters: V.
        width: Hidden units, or cosines.
        batch: Records per gradient step.
        trained: False: the features never move.
        pooled: One regression over mix (x) features instead of one per cluster.
    """

    experts: int
    clusters: int
    width: int
    batch: int
    trained: bool = True
    pooled: bool = False

    @property
    def features(self) -> int:
        """Count the features, D."""
        return self.width + self.experts + 1

    @property
    def params(self) -> int:
        """Count the parameters of the network, or of the fixed features."""
        if not self.trained:
            return self.width * (self.experts + 1)
        return self.width * (self.experts + 1 + self.clusters) + self.clusters

    def embed(self, points: float) -> Work:
        """Return the work of the features of some merges."""
        flop = points * self.width * (2.0 * self.experts + _TANH_FLOP + 2.0)
        return Work(flop, _FLOAT32_BYTES * self.params)

    def combine(self, active: float) -> Work:
        """Return the work of mixing the heads of the clusters that are in the mix."""
        d = self.features
        blocks = active * active * d * d if self.pooled else active * d * d
        size = blocks + active * d
        return Work(2.0 * size, _FLOAT64_BYTES * size)

    def score(self, points: float) -> Work:
        """Return the work of features, means and variances of some candidates."""
        d = self.features
        quadratic = Work(points * (2.0 * d * d + 4.0 * d + 3.0), _FLOAT64_BYTES * d * d)
        return self.embed(points) + quadratic

    def observe(self, active: float) -> Work:
        """Return the work of one observation that says something of `active` clusters."""
        heads, d = (1.0, self.features * self.clusters) if self.pooled else (active, self.features)
        update = Work(heads * (4.0 * d * d + 9.0 * d), _FLOAT64_BYTES * heads * 2.0 * d * d)
        return self.embed(1.0) + update

    def train(self, steps: float) -> Work:
        """Return the work of gradient steps: forward, backward, Adam."""
        if not self.trained:
            return Work(0.0, 0.0)
        k, v, m = self.experts, self.clusters, self.width
        forward = self.batch * m * (2.0 * k + 2.0 * v + _TANH_FLOP)
        backward = self.batch * m * (2.0 * k + 4.0 * v + 4.0)
        adam = 14.0 * self.params
        read = _FLOAT32_BYTES * (4.0 * self.params + self.batch * (k + 2.0 * v))
        return Work(steps * (forward + backward + adam), steps * read)

    def refit(self, records: float) -> Work:
        """Return the work of fitting all heads anew: features, Gram matrices, Cholesky, inverse."""
        k, v, d = self.experts, self.clusters, float(self.features)
        heads, d = (1.0, d * v) if self.pooled else (float(v), d)
        gram = records * heads * (2.0 * d * d + 3.0 * d)
        solve = heads * (d**3 + 2.0 * d * d)
        read = _FLOAT64_BYTES * (records * (k + 2.0 * v) + 3.0 * heads * d * d)
        return self.embed(records) + Work(gram + solve, read)
