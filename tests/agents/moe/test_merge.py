"""Merging (TANBR T11), against a loop that adds one number at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.moe.cards import BUILTIN
from agents.moe.checkpoint import Checkpoint, load
from agents.moe.merge import merge, merge_streamed, one_hot
from agents.moe.model import Encoder, Mixed, One, Route
from agents.moe.scoring import MergedScorer
from sim.errors import ShapeError

if TYPE_CHECKING:
    from collections.abc import Callable


def _draw(seed: int, experts: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    stacked = torch.randn(experts, 5, 7, generator=generator)
    return stacked, torch.rand(experts, generator=generator).softmax(0)


def _slow_merge(experts: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    out = torch.zeros(5, 7, dtype=torch.float64)
    for e in range(len(experts)):
        for i in range(5):
            for j in range(7):
                out[i, j] += float(weights[e]) * float(experts[e, i, j])
    return out.float()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), experts=st.integers(1, 6))
def test_merge_equals_the_obvious_loop(seed: int, experts: int) -> None:
    stacked, weights = _draw(seed, experts)
    torch.testing.assert_close(merge(stacked, weights), _slow_merge(stacked, weights))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), experts=st.integers(1, 9))
def test_streamed_equals_batched(seed: int, experts: int) -> None:
    stacked, weights = _draw(seed, experts)
    streamed = merge_streamed(iter(stacked), weights.tolist())
    torch.testing.assert_close(streamed, merge(stacked, weights), atol=1e-5, rtol=0.0)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), experts=st.integers(2, 9))
def test_merge_commutes_with_expert_permutation(seed: int, experts: int) -> None:
    stacked, weights = _draw(seed, experts)
    order = torch.randperm(experts, generator=torch.Generator().manual_seed(seed + 1))
    permuted = merge(stacked[order], weights[order])
    torch.testing.assert_close(permuted, merge(stacked, weights), atol=1e-5, rtol=0.0)


def test_rows_of_weights_give_one_merge_each() -> None:
    stacked, weights = _draw(3, 4)
    rows = torch.stack([weights, one_hot(2, 4)])
    both = merge(stacked, rows)
    assert both.shape == (2, 5, 7)
    torch.testing.assert_close(both[0], merge(stacked, weights))
    torch.testing.assert_close(both[1], stacked[2])


def test_streaming_leaves_the_experts_alone() -> None:
    stacked, weights = _draw(4, 3)
    before = stacked.clone()
    merge_streamed(iter(stacked), weights.tolist())
    assert torch.equal(stacked, before)


def test_wrong_number_of_weights_is_refused() -> None:
    stacked, weights = _draw(5, 4)
    with pytest.raises(ShapeError, match="4 experts but weights of shape"):
        merge(stacked, weights[:3])
    with pytest.raises(ShapeError, match="2 experts for 4 weights"):
        merge_streamed(iter(stacked[:2]), weights.tolist())
    with pytest.raises(ShapeError, match="4 experts for 3 weights"):
        merge_streamed(iter(stacked), weights[:3].tolist())


# On whole models: logits of the shipped checkpoints' real inputs.


@pytest.fixture(scope="module", params=["stream", "stream32"])
def shipped(request: pytest.FixtureRequest) -> Checkpoint:
    return load(BUILTIN / f"{request.param}.safetensors")


def _inputs(shipped: Checkpoint) -> torch.Tensor:
    return torch.from_numpy(shipped.tables.inputs[::64])


def _point(experts: int) -> torch.Tensor:
    return torch.rand(experts, generator=torch.Generator().manual_seed(6)).softmax(0)


def _logits(model: Encoder, inputs: torch.Tensor, route: Route) -> torch.Tensor:
    with torch.inference_mode():
        return model(inputs, route).logits


def _with_experts(
    model: Encoder, change: Callable[[torch.Tensor], torch.Tensor], experts: int
) -> Encoder:
    """Return a copy whose stacked expert parameters are changed, one parameter at a time."""
    copy = Encoder(replace(model.shape, experts=experts)).eval()
    state = {n: p for n, p in model.state_dict().items() if "moe.router" not in n}
    for name in [n for n in state if ".moe." in n]:
        state[name] = change(state[name])
    found = copy.load_state_dict(state, strict=False)
    assert all("router" in name for name in found.missing_keys)
    return copy


def test_a_one_hot_merge_answers_as_that_expert(shipped: Checkpoint) -> None:
    model, inputs, experts = shipped.model, _inputs(shipped), shipped.card.experts
    scorer = MergedScorer(model, inputs)
    for e in range(experts):
        alone = _logits(model, inputs, One(e))
        merged = _logits(model, inputs, Mixed(one_hot(e, experts)))
        torch.testing.assert_close(merged, alone, atol=1e-5, rtol=0.0)
        quick = scorer.logits(scorer.merge(one_hot(e, experts).tolist()), slice(None))
        torch.testing.assert_close(quick, alone, atol=1e-5, rtol=1e-5)


def test_answers_do_not_depend_on_the_order_of_experts(shipped: Checkpoint) -> None:
    inputs, experts = _inputs(shipped), shipped.card.experts
    order = torch.randperm(experts, generator=torch.Generator().manual_seed(7))
    turned = _with_experts(shipped.model, lambda p: p[order], experts)
    weights = _point(experts)
    expected = _logits(shipped.model, inputs, Mixed(weights))
    found = _logits(turned, inputs, Mixed(weights[order]))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_streamed_merge_answers_as_a_batched_one(shipped: Checkpoint) -> None:
    inputs, weights = _inputs(shipped), _point(shipped.card.experts)
    streamed = _with_experts(
        shipped.model, lambda p: merge_streamed(iter(p), weights.tolist())[None], 1
    )
    expected = _logits(shipped.model, inputs, Mixed(weights))
    torch.testing.assert_close(_logits(streamed, inputs, One(0)), expected, atol=1e-5, rtol=1e-5)
