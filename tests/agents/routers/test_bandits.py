"""The candidate bandits: what they share, and each one's rule."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from agents.conformance import example_setup
from agents.routers import ROUTERS
from agents.routers.bandits.clouds import draw_cloud, draw_flop
from agents.routers.context import ContextParams, MixEstimate
from agents.routers.landscapes import Arena, Game, draw, play, setup_for
from sim.errors import InputError, UnknownName
from sim.plans import Merged, Single, TopK, uniform
from tests.agents.routers.talk import context, told

NAMES = ("lin-ucb", "neural-ts", "nucb", "rff-ucb")
NEURAL = {"width": 16, "batch": 16, "restart_steps": 20, "period": 3}
SMALL = {"nucb": NEURAL, "neural-ts": NEURAL, "rff-ucb": {"waves": 24}, "lin-ucb": {}}
every = pytest.mark.parametrize("name", NAMES)


def small(name, nodes=2, pooled=False, swap_s=None, **params):
    """A small bandit; slots take 5 s."""
    setup = example_setup(nodes=nodes, **{"candidates": 20, **SMALL[name], **params})
    swap = None if swap_s is None else np.full(nodes, swap_s)
    return ROUTERS.load(name)(replace(setup, pooled=pooled, swap_s=swap))


def answer_all(router, slot, plans, reward=0.5):
    rows = [(i, slot, p or uniform(4), [reward] * 3, [9] * 3) for i, p in enumerate(plans)]
    router.update_block(told(slot + 1, rows))


def test_clouds_are_merges_broad_uneven_and_sparse():
    points = draw_cloud(np.random.default_rng(0), 300, 8)
    assert points.shape == (300, 8)
    assert (points >= 0.0).all()
    np.testing.assert_allclose(points.sum(axis=1), 1.0)
    support = (points > 1e-12).sum(axis=1)
    assert set(support[200:].tolist()) == {1, 2, 3}
    assert (support[:100] == 8).all()
    assert points[100:200].max(axis=1).mean() > points[:100].max(axis=1).mean()


@pytest.mark.parametrize(("count", "size"), [(1, 4), (2, 1), (7, 2)])
def test_small_clouds_are_complete(count, size):
    points = draw_cloud(np.random.default_rng(0), count, size)
    assert points.shape == (count, size)
    np.testing.assert_allclose(points.sum(axis=1), 1.0)


@every
def test_learning_moves_the_choice(name):
    """Expert 2 alone is any good: after a while most weight is there."""
    router = small(name, nodes=1, warm_start=False, candidates=60)
    rng, plan = np.random.default_rng(0), uniform(4)
    for slot in range(60):
        plan = router.decide_block(context(slot, nodes=1)).plans[0] or plan
        reward = plan.weights[2] + 0.02 * rng.standard_normal(3)
        router.update_block(told(slot + 1, [(0, slot, plan, reward, [30] * 3)]))
    assert plan.weights[2] > 0.7


@every
def test_the_mix_decides(name):
    """Same knowledge, other mix: the merge follows the cluster that is asked for."""
    extra = {"upsilon": 0.0} if name in ("nucb", "neural-ts") else {"beta": 0.0}
    if name in ("nucb", "neural-ts"):
        extra |= {"restart_steps": 400, "width": 32}
    setup = example_setup(nodes=2, **{**SMALL[name], **extra, "candidates": 200})
    known = setup.calibration
    reward = known.weights[:, :3]
    setup = replace(setup, calibration=replace(known, reward=reward))
    router = ROUTERS.load(name)(setup)
    plans = router.decide_block(context(0, counts=[[90, 0, 0], [0, 0, 90]])).plans
    assert [int(np.argmax(plan.weights)) for plan in plans] == [0, 2]


@every
def test_the_mix_is_the_shared_estimate_and_its_switches_are_told(name):
    router = small(name, alpha=0.5, prior_weight=4.0)
    twin = MixEstimate(2, router.mix.prior, ContextParams(alpha=0.5, prior_weight=4.0))
    for slot in range(5):
        counts = [[30, 0, 0], [0, 0, 30] if slot == 4 else [30, 0, 0]]
        answer = router.decide_block(context(slot, counts=counts))
        twin.observe(np.array(counts, float), np.ones(2, bool))
        np.testing.assert_array_equal(answer.mix, twin.mix)
    assert list(answer.telemetry) == [{"table": "drift", "slot": 4, "node": 11, "kind": "detected"}]


@every
@pytest.mark.parametrize("pooled", [False, True])
def test_a_warm_start_knows_the_calibration(name, pooled):
    extra = {"restart_steps": 400, "width": 32} if name in ("nucb", "neural-ts") else {}
    warm, cold = small(name, 1, pooled, **extra), small(name, 1, pooled, warm_start=False)
    known = example_setup(nodes=1).calibration
    mix = np.array([[0.5, 0.25, 0.25]])
    want = known.reward @ mix[0]
    mean, deviation = warm.model.aim(mix).both(known.weights[None])
    before, wide = cold.model.aim(mix).both(known.weights[None])
    np.testing.assert_allclose(before, 0.0, atol=1e-5)
    # a linear model cannot follow made-up rewards, it only comes nearer
    assert np.abs(mean[0] - want).mean() < (0.2 if name == "lin-ucb" else 0.12)
    assert (deviation < wide).all()


@every
def test_a_restart_is_a_new_deployment(name):
    router, twin = small(name), small(name)
    for slot in range(6):
        answer_all(router, slot, router.decide_block(context(slot)).plans, 0.3)
    router.decide_block(context(6, active=[False, True], reset=[True, False]))
    mix, points = np.full((2, 3), 1 / 3), np.random.default_rng(0).dirichlet(np.ones(4), (2, 9))
    for mine, fresh in zip(
        router.model.aim(mix).both(points), twin.model.aim(mix).both(points), strict=True
    ):
        np.testing.assert_array_equal(mine[0], fresh[0])
        assert not np.array_equal(mine[1], fresh[1])
    assert np.isnan(router.last[0]).all()
    assert router.age.tolist() == [0, 7]


@every
def test_renewed_clusters_are_forgotten(name):
    router = small(name, warm_start=False)
    for slot in range(6):
        answer_all(router, slot, router.decide_block(context(slot)).plans, 0.9)
    points = np.random.default_rng(0).dirichlet(np.ones(4), (2, 9))
    mixes = [np.tile(np.eye(3)[v], (2, 1)) for v in (0, 1)]
    kept, gone = (router.model.aim(mix).both(points)[1] for mix in mixes)
    renewed = np.array([[False, True, False], [False, False, False]])
    router._renew(replace(context(6), renewed=renewed))
    still, wide = (router.model.aim(mix).both(points)[1] for mix in mixes)
    np.testing.assert_allclose(still, kept, rtol=1e-4)
    assert (wide[0] > gone[0]).all()
    np.testing.assert_array_equal(wide[1], gone[1])
    share = router.mix.mix[0]
    router.decide_block(replace(context(6, counts=np.zeros((2, 3))), renewed=renewed))
    np.testing.assert_allclose(router.mix.mix[0], share, atol=0.02)


@every
@pytest.mark.parametrize("pooled", [False, True])
def test_learning_the_rest_anew_after_renewing_is_charged(name, pooled):
    one, two = (small(name, pooled=pooled) for _ in range(2))
    renewed = np.zeros((2, 3), bool)
    renewed[0, 1] = pooled
    flop = one.decide_block(context(0)).receipts.flop
    with_renewal = two.decide_block(replace(context(0), renewed=renewed)).receipts.flop
    extra = two.model.work_renew(0).flop if pooled else 0.0
    assert (extra > 0.0) == pooled
    np.testing.assert_allclose(with_renewal - flop, [extra, 0.0], atol=1e-6 * extra)


@every
def test_gated_plans_and_empty_rows_teach_nothing_spoilt_rows_are_counted(name):
    router = small(name)
    before = router.snapshot()
    rows = [
        (0, 0, TopK(2), [0.5] * 3, [1] * 3),
        (0, 0, uniform(4), [0.0] * 3, [0] * 3),
        (0, 0, uniform(4), [math.nan, 0, 0], [1, 0, 0]),
        (1, 0, uniform(4), [0.5, 0, 0], [-1, 2, 0]),
    ]
    router.update_block(told(1, rows))
    after = router.snapshot()
    assert (router.refused, int(before.pop("refused")), int(after.pop("refused"))) == (2, 0, 2)
    for key, value in after.items():
        np.testing.assert_array_equal(value, before[key], err_msg=key)
    router.update_block(told(2, [(0, 0, Single(2), [0.5] * 3, [1] * 3)]))
    assert router.model.memory.x[0, router.model.memory.size[0] - 1].tolist() == [0, 0, 1, 0]


@every
def test_every_piece_of_work_is_charged(name):
    router = small(name, warm_start=False)
    model, v = router.model, 3.0
    first = router.decide_block(context(0))
    looking = router.mix.work() + model.work_score(0, 21.0, v)
    drawing = draw_flop(20, 4)
    np.testing.assert_allclose(first.receipts.flop, looking.flop + drawing)
    np.testing.assert_allclose(first.receipts.read_bytes, looking.read_bytes)
    answer_all(router, 0, first.plans)
    router.age[:] = 3  # a fit is due where there is anything to train
    fitting = model.work_fit(0, 30.0).flop if model.stale(0) else 0.0
    second = router.decide_block(context(1))
    learned = model.work_observe(0, v).flop
    np.testing.assert_allclose(second.receipts.flop, looking.flop + drawing + learned + fitting)
    assert (second.receipts.state_bytes > model.memory.nbytes(0)).all()


@every
def test_the_warm_start_is_charged_once(name):
    warm, cold = small(name), small(name, warm_start=False)
    gap = [
        warm.decide_block(context(slot)).receipts.flop
        - cold.decide_block(context(slot)).receipts.flop
        for slot in range(2)
    ]
    points = float(len(example_setup().calibration.weights))
    model = warm.template
    want = model.work_fit(0, 20.0).flop
    if name in ("nucb", "neural-ts"):  # the others are fitted to all points at once
        want += points * model.work_observe(0, 3.0).flop
    np.testing.assert_allclose(gap[0], want, rtol=1e-9)
    np.testing.assert_allclose(gap[1], 0.0, atol=1e-6)


@every
def test_anchors_are_candidates_when_declared_after_a_warm_start(name):
    known = example_setup().calibration.weights
    assert len(small(name).known) == 0
    assert len(small(name, anchors=True, warm_start=False).known) == 0
    router = small(name, anchors=True)
    np.testing.assert_array_equal(router._candidates(0)[1 : 1 + len(known)], known)


@every
def test_a_cap_on_active_experts_holds(name):
    router = small(name, max_active=2, anchors=True)
    for slot in range(8):
        plans = router.decide_block(context(slot)).plans
        assert all(sum(w > 0 for w in plan.weights) <= 2 for plan in plans if plan)
        answer_all(router, slot, plans)


@every
def test_many_experts_are_searched_in_groups(name):
    params = {"candidates": 20, **SMALL[name]}
    router = ROUTERS.load(name)(example_setup(nodes=1, experts=12, **params))
    assert router.space.size == 8
    weights = np.array(router.decide_block(context(0, nodes=1)).plans[0].weights)
    for group in router.space.groups > 0.0:
        np.testing.assert_allclose(weights[group], weights[group].mean())


@every
@pytest.mark.parametrize(("swap_s", "hysteresis", "kept"), [(5.0, 99.0, True), (None, 99.0, False)])
def test_a_merge_that_costs_more_than_it_gains_is_not_made(name, swap_s, hysteresis, kept):
    router = small(name, swap_s=swap_s, hysteresis=hysteresis)
    plans = [router.decide_block(context(slot)).plans for slot in range(4)]
    assert all(plan is not None for plan in plans[0])
    assert all(plan is None for later in plans[1:] for plan in later) == kept


@every
def test_inactive_nodes_draw_nothing(name):
    router = small(name)
    before = router.snapshot()
    answer = router.decide_block(context(0, active=[False, True]))
    after = router.snapshot()
    assert answer.plans[0] is None
    assert answer.receipts.flop[0] == 0.0
    for key in ("rngs", "age", "last"):
        np.testing.assert_array_equal(before[key][0], after[key][0])
        assert not np.array_equal(before[key][1], after[key][1])
    assert router.decide_block(context(1, active=[False, False])).plans == [None, None]


@every
def test_a_node_decides_in_a_block_as_it_does_alone(name):
    land, game = draw("quad", 4, 3, seed=1), Game(8)
    setup = setup_for([land] * 3, game, 1, {"candidates": 20, **SMALL[name]})
    block, arena = ROUTERS.load(name)(setup), Arena([land] * 3, game, 1)
    lone = [ROUTERS.load(name)(replace(setup, nodes=setup.nodes[i : i + 1])) for i in range(3)]
    for slot in range(8):
        whole = arena.context(slot)
        arena.take(slot, block)
        memory = block.model.memory
        for i, router in enumerate(lone):
            cut = slice(i, i + 1)
            mine = replace(
                whole, active=whole.active[cut], counts=whole.counts[cut], reset=whole.reset[cut]
            )
            router.decide_block(mine)
            np.testing.assert_allclose(router.last[0], arena.points[i, slot], atol=1e-9)
            last = int(memory.size[i]) - 1
            reward, count = memory.y[i, last], 0.25 * memory.w[i, last]
            plans = Merged(tuple(arena.points[i, slot]))
            router.update_block(told(slot + 1, [(0, slot, plans, reward, count)]))


@every
@pytest.mark.parametrize("pooled", [False, True])
def test_a_restored_router_goes_on_as_if_nothing_had_happened(name, pooled):
    land, game = draw("bump", 4, 3, seed=1), Game(16, pooled=pooled)
    setup = setup_for([land] * 2, game, 1, {"candidates": 20, **SMALL[name]})
    one, arena = ROUTERS.load(name)(setup), Arena([land] * 2, game, 1)
    twin, shadow = ROUTERS.load(name)(setup), Arena([land] * 2, game, 1)
    for slot in range(8):
        arena.take(slot, one)
        shadow.take(slot, twin)
    other = ROUTERS.load(name)(setup)
    other.restore(one.snapshot())
    for slot in range(8, 16):
        arena.take(slot, other)
        shadow.take(slot, twin)
    np.testing.assert_array_equal(arena.points, shadow.points)


def test_thompson_draws_vary_and_the_bound_does_not():
    """The same state, other draws: only sampling changes what is served."""
    points = np.tile(np.random.default_rng(0).dirichlet(np.ones(4), 9), (2, 1, 1))
    rows = np.arange(2)
    for name, varies in (("neural-ts", True), ("nucb", False)):
        router = small(name)
        mean, deviation = router.model.aim(np.full((2, 3), 1 / 3)).both(points)
        first, second = (router.worth(mean, deviation, rows) for _ in range(2))
        assert np.array_equal(first, second) != varies


def test_thompson_draws_have_the_models_mean_and_deviation():
    router = small("neural-ts", nodes=1)
    mean, deviation = np.full((1, 40_000), 0.3), np.full((1, 40_000), 0.2)
    drawn = router.worth(mean, deviation, np.zeros(1, int))
    assert drawn.mean() == pytest.approx(0.3, abs=0.005)
    assert drawn.std() == pytest.approx(0.2, abs=0.005)


def test_the_linear_bound_equals_linucb_written_out():
    router = small("lin-ucb", nodes=1, warm_start=False, lambda0=0.5, beta=1.5)
    rng = np.random.default_rng(5)
    x, y = rng.dirichlet(np.ones(4), 20), rng.random((20, 3))
    for i in range(20):
        plan = Merged(tuple(x[i]))
        router.update_block(told(i + 1, [(0, i, plan, y[i], [4, 2, 2])]))
    phi, points = np.c_[x, np.ones(20)], rng.dirichlet(np.ones(4), 6)
    new, mix = np.c_[points, np.ones(6)], np.array([0.2, 0.5, 0.3])
    weight = np.array([4.0, 2.0, 2.0]) * 4.0  # a mean of n yes/no outcomes has variance 0.25 / n
    mean, variance = np.zeros(6), np.zeros(6)
    for v in range(3):
        inverse = np.linalg.inv(0.5 * np.eye(5) + weight[v] * phi.T @ phi)
        mean += mix[v] * new @ inverse @ (weight[v] * phi.T @ y[:, v])
        variance += mix[v] ** 2 * np.einsum("id,de,ie->i", new, inverse, new)
    worth = router.worth(*router.model.aim(mix[None]).both(points[None]), np.zeros(1, int))
    np.testing.assert_allclose(worth[0], mean + 1.5 * np.sqrt(variance), atol=1e-8)


@every
def test_a_calibration_that_does_not_fit_is_refused(name):
    setup = example_setup()
    wrong = replace(setup.calibration, reward=setup.calibration.reward[:, :2])
    with pytest.raises(InputError, match=f"router {name}: calibration: expected"):
        ROUTERS.load(name)(replace(setup, calibration=wrong))
    none = replace(setup.calibration, weights=np.zeros((0, 4)), reward=np.zeros((0, 3)))
    with pytest.raises(InputError, match=f"router {name}: calibration: expected at least one"):
        ROUTERS.load(name)(replace(setup, calibration=none))


@every
def test_unknown_and_wild_parameters_are_refused(name):
    with pytest.raises(UnknownName, match=f"unknown parameter of router {name} 'candidate'"):
        small(name, candidate=3)
    with pytest.raises(InputError, match=f"router {name}: candidates: expected an integer"):
        small(name, candidates=0)
    with pytest.raises(UnknownName, match=f"unknown grouping of router {name} 'use'"):
        small(name, grouping="use")


@pytest.mark.parametrize("name", ["neural-ts", "nucb", "rff-ucb"])
@pytest.mark.parametrize("pooled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_smooth_landscape_is_learned(name, pooled):
    """A bump with moving mixes: after a hundred slots far better than the plain average."""
    lands, game = [draw("bump", 4, 4, seed) for seed in (1, 2)], Game(150, pooled=pooled)
    played = play(ROUTERS.load(name), lands, game, 7, {"warm_start": False})
    fixed = play(ROUTERS.load("uniform"), lands, game, 7)
    assert played.regret[:, 100:].sum() <= 0.4 * fixed.regret[:, 100:].sum()
