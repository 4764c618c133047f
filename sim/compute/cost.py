"""What a batch, a merge and a model's weights cost on one node: pure arithmetic, no clock.

The small trained model decides *what* happens (which experts the tokens of a batch touch); an
architecture decides *how much* that costs. Each of the small model's L MoE layers stands for
`moe_layers / L` layers of the architecture (its group), each of its E experts for `experts / E`
experts of a layer.

Source: roofline, Williams et al. 2009 (doi 10.1145/1498765.1498785): a kernel takes the longer of
its arithmetic and its memory traffic. A batch's expert traffic follows the distinct experts that
it touches, in the mean E (1 - (1 - k/E)^n) for n uniform tokens, never its size. Deviation: the
experts that a layer's batch touches count as one roofline (as if tokens spread evenly over them),
activations' traffic is left out, and the gate is charged as part of the backbone even where a
merged expert makes it superfluous (d E of about 10^6 multiplications per layer). Tokens that an
expert's capacity turns away are charged as if they were served.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.config import Architecture, Hardware
from sim.errors import InputError, ShapeError
from sim.plans import Blend, Gated, Plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.ports import ModelCard


@dataclass(frozen=True, slots=True)
class BatchCost:
    """One batch on one server: time and work; the times of the groups of layers sum up to it."""

    service_s: float
    flop: float
    read_bytes: float
    per_layer_s: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _Experts:
    """What the experts of one group of layers do for a batch; kernels are per layer."""

    flop: float
    read_bytes: float
    kernels: float


def itself(card: ModelCard) -> Architecture:
    """Return the small model as an architecture of its own (`cost_as` absent).

    Deviation: its embedding table counts as computed backbone; its working memory is the estimate
    of `architectures` without the score matrix (the card names no heads).
    """
    width = 6.0 * card.d_model + 2.0 * card.d_ff
    return Architecture(
        name=card.name,
        layers=card.layers,
        moe_layers=card.layers,
        experts=card.experts,
        top_k=1,
        expert_params=card.expert_params,
        backbone_params=card.backbone_params,
        tokens_per_request=card.tokens,
        bytes_per_param=card.bytes_per_param,
        activation_bytes=card.tokens * width * card.bytes_per_param,
        source="the checkpoint itself",
    )


class CostModel:
    """Prices one model on one node's hardware.

    Args:
        architecture: What requests cost like; None: the small model itself.
        card: The small model.
        hardware: The node; one server of it runs one batch.

    Attributes:
        expert_bytes: Bytes of one (small layer, expert) unit, as stored, fetched and cached.
        all_experts_bytes: Bytes of all such units.
        merged_bytes: Bytes of one merged expert in every MoE layer.
        staging_bytes: Buffer of a streamed merge: one expert of one group of layers.
        backbone_bytes: Bytes of all that is not an expert, embeddings included.
        usage_assumed: The architecture's number of experts differs from the small model's, so
            which of them a batch touches is an assumption.
        usage_note: How the small model is mapped, for the report; empty when it is itself.

    Raises:
        InputError: The architecture has fewer MoE layers than the small model.
    """

    def __init__(
        self, architecture: Architecture | None, card: ModelCard, hardware: Hardware
    ) -> None:
        self.hardware = hardware
        self.architecture = big = itself(card) if architecture is None else architecture
        if big.moe_layers < card.layers:
            raise InputError(
                f"cost_as: {big.name} has {big.moe_layers} MoE layers, fewer than the"
                f" {card.layers} of {card.name}; expected at least as many"
            )
        self.layers, self.experts = card.layers, card.experts
        self._repeat = big.moe_layers / card.layers
        self._spread = big.experts / card.experts
        layer_bytes = self._repeat * big.expert_params * big.bytes_per_param
        self.expert_bytes = layer_bytes * self._spread
        self.all_experts_bytes = self.expert_bytes * card.experts * card.layers
        self.staging_bytes = layer_bytes
        self.merged_bytes = layer_bytes * card.layers
        self.backbone_bytes = big.backbone_params * big.bytes_per_param
        self.usage_assumed = big.experts != card.experts
        self.usage_note = "" if architecture is None else self._note(card)
        self._computed_params = (big.backbone_params - big.embedding_params) / card.layers
        self._merged: dict[int, BatchCost] = {}
        self._blended: dict[tuple[int, int], BatchCost] = {}
        self._gated: dict[tuple[int, int, tuple[int, ...]], BatchCost] = {}

    def _note(self, card: ModelCard) -> str:
        text = (
            f"{card.name} stands for {self.architecture.name}: each of its {card.layers} MoE"
            f" layers for {self._repeat:g} layers with the same usage of experts"
        )
        if self.usage_assumed:
            text += (
                f"; usage is assumed: each of its {card.experts} experts stands for"
                f" {self._spread:g} of {self.architecture.experts}, all touched when it is"
            )
        return text

    def k_note(self, k: int) -> str:
        """Say that a gated plan's k is not the architecture's, empty when it is."""
        native = self.architecture.top_k
        if k == native or not self.usage_note:
            return ""
        return f"usage is assumed: {self.architecture.name} was trained with k = {native}, not {k}"

    def seconds(self, flop: float, read_bytes: float) -> float:
        """Return how long one server needs for some work, launch cost left out."""
        return max(flop / self.hardware.flop_per_s, read_bytes / self.hardware.bytes_per_s)

    def merged(self, n: int) -> BatchCost:
        """Price a batch of n requests through one expert per layer (merged or single)."""
        cost = self._merged.get(n)
        if cost is None:
            cost = self._merged[n] = self._tokens(n, 1, (1.0,) * self.layers)
        return cost

    def priced(self, plan: Gated, n: int, distinct: Sequence[int]) -> BatchCost:
        """Price a batch of n requests under a gated plan that touches so many experts, (L,)."""
        if isinstance(plan, Blend):
            return self.blended(n, plan.k)
        return self.gated(n, plan.k, distinct)

    def gated(self, n: int, k: int, distinct: Sequence[int]) -> BatchCost:
        """Price a batch of n requests whose tokens visit k experts each.

        Args:
            n: Requests in the batch.
            k: Experts per token, of the plan. FLOP follows it unscaled, whatever the
                architecture's own k.
            distinct: Distinct experts of the small model that the batch touches, per layer, (L,).

        Raises:
            ShapeError: `distinct` has the wrong length or a count outside 1..E.
        """
        key = (n, k, tuple(distinct))
        cost = self._gated.get(key)
        if cost is None:
            cost = self._gated[key] = self._tokens(n, k, self._touched(n, k, key[2]))
        return cost

    def blended(self, n: int, k: int) -> BatchCost:
        """Price a batch of n requests, each served by its own merge of k experts per layer.

        Raises:
            ShapeError: k is outside 1..E.

        Source: SMEAR (arXiv 2306.03745), MEO (arXiv 2310.09832): 2 P FLOP per token and 2 k P per
            request and layer for experts of P parameters. Ours: a request reads its k experts,
            writes their average and reads it back, (k + 2) P parameters, in one kernel per request
            and layer. Deviation: one matrix product for the merges of a whole batch would read
            each expert once per batch; no implementation that we know of does. With more experts
            than the small model, each of the k stands for as many as it does elsewhere.
        """
        if not 1 <= k <= self.experts:
            raise ShapeError(f"blend: expected k in 1..{self.experts}, found {k}")
        cost = self._blended.get((n, k))
        if cost is None:
            merged = k * self._spread
            params = self.architecture.expert_params * self._repeat
            tokens = n * self.architecture.tokens_per_request
            layer = _Experts(
                2.0 * params * (tokens + n * merged), self.staging_bytes * n * (merged + 2.0), n
            )
            cost = self._blended[n, k] = self._batch(n, (layer,) * self.layers)
        return cost

    def _touched(self, n: int, k: int, distinct: tuple[int, ...]) -> tuple[float, ...]:
        """Map counts to the architecture's experts, at most one per token and choice."""
        if len(distinct) != self.layers or not all(1 <= d <= self.experts for d in distinct):
            raise ShapeError(
                f"distinct experts: expected {self.layers} counts in 1..{self.experts},"
                f" found {distinct}"
            )
        most = n * self.architecture.tokens_per_request * k
        return tuple(min(d * self._spread, most) for d in distinct)

    def _tokens(self, n: int, k: int, touched: tuple[float, ...]) -> BatchCost:
        """Price a batch whose tokens visit k experts each, so many distinct ones per layer."""
        tokens = n * self.architecture.tokens_per_request
        flop = 2.0 * self.architecture.expert_params * tokens * k * self._repeat
        return self._batch(n, tuple(_Experts(flop, self.staging_bytes * t, t) for t in touched))

    def _batch(self, n: int, experts: tuple[_Experts, ...]) -> BatchCost:
        """Sum the rooflines of backbone and experts over the groups of layers."""
        big, kernel_s = self.architecture, self.hardware.kernel_s
        dense_flop = 2.0 * self._computed_params * n * big.tokens_per_request
        dense_bytes = self._computed_params * big.bytes_per_param
        dense_s = self.seconds(dense_flop, dense_bytes) + big.layers / self.layers * kernel_s
        per_layer_s = tuple(
            dense_s + self.seconds(e.flop, e.read_bytes) + e.kernels * self._repeat * kernel_s
            for e in experts
        )
        flop = self.layers * dense_flop + sum(e.flop for e in experts)
        read_bytes = self.layers * dense_bytes + sum(e.read_bytes for e in experts)
        return BatchCost(sum(per_layer_s), flop, read_bytes, per_layer_s)

    def merge_work(self, active: int) -> tuple[float, float, float]:
        """Price the merge of `active` experts of the small model into one, in every layer.

        Each expert is streamed from storage, multiplied by its weight and added to the merged one.

        Returns:
            FLOP (one multiplication and one addition per parameter), bytes moved through memory
            (expert and sum read, sum written), bytes read from storage.

        Source: Han et al. 2025 (arXiv 2509.19781). Deviation: an architecture with more experts
            than the small model merges all that the active ones stand for.
        """
        units = active * self._spread
        params = units * self.architecture.moe_layers * self.architecture.expert_params
        size_bytes = params * self.architecture.bytes_per_param
        return 2.0 * params, 3.0 * size_bytes, size_bytes

    def activation_bytes(self, n: int, plan: Plan | None = None) -> float:
        """Return the working memory of a running batch of n requests.

        Under a blend each request also holds its own merged expert, of one layer at a time.
        """
        big = self.architecture
        own_bytes = big.expert_params * big.bytes_per_param if isinstance(plan, Blend) else 0.0
        return n * (big.activation_bytes + own_bytes)

    def kv_bytes(self, n: int) -> float:
        """Return the key-value memory of a running batch of n requests (0 for encoders)."""
        return n * self.architecture.kv_bytes
