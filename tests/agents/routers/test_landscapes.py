from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from agents.routers.landscapes import (
    Arena,
    Game,
    calibration_points,
    draw,
    play,
    setup_for,
    shifted,
)
from agents.routers.static import RandomWeights, Uniform
from sim.errors import InputError, UnknownName
from sim.plans import TopK


@pytest.mark.parametrize("kind", ["quad", "bump", "ripple"])
def test_no_merge_beats_the_best(kind):
    land = draw(kind, 4, 3, seed=2, mixes=4)
    points = np.random.default_rng(0).dirichlet(np.full(4, 0.6), 5000)
    value = land.reward(points) @ land.mixes.T
    assert (value <= land.best + 1e-9).all()
    assert (value.max(axis=0) >= land.best - 0.05).all()


def test_search_agrees_with_a_solver():
    land = draw("bump", 4, 3, seed=3, mixes=3)
    for mix, best in zip(land.mixes, land.best, strict=True):
        found = [
            -minimize(
                lambda x, m=mix: -float(land.reward(x) @ m),
                start,
                bounds=[(0, 1)] * 4,
                constraints={"type": "eq", "fun": lambda x: x.sum() - 1.0},
                method="SLSQP",
            ).fun
            for start in land.optima
        ]
        assert best == pytest.approx(max(found), abs=1e-4)


def test_the_same_seed_draws_the_same_landscape_and_shifting_moves_it():
    one, two = draw("quad", 4, 3, seed=5), draw("quad", 4, 3, seed=5)
    np.testing.assert_array_equal(one.optima, two.optima)
    moved = shifted(one, 9)
    assert not np.allclose(one.optima, moved.optima)
    np.testing.assert_array_equal(one.mixes, moved.mixes)


def test_unknown_kind():
    with pytest.raises(UnknownName, match="unknown landscape 'bumb'; did you mean 'bump'"):
        draw("bumb", 4, 3, seed=1)


def test_a_calibration_is_close_to_the_truth():
    land = draw("quad", 4, 3, seed=1)
    known = calibration_points(land, 1)
    assert known.weights.shape == (4 + 1 + 6, 4)
    assert np.abs(known.reward - land.reward(known.weights)).max() < 0.1


def test_regret_is_what_uniform_loses():
    land = draw("quad", 4, 3, seed=1)
    arena, router = Arena([land], Game(30), 1), Uniform(setup_for([land], Game(30), 1, {}))
    for slot in range(30):
        arena.take(slot, router)
    played = arena.result()
    centre = land.reward(np.full(4, 0.25))
    want = {
        round(float(best - centre @ mix), 12)
        for best, mix in zip(land.best, land.mixes, strict=True)
    }
    assert {round(float(r), 12) for r in played.regret[0]} <= want


def test_random_weights_lose_linearly():
    lands = [draw("quad", 4, 3, seed=s) for s in (1, 2, 3)]
    played = play(RandomWeights, lands, Game(1500), 1)
    assert 0.85 < played.slope.mean() < 1.15


# --- rules of the game


class Spy(Uniform):
    """Uniform merging that keeps what it is told."""

    def __init__(self, setup):
        super().__init__(setup)
        self.setup, self.heard, self.seen = setup, [], []

    def decide_block(self, context):
        self.seen.append(context.counts)
        return super().decide_block(context)

    def update_block(self, feedback):
        self.heard.append(feedback)


def spied(game, lands=None):
    spies = []

    def make(setup):
        spies.append(Spy(setup))
        return spies[0]

    lands = lands or [draw("quad", 4, 3, seed=s) for s in (1, 2)]
    return play(make, lands, game, 5), spies[0]


def test_a_pooled_reward_is_one_number_per_slot():
    _, spy = spied(Game(5, pooled=True))
    assert spy.setup.pooled
    _, parts = spied(Game(5))
    for pooled, split in zip(spy.heard, parts.heard, strict=True):
        mean = (split.reward * split.count).sum(axis=1) / split.count.sum(axis=1)
        np.testing.assert_allclose(pooled.reward, np.tile(mean[:, None], (1, 3)))


def test_integer_requests_are_counted_and_right_or_wrong():
    _, spy = spied(Game(40, requests=16, answered=0.5, lagged=True))
    right = np.concatenate([block.reward * block.count for block in spy.heard])
    heard = np.concatenate([block.count for block in spy.heard])
    np.testing.assert_allclose(right, np.rint(right), atol=1e-9)
    assert (heard == np.rint(heard)).all()
    assert heard.sum(axis=1).mean() == pytest.approx(8.0, abs=1.0)  # 4 sd of the mean: 0.9
    assert all((seen.sum(axis=1) == 16).all() for seen in spy.seen[1:])


def test_partial_answers_are_fewer_and_noisier():
    _, whole = spied(Game(400))
    _, part = spied(Game(400, answered=0.25))
    spread = [np.std([b.reward[0, 0] for b in spy.heard[:400]]) for spy in (whole, part)]
    assert part.heard[3].count == pytest.approx(whole.heard[3].count / 4)
    assert spread[1] > 1.5 * spread[0]


def test_a_slot_without_answers_tells_nothing():
    _, spy = spied(Game(30, requests=1, answered=0.2))
    assert sum(len(block.row) for block in spy.heard) < 30
    assert all((block.count.sum(axis=1) > 0).all() for block in spy.heard)


def test_a_blind_router_sees_equal_counts():
    _, spy = spied(Game(5, blind=True))
    assert all((seen == seen[0, 0]).all() for seen in spy.seen)


def test_a_lagged_router_sees_the_slot_before():
    _, late = spied(Game(20, lagged=True))
    _, known = spied(Game(20))
    assert not late.seen[0].any()
    np.testing.assert_allclose(late.seen[1:], known.seen[:-1])


def test_the_mix_stays_for_ever():
    played, spy = spied(Game(20, stay=1.0))
    assert all((seen == spy.seen[0]).all() for seen in spy.seen)
    assert np.ptp(played.regret, axis=1).max() == 0.0


def test_gated_plans_and_silent_games_are_refused():
    class Gated(Uniform):
        def __init__(self, setup):
            super().__init__(setup)
            self.plan = TopK(2)

    with pytest.raises(InputError, match="merges and single experts only, found TopK"):
        play(Gated, [draw("quad", 4, 3, seed=1)], Game(2), 1)
    with pytest.raises(InputError, match="answered: expected a share"):
        Game(3, answered=0.0)
