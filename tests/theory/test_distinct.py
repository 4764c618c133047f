"""Gated batches cost as the distinct experts that they touch, never as their size."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from agents.moe.runtime import Runtime
from sim.compute.touched import as_rows, counts, union
from sim.plans import TopK
from sim.proofs.cost import (
    Law,
    batches_needed,
    distinct_mean,
    distinct_sd,
    line,
    replayed_distinct,
    roofline_s,
    uniform_cost,
    uniform_distinct,
)

SHAPES = ((8, 1), (8, 2), (60, 4))


@pytest.mark.parametrize(("experts", "k"), SHAPES)
@pytest.mark.parametrize("n", [1, 2, 4, 8, 16, 32])
def test_uniform_routing_touches_and_costs_what_the_closed_form_says(
    experts: int, k: int, n: int
) -> None:
    law, cost = uniform_distinct(experts, k, n), uniform_cost(experts, k, n)
    assert law.ok, law
    assert cost.ok, cost
    assert law.high - law.low <= 2 * 0.02 * law.expected * 3.89 / 6.22 * (1 + 1e-12)  # the power
    if n == 1:
        assert law.measured == k  # nothing is random


@pytest.mark.parametrize("n", [4, 16])
def test_the_promised_power_is_there(n: int) -> None:
    """Of 300 repetitions of the check about 1 % miss a bias of 2 %."""
    experts, k = 8, 2
    rng = np.random.default_rng(1)
    truth, sd = distinct_mean(experts, k, n), distinct_sd(experts, k, n)
    size = batches_needed(truth, sd)
    missed = wrong = 0
    for _ in range(300):
        mean = _mean_of_batches(rng, experts, k, n, size)
        half = 3.89 * sd / np.sqrt(size)
        missed += abs(mean - 1.02 * truth) <= half
        wrong += abs(mean - truth) > half
    assert missed <= 10  # 3 expected; more than 10 once in 10^3
    assert wrong <= 1


def _mean_of_batches(rng: np.random.Generator, experts: int, k: int, n: int, size: int) -> float:
    picks = rng.random((size, n, experts)).argpartition(k - 1, axis=2)[:, :, :k]
    touched = np.zeros((size, experts), np.bool_)
    for token in range(n):
        np.put_along_axis(touched, picks[:, token], True, axis=1)
    return float(touched.sum(axis=1).mean())


@pytest.mark.parametrize(("experts", "k"), SHAPES)
@pytest.mark.parametrize("n", [4, 8, 16, 32])
def test_a_model_linear_in_the_batch_is_rejected(experts: int, k: int, n: int) -> None:
    linear = line(experts, k, n)
    assert line(experts, k, 2) == pytest.approx(distinct_mean(experts, k, 2))
    assert not uniform_distinct(experts, k, n).against("linear", linear).ok
    assert not uniform_cost(experts, k, n).against("linear", roofline_s(linear)).ok


def test_the_variance_is_that_of_all_choices() -> None:
    """Of two tokens that choose two of four experts each: all 36 choices."""
    pairs = [(a, b) for a in range(4) for b in range(a)]
    found = [
        counts(union(as_rows([[1 << a | 1 << b], [1 << c | 1 << d]])))[0]
        for a, b in pairs
        for c, d in pairs
    ]
    assert distinct_mean(4, 2, 2) == pytest.approx(np.mean(found))
    assert distinct_sd(4, 2, 2) == pytest.approx(np.std(found))


def test_the_variance_of_replayed_choices_is_that_of_all_batches() -> None:
    masks = [[3], [5], [5], [8]]
    found = [counts(union(as_rows([a, b])))[0] for a in masks for b in masks]
    law = replayed_distinct(masks, 0, 2)
    assert law.expected == pytest.approx(np.mean(found))
    size = batches_needed(law.expected, float(np.std(found)))
    assert (law.high - law.low) / 2 == pytest.approx(3.89 * np.std(found) / np.sqrt(size))


@cache
def stream_masks(k: int) -> tuple[tuple[int, ...], ...]:
    """Return the gate choices of the shipped checkpoint over its service pool, as hosts do."""
    experts = Runtime.load("builtin:stream").profile(TopK(k)).experts
    return tuple(as_rows(experts.tolist()))


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("n", [1, 2, 4, 8, 16])
def test_the_shipped_model_touches_what_its_skewed_gate_says(k: int, n: int) -> None:
    masks = stream_masks(k)
    for layer in range(len(masks[0])):
        law = replayed_distinct(masks, layer, n)
        assert law.ok, law


def test_a_line_through_the_shipped_models_small_batches_is_rejected() -> None:
    masks = stream_masks(1)
    for layer in range(len(masks[0])):
        one, two, many = (replayed_distinct(masks, layer, n) for n in (1, 2, 16))
        straight = one.expected + 15 * (two.expected - one.expected)
        assert not many.against("linear", straight).ok


def test_a_law_is_judged_by_its_interval() -> None:
    assert Law("x", 1.0, 1.1, 0.9, 1.3).ok
    assert not Law("x", 0.8, 1.1, 0.9, 1.3).ok
