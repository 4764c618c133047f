"""What Tanbr does with decisions, late and partial feedback, restarts."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest

from agents.conformance import example_setup
from agents.routers.context import ContextParams, MixEstimate
from agents.routers.landscapes import Arena, Game, draw, setup_for
from agents.routers.tanbr.cost import Costs
from agents.routers.tanbr.router import Tanbr
from sim.errors import InputError, ShapeError
from sim.plans import Merged, Single, TopK, uniform
from sim.ports import ContextBlock, FeedbackBlock
from tests.agents.routers.talk import SMALL, context, small, told

# --- learning from late, partial, repeated feedback ---


def test_each_row_is_one_observation_with_its_own_counts():
    router = small(warm_start=False)
    plan = router.decide_block(context(0)).plans[0]
    heads = copy.deepcopy(router.learner.heads)
    first, second = ([0.5, 0.0, 1.0], [4, 0, 1]), ([0.25, 1.0, 0.0], [8, 2, 0])
    router.update_block(told(1, [(0, 0, plan, *first)]))
    router.update_block(told(9, [(0, 0, plan, *second)]))  # much later, the same decision
    phi = router.learner.basis.embed(np.tile(plan.weights, (2, 1, 1)))[0, 0]
    for reward, count in (first, second):
        # precision of a mean of n yes/no outcomes: n / 0.25
        heads.observe(0, phi, np.array(reward), 4.0 * np.array(count, float))
    np.testing.assert_allclose(
        router.learner.heads.theta.numpy(), heads.theta.numpy(), atol=1e-9, rtol=0
    )
    assert router.learner.memory.size.tolist() == [2, 0]


def test_a_decision_is_credited_to_the_tree_once():
    router = small(warm_start=False, c=2.0)
    plan = router.decide_block(context(0)).plans[0]
    for slot in (1, 2, 3):
        router.update_block(told(slot, [(0, 0, plan, [0.5] * 3, [1, 1, 1])]))
    assert router.trees[0].pulls[:1].tolist() == [1]
    assert router.trees[1].pulls[:1].tolist() == [0]


@pytest.mark.parametrize("hysteresis", [0.0, 9.0])
def test_a_merge_chosen_again_counts_again_for_its_cell(hysteresis):
    """A kept plan goes by its old name; its cell must still ripen, or the tree never grows."""
    params = {"warm_start": False, "polish": 0, "c": 9.0, "hysteresis": hysteresis}
    router = small(nodes=1, swap_s=5.0, **params)
    plan = router.decide_block(context(0, nodes=1)).plans[0]
    for slot in range(1, 6):
        router.update_block(told(slot, [(0, 0, plan, [0.5] * 3, [1] * 3)]))
        router.update_block(told(slot, [(0, 0, plan, [0.5] * 3, [1] * 3)]))  # a later part
        assert router.trees[0].pulls[:1].tolist() == [slot]
        assert router.decide_block(context(slot, nodes=1)).plans == [None]


def test_the_start_plan_teaches_but_credits_nothing():
    router = small(warm_start=False, c=2.0)
    router.update_block(told(1, [(1, -1, uniform(4), [0.5] * 3, [1, 1, 1])]))
    assert router.learner.memory.size.tolist() == [0, 1]
    np.testing.assert_allclose(router.learner.memory.x[1, 0], 0.25)
    assert router.trees[1].pulls[:1].tolist() == [0]


def test_answers_that_never_come_are_forgotten():
    router = small(nodes=1, polish=1, warm_start=False)
    for slot in range(600):
        router.decide_block(context(slot, nodes=1))
    assert len(router.ledger.open[0]) == 512
    assert max(router.ledger.open[0]) == 599


def test_single_experts_teach_gated_plans_do_not():
    router = small(warm_start=False)
    rows = [(0, -1, Single(2), [0.5] * 3, [1] * 3), (0, 0, TopK(2), [0.5] * 3, [1] * 3)]
    router.update_block(told(1, rows))
    assert router.learner.memory.size.tolist() == [1, 0]
    assert router.learner.memory.x[0, 0].tolist() == [0.0, 0.0, 1.0, 0.0]
    assert router.refused == 0


def test_empty_rows_teach_nothing_and_spoilt_rows_are_counted():
    router = small()
    before = router.snapshot()
    plan = uniform(4)
    router.update_block(told(1, [(0, -1, plan, [0.0] * 3, [0] * 3)]))
    router.update_block(told(1, [(0, -1, plan, [math.nan, 0, 0], [1, 0, 0])]))
    router.update_block(told(1, [(1, -1, plan, [0.5, 0, 0], [math.inf, 0, 0])]))
    router.update_block(told(1, [(1, -1, plan, [0.5, 0, 0], [-1, 2, 0])]))
    after = router.snapshot()
    assert (router.refused, int(before.pop("refused")), int(after.pop("refused"))) == (3, 0, 3)
    for name, value in after.items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


def test_a_plan_over_other_experts_is_an_error():
    with pytest.raises(ShapeError, match="expected a plan over 4 experts, found 3"):
        small().update_block(told(1, [(0, -1, uniform(3), [0.5] * 3, [1] * 3)]))


def test_learning_moves_the_choice():
    """Only expert 2 is any good: after a while most weight is there."""
    router = small(nodes=1, warm_start=False, width=32)
    rng = np.random.default_rng(0)
    plan = uniform(4)
    for slot in range(120):
        answer = router.decide_block(context(slot, nodes=1))
        plan = answer.plans[0] or plan
        reward = plan.weights[2] + 0.02 * rng.standard_normal(3)
        router.update_block(told(slot + 1, [(0, slot, plan, reward, [30] * 3)]))
    assert plan.weights[2] > 0.8


# --- decisions ---


def test_warm_start_knows_the_calibration():
    """The heads predict the calibration rewards, weighted by their counts, before any slot."""
    setup = example_setup(nodes=2, restart_steps=200)
    router = Tanbr(setup)
    points = np.tile(setup.calibration.weights, (2, 1, 1))
    phi = router.learner.basis.embed(points).numpy()
    fitted = np.einsum("nid,nvd->niv", phi, router.learner.heads.theta.numpy())
    np.testing.assert_allclose(fitted[0], setup.calibration.reward, atol=0.2)
    np.testing.assert_array_equal(fitted[0], fitted[1])


def test_the_mix_is_the_shared_estimate():
    router = small(nodes=1, alpha=0.5, prior_weight=4.0)
    answer = router.decide_block(context(0, nodes=1, counts=[[6, 2, 0]]))
    twin = MixEstimate(1, router.calibration.prior, ContextParams(alpha=0.5, prior_weight=4.0))
    twin.observe(np.array([[6.0, 2.0, 0.0]]), np.array([True]))
    np.testing.assert_array_equal(answer.mix, twin.mix)


def test_a_switch_of_the_mix_is_told():
    router, counts = small(), [[30, 0, 0], [30, 0, 0]]
    rows = [
        row
        for slot in range(4)
        for row in router.decide_block(context(slot, counts=counts)).telemetry
    ]
    assert all(row["table"] == "tree" for row in rows)
    told_ = router.decide_block(context(4, counts=[[30, 0, 0], [0, 0, 30]])).telemetry
    assert list(told_) == [{"table": "drift", "slot": 4, "node": 11, "kind": "detected"}]


def test_the_mix_decides():
    """Same knowledge, other mix: the merge follows the cluster that is asked for."""
    setup = example_setup(nodes=2, alpha=1.0, beta=0.0, polish=0)
    known = setup.calibration
    reward = np.stack([known.weights[:, 0], known.weights[:, 1], known.weights[:, 2]], axis=1)
    router = Tanbr(replace(setup, calibration=replace(known, reward=reward, count=known.count * 9)))
    for tree in router.trees:
        tree.restart(6)
    plans = router.decide_block(context(0, counts=[[9, 0, 0], [0, 0, 9]])).plans
    assert [int(np.argmax(plan.weights)) for plan in plans] == [0, 2]


def test_anchors_are_candidates_after_a_warm_start_and_are_charged():
    setup = example_setup(nodes=2, **{**SMALL, "polish": 0, "beta": 0.0})
    known = setup.calibration
    peak = np.argmax(known.weights[:, 3])
    reward = np.where(np.arange(len(known.weights)) == peak, 0.9, 0.1)[:, None] * np.ones((1, 3))
    setup = replace(setup, calibration=replace(known, reward=reward))
    anchored = Tanbr(setup).decide_block(context(0))
    assert [plan.weights for plan in anchored.plans] == [tuple(known.weights[peak])] * 2
    router = Tanbr(replace(setup, params={**setup.params, "anchors": False}))
    bare = router.decide_block(context(0))
    assert [plan.weights for plan in bare.plans] == [(0.25,) * 4] * 2
    more = (
        router.learner.costs.score(1 + len(known.weights)).flop - router.learner.costs.score(1).flop
    )
    np.testing.assert_allclose(anchored.receipts.flop - bare.receipts.flop, more)
    cold = Tanbr(replace(setup, params={**setup.params, "warm_start": False}))
    assert len(cold.anchors) == 0


def test_inactive_nodes_decide_draw_and_age_nothing():
    router = small()
    before = router.snapshot()
    answer = router.decide_block(context(0, active=[False, True]))
    after = router.snapshot()
    assert answer.plans[0] is None
    assert answer.receipts.flop[0] == 0.0
    for name in ("rngs", "ledger.age", "mix.counts", "ledger.flop"):
        np.testing.assert_array_equal(before[name][0], after[name][0])
        assert not np.array_equal(before[name][1], after[name][1]) or name == "mix.counts"


def test_a_cap_on_active_experts_holds_for_every_merge():
    router = small(nodes=2, max_active=2)
    rng = np.random.default_rng(1)
    for slot in range(30):
        plans = router.decide_block(context(slot)).plans
        assert all(sum(w > 0 for w in plan.weights) <= 2 for plan in plans if plan)
        rows = [(i, slot, p, rng.random(3), [3] * 3) for i, p in enumerate(plans) if p]
        if rows:
            router.update_block(told(slot + 1, rows))


def test_a_cap_holds_for_the_safe_choice_too():
    router = small(nodes=1, max_active=2)
    router.ledger.fallback[0] = True
    plan = router.decide_block(context(0, nodes=1)).plans[0]
    assert sum(w > 0 for w in plan.weights) <= 2
    assert ((router.safe > 0).sum(axis=1) <= 2).all()


@pytest.mark.parametrize(("hysteresis", "swap_s"), [(9.0, 5.0), (0.1, 450.0)])
def test_a_merge_that_costs_more_than_it_gains_is_not_made(hysteresis, swap_s):
    router = small(swap_s=swap_s, hysteresis=hysteresis)
    kept = [router.decide_block(context(k)).plans for k in range(4)]
    assert all(plan is not None for plan in kept[0])
    assert kept[1:] == [[None, None]] * 3


@pytest.mark.parametrize(("hysteresis", "swap_s"), [(0.0, 5.0), (9.0, None)])
def test_a_merge_that_costs_nothing_is_made(hysteresis, swap_s):
    router = small(swap_s=swap_s, hysteresis=hysteresis)
    moved = [router.decide_block(context(k)).plans for k in range(4)]
    assert any(plan is not None for plans in moved[1:] for plan in plans)


def test_explored_marks_what_is_not_the_best_mean():
    greedy, curious = small(beta=0.0), small(beta=50.0)
    assert not greedy.decide_block(context(0)).explored.any()
    assert curious.decide_block(context(0)).explored.all()


def test_a_restart_is_a_cold_deployment():
    router, twin = small(), small()
    for slot in range(8):
        plans = router.decide_block(context(slot)).plans
        rows = [(i, slot, p or uniform(4), [0.3] * 3, [9] * 3) for i, p in enumerate(plans)]
        router.update_block(told(slot + 1, rows))
    router.decide_block(context(8, reset=[True, False]))
    assert router.ledger.age.tolist() == [1, 9]
    assert router.learner.memory.size[0] == len(router.calibration.weights)
    for name in ("inverse", "theta"):
        fresh, old = getattr(twin.learner.heads, name), getattr(router.learner.heads, name)
        np.testing.assert_array_equal(old[0].numpy(), fresh[0].numpy())
        assert not np.array_equal(old[1].numpy(), fresh[1].numpy())
    assert router.trees[0].size == 1 < router.trees[1].size


def test_a_calibration_that_does_not_fit_is_refused():
    setup = example_setup()
    wrong = replace(setup.calibration, reward=setup.calibration.reward[:, :2])
    with pytest.raises(InputError, match="router tanbr: calibration: expected"):
        Tanbr(replace(setup, calibration=wrong))
    none = replace(setup.calibration, weights=np.zeros((0, 4)), reward=np.zeros((0, 3)))
    with pytest.raises(InputError, match="expected at least one point"):
        Tanbr(replace(setup, calibration=none))


# --- blocks ---


def test_a_block_scores_like_single_nodes():
    land = draw("quad", 4, 3, seed=1)
    setup = setup_for([land] * 3, Game(12), 1, {**SMALL, "warm_start": False})
    block, arena = Tanbr(setup), Arena([land] * 3, Game(12), 1)
    for slot in range(12):
        arena.take(slot, block)
    points = np.random.default_rng(0).dirichlet(np.ones(4), (3, 40))
    mean, deviation = block.learner.aim(block.mix.relevant()).both(points)
    for row in range(3):
        lone = Tanbr(replace(setup, nodes=setup.nodes[row : row + 1]))
        for part in (lone.learner.basis, lone.learner.heads):
            whole = block.learner.basis if part is lone.learner.basis else block.learner.heads
            part.restore({k: v[row : row + 1] for k, v in whole.snapshot().items()})
        mix = block.mix.relevant()[row : row + 1]
        alone = lone.learner.aim(mix).both(points[row : row + 1])
        np.testing.assert_allclose(mean[row], alone[0][0], atol=1e-9)
        np.testing.assert_allclose(deviation[row], alone[1][0], atol=1e-9)


def test_a_node_decides_in_a_block_as_it_does_alone():
    """Without training the arithmetic is the same to the last few bits, and so are the choices."""
    land, game = draw("quad", 4, 3, seed=1), Game(10)
    params = {**SMALL, "warm_start": False, "early_period": 99, "period": 99}
    setup = setup_for([land] * 3, game, 1, params)
    block, arena = Tanbr(setup), Arena([land] * 3, game, 1)
    for slot in range(10):
        context_ = arena.context(slot)
        arena.take(slot, block)
        if slot == 0:
            lone = [Tanbr(replace(setup, nodes=setup.nodes[i : i + 1])) for i in range(3)]
        for row, router in enumerate(lone):
            part = ContextBlock(
                slot,
                context_.t_s,
                context_.active[row : row + 1],
                context_.counts[row : row + 1],
                context_.reset[row : row + 1],
            )
            plan = router.decide_block(part).plans[0]
            np.testing.assert_allclose(plan.weights, arena.points[row, slot], atol=1e-9)
            memory = block.learner.memory
            last = [memory.y[row : row + 1, slot], 0.25 * memory.w[row : row + 1, slot]]
            plans = [Merged(tuple(arena.points[row, slot]))]
            zero = np.zeros(1, int)
            router.update_block(FeedbackBlock(slot + 1, zero, zero + slot, plans, *last))


# --- receipts and telemetry ---


def test_receipts_follow_the_formulas_and_do_not_scale_with_the_block():
    params = {**SMALL, "warm_start": False, "early_period": 2, "prior_weight": 0.0}
    costs = Costs(experts=4, clusters=3, width=16, batch=16)
    for nodes in (1, 3):
        router = Tanbr(example_setup(nodes=nodes, **params))
        counts = [[4, 4, 0]] * nodes
        first = router.decide_block(context(0, nodes=nodes, counts=counts))
        mixing = router.mix.work() + costs.combine(2)
        want = mixing + costs.score(1 + 2 * 8)
        np.testing.assert_allclose(first.receipts.flop, want.flop)
        np.testing.assert_allclose(first.receipts.read_bytes, want.read_bytes)
        rows = [(i, 0, p, [0.5] * 3, [2, 0, 2]) for i, p in enumerate(first.plans)]
        router.update_block(told(1, rows))
        second = router.decide_block(context(1, nodes=nodes, counts=counts))
        leaves = router.trees[0].size
        want = costs.observe(2) + mixing + costs.score(leaves + 2 * 8)
        np.testing.assert_allclose(second.receipts.flop, want.flop)
        third = router.decide_block(context(2, nodes=nodes, counts=counts))
        training = costs.train(10 * 2) + costs.refit(1)  # the slot in which it happens pays
        want = training + mixing + costs.score(leaves + 2 * 8)
        np.testing.assert_allclose(third.receipts.flop, want.flop)
        assert (third.receipts.moved_bytes == 0.0).all()


def test_work_formulas_against_counted_loops():
    """Operations of the textbook loops, counted one by one on a tiny case."""
    k, v, m, batch = 2, 3, 4, 5
    costs, d = Costs(k, v, m, batch), m + k + 1
    combine = sum(2 for _ in range(2) for _ in range(d) for _ in range(d + 1))
    assert costs.combine(2).flop == combine
    quadratic = 0
    for _ in range(d):  # row of the matrix times the features, then times one feature
        quadratic += 2 * d + 2
    features = m * (2 * k + 2 + 10)
    assert costs.score(1).flop == features + quadratic + 2 * d + 3
    gram = sum(2 for _ in range(7) for _ in range(v) for _ in range(d) for _ in range(d))
    refit = costs.refit(7).flop - costs.embed(7).flop
    assert gram < refit < gram + 7 * v * 3 * d + v * (d**3 + 2 * d**2) + 1


def test_the_warm_start_is_charged_to_the_first_decision():
    warm, cold = small(nodes=1, anchors=False), small(nodes=1, warm_start=False)
    one, two = (r.decide_block(context(0, nodes=1)).receipts.flop[0] for r in (warm, cold))
    costs = Costs(4, 3, 16, 16)
    assert one - two == pytest.approx(costs.train(20).flop + costs.refit(9).flop)


def test_state_bytes_grow_with_what_is_kept():
    router = small(nodes=2)
    first = router.decide_block(context(0))
    parameters = 16 * (4 + 1 + 3) + 3
    heads = 3 * (21 * 21 + 2 * 21) * 8
    assert first.receipts.state_bytes[0] > 4 * 4 * parameters + heads
    router.update_block(told(1, [(0, 0, first.plans[0], [0.5] * 3, [1] * 3)]))
    later = router.decide_block(context(1)).receipts.state_bytes
    assert later[0] > first.receipts.state_bytes[0]
    assert later[1] == first.receipts.state_bytes[1]


def test_telemetry_tells_the_tree():
    router = small(nodes=1, warm_start=False)
    seen = list(router.decide_block(context(0, nodes=1)).telemetry)
    assert [(row["cell"], row["parent"], row["depth"]) for row in seen] == [(0, -1, 0)]
    for slot in range(1, 25):
        plan = Merged(tuple(router.ledger.last[0].tolist()))
        router.update_block(told(slot, [(0, slot - 1, plan, [0.5] * 3, [5] * 3)]))
        seen += router.decide_block(context(slot, nodes=1)).telemetry
    cells = {row["cell"]: row for row in seen}
    assert len(cells) == len(seen) == router.trees[0].next_cell
    for row in seen[1:]:
        assert row["depth"] == cells[row["parent"]]["depth"] + 1
        assert row["table"] == "tree"
        assert row["node"] == 10
        assert math.isfinite(row["value"])
