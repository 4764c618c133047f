"""Many merges in one program against one merge at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agents.moe.many import MOST, ManyMerges, passes
from agents.moe.model import Encoder
from agents.moe.runtime import Runtime
from agents.moe.scoring import MergedScorer
from sim.errors import ShapeError

if TYPE_CHECKING:
    from agents.moe.train import Trained


@given(st.lists(st.integers(0, 30), max_size=12), st.integers(1, 20))
def test_passes_hold_every_request_once_in_order_and_few_enough(
    counts: list[int], most: int
) -> None:
    pieces = [piece for part in passes(counts, most) for piece in part]
    owner = np.repeat(np.arange(len(counts)), counts).tolist()
    assert [p.plan for p in pieces for _ in range(p.start, p.stop)] == owner
    assert [at for p in pieces for at in range(p.start, p.stop)] == list(range(sum(counts)))
    for part in passes(counts, most):
        assert 0 < sum(piece.stop - piece.start for piece in part) <= most


def test_a_plan_is_cut_in_two_only_where_it_is_too_long_for_a_pass() -> None:
    assert [[p.plan for p in part] for part in passes([4, 5, 3, 12], 10)] == [[0, 1], [2], [3], [3]]


def _scorer(trained: Trained, layers: int) -> MergedScorer:
    inputs, _, _ = trained.suite.service.flat()
    generator = torch.Generator().manual_seed(layers)
    model = Encoder(replace(trained.model.shape, layers=layers), generator).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return MergedScorer(model, torch.from_numpy(inputs))


@pytest.mark.parametrize("layers", [2, 3])
def test_many_merges_answer_as_each_does_alone(trained: Trained, layers: int) -> None:
    scorer = _scorer(trained, layers)
    many = ManyMerges(scorer)
    weights = torch.rand(5, 8, generator=torch.Generator().manual_seed(1)).softmax(1)
    counts = [6, 1, 13, 2, 1]
    rows = torch.from_numpy(np.random.default_rng(0).integers(0, scorer.size, sum(counts)))
    with torch.inference_mode():
        together = many.logits(many.merge(weights), rows, counts)
    for plan, mine in enumerate(rows.split(counts)):
        alone = scorer.logits(scorer.merge(weights[plan].tolist()), mine)
        here = together[sum(counts[:plan]) : sum(counts[: plan + 1])]
        torch.testing.assert_close(here, alone, atol=2e-5, rtol=1e-5)


def test_merges_are_those_of_the_single_path(trained: Trained) -> None:
    scorer = _scorer(trained, 2)
    weights = torch.rand(3, 8, generator=torch.Generator().manual_seed(3)).softmax(1)
    for layer, all_at_once in enumerate(ManyMerges(scorer).merge(weights)):
        for plan in range(3):
            alone = scorer.merge(weights[plan].tolist())[layer]
            for one, other in zip(all_at_once, alone, strict=True):
                torch.testing.assert_close(one[plan], other, atol=1e-6, rtol=1e-5)
    with pytest.raises(ShapeError, match=r"expected 8 merge weights, found shape \(3, 7\)"):
        ManyMerges(scorer).merge(weights[:, :7])


@pytest.fixture(scope="module")
def stream() -> Runtime:
    return Runtime.load("builtin:stream")


def test_a_fleet_of_plans_is_answered_as_plan_by_plan(stream: Runtime) -> None:
    rng = np.random.default_rng(4)
    merges = [tuple(row) for row in rng.dirichlet(np.ones(8), 40).tolist()]
    counts = rng.poisson(14, 40).tolist()
    counts[3], counts[7] = 0, MOST + 90
    inputs = rng.integers(0, stream.card.pool_size, sum(counts))
    found = stream.score_plans(merges, inputs, counts)
    ends = np.cumsum(counts)
    parts = [
        stream.score_merged(merge, inputs[end - count : end])[0]
        for merge, count, end in zip(merges, counts, ends, strict=True)
    ]
    # a near-tie may fall otherwise; on the CPUs measured none does in a quarter of a million
    assert (found != np.concatenate(parts)).mean() <= 1e-3
    assert 0.2 < found.mean() < 0.9
    assert (found == stream.score_plans(merges, inputs, counts)).all()


def test_requests_that_do_not_fit_are_refused(stream: Runtime) -> None:
    half = (0.5, 0.5, *[0.0] * 6)
    with pytest.raises(ShapeError, match="1 plans with 1 counts of 3 requests, found 2"):
        stream.score_plans([half], np.array([1, 2]), [3])
    with pytest.raises(ShapeError, match=r"input ids: expected 0\.\.4095"):
        stream.score_plans([half], np.array([4096]), [1])
    assert stream.score_plans([], np.zeros(0, np.int64), []).shape == (0,)
