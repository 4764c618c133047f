"""Scoring: the fast path for merged plans, and the plain one for gated plans.

Two facts make merged scoring cheap without changing an answer beyond float rounding. What comes
before the first block's experts does not depend on the plan, so it is computed once per pool. The
answer reads the CLS row only, so the last block needs one attention query and one FFN row per
input, and a single query needs no keys and values of its own: q . (Wk n) = (Wk' q) . n, and sum_j
a_j (Wv n_j + bv) = Wv (sum_j a_j n_j) + bv. The obvious twin is `Encoder.forward(..., Mixed(w),
full=True)`; tests hold the two together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from agents.moe.gates import blend, choose
from agents.moe.model import PAD, Blended, Block, Encoder, Ffn, Gated, apply_ffn
from sim.errors import InputError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sim.arrays import BoolArray, FloatArray, MaskArray

# Fixed: batch size changes the last bits, so whole pools are always scored in the same pieces.
CHUNK = 64


def chunks(count: int) -> Iterator[slice]:
    """Cut 0..count into the fixed pieces."""
    for start in range(0, count, CHUNK):
        yield slice(start, min(start + CHUNK, count))


@dataclass(frozen=True, slots=True)
class _Head:
    """The last block's attention, arranged for one query per input."""

    query: Tensor  # (D, D)
    query_bias: Tensor  # (D,)
    key: Tensor  # (H, D/H, D), scaled
    value: Tensor  # (H, D, D/H)
    value_bias: Tensor  # (D,)

    @classmethod
    def of(cls, block: Block) -> _Head:
        """Slice a block's projection; the keys' bias shifts all scores alike and drops out."""
        d = block.qkv.in_features
        q, k, v = block.qkv.weight.detach().chunk(3)
        qb, _, vb = block.qkv.bias.detach().chunk(3)
        size = d // block.heads
        key = k.view(block.heads, size, d) * size**-0.5
        value = v.view(block.heads, size, d).transpose(1, 2).contiguous()
        return cls(q.contiguous(), qb.contiguous(), key.contiguous(), value, vb.contiguous())

    def attend(self, normed: Tensor, blocked: Tensor | None) -> Tensor:
        """Attend from the CLS row of (B, T, D); `blocked` (B, 1, T) is True at padding."""
        heads, size, d = self.key.shape
        query = functional.linear(normed[:, 0], self.query, self.query_bias).view(-1, heads, size)
        probe = torch.bmm(query.transpose(0, 1), self.key).transpose(0, 1)  # (B, H, D)
        score = torch.bmm(probe, normed.transpose(1, 2))
        if blocked is not None:
            score.masked_fill_(blocked, -torch.inf)
        context = torch.bmm(score.softmax(-1), normed)  # (B, H, D)
        mixed = torch.bmm(context.transpose(0, 1), self.value).transpose(0, 1)
        return mixed.reshape(-1, d) + self.value_bias


class MergedScorer:
    """Scores merged experts on a fixed pool of inputs.

    Args:
        model: A trained model.
        inputs: The pool, (P, T) or (P, T-1, patch), uint8.
    """

    def __init__(self, model: Encoder, inputs: Tensor) -> None:
        self.model, self.size = model.eval(), len(inputs)
        self.blocks = model.layers()
        self._head = _Head.of(self.blocks[-1])
        mask = model.mask(inputs)
        self.blocked = None if mask is None else ~mask[:, 0]  # (P, 1, T)
        with torch.inference_mode():
            before = [self._before(inputs[piece]) for piece in chunks(self.size)]
            self.before_experts = torch.cat(before)  # (P, T, D)
            # what enters the first experts depends on no plan either
            self.normed = torch.cat([self.blocks[0].norm2(piece) for piece in before])

    def _before(self, inputs: Tensor) -> Tensor:
        """Return what enters the first block's experts and does not depend on the plan."""
        return self.blocks[0].attend(self.model.start(inputs), self.model.mask(inputs))

    def merge(self, weights: Sequence[float]) -> tuple[Ffn, ...]:
        """Merge every layer's experts once.

        Raises:
            ShapeError: There are not E weights.
        """
        if len(weights) != self.model.shape.experts:
            raise ShapeError(
                f"expected {self.model.shape.experts} merge weights, found {len(weights)}"
            )
        w = torch.tensor(weights, dtype=torch.float32)
        with torch.inference_mode():
            return tuple(block.moe.merged(w) for block in self.blocks)

    def logits(self, merged: Sequence[Ffn], rows: Tensor | slice) -> Tensor:
        """Answer rows of the pool with premerged experts, (B, C)."""
        with torch.inference_mode():
            x = self.before_experts[rows]
            blocked = None if self.blocked is None else self.blocked[rows]
            x = x + apply_ffn(self.normed[rows], merged[0])
            for block, ffn in zip(self.blocks[1:-1], merged[1:-1], strict=True):
                x = block.attend(x, None if blocked is None else ~blocked[:, None])
                x = x + apply_ffn(block.norm2(x), ffn)
            return self.model.answer(self._finish(x, blocked, merged[-1]))

    def _finish(self, x: Tensor, blocked: Tensor | None, ffn: Ffn) -> Tensor:
        """Run the last block for the CLS row alone, (B, D)."""
        row = self.attend_last(x, blocked)
        return row + apply_ffn(self.blocks[-1].norm2(row), ffn)

    def attend_last(self, x: Tensor, blocked: Tensor | None) -> Tensor:
        """Run the last block's attention for the CLS row alone, (B, T, D) to (B, D)."""
        last = self.blocks[-1]
        row: Tensor = x[:, 0] + last.out(self._head.attend(last.norm1(x), blocked))
        return row

    def correct(self, merged: Sequence[Ffn], labels: Tensor, within: range) -> BoolArray:
        """Tell which inputs of a stretch of the pool a merge answers right, in fixed pieces."""
        hits = []
        for piece in chunks(len(within)):
            rows = slice(within.start + piece.start, within.start + piece.stop)
            hits.append(self.logits(merged, rows).argmax(-1) == labels[rows])
        return torch.cat(hits).numpy()


