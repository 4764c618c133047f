"""Merging (TANBR T11), against a loop that adds one number at a time."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.moe.merge import merge, merge_streamed, one_hot
from sim.errors import ShapeError


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
