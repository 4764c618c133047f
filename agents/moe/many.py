"""Many merges at once: one tensor program answers the requests of all nodes of a block.

Whatever does not depend on the plan runs once over all requests of a chunk; only the experts take
each plan's requests apart, which is one matrix product per plan and layer. The obvious twin is
`MergedScorer.logits`, plan by plan. Letters: G plans, R requests, E experts, T tokens, D width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sim.errors import ShapeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agents.moe.model import Ffn
    from agents.moe.scoring import MergedScorer
    from sim.arrays import BoolArray, IntArray

# Requests per pass: smaller ones pay for more calls, larger ones gain nothing (measured: 128 take
# a third longer, 1024 as long). Part of the result, like every grouping: it may change last bits.
MOST = 512


class Piece(NamedTuple):
    """Some requests of one plan."""

    plan: int
    start: int  # of all requests
    stop: int


def passes(counts: Sequence[int], most: int = MOST) -> Iterator[list[Piece]]:
    """Cut requests, sorted by plan, into passes of at most `most`; few plans are cut in two.

    It depends on the counts alone, so a block's answers do not depend on the shard it lives in.

    Args:
        counts: Requests per plan; none for a plan without.
        most: Requests per pass.
    """
    passed: list[Piece] = []
    at = room = 0
    for plan, count in enumerate(counts):
        for start in range(at, at + count, most):
            piece = Piece(plan, start, min(start + most, at + count))
            if piece.stop - piece.start > room:
                if passed:
                    yield passed
                passed, room = [], most
            passed.append(piece)
            room -= piece.stop - piece.start
        at += count
    if passed:
        yield passed


class _Room(NamedTuple):
    """Where the large results of a pass go: asked for anew each time, they scatter the memory."""

    x: Tensor  # (MOST, T, D)
    normed: Tensor
    hidden: Tensor  # (MOST T, F)
    out: Tensor  # (MOST T, D)

    @classmethod
    def of(cls, tokens: int, width: int, hidden: int) -> _Room:
        """Return unset memory."""
        requests, all_tokens = (MOST, tokens, width), MOST * tokens
        x, normed = torch.empty(requests), torch.empty(requests)
        return cls(x, normed, torch.empty(all_tokens, hidden), torch.empty(all_tokens, width))


class ManyMerges:
    """Answers requests under many merges.

    Args:
        scorer: The model, and what is known of its pool.
    """

    def __init__(self, scorer: MergedScorer) -> None:
        self._scorer = scorer
        stacks = [part.detach() for block in scorer.blocks for part in block.moe.stacked()]
        self._experts = torch.cat([part.flatten(1) for part in stacks], 1)  # (E, all parameters)
        self._shapes = [part.shape[1:] for part in stacks]
        tokens, width = scorer.normed.shape[1:]
        self._room = _Room.of(tokens, width, self._shapes[0][1])

    def merge(self, weights: Tensor) -> list[Ffn]:
        """Merge every layer's experts for many plans, (G, E), in one product: G first in all.

        Raises:
            ShapeError: There are not E weights.

        Source: Han et al. 2025 (arXiv 2509.19781), W = sum_e w_e W_e. Deviation: none.
        """
        if weights.shape[1:] != self._experts.shape[:1]:
            raise ShapeError(
                f"expected {len(self._experts)} merge weights, found shape {tuple(weights.shape)}"
            )
        parts = (weights @ self._experts).split_with_sizes([s.numel() for s in self._shapes], 1)
        shaped = [part.view(-1, *shape) for part, shape in zip(parts, self._shapes, strict=True)]
        return [_ffn(shaped[i : i + 4]) for i in range(0, len(shaped), 4)]

    def correct(
        self, weights: Tensor, rows: IntArray, counts: Sequence[int], labels: Tensor
    ) -> BoolArray:
        """Tell which requests are answered right.

        Args:
            weights: One merge per plan, (G, E), float32.
            rows: Inputs of the pool, sorted by plan, (R,).
            counts: Requests per plan, (G,).
            labels: Right answers of the pool.
        """
        asked = torch.from_numpy(np.ascontiguousarray(rows, np.int64))
        hits = [np.zeros(0, np.bool_)]
        with torch.inference_mode():
            for pieces in passes(counts):
                mine = asked[pieces[0].start : pieces[-1].stop]
                merged = self.merge(weights[[piece.plan for piece in pieces]])
                answer = self.logits(merged, mine, [p.stop - p.start for p in pieces]).argmax(-1)
                hits.append((answer == labels[mine]).numpy())
        return np.concatenate(hits)

    def logits(self, merged: Sequence[Ffn], rows: Tensor, counts: list[int]) -> Tensor:
        """Answer rows of the pool, the first counts[0] of them by the first plan, (R, C)."""
        scorer = self._scorer
        blocked = None if scorer.blocked is None else scorer.blocked[rows]
        real = None if blocked is None else ~blocked[:, None]
        x = torch.index_select(scorer.before_experts, 0, rows, out=self._room.x[: len(rows)])
        normed = torch.index_select(scorer.normed, 0, rows, out=self._room.normed[: len(rows)])
        x += _by_plan(normed, merged[0], counts, self._room)
        for block, ffn in zip(scorer.blocks[1:-1], merged[1:-1], strict=True):
            x = block.attend(x, real)
            x = x + _by_plan(block.norm2(x), ffn, counts, self._room)
        last = scorer.blocks[-1]
        row = scorer.attend_last(x, blocked)
        return scorer.model.answer(row + _by_plan(last.norm2(row), merged[-1], counts, self._room))


def _ffn(parts: Sequence[Tensor]) -> Ffn:
    w1, b1, w2, b2 = parts
    return w1, b1, w2, b2


def _by_plan(x: Tensor, ffn: Ffn, counts: list[int], room: _Room) -> Tensor:
    """Run each plan's requests through its own expert, (R, D) or (R, T, D) to the same."""
    w1, b1, w2, b2 = ffn
    tokens = x.flatten(0, -2)
    each = [count * (len(tokens) // len(x)) for count in counts]
    hidden = _linear(tokens, w1, b1, each, room.hidden[: len(tokens)])
    torch.ops.aten.gelu_(hidden)  # in place, which `functional.gelu` cannot
    return _linear(hidden, w2, b2, each, room.out[: len(tokens)]).view(x.shape)


def _linear(x: Tensor, weight: Tensor, bias: Tensor, counts: list[int], out: Tensor) -> Tensor:
    """Multiply each plan's stretch of (N, D) by its own matrix, (G, D, F), and add its bias."""
    stretches = zip(
        out.split_with_sizes(counts), bias, x.split_with_sizes(counts), weight, strict=True
    )
    for place, b, mine, w in stretches:
        torch.addmm(b, mine, w, out=place)
    return out
