"""Seats at full experts and merges per request, each against a slow, obvious twin."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from agents.moe.cards import ModelShape
from agents.moe.gates import TURNED_AWAY, blend, choose, seats
from agents.moe.model import PAD, Blended, Encoder, Gated, apply_ffn
from sim.errors import InputError, ShapeError

WORDS = ModelShape("tokens", 30, 0, 9, 4, 4, 2, 2, 8, 12)
PATCHES = ModelShape("patches", 0, 4, 9, 4, 4, 2, 2, 8, 12)
SHAPES = pytest.mark.parametrize("shape", [WORDS, PATCHES], ids=["words", "patches"])


def _model(shape: ModelShape) -> Encoder:
    generator = torch.Generator().manual_seed(1)
    model = Encoder(shape, generator).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # untie the experts, move biases off zero
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def _inputs(shape: ModelShape, n: int = 7) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    if shape.kind == "patches":
        size = (n, shape.tokens - 1, shape.patch)
        return torch.randint(0, 256, size, generator=generator, dtype=torch.uint8)
    tokens = torch.randint(1, shape.vocab, (n, shape.tokens), generator=generator)
    lengths = torch.randint(3, shape.tokens + 1, (n, 1), generator=generator)
    tokens[torch.arange(shape.tokens) >= lengths] = PAD
    return tokens.to(torch.uint8)


def _real(shape: ModelShape, inputs: Tensor) -> list[list[bool]]:
    if shape.kind == "patches":
        return [[True] * shape.tokens for _ in inputs]
    return [[int(token) != PAD for token in row] for row in inputs]


def _slow_blend(model: Encoder, one: Tensor, real: list[bool], k: int) -> Tensor:
    """Answer one request, (1, T): per layer average its routers' logits, merge, run one FFN."""
    x, mask = model.start(one), model.mask(one)
    for block in model.layers():
        x = block.attend(x, mask)
        normed = block.norm2(x)
        router = block.moe.router(normed)[0]
        mean = torch.stack([router[t] for t, here in enumerate(real) if here]).mean(0)
        best = sorted(range(len(mean)), key=lambda e: -float(mean[e]))[:k]
        share = mean[best].exp() / mean[best].exp().sum()
        weights = torch.zeros(len(mean))
        for e, w in zip(best, share, strict=True):
            weights[e] = w
        x = x + apply_ffn(normed, block.moe.merged(weights))
    return model.answer(x[:, 0])


@SHAPES
@pytest.mark.parametrize("k", [1, 2, 4])
def test_a_batch_of_blends_equals_a_loop_over_requests(shape: ModelShape, k: int) -> None:
    model, inputs = _model(shape), _inputs(shape)
    real = _real(shape, inputs)
    with torch.inference_mode():
        alone = [_slow_blend(model, inputs[i : i + 1], real[i], k) for i in range(len(inputs))]
        for full in (False, True):
            batch = model(inputs, Blended(k), full=full).logits
            torch.testing.assert_close(batch, torch.cat(alone), atol=1e-5, rtol=1e-5)


def test_a_blend_of_all_is_the_softmax_of_the_mean_logits() -> None:
    router = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(blend(router, None, 4), router.mean(1).softmax(-1))
    two = blend(router, None, 2)
    assert (two > 0).sum(1).tolist() == [2, 2, 2]
    torch.testing.assert_close(two.sum(1), torch.ones(3))


def _slow_seats(ids: Tensor, real: list[list[bool]], experts: int, capacity: float) -> Tensor:
    tokens, k = sum(map(sum, real)), ids.shape[-1]
    places = dict.fromkeys(range(experts), math.ceil(capacity * k * tokens / experts))
    seated = torch.full_like(ids, TURNED_AWAY)
    for b, row in enumerate(real):
        for t, here in enumerate(row):
            for j in range(k if here else 0):
                expert = int(ids[b, t, j])
                if places[expert] > 0:
                    places[expert] -= 1
                    seated[b, t, j] = expert
    return seated


@pytest.mark.parametrize("capacity", [0.3, 1.0, 1.25, 4.0])
@pytest.mark.parametrize("k", [1, 2])
def test_seats_are_taken_by_whoever_comes_first(capacity: float, k: int) -> None:
    generator = torch.Generator().manual_seed(4)
    router = torch.randn(6, 9, 4, generator=generator) + torch.tensor([1.0, 0.0, 0.0, -1.0])
    _, ids = choose(router, k)
    real = [[t < 3 + b for t in range(9)] for b in range(6)]
    found = seats(ids, torch.tensor(real), 4, capacity)
    assert torch.equal(found, _slow_seats(ids, real, 4, capacity))
    turned_away = sum(map(sum, real)) * k - int((found != TURNED_AWAY).sum())
    assert (turned_away > 0) == (capacity < 4.0)


def _slow_limited(
    model: Encoder, inputs: Tensor, real: list[list[bool]], k: int, capacity: float
) -> Tensor:
    x, mask = model.start(inputs), model.mask(inputs)
    for block in model.layers():
        x = block.attend(x, mask)
        normed = block.norm2(x)
        gates, ids = choose(block.moe.router(normed), k)
        ids = _slow_seats(ids, real, block.moe.experts, capacity)
        w1, b1, w2, b2 = block.moe.stacked()
        out = torch.zeros_like(x)
        for b, t, j in (ids >= 0).nonzero().tolist():
            e = int(ids[b, t, j])
            y = apply_ffn(normed[b, t], (w1[e], b1[e], w2[e], b2[e]))
            out[b, t] += gates[b, t, j] * y
        x = x + out
    return model.answer(x[:, 0])


@SHAPES
@pytest.mark.parametrize(("k", "capacity"), [(1, 1.0), (2, 0.75)])
def test_limited_experts_equal_a_loop_over_tokens(
    shape: ModelShape, k: int, capacity: float
) -> None:
    model, inputs = _model(shape), _inputs(shape)
    with torch.inference_mode():
        slow = _slow_limited(model, inputs, _real(shape, inputs), k, capacity)
        unlimited = model(inputs, Gated(k)).logits
        for full in (False, True):
            quick = model(inputs, Gated(k, capacity), full=full).logits
            torch.testing.assert_close(quick, slow, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(slow, unlimited, atol=1e-3)


@SHAPES
def test_enough_seats_change_no_answer(shape: ModelShape) -> None:
    model, inputs = _model(shape), _inputs(shape)
    with torch.inference_mode():
        roomy = model(inputs, Gated(2, 4.0)).logits
        torch.testing.assert_close(roomy, model(inputs, Gated(2)).logits, atol=1e-6, rtol=0.0)


@pytest.mark.parametrize("route", [Blended(5), Gated(5, 1.0), Gated(0)])
def test_more_choices_than_experts_are_refused(route: Blended | Gated) -> None:
    with pytest.raises(InputError, match="expected 1 <= k <= 4 experts"):
        _model(WORDS)(_inputs(WORDS), route)


def test_a_layer_alone_blends_nothing() -> None:
    layer = _model(WORDS).layers()[0].moe
    with pytest.raises(ShapeError, match="see `blended`"):
        layer(torch.zeros(1, 2, 8), Blended(2))
