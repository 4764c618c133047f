from __future__ import annotations

import numpy as np
import pytest

from analysis.regret import MIN_STEPS, Curve, band, curve, tail_slope
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


def power(exponent: float, length: int = 1000, steps: float = 1000.0) -> Curve:
    at = np.arange(1.0, length + 1)
    return Curve(at, at**exponent, at, at, steps)


@pytest.mark.parametrize("exponent", [0.5, 0.8, 1.0])
def test_the_slope_of_a_power_is_its_exponent(exponent: float) -> None:
    found = tail_slope([power(exponent), power(exponent)]).interval
    assert found is not None
    assert found.mean == pytest.approx(exponent, abs=1e-6)


def test_no_slope_without_enough_slots_seeds_or_growth() -> None:
    few = MIN_STEPS - 1.0
    assert "at least 200" in tail_slope([power(1.0, steps=few), power(1.0)]).reason
    assert "one seed" in tail_slope([power(1.0)]).reason
    falling = Curve(*(-power(1.0).realised,) * 4, 1000.0)
    assert "not positive" in tail_slope([falling, falling]).reason


def test_a_curve_goes_on_flat_where_other_seeds_are_longer(made) -> None:
    own = curve(made.tables["slots"], made.meta)
    longer = curve(made.tables["slots"], made.meta, len(own.slot) + 3)
    assert len(longer.slot) == len(own.slot) + 3
    np.testing.assert_array_equal(longer.realised[: len(own.slot)], own.realised)
    assert (longer.realised[len(own.slot) :] == own.realised[-1]).all()
    assert longer.steps == own.steps
