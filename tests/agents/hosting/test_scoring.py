from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.hosting.model import Weights
from agents.hosting.scoring import Asked, BlockScorer, PoolScores
from sim.arrays import BoolArray, FloatArray, IntArray
from sim.plans import Merged, Plan, Single, TopK, merge_weights, uniform
from sim.ports import NewPlan
from tests.agents.hosting.tiny import E, M, P, TinyModel, ints

W, V = Merged((0.4, 0.3, 0.2, 0.1)), Merged((0.1, 0.2, 0.3, 0.4))


@pytest.fixture
def model() -> TinyModel:
    return TinyModel(moody=True)


@pytest.fixture
def scorer(model: TinyModel) -> BlockScorer:
    return BlockScorer(model, PoolScores(model))


def new(plan: Plan, decided: int = 3) -> NewPlan:
    return NewPlan(1, 0, decided, plan)


def ask(scorer: BlockScorer, plan: NewPlan, inputs: IntArray) -> FloatArray:
    return scorer.score([asked(plan.plan, inputs, plan.decided)])[0]


def asked(plan: Plan, inputs: IntArray, decided: int = 3) -> Asked:
    return Asked(new(plan, decided), inputs, np.zeros(len(inputs), np.int64))


@pytest.mark.parametrize(
    ("plan", "decided"), [(TopK(2), 3), (Single(1), 3), (uniform(E), 3), (W, -1)]
)
def test_fixed_plans_are_scored_once_over_the_whole_pool(
    scorer: BlockScorer, model: TinyModel, plan: Plan, decided: int
) -> None:
    first = ask(scorer, new(plan, decided), ints([5, 70, 5]))
    again = ask(scorer, new(plan, decided), ints([70]))
    assert len(model.calls) == 1
    weights = merge_weights(plan, E)
    twin = TinyModel(moody=True)
    whole = twin.score_merged(weights, np.arange(P))[0] if weights else twin.profile(plan).correct
    assert first.tolist() == whole[[5, 70, 5]].tolist()
    assert again.tolist() == [whole[70]]
    assert scorer.knows(plan)


def test_other_merges_are_scored_as_they_come(scorer: BlockScorer, model: TinyModel) -> None:
    got = ask(scorer, new(W), ints([5, 70]))
    assert model.calls == [("score_merged", (W.weights, [5, 70]))]
    assert got.tolist() == TinyModel(moody=True).score_merged(W.weights, ints([5, 70]))[0].tolist()
    assert not scorer.knows(W)


def test_a_merge_answers_each_input_once_while_it_is_in_force(
    scorer: BlockScorer, model: TinyModel
) -> None:
    first = scorer.score([asked(W, ints([9, 5])), asked(V, ints([5])), asked(W, ints([7, 9]))])
    then = scorer.score([asked(W, ints([5, 5, 8]))])
    scorer.score([asked(V, ints([5]))])
    scorer.score([asked(W, ints([8]))])  # out of force for a slot: forgotten
    said = [(weights, inputs) for _, (weights, inputs) in model.calls]
    assert said == [
        (W.weights, [5, 7, 9]), (V.weights, [5]), (W.weights, [8]), (V.weights, [5]),
        (W.weights, [8]),
    ]  # fmt: skip
    right = TinyModel(moody=True).score_merged(W.weights, ints([5, 7, 9]))[0].astype(float)
    assert first[0].tolist() == [right[2], right[0]]
    assert first[2].tolist() == [right[1], right[2]]
    assert then[0][:2].tolist() == [right[0]] * 2


