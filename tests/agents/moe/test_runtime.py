"""What hosts call, on the shipped checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from agents.moe.build import build_checkpoint
from agents.moe.runtime import Runtime
from sim.errors import InputError, ShapeError
from sim.plans import Merged, Single, TopK, uniform
from sim.rng import Streams

if TYPE_CHECKING:
    from pathlib import Path

    from agents.moe.build import Built
    from agents.moe.recipe import Recipe

EVEN = (0.125,) * 8


def test_shapes_follow_the_card(stream: Runtime) -> None:
    card = stream.card
    assert stream.cluster_of.shape == stream.task_of.shape == (card.pool_size,)
    assert stream.cluster_to_task.shape == (card.clusters, len(card.tasks))
    assert np.bincount(stream.task_of).tolist() == list(card.pool_sizes)
    assert stream.calibration.weights.shape == (37, card.experts)
    assert stream.calibration.reward.shape == (37, card.clusters)
    assert stream.calibration.prior.sum() == pytest.approx(1.0)
    assert stream.oracle is not None
    assert stream.oracle.accuracy.shape == (len(stream.oracle.weights), len(card.tasks))
    assert torch.get_num_threads() == 1


def test_rows_come_back_in_the_order_given(stream: Runtime) -> None:
    rng = Streams(1).stream("order")
    inputs = rng.integers(0, stream.card.pool_size, 150)
    correct, confidence = stream.score_merged(EVEN, inputs)
    order = rng.permutation(150)
    again, sure = stream.score_merged(EVEN, inputs[order])
    assert (again == correct[order]).all()
    np.testing.assert_allclose(sure, confidence[order], atol=1e-5)
    assert correct.dtype == np.bool_
    assert ((confidence >= 0.25) & (confidence <= 1.0)).all()


def test_the_same_call_gives_the_same_bits(stream: Runtime) -> None:
    inputs = np.arange(40)
    first, other = stream.score_merged(EVEN, inputs), stream.score_merged((1.0, *[0.0] * 7), inputs)
    again = Runtime.load("builtin:stream").score_merged(EVEN, inputs)
    assert (first[1] == again[1]).all()
    assert (first[1] != other[1]).any()


def test_task_accuracy_is_the_mean_of_scores(stream: Runtime) -> None:
    for task in (0, 7):
        inputs = np.flatnonzero(stream.task_of == task)
        correct, _ = stream.score_merged(EVEN, inputs)
        assert stream.task_accuracy(EVEN, task) == pytest.approx(
            correct.mean(), abs=2 / len(inputs)
        )


def test_the_oracle_table_repeats_task_accuracy(stream: Runtime) -> None:
    assert stream.oracle is not None
    rows = Streams(1).stream("rows").integers(0, len(stream.oracle.weights), 6)
    for row in rows:
        for task in range(8):
            again = stream.task_accuracy(stream.oracle.weights[row], task)
            # Exact on the CPU type that built the table; one near-tie may fall otherwise elsewhere.
            assert again == pytest.approx(stream.oracle.accuracy[row, task], abs=0.01)


def test_the_oracle_beats_single_uniform_and_proportional_merges(stream: Runtime) -> None:
    assert stream.oracle is not None
    rng = Streams(3).stream("mixes")
    for _ in range(6):
        active = rng.choice(8, int(rng.integers(1, 4)), replace=False)
        mix = np.zeros(8)
        mix[active] = rng.dirichlet(np.ones(len(active)))
        best = (stream.oracle.accuracy @ mix).max()
        for weights in (mix @ stream.oracle.task_to_expert, np.array(EVEN), np.eye(8)[active[0]]):
            value = sum(mix[t] * stream.task_accuracy(weights, int(t)) for t in active)
            assert best >= value - 0.02  # a finite table: a little may lie between its rows


def test_profiles_of_top_k_count_experts_and_answer_well(stream: Runtime) -> None:
    profile = stream.profile(TopK(2))
    counts = np.array([[int(m).bit_count() for m in row] for row in profile.experts])
    assert profile.experts.shape == (4096, 2)
    assert counts.min() >= 2
    assert counts.max() <= 8
    assert (profile.experts < 256).all()
    assert profile.correct.mean() > 0.9
    assert stream.profile(TopK(1)).experts.dtype == np.uint64


def test_profiles_of_merges_equal_scores_and_touch_no_expert(stream: Runtime) -> None:
    correct, confidence = stream.score_merged(EVEN, np.arange(4096))
    profile = stream.profile(uniform(8))
    assert (profile.correct == correct).all()
    assert (profile.confidence == confidence).all()
    assert not profile.experts.any()
    single = stream.profile(Single(2))
    assert single.correct[stream.task_of == 2].mean() > 0.95
    assert (single.correct == stream.profile(Merged((0, 0, 1.0, 0, 0, 0, 0, 0))).correct).all()


def test_calibration_predicts_service_reward(stream: Runtime) -> None:
    """A vertex serves its own task's cluster on both splits."""
    owner = stream.cluster_to_task.argmax(1)
    for v, task in enumerate(owner):
        if stream.cluster_to_task[v, task] > 0.95:
            assert stream.calibration.reward[task, v] > 0.95
            assert stream.task_accuracy(np.eye(8)[task], int(task)) > 0.95


def test_empty_calls_are_fine(stream: Runtime) -> None:
    correct, confidence = stream.score_merged(EVEN, np.zeros(0, np.int64))
    assert correct.shape == confidence.shape == (0,)


def test_wrong_arguments_are_refused(stream: Runtime) -> None:
    with pytest.raises(ShapeError, match=r"input ids: expected 0\.\.4095"):
        stream.score_merged(EVEN, np.array([0, 4096]))
    with pytest.raises(ShapeError, match=r"input ids: expected 0\.\.4095"):
        stream.score_merged(EVEN, np.array([-1]))
    with pytest.raises(ShapeError, match="expected 8 merge weights, found 2"):
        stream.score_merged((0.5, 0.5), np.array([0]))
    with pytest.raises(InputError, match="gate 'hash': this checkpoint has learned"):
        stream.profile(TopK(1, "hash"))
    with pytest.raises(InputError, match="the checkpoint has 8 experts"):
        stream.profile(Single(8))
    with pytest.raises(InputError, match="the checkpoint has 8 experts"):
        stream.profile(uniform(4))
    with pytest.raises(InputError, match=r"task: expected 0\.\.7, found 8"):
        stream.task_accuracy(EVEN, 8)


def test_a_checkpoint_without_oracle_says_so(cache: Path, recipe: Recipe, tmp_path: Path) -> None:
    build_checkpoint(recipe, tmp_path, oracle=0, refuse=False)
    assert Runtime.load(str(tmp_path)).oracle is None


def test_calibration_rewards_are_means_over_cluster_items(built: Built) -> None:
    runtime = Runtime.load(str(built.path))
    assert runtime.calibration.count.sum() == 8 * 40
    assert ((runtime.calibration.reward >= 0) & (runtime.calibration.reward <= 1)).all()
    # Weighted by cluster sizes, the rows must give back the plain accuracy of the split.
    row = runtime.calibration.reward[8] @ runtime.calibration.prior
    assert row == pytest.approx(built.landscape.routes["uniform"].mean(), abs=1e-9)
