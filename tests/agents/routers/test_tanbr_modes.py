"""Modes of Tanbr: the reconstruction, random features, one number per slot, super-experts."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from agents.conformance import example_setup
from agents.routers.gradient.model import GradientModel
from agents.routers.grouping import group_experts
from agents.routers.landscapes import Arena, Game, draw, play, setup_for
from agents.routers.static import Uniform
from agents.routers.tanbr.config import PRESETS, TanbrParams, read_params
from agents.routers.tanbr.fourier import Fourier
from agents.routers.tanbr.router import Tanbr
from agents.routers.tanbr.space import Space
from sim.errors import InputError, UnknownName
from sim.plans import uniform
from tests.agents.routers.talk import SMALL, context, small, told

# --- parameters ---


def test_the_default_mode_is_neural_linear():
    assert read_params({}) == TanbrParams()
    assert read_params({"mode": "nl", "beta": 1.0}) == TanbrParams(beta=1.0)


def test_the_paper_mode_is_a_preset_that_may_be_overridden():
    paper = read_params({"mode": "paper", "beta": 0.3})
    for name, value in PRESETS["paper"].items():
        assert getattr(paper, name) == (0.3 if name == "beta" else value)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("mode", "unknown mode of router tanbr 'papr'; did you mean 'paper'"),
        ("features", "unknown features of router tanbr 'papr'"),
        ("cells", "unknown cells of router tanbr 'papr'"),
        ("grouping", "unknown grouping of router tanbr 'papr'"),
    ],
)
def test_unknown_words_are_refused(key, message):
    with pytest.raises(UnknownName, match=message):
        small(**{key: "papr"})


def test_the_paper_mode_has_no_other_features():
    with pytest.raises(InputError, match=r"features: expected net .*, found 'rff'"):
        small(mode="paper", features="rff")


# --- what the modes are made of ---


def test_the_paper_mode_is_gradients_on_a_tree_of_boxes():
    router = small(mode="paper", width=16)
    assert isinstance(router.learner, GradientModel)
    assert router.trees[0].outline.shape[1:] == (2, 4)
    assert (len(router.anchors), router.params.polish, router.params.alarm) == (0, 8, False)
    router = Tanbr(example_setup(nodes=1, mode="paper"))
    assert (router.params.polish, router.learner.memory.size[0]) == (0, 0)


@pytest.mark.parametrize(
    "params", [{"mode": "paper", "width": 16}, {"features": "rff", "waves": 32}, {"scalar": True}]
)
def test_every_mode_learns(params):
    """Only expert 2 is any good: after a while the merge leans there."""
    base = {**SMALL, "warm_start": False, "polish": 16, **params}
    router = Tanbr(example_setup(nodes=1, **base))
    rng, plan = np.random.default_rng(0), uniform(4)
    share = []
    for slot in range(150):
        plan = router.decide_block(context(slot, nodes=1)).plans[0] or plan
        reward = plan.weights[2] + 0.02 * rng.standard_normal(3)
        router.update_block(told(slot + 1, [(0, slot, plan, reward, [30] * 3)]))
        share.append(plan.weights[2])
    assert np.mean(share[-30:]) > 0.55


@pytest.mark.parametrize(
    "params",
    [{"mode": "paper", "width": 16}, {"features": "rff", "waves": 16}, {"scalar": True}],
    ids=["paper", "rff", "scalar"],
)
def test_every_mode_goes_on_bit_for_bit(params):
    land, game = draw("quad", 4, 3, seed=2), Game(36, lagged=True, delay=1)
    setup = setup_for([land] * 2, game, 3, {**SMALL, "rollback_every": 10, **params})

    def points(handover):
        router, arena = Tanbr(setup), Arena([land] * 2, game, 3)
        for slot in range(game.slots):
            if slot == handover:
                state = router.snapshot()
                router = Tanbr(setup)
                router.restore(state)
            arena.take(slot, router)
        return arena.points

    np.testing.assert_array_equal(points(None), points(23))


def test_random_features_are_never_trained():
    router = small(nodes=1, features="rff", waves=16, warm_start=False)
    assert isinstance(router.learner.basis, Fourier)
    waves = router.learner.basis.waves.clone()
    flop = []
    for slot in range(7):
        answer = router.decide_block(context(slot, nodes=1))
        flop.append(answer.receipts.flop[0])
        router.update_block(told(slot + 1, [(0, slot, uniform(4), [0.5] * 3, [9] * 3)]))
    assert (router.learner.basis.waves == waves).all()
    assert max(flop[1:]) < 1.5 * min(flop[1:])  # slot 5 would train


# --- one number per slot ---


def test_a_forced_scalar_learns_what_pooled_feedback_teaches():
    forced, given = small(scalar=True), small(pooled=True)
    counts, rewards = np.array([4.0, 1.0, 5.0]), np.array([0.2, 0.9, 0.5])
    mean = float(counts @ rewards / counts.sum())
    for router, told_ in ((forced, rewards), (given, [mean] * 3)):
        plan = router.decide_block(context(0)).plans[0]
        router.update_block(told(1, [(0, 0, plan, told_, counts)]))
    for name, value in forced.learner.heads.snapshot().items():
        np.testing.assert_allclose(value, given.learner.heads.snapshot()[name], atol=1e-9)
    assert forced.learner.heads.theta.shape == (2, 3 * 21)


def test_one_number_per_slot_still_beats_the_plain_average():
    lands = [draw("bump", 4, 3, seed=s) for s in (1, 2)]
    game, params = Game(120), {"alpha": 1.0, "warm_start": False, "scalar": True, "features": "rff"}
    ours = play(Tanbr, lands, game, 7, {**params, "waves": 64}).regret.sum()
    assert ours <= 0.5 * play(Uniform, lands, game, 7).regret.sum()


# --- renewed clusters ---


def test_renewed_clusters_are_forgotten_by_mix_heads_and_watch():
    router = small(warm_start=False)
    for slot in range(4):
        plans = router.decide_block(context(slot, counts=[[8, 1, 1]] * 2)).plans
        rows = [(i, slot, p or uniform(4), [0.5] * 3, [9] * 3) for i, p in enumerate(plans)]
        router.update_block(told(slot + 1, rows))
    heads = router.learner.heads.snapshot()
    renewed = np.array([[True, False, False], [False, False, False]])
    quiet = context(4, counts=np.zeros((2, 3)))
    answer = router.decide_block(replace(quiet, renewed=renewed))
    after = router.learner.heads.snapshot()
    assert (after["theta"][0, 0] == 0.0).all()
    np.testing.assert_array_equal(after["theta"][0, 1:], heads["theta"][0, 1:])
    np.testing.assert_array_equal(after["theta"][1], heads["theta"][1])
    assert answer.mix[0, 0] == pytest.approx(1 / 3, abs=0.02)
    assert answer.mix[0, 1] == pytest.approx(answer.mix[0, 2])
    assert answer.mix[1, 0] > 0.7


# --- super-experts ---


def many(experts=12, **params):
    return example_setup(nodes=2, experts=experts, **{**SMALL, **params})


def test_more_than_eight_experts_are_searched_in_groups_of_their_own():
    router = Tanbr(many())
    assert router.trees[0].experts == 8
    np.testing.assert_array_equal(
        router.space.groups, group_experts(router.calibration, 8, "profile")
    )
    plan = router.decide_block(context(0)).plans[0]
    weights = np.array(plan.weights)
    assert len(weights) == 12
    assert weights.sum() == pytest.approx(1.0)
    groups = router.space.groups
    np.testing.assert_allclose(router.space.place(weights[None]) @ groups, weights[None])
    router.update_block(told(1, [(0, 0, plan, [0.5] * 3, [1] * 3)]))
    np.testing.assert_array_equal(
        router.learner.memory.x[0, router.learner.memory.size[0] - 1], weights
    )


def test_eight_experts_are_searched_as_they_are():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Tanbr(many(8)).space.groups is None


def test_groups_can_be_counted_and_switched_off():
    assert Tanbr(many(8, groups=3)).trees[0].experts == 3
    with pytest.warns(UserWarning, match="searching merges of 12 experts one by one"):
        router = Tanbr(many(groups=-1))
    assert router.trees[0].experts == 12


def test_groups_need_every_expert_alone_in_the_calibration():
    setup = many(groups=8)
    known = setup.calibration
    lacking = replace(known, weights=known.weights[1:], reward=known.reward[1:])
    with pytest.raises(InputError, match="calibration"):
        Tanbr(replace(setup, calibration=lacking))
    with pytest.warns(UserWarning, match="calibrate every expert alone"):
        router = Tanbr(replace(many(), calibration=lacking))
    assert router.space.groups is None


def test_a_cap_holds_for_merges_of_groups():
    router = Tanbr(many(max_active=3))
    for slot in range(6):
        plans = router.decide_block(context(slot)).plans
        assert all(sum(w > 0 for w in plan.weights) <= 3 for plan in plans if plan)
        rows = [(i, slot, p or uniform(12), [0.5] * 3, [3] * 3) for i, p in enumerate(plans)]
        router.update_block(told(slot + 1, rows))


def test_a_point_of_groups_is_a_merge_and_back():
    groups = np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    space = Space(3, 3, groups)
    np.testing.assert_allclose(space.served(np.array([0.4, 0.6])), [0.2, 0.2, 0.6])
    merges = np.array([[0.2, 0.2, 0.6], [0.4, 0.0, 0.6], [0.0, 0.0, 1.0]])
    np.testing.assert_allclose(space.place(merges), [[0.0, 1.0], [0.4, 0.6]])