MERGES = [Merged(tuple(row)) for row in np.random.default_rng(2).dirichlet(np.ones(E), 4).tolist()]
PLANS: list[Plan] = [*MERGES, TopK(2), Single(1)]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.lists(
            st.tuples(
                st.integers(0, len(PLANS) - 1), st.lists(st.integers(0, 9), min_size=1, max_size=6)
            ),
            max_size=5,
        ),
        max_size=6,
    )
)
def test_a_block_is_scored_as_if_every_request_were_asked_alone(
    boundaries: list[list[tuple[int, list[int]]]],
) -> None:
    model, twin = TinyModel(), TinyModel()
    scorer = BlockScorer(model, PoolScores(model))
    for groups in boundaries:
        found = scorer.score([asked(PLANS[plan], ints(inputs)) for plan, inputs in groups])
        for (plan, inputs), right in zip(groups, found, strict=True):
            weights = merge_weights(PLANS[plan], E)
            whole = (
                twin.profile(PLANS[plan]).correct
                if weights is None
                else twin.score_merged(weights, np.arange(P))[0]
            )
            assert right.tolist() == whole[inputs].tolist()


class Together(TinyModel):
    """The tiny model that answers many merges at once."""

    def score_plans(
        self, weights: Sequence[Weights], inputs: IntArray, counts: Sequence[int]
    ) -> BoolArray:
        self.calls.append(("score_plans", (list(weights), inputs.tolist(), list(counts))))
        near = 1.0 - np.abs(self.wants[inputs] - np.repeat(weights, counts, axis=0)).sum(1) / 2.0
        right: BoolArray = near > 0.5
        return right


def test_a_model_that_can_answers_all_merges_of_a_block_in_one_call() -> None:
    model, twin = Together(), TinyModel()
    scorer = BlockScorer(model, PoolScores(model))
    found = scorer.score([asked(W, ints([9, 5])), asked(V, ints([5, 6])), asked(W, ints([7]))])
    assert model.calls == [("score_plans", ([W.weights, V.weights], [5, 7, 9, 5, 6], [3, 2]))]
    for right, plan, inputs in zip(found, (W, V, W), ([9, 5], [5, 6], [7]), strict=True):
        assert right.tolist() == twin.score_merged(plan.weights, ints(inputs))[0].tolist()


def test_a_merge_that_recurs_is_looked_up_once_it_has_paid_for_the_pool(
    scorer: BlockScorer, model: TinyModel
) -> None:
    for start in range(0, P, 25):
        ask(scorer, new(W), np.arange(start, start + 25))
    assert not scorer.knows(W)
    ask(scorer, new(W), ints([3]))
    ask(scorer, new(W), ints([4]))
    assert [len(inputs) for _, (_, inputs) in model.calls] == [25, 25, 25, P]
    assert scorer.knows(W)


def test_the_rule_depends_on_the_block_alone_though_the_pool_is_shared(model: TinyModel) -> None:
    pool = PoolScores(model)
    first, second = BlockScorer(model, pool), BlockScorer(model, pool)
    ask(first, new(W, -1), ints([1]))  # pooled by the first block
    lonely = ask(second, new(W), ints([1]))
    assert lonely.tolist() == TinyModel(moody=True).score_merged(W.weights, ints([1]))[0].tolist()
    assert not second.knows(W)


@pytest.mark.parametrize("plan", [TopK(1), W])
def test_accuracy_by_task_is_the_mean_over_the_pool(plan: Plan) -> None:
    model = TinyModel()
    pool = PoolScores(model)
    accuracy, right = pool.accuracy(plan), pool.correct(plan)
    assert accuracy.tolist() == [right[model.task_of == task].mean() for task in range(M)]


def test_a_limited_plan_has_the_accuracy_that_its_batches_had(
    scorer: BlockScorer, model: TinyModel
) -> None:
    plan = TopK(1, capacity=1.25)
    assert np.isnan(scorer.realised(plan)).all()
    rng, right, asked = np.random.default_rng(5), np.zeros(M), np.zeros(M)
    for _ in range(3):
        inputs, batch = rng.integers(0, 50, 30), np.sort(rng.integers(0, 6, 30))  # tasks 0 and 1
        found = scorer.score([Asked(new(plan), inputs, batch)])[0]
        for item, hit in zip(inputs.tolist(), found.tolist(), strict=True):
            right[model.task_of[item]] += hit
            asked[model.task_of[item]] += 1
    assert scorer.knows(plan)
    assert scorer.realised(plan)[:2].tolist() == (right[:2] / asked[:2]).tolist()
    assert np.isnan(scorer.realised(plan)[2])
