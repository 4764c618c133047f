"""The estimate of the mix of clusters that every learning router starts from; no tags.

One estimate for all, so that rivals differ in what they do with a mix, not in how well they know
it. `tests/bench/bench_context.py` prints the study behind the defaults.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from agents.routers.model import Work
from agents.routers.params import limited
from sim.errors import ShapeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.arrays import AnyArray, BoolArray, FloatArray

_SMALLEST_SHARE = 1e-3  # clusters below it are not scored
_LOG_FLOP, _FLOAT64_BYTES = 10.0, 8.0


@dataclass(frozen=True, slots=True)
class ContextParams:
    """What may be set of the estimate; the parameters of a router inherit from it.

    Measured (see the bench): with the detector, `alpha` 0.15 is within a few per cent of the best
    decay whether the mix switches every 10 slots, every 50, never, or drifts all the time.
    """

    alpha: float = limited(0.15, 1e-6, 1.0)  # weight of the last slot among equally full ones
    detector: bool = True  # a slot that cannot come from the estimated mix replaces it
    detector_p: float = limited(1e-3, 1e-12, 0.5)  # chance of a false switch per slot
    prior_weight: float = limited(0.5, 0.0)  # requests that the prior counts for


class MixEstimate:
    """Decayed counts of served requests per cluster and node, with a switch detector.

    counts <- (1 - alpha) counts + those of the slot; the mix is the mean of the Dirichlet posterior
    whose parameters are the counts plus `prior_weight` times the prior.

    Args:
        nodes: n.
        prior: Shares before any request was seen, (V,).
        params: The configuration.

    Source: Han et al. 2025 name exponential moving averages and sketches as the monitor; discounted
    Dirichlet counts. Deviation: exact counters; a slot weighs by its requests, so that an idle slot
    does not blur what a busy one taught.
    """

    def __init__(self, nodes: int, prior: FloatArray, params: ContextParams) -> None:
        self.prior = _shares(np.asarray(prior, dtype=np.float64))
        self.params = params
        self.counts: FloatArray = np.zeros((nodes, len(self.prior)))

    @property
    def mix(self) -> FloatArray:
        """Return the estimated shares, (n, V)."""
        weight = self.params.prior_weight
        total = self.counts.sum(axis=1, keepdims=True)
        known = total + weight > 0.0
        mean = (self.counts + weight * self.prior) / np.where(known, total + weight, 1.0)
        return np.where(known, mean, self.prior)

    def observe(self, counts: FloatArray, active: BoolArray) -> BoolArray:
        """Take in the counts of the last slot, and tell at which nodes the mix has switched.

        Args:
            counts: Served requests by cluster, (n, V); a node without any keeps its mix.
            active: Nodes that are up, (n,).

        Returns:
            Nodes whose estimate was replaced by the slot's own shares, (n,).

        Raises:
            ShapeError: The counts have another shape.
        """
        if counts.shape != self.counts.shape:
            raise ShapeError(f"context counts: expected {self.counts.shape}, found {counts.shape}")
        seen = active & (counts.sum(axis=1) > 0.0)
        switched = seen & self._switched(counts)
        keep = np.where(switched, 0.0, 1.0 - self.params.alpha)[:, None]
        self.counts = np.where(seen[:, None], keep * self.counts + counts, self.counts)
        return np.asarray(switched)

    def _switched(self, counts: FloatArray) -> BoolArray:
        if not self.params.detector:
            return np.zeros(len(counts), dtype=np.bool_)
        statistic, freedom = g_test(counts, self.counts)
        limit = chi_square_quantile(freedom, 1.0 - self.params.detector_p)
        return np.asarray((freedom > 0) & (statistic > limit))

    def restart(self, row: int) -> None:
        """Go back to the prior."""
        self.counts[row] = 0.0

    def renew(self, renewed: BoolArray) -> None:
        """Give clusters that mean something else now their prior share; the others keep their odds.

        Args:
            renewed: (n, V).
        """
        share = np.where(renewed, self.prior, 0.0)
        rest = np.where(renewed, 0.0, self.counts).sum(axis=1, keepdims=True)
        left = 1.0 - share.sum(axis=1, keepdims=True)
        fair = share * rest / np.where(left > 0.0, left, 1.0)
        self.counts = np.where(renewed, np.where(left > 0.0, fair, 0.0), self.counts)

    def relevant(self) -> FloatArray:
        """Return the mix without its negligible clusters, (n, V): they only cost time."""
        mix = self.mix
        return np.where(mix > _SMALLEST_SHARE, mix, 0.0)

    @property
    def state_bytes(self) -> int:
        """Count the resident bytes of one node."""
        return len(self.prior) * int(_FLOAT64_BYTES)

    def work(self) -> Work:
        """Return the work of one slot on one node: decay, shares, and the test's logarithms."""
        clusters = float(len(self.prior))
        test = 3.0 * (_LOG_FLOP + 3.0) if self.params.detector else 0.0
        return Work(clusters * (5.0 + test), 3.0 * _FLOAT64_BYTES * clusters)

    def snapshot(self) -> dict[str, AnyArray]:
        """Return a copy of all state."""
        return {"counts": self.counts.copy()}

    def restore(self, state: dict[str, AnyArray]) -> None:
        """Put a snapshot back."""
        self.counts = np.array(state["counts"])


