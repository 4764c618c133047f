"""The oracle and calibration tables, driven by a landscape whose optimum is known."""

from __future__ import annotations

import numpy as np
import pytest

from agents.moe.tables import (
    calibration_weights,
    count_by_group,
    oracle_table,
    task_experts,
    warm_start,
)
from agents.moe.train import silent
from sim.errors import InputError
from sim.rng import Streams

ITEMS = 1000


def _count(weights: np.ndarray) -> np.ndarray:
    """Task t is served by expert t: accuracy 1 - |w - e_t|^2 / 2, so the best merge is w = mix."""
    distance = ((weights - np.eye(len(weights))) ** 2).sum(1)
    return np.rint(ITEMS * (1.0 - distance / 2.0)).astype(np.int64)


def test_calibration_rows_are_vertices_uniform_and_pairs() -> None:
    rows = calibration_weights(np.eye(8))
    assert rows.shape == (37, 8)
    np.testing.assert_allclose(rows.sum(1), 1.0)
    assert sorted(np.count_nonzero(rows, axis=1).tolist()) == [1] * 8 + [2] * 28 + [8]
    assert len({tuple(row) for row in rows}) == 37


def test_many_experts_form_teams() -> None:
    teams = task_experts(3, 6)
    assert teams.tolist() == [
        [0.5, 0.0, 0.0, 0.5, 0.0, 0.0],
        [0.0, 0.5, 0.0, 0.0, 0.5, 0.0],
        [0.0, 0.0, 0.5, 0.0, 0.0, 0.5],
    ]
    assert (task_experts(5, 5) == np.eye(5)).all()
    rows = calibration_weights(teams)
    assert rows.shape == (6 + 1 + 3 + 3, 6)
    np.testing.assert_allclose(rows[7:10], teams)
    np.testing.assert_allclose(rows[10], (teams[0] + teams[1]) / 2.0)


def test_the_table_finds_optima_inside_teams() -> None:
    """The second expert of each team is useless, which only a search in the whole simplex sees."""
    teams = task_experts(3, 6)

    def count(weights: np.ndarray) -> np.ndarray:
        useful = weights[:3]
        distance = ((useful - np.eye(3)) ** 2).sum(1) + (weights[3:] ** 2).sum()
        return np.rint(ITEMS * (1.0 - distance / 2.0)).astype(np.int64)

    weights, counts = oracle_table(count, teams, 1500, Streams(1), silent)
    np.testing.assert_allclose(weights.sum(1), 1.0, atol=1e-6)
    rng = Streams(2).stream("mixes")
    for _ in range(20):
        mix = rng.dirichlet(np.ones(3))
        optimum = mix @ (1.0 - ((mix - np.eye(3)) ** 2).sum(1) / 2.0)
        assert (counts @ mix).max() / ITEMS == pytest.approx(optimum, abs=0.03)


def test_a_cluster_without_items_is_expected_to_be_average() -> None:
    correct, count = np.array([[3, 0, 1], [6, 0, 2]]), np.array([6, 0, 2])
    known = warm_start(np.eye(2), correct, count)
    np.testing.assert_allclose(known.reward, [[0.5, 0.5, 0.5], [1.0, 1.0, 1.0]])
    assert known.count.tolist() == [6.0, 0.0, 2.0]
    assert known.prior.tolist() == [0.75, 0.0, 0.25]


def test_the_table_finds_known_optima() -> None:
    weights, counts = oracle_table(_count, np.eye(4), 1200, Streams(1), silent)
    assert weights.shape == counts.shape == (1200, 4)
    np.testing.assert_allclose(weights.sum(1), 1.0, atol=1e-6)
    assert (weights >= 0.0).all()
    rng = Streams(2).stream("mixes")
    for _ in range(50):
        mix = rng.dirichlet(np.ones(4))
        # With w = mix, the value is sum_t m_t (1 - |m - e_t|^2 / 2).
        optimum = mix @ (1.0 - ((mix - np.eye(4)) ** 2).sum(1) / 2.0)
        assert (counts @ mix).max() / ITEMS == pytest.approx(optimum, abs=0.01)


def test_counts_are_those_of_the_stored_weights() -> None:
    weights, counts = oracle_table(_count, np.eye(3), 200, Streams(1), silent)
    assert (weights.astype(np.float32).astype(np.float64) == weights).all()
    for row, count in zip(weights, counts, strict=True):
        assert (_count(row) == count).all()


def test_equal_seeds_give_equal_tables_and_progress_is_told() -> None:
    seen: list[int] = []
    first, _ = oracle_table(
        _count, np.eye(3), 300, Streams(1), lambda stage, done, total: seen.append(done)
    )
    again, _ = oracle_table(_count, np.eye(3), 300, Streams(1), silent)
    other, _ = oracle_table(_count, np.eye(3), 300, Streams(2), silent)
    assert (first == again).all()
    assert (first != other).any()
    assert seen == list(range(1, 301))


def test_every_table_starts_with_the_calibration_rows() -> None:
    weights, _ = oracle_table(_count, np.eye(4), 11, Streams(1), silent)
    np.testing.assert_allclose(weights, calibration_weights(np.eye(4)), atol=1e-7)
    with pytest.raises(InputError, match="oracle: expected at least 11 candidates, found 10"):
        oracle_table(_count, np.eye(4), 10, Streams(1), silent)


def test_counting_by_group_equals_a_loop() -> None:
    rng = Streams(1).stream("hits")
    hits, group = rng.random((3, 50)) < 0.6, rng.integers(0, 4, 50)
    slow = [
        [sum(hits[c, i] for i in range(50) if group[i] == g) for g in range(5)] for c in range(3)
    ]
    assert count_by_group(hits, group, 5).tolist() == slow
