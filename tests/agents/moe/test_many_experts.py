"""Several experts per task: the shipped checkpoint with 32."""

from __future__ import annotations

import numpy as np
import pytest

from agents.moe.cards import BUILTIN, read_card
from agents.moe.recipe import RECIPES, recipe_from, recipe_hash
from agents.moe.runtime import Runtime
from agents.moe.tables import task_experts
from sim.plans import Single, TopK
from sim.ports import Oracle
from sim.rng import Streams

TEAMS = task_experts(8, 32)


@pytest.fixture(scope="module")
def many() -> Runtime:
    return Runtime.load("builtin:stream32")


@pytest.fixture(scope="module")
def oracle(many: Runtime) -> Oracle:
    assert many.oracle is not None
    return many.oracle


def test_the_file_is_small_and_is_that_of_its_recipe() -> None:
    files = [BUILTIN / "stream32.safetensors", BUILTIN / "stream32.json"]
    assert sum(f.stat().st_size for f in files) < 4_000_000
    card = read_card("builtin:stream32")
    assert (card.experts, len(card.tasks), card.clusters) == (32, 8, 8)
    assert recipe_from(card.trained["recipe"]) == RECIPES["stream32"]
    assert card.trained["hash"] == recipe_hash(RECIPES["stream32"])
    assert card.trained["check"]["useful"] is True


def test_what_is_known_beforehand_are_vertices_uniform_teams_and_pairs_of_teams(
    many: Runtime,
) -> None:
    weights = many.calibration.weights
    assert weights.shape == (32 + 1 + 8 + 28, 32)
    sizes = [1] * 32 + [32] + [4] * 8 + [8] * 28
    assert np.count_nonzero(weights, axis=1).tolist() == sizes


def test_every_expert_serves_its_own_task(many: Runtime) -> None:
    for e in range(0, 32, 5):
        assert many.task_accuracy(np.eye(32)[e], e % 8) > 0.9
        assert many.task_accuracy(np.eye(32)[e], (e + 1) % 8) < 0.8


def test_an_expert_counts_for_its_own_task(oracle: Oracle) -> None:
    np.testing.assert_array_equal(oracle.task_to_expert, TEAMS.astype(np.float32))


def test_the_oracle_beats_single_uniform_and_proportional_merges(
    many: Runtime, oracle: Oracle
) -> None:
    assert len(oracle.weights) >= 1000
    rng = Streams(3).stream("mixes")
    for _ in range(4):
        active = rng.choice(8, int(rng.integers(1, 4)), replace=False)
        mix = np.zeros(8)
        mix[active] = rng.dirichlet(np.ones(len(active)))
        best = (oracle.accuracy @ mix).max()
        for weights in (mix @ TEAMS, np.full(32, 1 / 32), np.eye(32)[active[0]]):
            value = sum(mix[t] * many.task_accuracy(weights, int(t)) for t in active)
            assert best >= value - 0.02  # a finite table: a little may lie between its rows


def test_masks_hold_all_32_experts(many: Runtime) -> None:
    profile = many.profile(TopK(2))
    assert profile.experts.dtype == np.uint64
    assert profile.correct.mean() > 0.9
    seen = int(np.bitwise_or.reduce(profile.experts, axis=None))
    assert seen == 2**32 - 1
    single = many.profile(Single(31))
    assert single.correct[many.task_of == 7].mean() > 0.9
