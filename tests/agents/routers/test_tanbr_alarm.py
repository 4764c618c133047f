"""What Tanbr does after a shift; T14: determinism and checkpoints."""

from __future__ import annotations

import numpy as np
import pytest

from agents.routers.landscapes import Arena, Game, draw, setup_for
from agents.routers.tanbr.router import Tanbr
from sim.plans import uniform
from tests.agents.routers.talk import SMALL, context, small, told

# --- the alarm ---


def steady(router, slots, level, start=0):
    """Play slots in which every merge earns the same; return all telemetry."""
    rng, rows = np.random.default_rng(start), []
    plan = uniform(4)
    for slot in range(start, start + slots):
        answer = router.decide_block(context(slot, nodes=1))
        plan = answer.plans[0] or plan
        rows += answer.telemetry
        reward = level + 0.02 * rng.standard_normal(3)
        router.update_block(told(slot + 1, [(0, slot, plan, reward, [100] * 3)]))
    return rows


def test_a_shift_raises_one_alarm_forgets_and_plays_safe_once():
    router = small(nodes=1, warm_start=False, alarm_warm=20)
    assert all(row["table"] == "tree" for row in steady(router, 60, 0.8))
    rows = steady(router, 6, 0.3, start=60)
    (alarm,) = [row for row in rows if row["table"] == "drift"]
    assert alarm == {"table": "drift", "slot": alarm["slot"], "node": 10, "kind": "alarm"}
    assert 61 <= alarm["slot"] <= 64
    assert router.learner.memory.size[0] <= 8 + 5
    assert router.trees[0].depth[:8].min() == 3
    assert not router.ledger.fallback[0]
    steady(router, 30, 0.3, start=66)
    point = np.full((1, 1, 4), 0.25)
    mean, _ = router.learner.aim(router.mix.relevant()).both(point)
    assert mean[0, 0] == pytest.approx(0.3, abs=0.15)


def test_after_an_alarm_older_decisions_teach_nothing():
    router = small(nodes=1, warm_start=False, alarm_warm=5)
    steady(router, 30, 0.8)
    steady(router, 3, 0.2, start=30)
    size = int(router.learner.memory.size[0])
    assert router.ledger.epoch[0] > 0
    router.update_block(told(40, [(0, 2, uniform(4), [0.9] * 3, [100] * 3)]))
    assert router.learner.memory.size[0] == size


def test_the_alarm_can_be_switched_off():
    router = small(nodes=1, warm_start=False, alarm_warm=5, alarm=False)
    steady(router, 30, 0.8)
    assert all(row["table"] == "tree" for row in steady(router, 20, 0.2, start=30))


def test_the_safe_choice_has_the_best_lower_bound():
    router = small(nodes=1)
    router.ledger.fallback[0] = True
    answer = router.decide_block(context(0, nodes=1))
    plan = answer.plans[0]
    assert router.ledger.open[0] == {0: -1}  # no cell is credited for it
    points = np.vstack([np.full((1, 4), 0.25), router.calibration.weights])
    mean, deviation = router.learner.aim(router.mix.relevant()).both(points[None])
    np.testing.assert_array_equal(plan.weights, points[(mean - deviation)[0].argmax()])


# --- T14: determinism and checkpoints ---


def played(slots, snapshot_at=None, warm=False, seed=3, **params):
    """Play on; with `snapshot_at` a second router takes over there. Returns all merges in force."""
    land = draw("quad", 4, 3, seed=2)
    game = Game(slots, lagged=True, delay=1, warm=warm)
    setup = setup_for([land] * 2, game, seed, {"warm_start": warm, **params})
    router, arena = Tanbr(setup), Arena([land] * 2, game, seed)
    for slot in range(slots):
        if slot == snapshot_at:
            state = {k: v.copy() for k, v in router.snapshot().items()}
            router = Tanbr(setup)
            router.restore(state)
        arena.take(slot, router)
    return arena.points


@pytest.mark.parametrize("warm", [False, True])
def test_same_seed_same_bits_and_a_restored_router_goes_on(warm):
    params = {**SMALL, "records": 40, "alarm_warm": 10, "alarm_height": 3.0}
    whole = played(60, warm=warm, **params)
    np.testing.assert_array_equal(whole, played(60, warm=warm, **params))
    np.testing.assert_array_equal(whole, played(60, snapshot_at=31, warm=warm, **params))
    assert not np.array_equal(whole, played(60, warm=warm, seed=4, **params))


@pytest.mark.slow
def test_a_router_restored_at_slot_500_goes_on_bit_for_bit():
    np.testing.assert_array_equal(played(700), played(700, snapshot_at=500))


def test_a_snapshot_is_plain_arrays(tmp_path):
    router = small()
    router.decide_block(context(0))
    state = router.snapshot()
    assert all(value.dtype != object for value in state.values())
    np.savez(tmp_path / "state.npz", **state)
    with np.load(tmp_path / "state.npz") as loaded:
        other = small()
        other.restore(dict(loaded))
    for name, value in other.snapshot().items():
        np.testing.assert_array_equal(value, state[name], err_msg=name)
