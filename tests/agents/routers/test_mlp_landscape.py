"""The landscape of really merged networks: experts are experts, and merges are merges."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agents.routers.landscapes import Game, draw, play, shifted
from agents.routers.landscapes.mlp import CLASSES, HIDDEN, INPUTS, draw_mlp
from agents.routers.static import Uniform


@pytest.fixture(scope="module")
def land():
    return draw("mlp", 4, 3, seed=1, mixes=2)


def answered(land, point):
    """Slow twin: build the merged network and ask it one question at a time."""
    cuts = np.cumsum([HIDDEN * INPUTS, HIDDEN, CLASSES * HIDDEN])
    w1, b1, w2, b2 = np.split(point.astype(np.float32) @ land.weights, cuts)
    first, second = torch.nn.Linear(INPUTS, HIDDEN), torch.nn.Linear(HIDDEN, CLASSES)
    with torch.no_grad():
        first.weight[:] = torch.from_numpy(w1).view(HIDDEN, INPUTS)
        second.weight[:] = torch.from_numpy(w2).view(CLASSES, HIDDEN)
        first.bias[:], second.bias[:] = torch.from_numpy(b1), torch.from_numpy(b2)
        given = [
            int(second(first(torch.from_numpy(x.copy())).relu()).argmax()) for x in land.questions.T
        ]
    return (np.array(given) == land.answers).reshape(land.clusters, -1).mean(axis=1)


def test_rewards_are_the_accuracies_of_the_merged_network(land):
    point = np.array([0.5, 0.2, 0.3, 0.0])
    # a logit within rounding of another may fall either way
    np.testing.assert_allclose(land.reward(point), answered(land, point), atol=2 / 400)


def test_shapes_and_chunks_do_not_matter(land):
    points = np.random.default_rng(0).dirichlet(np.ones(4), (2, 19))
    whole = land.reward(points)
    assert whole.shape == (2, 19, 3)
    one = np.stack([land.reward(p) for p in points.reshape(-1, 4)]).reshape(2, 19, 3)
    np.testing.assert_allclose(whole, one, atol=2 / 400)


def test_every_expert_knows_its_own_cluster_best(land):
    own = land.reward(np.eye(4))[:3]
    assert (own.argmax(axis=0) == np.arange(3)).all()
    assert (np.diag(own) > 0.6).all()  # six answers: chance is 0.17


def test_no_random_merge_beats_the_best_by_more_than_the_search_misses(land):
    points = np.random.default_rng(1).dirichlet(np.full(4, 0.7), 1500)
    value = land.reward(points) @ land.mixes.T
    assert (value <= land.best + 0.004).all()
    assert (value.max(axis=0) >= land.best - 0.03).all()


def test_the_same_seed_trains_the_same_experts():
    one = draw_mlp.__wrapped__(2, 2, 5, 1)
    two = draw_mlp.__wrapped__(2, 2, 5, 1)
    np.testing.assert_array_equal(one.weights, two.weights)
    np.testing.assert_array_equal(one.best, two.best)


def test_after_a_shift_the_clusters_ask_each_others_questions(land):
    moved = shifted(land, 3)
    before, after = land.reward(np.eye(4)), moved.reward(np.eye(4))
    turns = [turn for turn in (1, 2) if np.allclose(after, np.roll(before, turn, axis=1))]
    assert len(turns) == 1
    np.testing.assert_array_equal(moved.mixes, land.mixes)


def test_it_can_be_played(land):
    played = play(Uniform, [land], Game(10, requests=128), 1)
    centre = land.reward(np.full(4, 0.25))
    want = land.best - land.mixes @ centre
    assert np.isclose(played.regret[0][:, None], want).any(axis=1).all()
