"""Rows of the cost law of gated plans: a batch costs as the distinct experts that it touches."""

from __future__ import annotations

from math import fsum
from typing import TYPE_CHECKING

from sim.compute.cost import CostModel
from sim.config import Architecture, Hardware
from sim.proofs.cost import Law, card, line, uniform_cost, uniform_distinct
from sim.proofs.proof import Proof
from sim.proofs.student import quantile
from sim.proofs.verdict import ALPHA, Estimate, Result, apart, exact, refuted, weigh
from sim.rng import Streams

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from sim.proofs.proof import Lab

_SHAPES, _SIZES = ((8, 2), (60, 4)), (1, 4, 32)
_MODELS = 200
_KNOWN = 10**5  # degrees of freedom that stand for a known deviation


def _found(law: Law) -> Estimate:
    return Estimate(law.measured, (law.high - law.low) / 2.0 / quantile(ALPHA, _KNOWN), _KNOWN)


def _row(law: Law) -> Result:
    if law.high == law.low:  # one token: nothing is random
        return exact(law.name, abs(law.measured - law.expected), 1, "value")
    return weigh(law.name, law.expected, _found(law), "deviation known")


def _distinct(_: Lab) -> Sequence[Result]:
    cases = [(experts, k, n) for experts, k in _SHAPES for n in _SIZES]
    rows = [_row(law(*case)) for law in (uniform_distinct, uniform_cost) for case in cases]
    many = uniform_distinct(8, 2, 32)
    return [*rows, refuted("linear in n, E=8 k=2 n=32", line(8, 2, 32), _found(many))]


def page_s(model: CostModel, n: int, k: int, distinct: Sequence[float]) -> float:
    """Return how long a batch takes, as the architecture's page says it, real layer by real layer.

    Args:
        model: Whose architecture and hardware count.
        n: Requests.
        k: Experts per token.
        distinct: Experts of the architecture that are touched in a layer of each group, (L,).
    """
    big, box, times_s = model.architecture, model.hardware, []
    tokens, groups = n * big.tokens_per_request, len(distinct)
    computed = (big.backbone_params - big.embedding_params) / groups
    for touched in distinct:
        flop_s = 2.0 * computed * tokens / box.flop_per_s
        read_s = computed * big.bytes_per_param / box.bytes_per_s
        times_s.append(max(flop_s, read_s))
        for _ in range(big.moe_layers // groups):
            flop_s = 2.0 * k * big.expert_params * tokens / box.flop_per_s
            read_s = touched * big.expert_params * big.bytes_per_param / box.bytes_per_s
            times_s.append(max(flop_s, read_s) + touched * box.kernel_s)
    return fsum(times_s) + big.layers * box.kernel_s


def _drawn_model(rng: np.random.Generator) -> CostModel:
    """Draw an architecture, its small model and hardware: some batches compute, others read."""
    layers, experts, spread = (int(rng.integers(1, high)) for high in (5, 17, 5))
    moe_layers = layers * int(rng.integers(1, 7))
    backbone, expert, embedding = (float(rng.uniform(1e6, 9e6)) for _ in range(3))
    big = Architecture(
        "drawn", moe_layers + int(rng.integers(0, 9)), moe_layers, experts * spread, 1, expert,
        backbone + embedding, float(rng.integers(1, 129)), float(rng.choice([1.0, 2.0, 4.0])),
        0.0, 0.0, embedding,
    )  # fmt: skip
    box = Hardware(
        "drawn", 10.0 ** rng.uniform(11, 14), 10.0 ** rng.uniform(10, 12), 1e12, 1e9, 0.0,
        10.0 ** rng.uniform(-6, -4), 1.0, 2.0,
    )  # fmt: skip
    return CostModel(big, card(experts, layers), box)


def _roofline(_: Lab) -> Sequence[Result]:
    rng, gated, merged = Streams(1).stream("proofs", "roofline"), 0.0, 0.0
    for _number in range(_MODELS):
        model = _drawn_model(rng)
        n, k = int(rng.integers(1, 33)), int(rng.integers(1, model.experts + 1))
        small = rng.integers(1, model.experts + 1, model.layers).tolist()
        most = n * model.architecture.tokens_per_request * k
        spread = model.architecture.experts / model.experts
        expected_s = page_s(model, n, k, [min(d * spread, most) for d in small])
        gated = max(gated, apart(model.gated(n, k, small).service_s / expected_s, 1.0))
        expected_s = page_s(model, n, 1, [1.0] * model.layers)
        merged = max(merged, apart(model.merged(n).service_s / expected_s, 1.0))
    return [
        exact("roofline, top-k batches, relative", gated, _MODELS, "models"),
        exact("roofline, merged batches, relative", merged, _MODELS, "models"),
    ]


PROOFS = (
    Proof("distinct", "cost", "E (1 - (1 - k/E)^n) experts and their time", _distinct, quick=True),
    Proof("roofline", "cost", "batches as the page says, layer by layer", _roofline, quick=True),
)