@dataclass(frozen=True, slots=True)
class GatedScore:
    """A gated plan over a pool: experts visited (P, L) as bits, correct (P,), confidence (P,)."""

    experts: MaskArray
    correct: BoolArray
    confidence: FloatArray


def judge(logits: Tensor, labels: Tensor) -> tuple[BoolArray, FloatArray]:
    """Return whether each answer is right, and the probability of the answer given."""
    confidence, answer = logits.softmax(-1).max(-1)
    return (answer == labels).numpy(), confidence.double().numpy()


def score_gated(model: Encoder, inputs: Tensor, labels: Tensor, k: int) -> GatedScore:
    """Score top-k routing over a whole pool in fixed pieces; masks count real tokens only.

    Raises:
        InputError: k exceeds the number of experts.
    """
    if not 1 <= k <= model.shape.experts:
        raise InputError(f"top-k: expected 1 <= k <= {model.shape.experts} experts, found {k}")
    return _score(model, inputs, labels, Gated(k))


def score_blend(model: Encoder, inputs: Tensor, labels: Tensor, k: int) -> GatedScore:
    """Score merges per request over a whole pool in fixed pieces; masks are the experts merged.

    Raises:
        InputError: k exceeds the number of experts.
    """
    if not 1 <= k <= model.shape.experts:
        raise InputError(f"blend: expected 1 <= k <= {model.shape.experts} experts, found {k}")
    return _score(model, inputs, labels, Blended(k))


def _score(model: Encoder, inputs: Tensor, labels: Tensor, route: Gated | Blended) -> GatedScore:
    parts = [_piece(model, inputs[piece], labels[piece], route) for piece in chunks(len(inputs))]
    masks, hits, confidence = zip(*parts, strict=True)
    return GatedScore(np.concatenate(masks), np.concatenate(hits), np.concatenate(confidence))


def _piece(
    model: Encoder, inputs: Tensor, labels: Tensor, route: Gated | Blended
) -> tuple[MaskArray, BoolArray, FloatArray]:
    """Score one piece."""
    with torch.inference_mode():
        answer = model(inputs, route)
        real = inputs != PAD if model.shape.kind == "tokens" else None
        seen = _merged if isinstance(route, Blended) else _visited
        masks = [_bits(seen(router, real, route.k)) for router in answer.router]
        return np.stack(masks, axis=1), *judge(answer.logits, labels)


def _merged(router: Tensor, real: Tensor | None, k: int) -> Tensor:
    """Return the experts that each input merges, 0 or 1, (B, E)."""
    return blend(router, real, k) > 0.0


def _visited(router: Tensor, real: Tensor | None, k: int) -> Tensor:
    """Return the experts that the real tokens of each input visit, 0 or 1, (B, E)."""
    _, ids = choose(router, k)
    bits = torch.nn.functional.one_hot(ids, router.shape[-1]).amax(2)  # (B, T, E)
    if real is not None:
        bits = bits * real[..., None]
    return bits.amax(1)


def _bits(seen: Tensor) -> MaskArray:
    """Pack (B, E) of 0 and 1 into one mask per input, (B,)."""
    powers = np.left_shift(np.uint64(1), np.arange(seen.shape[1], dtype=np.uint64))
    masks: MaskArray = (seen.numpy().astype(np.uint64) * powers).sum(1, dtype=np.uint64)
    return masks


def score_batch(
    model: Encoder, inputs: Tensor, labels: Tensor, k: int, capacity: float
) -> BoolArray:
    """Tell which requests of one real batch top-k with limited experts answers right, (B,).

    Raises:
        InputError: k exceeds the number of experts.
    """
    with torch.inference_mode():
        logits = model(inputs, Gated(k, capacity)).logits
        return cast("BoolArray", (logits.argmax(-1) == labels).numpy())
