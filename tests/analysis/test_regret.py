from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.regret import MIN_STEPS, Curve, band, curve, part_means, parts, tail_slope
from analysis.summary import summarise
from tests.analysis.folder import Shape, record


@pytest.fixture(scope="module")
def made():
    return record(Shape(edges=3, slots=20), "tanbr", 1)


def test_curve_equals_a_loop_over_slots(made) -> None:
    s, found = made.tables["slots"], curve(made.tables["slots"], made.meta)
    total = 0.0
    for k in range(made.meta["slots"]):
        for i in np.flatnonzero((s["slot"] == k) & (s["node"] < 3) & (s["served"] > 0)):
            total += s["reward_best"][i] - s["reward"][i]
        assert found.realised[k] == pytest.approx(total / 3)


def test_the_curve_ends_where_the_summary_says(made) -> None:
    found = curve(made.tables["slots"], made.meta)
    assert found.realised[-1] * 3 == pytest.approx(
        summarise(made.tables, made.meta)["regret_total"]
    )


def test_a_full_sample_makes_the_expected_curve_exact(made) -> None:
    slots = dict(made.tables["slots"])
    slots["reward_expected"] = slots["reward"]
    found = curve(slots, made.meta)
    np.testing.assert_allclose(found.expected, found.realised, rtol=1e-12)


def test_a_sample_estimates_the_whole() -> None:
    made = record(Shape(edges=8, slots=200, fault=False), "uniform", 2)
    slots, rng = dict(made.tables["slots"]), np.random.default_rng(1)
    slots["reward_expected"] = np.where(
        rng.random(len(slots["slot"])) < 0.2, slots["reward"], np.nan
    )
    found = curve(slots, made.meta)
    assert found.expected[-1] == pytest.approx(found.realised[-1], rel=0.1)


def test_slots_without_service_add_nothing(made) -> None:
    slots = {name: values.copy() for name, values in made.tables["slots"].items()}
    slots["served"][slots["slot"] >= 10] = 0
    found = curve(slots, made.meta)
    assert np.ptp(found.realised[9:]) == 0.0
    assert found.steps == 10


def test_band_is_t_around_the_mean() -> None:
    found = band([np.array([1.0, 2.0]), np.array([3.0, 2.0])])
    np.testing.assert_allclose(found.mean, [2.0, 2.0])
    np.testing.assert_allclose(found.high - found.mean, [12.7062047, 0.0], atol=1e-6)
    assert np.isnan(band([np.array([1.0])]).low).all()


def power(
    exponent: float, length: int = 1000, steps: float = 1000.0, sampled: float = 1.0
) -> Curve:
    """Regret that grows like a power of the steps; a node serves in steps / length of its slots."""
    at = np.arange(1.0, length + 1)
    served = at * steps / length
    return Curve(at, served**exponent, 2 * served**exponent, at, at, at, served, at * sampled)


@pytest.mark.parametrize("exponent", [0.5, 0.8, 1.0])
def test_the_slope_of_a_power_is_its_exponent(exponent: float) -> None:
    found = tail_slope([power(exponent), power(exponent)]).interval
    assert found is not None
    assert found.mean == pytest.approx(exponent, abs=1e-6)


def test_no_slope_without_enough_slots_seeds_or_growth() -> None:
    few = MIN_STEPS - 1.0
    assert "at least 200" in tail_slope([power(1.0, steps=few), power(1.0)]).reason
    assert "one seed" in tail_slope([power(1.0)]).reason
    falling = replace(power(1.0), realised=-power(1.0).realised)
    assert "not positive" in tail_slope([falling, falling]).reason


def test_a_curve_goes_on_flat_where_other_seeds_are_longer(made) -> None:
    own = curve(made.tables["slots"], made.meta)
    longer = curve(made.tables["slots"], made.meta, len(own.slot) + 3)
    assert len(longer.slot) == len(own.slot) + 3
    np.testing.assert_array_equal(longer.realised[: len(own.slot)], own.realised)
    assert (longer.realised[len(own.slot) :] == own.realised[-1]).all()
    assert longer.steps == own.steps


def test_idle_slots_do_not_bend_the_slope() -> None:
    busy = power(0.6, 1000)
    idle = np.repeat(np.arange(1000), np.where(np.arange(1000) < 600, 1, 4))  # pauses in the tail
    lazy = Curve(
        np.arange(1.0, len(idle) + 1),
        *(getattr(busy, name)[idle] for name in Curve.__slots__[1:]),
    )
    found = [tail_slope([c, c]).interval for c in (busy, lazy)]
    assert found[0].mean == pytest.approx(found[1].mean, abs=1e-9)


def test_the_expected_slope_needs_samples_in_the_tail() -> None:
    found = tail_slope([power(0.7), power(0.7)], "expected").interval
    assert found.mean == pytest.approx(0.7, abs=1e-6)
    few = power(0.7, sampled=0.05)
    assert "25 node-slots sampled" in tail_slope([few, few], "expected").reason


def test_contexts_add_up_to_the_fleet_and_nodes_average_to_it(made) -> None:
    slots = dict(made.tables["slots"])
    slots["task"] = np.where(slots["served"] > 0, slots["slot"] % 3, -1)
    whole = curve(slots, made.meta).realised
    by_task = parts(slots, made.meta, "task")
    assert sorted(by_task) == [0, 1, 2]
    np.testing.assert_allclose(sum(by_task.values()), whole, atol=1e-12)
    by_node = parts(slots, made.meta, "node")
    assert sorted(by_node) == [0, 1, 2]
    np.testing.assert_allclose(sum(by_node.values()) / 3, whole, atol=1e-12)


def test_part_means_equal_a_loop(made) -> None:
    s = made.tables["slots"]
    lost = [
        s["reward_best"][i] - s["reward"][i]
        for i in range(len(s["slot"]))
        if s["node"][i] == 1 and s["served"][i] > 0
    ]
    assert part_means(s, made.meta, "node")[1] == pytest.approx(np.mean(lost))


def test_the_fixed_line_is_the_best_fixed_merges_regret(made) -> None:
    found = curve(made.tables["slots"], made.meta)
    assert found.fixed[-1] == pytest.approx(0.04 * found.steps)  # 0.84 and 0.80 in the folder
    old = {k: v for k, v in made.tables["slots"].items() if k != "reward_fixed"}
    assert np.isnan(curve(old, made.meta).fixed).all()


def test_the_floor_is_averaged_where_there_is_an_error(made) -> None:
    slots = dict(made.tables["slots"])
    slots["floor"] = np.full(len(slots["slot"]), 0.1)
    slots["floor"][slots["node"] == 0] = 0.4
    slots["context_tv"] = np.where(slots["node"] == 0, np.nan, slots["context_tv"])
    assert curve(slots, made.meta).floor[3] == pytest.approx(0.1)
