from __future__ import annotations

import math

import numpy as np
import pytest

from analysis.quality import floor_of, quality, sampling_floor, steps, task_counts
from analysis.summary import summarise
from tests.analysis.folder import Shape, record


@pytest.fixture(scope="module")
def made():
    return record(Shape(edges=3, slots=80, fault=False), "tanbr", 1)


def test_steps_number_each_nodes_served_slots() -> None:
    step, total = steps(np.array([7, 2, 7, 7, 2]), np.array([9, 4, 3, 5, 1]))
    assert step.tolist() == [2, 1, 0, 1, 0]
    assert total.tolist() == [3, 2, 3, 3, 2]


def table(regret: list[float]) -> dict[str, np.ndarray]:
    """One node that serves every second slot; its best is 0.9 and its best fixed merge 0.85."""
    n = len(regret)
    return {
        "slot": 2 * np.arange(n), "node": np.zeros(n, np.int32), "served": np.ones(n, np.int32),
        "reward": 0.9 - np.array(regret), "reward_best": np.full(n, 0.9),
        "reward_expected": np.full(n, np.nan), "reward_fixed": np.full(n, 0.85),
        "context_tv": np.full(n, np.nan),
    }  # fmt: skip


def test_early_and_late_count_slots_with_service() -> None:
    regret = [0.5] * 50 + [0.2] * 25 + [0.1] * 25  # 100 steps over 200 slots
    found = quality({"slots": table(regret), "requests": {}}, {"slot_s": 1.0}, [0])
    assert found["regret_early"] == pytest.approx(0.5)
    assert found["regret_late"] == pytest.approx(0.1)
    assert found["regret_mean"] == pytest.approx(np.mean(regret))
    assert found["regret_fixed_mean"] == pytest.approx(0.05)
    assert math.isnan(found["context_floor_mean"])


def test_late_is_the_last_quarter_of_each_node() -> None:
    one, two = table([0.4, 0.4, 0.4, 0.1]), table([0.3] * 7 + [0.2])
    two["node"] = np.ones(8, np.int32)
    slots = {name: np.append(one[name], two[name]) for name in one}
    found = quality({"slots": slots, "requests": {}}, {"slot_s": 1.0}, [0, 1])
    assert found["regret_late"] == pytest.approx((0.1 + 0.3 + 0.2) / 3)


def test_the_floor_of_two_tasks_by_hand() -> None:
    # n = 4, served 3 and 1: m (1 - m) / (n - 1) = 0.0625; both tasks deviate alike
    found = sampling_floor(np.array([0, 0, 1]), np.array([3, 1, 1]), 3)
    assert found[0] == pytest.approx(math.sqrt(2.0 * 0.0625 / math.pi))
    assert np.isnan(found[1:]).all()  # one request, and none


@pytest.mark.parametrize("n", [20, 100])
def test_the_floor_is_what_a_perfect_estimate_measures(n: int) -> None:
    mix = np.array([0.6, 0.3, 0.08, 0.02])
    rng = np.random.default_rng(5)
    counts = rng.multinomial(n, mix, 4000)
    true_tv = 0.5 * np.abs(counts / n - mix).sum(axis=1).mean()
    row, task = np.nonzero(counts)
    found = sampling_floor(row, counts[row, task], len(counts)).mean()
    assert 0.90 * true_tv < found < 1.03 * true_tv


def test_counts_by_slot_equal_a_loop_over_requests(made) -> None:
    requests, slot_s = made.tables["requests"], made.meta["slot_s"]
    wanted = requests["server"] == 1
    loop: dict[tuple[int, int, int], int] = {}
    for i in np.flatnonzero(wanted & np.isfinite(requests["t_finish_s"])):
        slot = 0
        while (slot + 1) * slot_s <= requests["t_start_s"][i]:
            slot += 1
        key = (slot, 1, int(requests["task"][i]))
        loop[key] = loop.get(key, 0) + 1
    found = np.stack(task_counts(requests, slot_s, wanted), axis=1).tolist()
    assert {tuple(row[:3]): row[3] for row in found} == loop


def test_the_floor_meets_its_own_node_slot() -> None:
    rows = {"slot": np.array([5, 2]), "node": np.array([0, 3])}
    counted = tuple(map(np.array, ([2, 2, 5, 5, 9], [3, 3, 0, 1, 0], [0, 1, 0, 0, 0], [2] * 5)))
    found = floor_of(rows, counted)
    assert found[0] == 0.0  # one task alone is always met exactly
    assert found[1] == pytest.approx(math.sqrt(2.0 * 0.25 / 3.0 / math.pi))


def test_the_summary_has_a_floor_where_it_has_an_error(made) -> None:
    found = summarise(made.tables, made.meta)
    assert 0.02 < found["context_floor_mean"] < 0.5
    other = record(Shape(edges=3, slots=20), "uniform", 1)
    assert math.isnan(summarise(other.tables, other.meta)["context_floor_mean"])
