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


def merge_page_s(model: CostModel, active: int) -> float:
    """Return how long a server merges experts, as the page says it, real layer by real layer.

    Args:
        model: Whose architecture and hardware count.
        active: Experts of the small model that are merged.
    """
    big, box = model.architecture, model.hardware
    params = active * big.experts / model.experts * big.expert_params
    layer_s = max(
        2.0 * params / box.flop_per_s, 3.0 * params * big.bytes_per_param / box.bytes_per_s
    )
    return fsum([layer_s] * big.moe_layers)


def _roofline(_: Lab) -> Sequence[Result]:
    rng, gaps = Streams(1).stream("proofs", "roofline"), [0.0] * 3
    for _number in range(_MODELS):
        model = _drawn_model(rng)
        n, k = int(rng.integers(1, 33)), int(rng.integers(1, model.experts + 1))
        small = rng.integers(1, model.experts + 1, model.layers).tolist()
        most = n * model.architecture.tokens_per_request * k
        spread = model.architecture.experts / model.experts
        touched = [min(distinct * spread, most) for distinct in small]
        flop, moved_bytes, _read = model.merge_work(k)
        pairs = (
            (model.gated(n, k, small).service_s, page_s(model, n, k, touched)),
            (model.merged(n).service_s, page_s(model, n, 1, [1.0] * model.layers)),
            (model.seconds(flop, moved_bytes), merge_page_s(model, k)),
        )
        gaps = [
            max(gap, apart(ours / theirs, 1.0))
            for gap, (ours, theirs) in zip(gaps, pairs, strict=True)
        ]
    names = ("top-k batches", "merged batches", "merges")
    return [
        exact(f"roofline, {name}, relative", gap, _MODELS, "models")
        for name, gap in zip(names, gaps, strict=True)
    ]


PROOFS = (
    Proof("distinct", "cost", "E (1 - (1 - k/E)^n) experts and their time", _distinct, quick=True),
    Proof("roofline", "cost", "batches and merges, layer by layer", _roofline, quick=True),
)
