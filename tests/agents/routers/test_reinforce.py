"""Policy-gradient routing: the gradient, the warm start, learning, and snapshots."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from agents.conformance import example_setup
from agents.routers.landscapes import Arena, Game, draw, setup_for
from agents.routers.reinforce import Reinforce, score, softmax, warm
from sim.errors import InputError
from sim.plans import Single
from sim.ports import Calibration, ContextBlock
from tests.agents.routers.talk import context, told


def test_the_gradient_is_that_of_autograd():
    rng = np.random.default_rng(0)
    theta, mix = rng.standard_normal((3, 5)), rng.dirichlet(np.ones(3))
    logits = torch.tensor(theta, requires_grad=True)
    chance = torch.tensor(mix) @ torch.softmax(logits, 1)
    chance[2].log().backward()
    np.testing.assert_allclose(score(softmax(theta), mix, 2), logits.grad.numpy(), atol=1e-12)


def test_scores_average_to_nothing():
    """The identity that makes any baseline unbiased: sum_e p(e) grad ln p(e) = 0."""
    rng = np.random.default_rng(1)
    policy, mix = softmax(rng.standard_normal((3, 5))), rng.dirichlet(np.ones(3))
    chance = mix @ policy
    total = sum(chance[e] * score(policy, mix, e) for e in range(5))
    np.testing.assert_allclose(total, 0.0, atol=1e-12)


def test_a_warm_start_prefers_the_best_single_expert_of_each_cluster():
    weights = np.vstack([np.eye(3), np.full((1, 3), 1 / 3)])
    reward = np.array([[0.9, 0.2], [0.5, 0.8], [0.1, 0.1], [0.95, 0.95]])
    known = Calibration(weights, reward, np.full(2, 50.0), np.full(2, 0.5))
    logits, level = warm(known, (2, 3), 0.1)
    assert logits.argmax(axis=1).tolist() == [0, 1]
    assert logits[0, 0] - logits[0, 1] == pytest.approx(4.0)
    assert level[0] == pytest.approx((softmax(logits)[0] * [0.9, 0.5, 0.1]).sum())


def test_without_single_experts_the_start_is_even():
    known = Calibration(np.full((1, 3), 1 / 3), np.ones((1, 2)), np.full(2, 50.0), np.full(2, 0.5))
    logits, _ = warm(known, (2, 3), 0.1)
    assert not logits.any()


def test_it_samples_by_the_policy_of_the_mix():
    router = Reinforce(example_setup(nodes=1, warm_start=False, prior_weight=0.0, lr=1e-9))
    router.theta[0] = np.log([[0.7, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.7], [0.25] * 4])
    up, stays = np.ones(1, bool), np.zeros(1, bool)
    drawn = np.zeros(4)
    for slot in range(3000):
        router.decide_block(ContextBlock(slot, 0.0, up, np.array([[30.0, 10.0, 0.0]]), stays))
        drawn[router.plans[0].expert] += 1
    want = np.array([0.75, 0.25]) @ [[0.7, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.7]]
    np.testing.assert_allclose(drawn / 3000, want, atol=0.035)  # 4 standard deviations


def test_it_serves_single_experts():
    router = Reinforce(example_setup(nodes=2))
    context = ContextBlock(0, 0.0, np.ones(2, bool), np.ones((2, 3)), np.zeros(2, bool))
    assert all(isinstance(plan, Single) for plan in router.decide_block(context).plans)


def test_it_learns_which_expert_serves_a_mix():
    lands = [draw("bump", 4, 3, seed=s, mixes=1) for s in (1, 2)]
    setup, game = setup_for(lands, Game(800), 7, {"warm_start": False}), Game(800)
    arena, router = Arena(lands, game, 7), Reinforce(setup)
    for slot in range(800):
        arena.take(slot, router)
    for row, land in enumerate(lands):
        value = land.reward(np.eye(4)) @ land.mixes[0]
        late = arena.points[row, 600:] @ value
        assert late.mean() > value.max() - 0.05 * np.ptp(value)


def test_a_warm_start_saves_regret_against_the_best_single_expert():
    lands = [draw("bump", 4, 4, seed=2)] * 4
    single = lands[0].best - (lands[0].mixes @ lands[0].reward(np.eye(4)).T).max(axis=1)
    excess = []
    for begin_warm in (True, False):
        setup = setup_for(lands, Game(60, warm=True), 7, {"warm_start": begin_warm})
        arena, router = Arena(lands, Game(60), 7), Reinforce(setup)
        for slot in range(60):
            arena.take(slot, router)
        excess.append(float((arena.regret - single[arena.walk]).sum()))
    assert 0.0 <= excess[0] < 0.6 * excess[1]


def test_a_renewed_cluster_has_no_preference():
    router = Reinforce(example_setup(nodes=1))
    kept = router.theta[0, 1:].copy()
    renewed = np.array([[True, False, False]])
    up, stays = np.ones(1, bool), np.zeros(1, bool)
    router.decide_block(ContextBlock(0, 0.0, up, np.ones((1, 3)), stays, renewed=renewed))
    assert not router.theta[0, 0].any()
    np.testing.assert_array_equal(router.theta[0, 1:], kept)


def test_a_choice_from_before_a_renewal_moves_only_what_kept_its_meaning():
    router = Reinforce(example_setup(nodes=1))
    plan = router.decide_block(context(0, nodes=1)).plans[0]
    renewed = np.array([[True, False, False]])
    down = replace(context(1, nodes=1, active=[False]), renewed=renewed)
    router.decide_block(down)
    before = router.theta[0].copy()
    router.update_block(told(2, [(0, 0, plan, [1.0] * 3, [5] * 3)]))
    assert not router.theta[0, 0].any()
    assert (router.theta[0, 1:] != before[1:]).any(axis=1).all()


def test_a_restored_router_goes_on_as_if_nothing_had_happened():
    lands, game = [draw("quad", 3, 3, seed=s) for s in (1, 2)], Game(60, delay=2)
    setup = setup_for(lands, game, 3, {})
    whole, half = Reinforce(setup), Reinforce(setup)
    arenas = [Arena(lands, game, 3) for _ in range(2)]
    for slot in range(30):
        arenas[0].take(slot, whole)
        arenas[1].take(slot, half)
    again = Reinforce(setup)
    again.restore(half.snapshot())
    for slot in range(30, 60):
        arenas[0].take(slot, whole)
        arenas[1].take(slot, again)
    np.testing.assert_array_equal(arenas[0].points, arenas[1].points)
    np.testing.assert_array_equal(whole.theta, again.theta)


def test_a_wrong_parameter_says_what_is_allowed():
    with pytest.raises(InputError, match="router reinforce: temperature: expected a number"):
        Reinforce(example_setup(temperature=0.0))
