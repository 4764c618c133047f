from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agents.conformance import example_setup
from agents.routers.static import (
    BestFixed,
    BestSingle,
    RandomWeights,
    Top1,
    Top1Capacity,
    Top2,
    TopKPlan,
    Uniform,
    best_expert,
)
from sim.errors import InputError
from sim.plans import Merged, Single, TopK
from sim.ports import Calibration, ContextBlock


def context(slot, active, reset=None):
    n = len(active)
    none = np.zeros(n, bool) if reset is None else np.array(reset)
    return ContextBlock(slot, slot * 5.0, np.array(active), np.zeros((n, 3)), none)


def test_a_fixed_plan_is_decided_once_and_again_after_a_restart():
    router = Uniform(example_setup())
    plan = Merged((0.25,) * 4)
    assert router.decide_block(context(0, [True, True, False])).plans == [plan, plan, None]
    assert router.decide_block(context(1, [True, True, True])).plans == [None, None, plan]
    again = router.decide_block(context(2, [True, True, True], [False, True, False]))
    assert again.plans == [None, plan, None]


def test_a_node_that_restarts_while_inactive_is_served_when_it_returns():
    router = Uniform(example_setup())
    router.decide_block(context(0, [True, True, True]))
    router.decide_block(context(1, [False, True, True], [True, False, False]))
    assert router.decide_block(context(2, [True, True, True])).plans[0] is not None


def test_gated_plans():
    first = context(0, [True])
    one = example_setup(nodes=1)
    assert Top1(one).decide_block(first).plans == [TopK(1)]
    assert Top2(one).decide_block(first).plans == [TopK(2)]
    three = TopKPlan(replace(one, params={"k": 3, "gate": "random"}))
    assert three.decide_block(first).plans == [TopK(3, "random")]


def test_experts_may_be_of_limited_capacity():
    first, one = context(0, [True]), example_setup(nodes=1)
    assert Top1Capacity(one).decide_block(first).plans == [TopK(1, capacity=1.25)]
    tight = Top1Capacity(replace(one, params={"capacity": 1}))
    assert tight.decide_block(first).plans == [TopK(1, capacity=1.0)]
    both = TopKPlan(replace(one, params={"k": 2, "capacity": 1.5}))
    assert both.decide_block(first).plans == [TopK(2, capacity=1.5)]
    assert TopKPlan(one).decide_block(first).plans == [TopK(2)]
    with pytest.raises(InputError, match="capacity: expected a number in"):
        Top1Capacity(replace(one, params={"capacity": 0.0}))


def test_best_fixed_is_the_calibration_point_with_the_best_reward():
    weights = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    reward = np.array([[0.9, 0.1], [0.6, 0.6], [0.2, 0.7]])
    count = np.array([10.0, 10.0])
    for prior, best in (((0.5, 0.5), (0.5, 0.5)), ((0.9, 0.1), (1.0, 0.0))):
        known = Calibration(weights, reward, count, np.array(prior))
        setup = replace(example_setup(nodes=1), experts=2, clusters=2, calibration=known)
        answer = BestFixed(setup).decide_block(context(0, [True]))
        assert answer.plans == [Merged(best)]
        assert answer.receipts.flop.tolist() == [12.0]


def test_top_k_beyond_the_experts_is_refused():
    with pytest.raises(InputError, match="k: expected at most 4 experts, found 5"):
        TopKPlan(example_setup(k=5))


def test_best_single_weighs_clusters_by_the_prior_and_looks_at_vertices_only():
    weights = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    reward = np.array([[0.9, 0.1], [1.0, 1.0], [0.2, 0.7]])
    count = np.array([10.0, 10.0])
    rare = Calibration(weights, reward, count, np.array([0.1, 0.9]))
    common = Calibration(weights, reward, count, np.array([0.9, 0.1]))
    assert (best_expert(common), best_expert(rare)) == (0, 1)
    setup = replace(example_setup(nodes=1), experts=2, clusters=2, calibration=rare)
    answer = BestSingle(setup).decide_block(context(0, [True]))
    assert answer.plans == [Single(1)]
    assert answer.receipts.flop.tolist() == [12.0]


def test_best_single_needs_vertices():
    bare = Calibration(np.full((1, 2), 0.5), np.ones((1, 1)), np.ones(1), np.ones(1))
    with pytest.raises(InputError, match="holds no single expert"):
        best_expert(bare)


def test_random_weights_are_fresh_uniform_and_a_node_depends_on_its_id_only():
    block, alone = example_setup(nodes=3), replace(example_setup(nodes=1), nodes=np.array([12]))
    one, three = RandomWeights(alone), RandomWeights(block)
    first = [one.decide_block(context(k, [True])).plans[0] for k in range(400)]
    mates = [three.decide_block(context(k, [k % 2 == 0, False, True])).plans for k in range(400)]
    assert [plans[2] for plans in mates] == first
    assert all(plans[1] is None for plans in mates)
    drawn = np.array([plan.weights for plan in first])
    assert len(np.unique(drawn, axis=0)) == 400
    np.testing.assert_allclose(drawn.mean(axis=0), 0.25, atol=0.04)
    # Dirichlet(1) over K = 4: var = (K-1) / (K^2 (K+1)) = 0.0375
    np.testing.assert_allclose(drawn.var(axis=0), 0.0375, atol=0.01)
