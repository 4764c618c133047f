"""The way back: when it is taken, what it restores, and that calm worlds do not take it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agents.routers.landscapes import Arena, Game, draw, setup_for
from agents.routers.tanbr.router import Tanbr
from agents.routers.tanbr.safety import Watch
from agents.routers.tanbr.tree import Tree
from sim.plans import uniform
from tests.agents.routers.talk import context, small, told

QUICK = {"nodes": 1, "warm_start": False, "alarm": False, "rollback_every": 20}


def serve(router, slots, level, start=0):
    """Play slots in which every merge earns about the same; return rows, and merges in force."""
    rng, rows, points = np.random.default_rng(start), [], []
    plan = uniform(4)
    for slot in range(start, start + slots):
        answer = router.decide_block(context(slot, nodes=1))
        plan = answer.plans[0] or plan
        points.append(plan.weights)
        rows += [row for row in answer.telemetry if row["table"] == "drift"]
        reward = level + 0.02 * rng.standard_normal(3)
        router.update_block(told(slot + 1, [(0, slot, plan, reward, [100] * 3)]))
    return rows, points


def test_two_poor_slots_lead_back_to_what_was_saved():
    router = small(**QUICK)
    serve(router, 41, 0.8)  # the last slot saved
    saved, tree = router.ledger.last[0].copy(), dict(router.watch.trees[0])
    records = int(router.learner.memory.size[0]) - 1
    assert serve(router, 1, 0.4, start=41)[0] == []
    assert serve(router, 1, 0.4, start=42)[0] == []
    np.testing.assert_array_equal(router.trees[0].centre[: router.trees[0].size], tree["centre"])
    assert router.learner.memory.size[0] == records
    rows, points = serve(router, 1, 0.8, start=43)
    assert rows == [{"table": "drift", "slot": 43, "node": 10, "kind": "rollback"}]
    before_slot_40 = router.watch.point[0]
    np.testing.assert_array_equal(points[0], before_slot_40)
    assert not np.array_equal(before_slot_40, saved)


def test_network_and_heads_come_back_as_they_were():
    router = small(**QUICK)
    serve(router, 40, 0.8)
    plan = router.decide_block(context(40, nodes=1)).plans[0]  # trains, then saves
    heads, net = router.learner.heads.snapshot(), router.learner.basis.weights.clone()
    router.update_block(told(41, [(0, 40, plan, [0.8] * 3, [100] * 3)]))
    serve(router, 4, 0.8, start=41)
    serve(router, 1, 0.3, start=45)  # trains again
    assert not np.array_equal(router.learner.basis.weights.numpy(), net.numpy())
    serve(router, 1, 0.3, start=46)
    np.testing.assert_array_equal(router.learner.basis.weights.numpy(), net.numpy())
    for name, value in router.learner.heads.snapshot().items():
        np.testing.assert_allclose(value, heads[name], atol=1e-6, rtol=1e-6)


def test_what_was_saved_is_served_even_when_the_next_saving_is_due():
    router = small(**QUICK)
    serve(router, 38, 0.8)
    saved = router.watch.point[0].copy()
    serve(router, 2, 0.4, start=38)
    assert router.watch.frozen[0]
    plan = router.decide_block(context(40, nodes=1)).plans[0]  # of an age at which it saves
    np.testing.assert_array_equal(plan.weights, saved)


def test_a_cluster_renewed_on_the_way_back_leaves_the_calibrations_safest_merge():
    router = small(**QUICK)
    serve(router, 41, 0.8)
    serve(router, 2, 0.4, start=41)
    assert router.watch.frozen[0]
    renewed = np.array([[True, False, False]])
    plan = router.decide_block(replace(context(43, nodes=1), renewed=renewed)).plans[0]
    assert any(np.array_equal(plan.weights, point) for point in router.safe)


def test_after_going_back_nothing_is_explored_for_a_while():
    router = small(**QUICK, beta=50.0, rollback_freeze=3)
    serve(router, 43, 0.8)
    serve(router, 2, 0.3, start=43)
    answers = [router.decide_block(context(slot, nodes=1)) for slot in range(45, 50)]
    explored = [bool(answer.explored[0]) for answer in answers]
    assert explored[1:4] == [False] * 3
    assert explored[4]


def test_one_way_back_per_saving():
    router = small(**QUICK)
    serve(router, 41, 0.8)
    rows, _ = serve(router, 12, 0.2, start=41)
    assert [row["kind"] for row in rows] == ["rollback"]


def test_the_alarm_goes_first():
    router = small(nodes=1, warm_start=False, alarm_warm=20, rollback_every=20)
    serve(router, 61, 0.8)
    rows, _ = serve(router, 8, 0.2, start=61)
    assert [row["kind"] for row in rows] == ["alarm"]
    assert not router.watch.saved(0)


def test_it_can_be_switched_off():
    router = small(**QUICK, rollback=False)
    serve(router, 41, 0.8)
    assert serve(router, 8, 0.2, start=41)[0] == []


def test_what_is_saved_is_resident():
    with_, without = small(**QUICK), small(**QUICK, rollback=False)
    sizes = []
    for router in (with_, without):
        serve(router, 41, 0.8)
        sizes.append(router.decide_block(context(41, nodes=1)).receipts.state_bytes[0])
    tree = sum(part.nbytes for part in with_.watch.trees[0].values())
    assert sizes[0] - sizes[1] > tree + with_.learner.basis.nbytes


def test_a_router_restored_just_before_goes_back_all_the_same():
    one, two = small(**QUICK), small(**QUICK)
    serve(one, 42, 0.8)
    two.restore(one.snapshot())
    for router in (one, two):
        serve(router, 3, 0.3, start=42)
    for name, value in one.snapshot().items():
        np.testing.assert_array_equal(value, two.snapshot()[name], err_msg=name)


@pytest.mark.parametrize("kind", ["quad", "bump"])
def test_a_calm_world_sees_none(kind):
    lands = [draw(kind, 4, 4, seed) for seed in (1, 2)]
    game = Game(130)
    params = {"alpha": 1.0, "warm_start": False, "rollback_every": 25}
    router, arena, found = Tanbr(setup_for(lands, game, 7, params)), Arena(lands, game, 7), []
    for slot in range(game.slots):
        arena.take(slot, router)
        found += [kind for _, _, kind in router.ledger.events]
    assert "rollback" not in found
    assert router.watch.saved(0)


# --- the watch itself ---


def watched(rewards, saved_after, noise=0.02, unlike=0.0):
    watch, tree = Watch(1, 2, 3), Tree(3, 3, 8)
    tree.restart(0)
    found = []
    for slot, reward in enumerate(rewards):
        if slot == saved_after:
            watch.save(0, np.full(3, 1 / 3), tree)
        share = (
            np.array([0.9, 0.1])
            if slot < (saved_after or 99)
            else np.array([0.9 - unlike, 0.1 + unlike])
        )
        if watch.test(0, share, reward, noise):
            found.append(slot)
            watch.leave(0)
    return found, watch


def test_a_single_poor_slot_is_forgiven():
    assert watched([0.8] * 20 + [0.1] + [0.8] * 5, 20)[0] == []
    assert watched([0.8] * 20 + [0.1, 0.1], 20)[0] == [21]


def test_a_bucket_that_was_hardly_seen_is_not_judged():
    assert watched([0.8] * 5 + [0.1] * 5, 5)[0] == []


def test_a_mix_that_the_bucket_has_not_seen_is_not_judged():
    rewards = [0.8] * 20 + [0.1] * 4
    assert watched(rewards, 20, unlike=0.05)[0] == [21]
    assert watched(rewards, 20, unlike=0.3)[0] == []


def test_what_varied_before_may_vary_again():
    rng = np.random.default_rng(0)
    assert watched([*(0.6 + 0.2 * rng.standard_normal(60)), 0.2, 0.2], 60)[0] == []


def test_mean_and_spread_equal_the_weighted_sums():
    rewards = np.random.default_rng(1).random(40)
    _, watch = watched(rewards, None)
    weight = 0.98 ** np.arange(39, -1, -1.0)
    mean = weight @ rewards / weight.sum()
    assert watch.seen[0, 0] == pytest.approx(weight.sum())
    assert watch.mean[0, 0] == pytest.approx(mean)
    assert watch.spread[0, 0] == pytest.approx(weight @ (rewards - mean) ** 2 / weight.sum())
