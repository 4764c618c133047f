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
from sim.errors import InputError


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
    with pytest.raises(InputError, match="unknown landscape 'hill'"):
        draw("hill", 4, 3, seed=1)


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
