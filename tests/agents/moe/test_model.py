"""The encoder's routes, each against a slow or a more general twin."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from agents.moe.cards import ModelShape
from agents.moe.merge import one_hot
from agents.moe.model import (
    Dense,
    Encoder,
    Gated,
    Group,
    Mixed,
    MoELayer,
    One,
    Route,
    apply_ffn,
    backbone_params,
    expert_params,
)
from sim.errors import InputError

SHAPE = ModelShape("tokens", 30, 0, 9, 4, 4, 2, 2, 8, 12)
PATCHES = ModelShape("patches", 0, 4, 9, 4, 4, 2, 2, 8, 12)


def _model(shape: ModelShape = SHAPE) -> Encoder:
    generator = torch.Generator().manual_seed(1)
    model = Encoder(shape, generator).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # untie the experts, move biases off zero
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def _inputs(shape: ModelShape = SHAPE, n: int = 12) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    if shape.kind == "patches":
        size = (n, shape.tokens - 1, shape.patch)
        return torch.randint(0, 256, size, generator=generator, dtype=torch.uint8)
    tokens = torch.randint(1, shape.vocab, (n, shape.tokens), generator=generator)
    lengths = torch.randint(3, shape.tokens + 1, (n, 1), generator=generator)
    tokens[torch.arange(shape.tokens) >= lengths] = 0
    return tokens.to(torch.uint8)


@pytest.mark.parametrize("shape", [SHAPE, PATCHES])
@pytest.mark.parametrize(
    "route", [Dense(), Group(), One(1), Gated(2), Mixed(torch.full((4,), 0.25))]
)
def test_skipping_unread_rows_changes_no_answer(shape: ModelShape, route: Route) -> None:
    model, inputs = _model(shape), _inputs(shape)
    with torch.inference_mode():
        quick, full = model(inputs, route), model(inputs, route, full=True)
    torch.testing.assert_close(quick.logits, full.logits, atol=1e-5, rtol=1e-5)
    for a, b in zip(quick.router, full.router, strict=True):
        torch.testing.assert_close(a, b)


def test_one_hot_weights_reproduce_that_expert() -> None:
    model, inputs = _model(), _inputs()
    with torch.inference_mode():
        for e in range(4):
            merged = model(inputs, Mixed(one_hot(e, 4))).logits
            torch.testing.assert_close(merged, model(inputs, One(e)).logits, atol=1e-5, rtol=0.0)


def test_uniform_weights_are_the_dense_route() -> None:
    model, inputs = _model(), _inputs()
    with torch.inference_mode():
        merged = model(inputs, Mixed(torch.full((4,), 0.25))).logits
        torch.testing.assert_close(merged, model(inputs, Dense()).logits, atol=1e-5, rtol=1e-5)


def test_groups_are_single_experts_side_by_side() -> None:
    model, inputs = _model(), _inputs()
    with torch.inference_mode():
        grouped = model(inputs, Group()).logits
        alone = [model(part, One(e)).logits for e, part in enumerate(inputs.chunk(4))]
    torch.testing.assert_close(grouped, torch.cat(alone), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_gated_layer_equals_a_loop_over_tokens(k: int) -> None:
    layer = _model().layers()[0].moe
    x = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        router = layer.router(x)
        torch.testing.assert_close(
            layer(x, Gated(k), router), _slow_gate(layer, x, router, k), atol=1e-5, rtol=1e-5
        )


def _slow_gate(layer: MoELayer, x: Tensor, router: Tensor, k: int) -> Tensor:
    out = torch.zeros_like(x)
    w1, b1, w2, b2 = layer.stacked()
    for b in range(x.shape[0]):
        for t in range(x.shape[1]):
            share = router[b, t].softmax(0)
            chosen = sorted(range(4), key=lambda e: -float(router[b, t, e]))[:k]
            total = sum(float(share[e]) for e in chosen)
            for e in chosen:
                y = apply_ffn(x[b, t], (w1[e], b1[e], w2[e], b2[e]))
                out[b, t] += y * float(share[e]) / total
    return out


def test_permuting_experts_and_weights_changes_no_answer() -> None:
    model, inputs = _model(), _inputs()
    weights = torch.tensor([0.1, 0.2, 0.3, 0.4])
    with torch.inference_mode():
        before = model(inputs, Mixed(weights)).logits
        order = torch.tensor([2, 0, 3, 1])
        for block in model.layers():
            for parameter in block.moe.stacked():
                parameter.copy_(parameter[order].clone())
        after = model(inputs, Mixed(weights[order])).logits
    torch.testing.assert_close(before, after, atol=1e-5, rtol=0.0)


def test_padding_does_not_reach_the_answer() -> None:
    model, inputs = _model(), _inputs()
    short = inputs[(inputs[:, -1] == 0)]
    assert len(short) > 0
    with torch.inference_mode():
        long = model(short, One(0)).logits
        model.position[-1].add_(5.0)
        torch.testing.assert_close(model(short, One(0)).logits, long)


def test_parameters_come_from_the_generator_alone() -> None:
    torch_state = torch.random.get_rng_state()
    first = Encoder(SHAPE, torch.Generator().manual_seed(4)).state_dict()
    again = Encoder(SHAPE, torch.Generator().manual_seed(4)).state_dict()
    other = Encoder(SHAPE, torch.Generator().manual_seed(5)).state_dict()
    assert torch.equal(torch_state, torch.random.get_rng_state())
    assert all(torch.equal(first[n], again[n]) for n in first)
    assert not torch.equal(first["position"], other["position"])
    assert all(bool(t.isfinite().all()) for t in first.values())


def test_experts_start_tied() -> None:
    for block in Encoder(SHAPE, torch.Generator().manual_seed(4)).layers():
        for parameter in block.moe.stacked():
            assert torch.equal(parameter, parameter[:1].expand_as(parameter))


def test_parameter_counts_add_up() -> None:
    model = _model()
    assert expert_params(SHAPE) == sum(p[0].numel() for p in model.layers()[0].moe.stacked())
    total = sum(p.numel() for p in model.parameters())
    assert backbone_params(model) + 2 * 4 * expert_params(SHAPE) == total


def test_too_many_experts_per_token_is_refused() -> None:
    with pytest.raises(InputError, match=r"top-k: expected 1 <= k <= 4 experts, found 5"):
        _model()(_inputs(), Gated(5))