def g_test(one: FloatArray, two: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the likelihood ratio of two samples of counts, and its degrees of freedom, (n,) each.

    Clusters that neither sample has seen count for nothing.

    Args:
        one: Counts, (n, V).
        two: Counts, (n, V); a node without any has statistic 0.

    Source: Wilks 1938, G = 2 sum O ln(O / E). Deviation: decayed counts are taken as counts, which
    understates how well the older sample is known and makes the test cautious.
    """
    both = one + two
    total = both.sum(axis=1, keepdims=True)
    pooled = both / np.where(total > 0.0, total, 1.0)
    parts = _entropy(one) + _entropy(two) - _times_log(both, pooled)
    freedom = np.maximum((both > 0.0).sum(axis=1) - 1.0, 0.0)
    return np.maximum(2.0 * parts.sum(axis=1), 0.0), freedom


def _entropy(counts: FloatArray) -> FloatArray:
    total = counts.sum(axis=1, keepdims=True)
    return _times_log(counts, counts / np.where(total > 0.0, total, 1.0))


def _times_log(count: FloatArray, share: FloatArray) -> FloatArray:
    return np.asarray(count * np.log(np.where(count > 0.0, share, 1.0)))


def chi_square_quantile(freedom: FloatArray, probability: float) -> FloatArray:
    """Return quantiles of the chi-square distribution; freedom below 1 counts as 1.

    Source: Wilson and Hilferty 1931. Deviation: none; it is an approximation, good to 5% from one
    degree of freedom on in the upper tail.
    """
    normal = statistics.NormalDist().inv_cdf(probability)
    k = 2.0 / (9.0 * np.maximum(freedom, 1.0))
    freedom = np.maximum(freedom, 1.0)
    return np.asarray(freedom * np.maximum(1.0 - k + normal * np.sqrt(k), 0.0) ** 3)


def switch_rows(
    slot: int, nodes: Sequence[int], switched: BoolArray
) -> list[dict[str, float | int | str]]:
    """Return a row of the table `drift` for each node whose mix was found to have switched."""
    return [
        {"table": "drift", "slot": slot, "node": nodes[row], "kind": "detected"}
        for row in np.flatnonzero(switched).tolist()
    ]


def _shares(prior: FloatArray) -> FloatArray:
    total = float(prior.sum())
    return np.asarray(prior / total) if total > 0.0 else np.full(len(prior), 1.0 / len(prior))
