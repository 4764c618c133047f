"""The cost law of gated plans: a batch costs as the distinct experts that its tokens touch.

Batches go through the real code (masks, union, counts, CostModel.gated); what is expected is
written out here once more, from the closed form and the architecture's own numbers. The number of
distinct experts has a known mean and variance, so the interval needs no estimate: measured +- 3.89
standard errors (a true law fails once in 10^4 checks), with as many batches as it takes to tell a
bias of 2 % with a power of 99 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, comb, sqrt
from typing import TYPE_CHECKING

import numpy as np

from sim.compute.cost import CostModel
from sim.compute.touched import as_rows, counts, union
from sim.config import Architecture, Hardware
from sim.ports import ModelCard
from sim.rng import Streams

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.arrays import IntArray

_Z, _Z_POWER, _BIAS = 3.89, 2.33, 0.02


@dataclass(frozen=True, slots=True)
class Law:
    """One check: what the law says, what was measured, and the interval around it."""

    name: str
    expected: float
    measured: float
    low: float
    high: float

    @property
    def ok(self) -> bool:
        """Tell whether the expected value lies in the interval, rounding of its bounds aside."""
        slack = 1e-9 * abs(self.expected)
        return self.low - slack <= self.expected <= self.high + slack

    def against(self, name: str, expected: float) -> Law:
        """Hold the same measurement against another model."""
        return Law(name, expected, self.measured, self.low, self.high)


def distinct_mean(experts: int, k: int, n: int) -> float:
    """Return the mean number of distinct experts that n tokens touch, k each, chosen uniformly.

    Source: E (1 - (1 - k/E)^n), linearity of expectation. Deviation: none.
    """
    return experts * (1.0 - (1.0 - k / experts) ** n)


def distinct_sd(experts: int, k: int, n: int) -> float:
    """Return the standard deviation of that number.

    Source: variance of a sum of indicators; two given experts are both spared by one token with
        probability C(E-2, k) / C(E, k). Deviation: none.
    """
    one = (1.0 - k / experts) ** n
    both = (comb(experts - 2, k) / comb(experts, k)) ** n if experts > 1 else 0.0
    variance = experts * one * (1.0 - one) + experts * (experts - 1) * (both - one * one)
    return sqrt(max(0.0, variance))


def line(experts: int, k: int, n: int) -> float:
    """Return what a model linear in the batch size says that was fitted at one and two tokens.

    The negative control: it must be rejected.
    """
    one, two = distinct_mean(experts, k, 1), distinct_mean(experts, k, 2)
    return one + (n - 1) * (two - one)


def batches_needed(mean: float, sd: float) -> int:
    """Return how many batches tell a bias of 2 % with a power of 99 %, at least 30."""
    return max(30, ceil((sd * (_Z + _Z_POWER) / (_BIAS * mean)) ** 2))


def _law(name: str, expected: float, sd: float, found: Sequence[float]) -> Law:
    """Put an interval around the mean of independent samples of known standard deviation."""
    mean, half = float(np.mean(found)), _Z * sd / sqrt(len(found))
    return Law(name, expected, mean, mean - half, mean + half)


def _uniform_batches(experts: int, k: int, n: int) -> list[tuple[int, ...]]:
    """Draw batches of tokens and count distinct experts, one layer, by the real code."""
    rng = Streams(1).stream("proofs", "distinct", experts, k, n)
    size = batches_needed(distinct_mean(experts, k, n), distinct_sd(experts, k, n))
    found = []
    for _ in range(size):
        picks: IntArray = rng.random((n, experts)).argpartition(k - 1, axis=1)[:, :k]
        masks = (np.int64(1) << picks).sum(axis=1)
        found.append(counts(union(as_rows(masks[:, None].tolist()))))
    return found


def uniform_distinct(experts: int, k: int, n: int) -> Law:
    """Measure the mean number of distinct experts under uniform routing.

    Args:
        experts: Experts of a layer, at most 62 (bits of a signed mask).
        k: Experts per token.
        n: Tokens of a batch.
    """
    found = [float(batch[0]) for batch in _uniform_batches(experts, k, n)]
    name = f"distinct experts, E={experts} k={k} n={n}"
    return _law(name, distinct_mean(experts, k, n), distinct_sd(experts, k, n), found)


_CARD_FIELDS = {
    "name": "proof", "suite": "none", "tasks": ("a",), "clusters": 1, "d_model": 1,
    "d_ff": 1, "tokens": 1, "backbone_params": 1, "expert_params": 1, "bytes_per_param": 2,
    "pool_sizes": (1,), "digest": "",
}  # fmt: skip
# a layer's experts take longer to read than to compute with for any batch of these proofs
_BOX = Hardware("proof", 1e15, 1e10, 1e12, 1e9, 0.0, 1e-5, 1.0, 2.0)
_PARAMS, _DENSE_PARAMS = 1e6, 4e6


def card(experts: int, layers: int = 1) -> ModelCard:
    """Return the card of a small model of which only experts and layers matter."""
    return ModelCard(experts=experts, layers=layers, **_CARD_FIELDS)  # type: ignore[arg-type]


def _cost_model(experts: int, k: int) -> CostModel:
    big = Architecture("proof", 1, 1, experts, k, _PARAMS, _DENSE_PARAMS, 1.0, 2.0, 0.0)
    return CostModel(big, card(experts), _BOX)


def roofline_s(distinct: float) -> float:
    """Return what a memory-bound batch takes that touches so many experts in one layer.

    The dense parameters and the touched experts are read once, each with one kernel.

    Source: Williams et al. 2009 (doi 10.1145/1498765.1498785). Deviation: none.
    """
    dense_s = _DENSE_PARAMS * 2.0 / _BOX.bytes_per_s + _BOX.kernel_s
    return dense_s + distinct * (_PARAMS * 2.0 / _BOX.bytes_per_s + _BOX.kernel_s)


def uniform_cost(experts: int, k: int, n: int) -> Law:
    """Measure the mean time of a memory-bound batch under uniform routing.

    That time is a line in the number of distinct experts, so its mean is the roofline at their
    mean. (The bias that is told is 2 % of the experts' part.)
    """
    model = _cost_model(experts, k)
    found = [model.gated(n, k, batch).service_s for batch in _uniform_batches(experts, k, n)]
    sd = (roofline_s(1.0) - roofline_s(0.0)) * distinct_sd(experts, k, n)
    expected = roofline_s(distinct_mean(experts, k, n))
    return _law(f"batch time, E={experts} k={k} n={n}", expected, sd, found)


def replayed_distinct(masks: Sequence[Sequence[int]], layer: int, n: int) -> Law:
    """Measure distinct experts of batches drawn from replayed gate choices, in one layer.

    With p_e the share of inputs that touch expert e, n inputs drawn with replacement touch
    sum_e 1 - (1 - p_e)^n distinct ones in the mean, however skewed the gate is.

    Args:
        masks: Experts per (input, layer) as bit masks, (P, L).
        layer: Which layer.
        n: Requests of a batch.

    Source: linearity of expectation; variance from the inputs that spare two given experts.
        Deviation: none.
    """
    rows = as_rows(masks)
    column = np.array([row[layer] for row in rows], dtype=np.uint64)
    spared = ((column[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)) == 0
    one = spared.mean(axis=0) ** n
    both = (spared.T.astype(np.float64) @ spared / len(rows)) ** n
    mean = float((1.0 - one).sum())
    sd = sqrt(max(0.0, float((both - np.outer(one, one)).sum())))
    rng = Streams(1).stream("proofs", "replayed", layer, n)
    drawn = rng.integers(0, len(rows), (batches_needed(mean, sd), n)).tolist()
    found = [float(counts(union(rows[i] for i in batch))[layer]) for batch in drawn]
    return _law(f"replayed gate, layer {layer} n={n}", mean, sd, found)
