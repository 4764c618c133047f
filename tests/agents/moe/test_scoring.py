"""The fast path against the full forward pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from agents.moe.gates import choose
from agents.moe.model import PAD, Gated, Mixed
from agents.moe.scoring import CHUNK, MergedScorer, chunks, judge, score_gated
from sim.errors import InputError, ShapeError

if TYPE_CHECKING:
    from agents.moe.train import Trained


def _pool(trained: Trained) -> tuple[torch.Tensor, torch.Tensor]:
    inputs, labels, _ = trained.suite.service.flat()
    return torch.from_numpy(inputs), torch.from_numpy(labels)


@pytest.mark.parametrize("layers", [2, 3])
def test_merged_scorer_equals_the_full_forward(trained: Trained, layers: int) -> None:
    from dataclasses import replace

    from agents.moe.model import Encoder

    inputs, _ = _pool(trained)
    shape = replace(trained.model.shape, layers=layers)
    generator = torch.Generator().manual_seed(layers)
    model = Encoder(shape, generator).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    scorer = MergedScorer(model, inputs)
    rows = torch.tensor([5, 3, 3, 200, 17, 0])
    for seed in range(4):
        w = torch.rand(8, generator=torch.Generator().manual_seed(seed)).softmax(0)
        quick = scorer.logits(scorer.merge(w.tolist()), rows)
        with torch.inference_mode():
            full = model(inputs[rows], Mixed(w), full=True).logits
        torch.testing.assert_close(quick, full, atol=2e-5, rtol=1e-5)


def test_correct_scores_a_stretch_in_fixed_pieces(trained: Trained) -> None:
    inputs, labels = _pool(trained)
    scorer = MergedScorer(trained.model, inputs)
    merged = scorer.merge([0.125] * 8)
    hits = scorer.correct(merged, labels, range(70, 240))
    expected = [
        bool(scorer.logits(merged, slice(a, min(a + CHUNK, 240))).argmax(-1)[i] == labels[a + i])
        for a in range(70, 240, CHUNK)
        for i in range(min(CHUNK, 240 - a))
    ]
    assert hits.tolist() == expected
    assert 0.0 < hits.mean() < 1.0


def test_gated_masks_are_the_experts_of_real_tokens(trained: Trained) -> None:
    inputs, labels = _pool(trained)
    scores = score_gated(trained.model, inputs[:90], labels[:90], 2)
    masks = np.zeros((90, 3), np.uint64)
    for piece in chunks(90):
        with torch.inference_mode():
            answer = trained.model(inputs[piece], Gated(2), full=True)
        for layer, router in enumerate(answer.router):
            _, ids = choose(router, 2)
            for i in range(len(ids)):
                for t in range(ids.shape[1]):
                    if int(inputs[piece][i, t]) != PAD:
                        for e in ids[i, t].tolist():
                            masks[piece.start + i, layer] |= np.uint64(1 << e)
        hit, confidence = judge(answer.logits, labels[:90][piece])
        assert (scores.correct[piece] == hit).all()
        np.testing.assert_allclose(scores.confidence[piece], confidence, atol=1e-5)
    assert (scores.experts == masks).all()


def test_chunks_cover_everything_once() -> None:
    for count in (0, 1, 63, 64, 65, 300):
        covered = [i for piece in chunks(count) for i in range(piece.start, piece.stop)]
        assert covered == list(range(count))


def test_wrong_arguments_are_refused(trained: Trained) -> None:
    inputs, labels = _pool(trained)
    with pytest.raises(ShapeError, match="expected 8 merge weights, found 7"):
        MergedScorer(trained.model, inputs[:4]).merge([1.0 / 7] * 7)
    with pytest.raises(InputError, match="expected 1 <= k <= 8 experts, found 9"):
        score_gated(trained.model, inputs, labels, 9)
