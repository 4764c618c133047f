"""The verdict itself: quantiles against scipy, size and power against counted rejections."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from sim.proofs.student import quantile, rejection
from sim.proofs.verdict import (
    BIAS,
    Estimate,
    apart,
    compare,
    estimate,
    exact,
    judge,
    refuted,
    skipped,
)


@pytest.mark.parametrize("df", [2, 7, 19, 63, 400])
@pytest.mark.parametrize("alpha", [0.05, 1e-3, 1e-4])
def test_quantiles_are_students(df: int, alpha: float) -> None:
    assert quantile(alpha, df) == pytest.approx(stats.t.isf(alpha / 2, df), rel=1e-8)


@pytest.mark.parametrize("df", [7, 19, 90])
@pytest.mark.parametrize("shift", [0.5, 3.0, 7.0])
def test_power_is_that_of_the_noncentral_t(df: int, shift: float) -> None:
    critical = 4.0
    below = np.nan_to_num(stats.nct.cdf(-critical, df, shift))  # scipy gives NaN for 1e-30
    theory = stats.nct.sf(critical, df, shift) + below
    assert rejection(critical, df, shift) == pytest.approx(theory, rel=1e-6, abs=1e-12)


def test_an_interval_misses_as_often_as_it_says() -> None:
    # 20 000 intervals at alpha 1 %: 200 misses expected, deviation 14
    rng = np.random.default_rng(1)
    misses = 0
    for _ in range(20_000):
        values = rng.standard_normal(8)
        error = values.std(ddof=1) / np.sqrt(8)
        misses += abs(values.mean()) > quantile(0.01, 7) * error
    assert 140 < misses < 260


def test_controls_keep_the_mean_and_take_the_noise() -> None:
    rng = np.random.default_rng(2)
    noise = rng.standard_normal((60, 2))
    values = 5.0 + noise @ [1.0, -2.0] + 0.01 * rng.standard_normal(60)
    plain, controlled = estimate(values), estimate(values, noise)
    assert controlled.error < plain.error / 50
    assert abs(controlled.mean - 5.0) < 5 * controlled.error
    assert controlled.df == 57


def test_without_controls_it_is_the_plain_t_interval() -> None:
    values = np.array([1.0, 2.0, 4.0, 7.0, 1.5])
    found = estimate(values)
    low, high = stats.t.interval(1 - 1e-4, 4, values.mean(), stats.sem(values))
    assert found.mean - found.half == pytest.approx(low)
    assert found.mean + found.half == pytest.approx(high)


def noisy(mean: float, deviation: float) -> np.ndarray:
    pattern = np.tile([-1.0, 1.0], 16)
    return mean + deviation * pattern


def test_a_right_and_sharp_check_passes() -> None:
    result = judge("x", 1.0, noisy(1.001, 0.01))
    assert (result.verdict, result.caught) == ("pass", True)
    assert result.power > 0.99
    assert result.low < 1.0 < result.high


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_bias_of_two_percent_fails(side: float) -> None:
    assert judge("x", 1.0, noisy(1.0 + side * BIAS, 0.01)).verdict == "FAIL"


def test_a_right_but_blunt_check_has_no_power() -> None:
    result = judge("x", 1.0, noisy(1.0, 0.1))
    assert result.verdict == "no power"
    assert result.bad


def test_two_simulators_are_compared_with_both_errors() -> None:
    sharp, blunt = Estimate(1.0, 0.001, 30), Estimate(1.003, 0.002, 12)
    result = compare("x", sharp, blunt)
    assert result.verdict == "pass"
    assert result.high - result.low == pytest.approx(2 * quantile(1e-4, 12) * np.hypot(1e-3, 2e-3))
    assert compare("x", sharp, Estimate(1.02, 0.002, 12)).verdict == "FAIL"


@pytest.mark.parametrize(
    ("difference", "cases", "verdict"),
    [(0.0, 5, "pass"), (1e-9, 5, "pass"), (2e-9, 5, "FAIL"), (0.0, 0, "FAIL"), (np.nan, 5, "FAIL")],
)
def test_exact_checks_allow_rounding_only(difference: float, cases: int, verdict: str) -> None:
    assert exact("x", difference, cases, "requests").verdict == verdict


def test_numbers_that_only_one_side_has_are_infinitely_far_apart() -> None:
    nan, inf = np.nan, np.inf
    assert apart([1.0, nan, inf], [1.0, nan, inf]) == 0.0
    assert apart([1.0, 2.0, nan], [1.5, 1.0, nan]) == 1.0
    assert apart([], []) == 0.0
    for theirs in ([1.0, 2.0], [nan, 2.0, 3.0], [1.0, 2.0, nan], [1.0, 2.0, inf]):
        assert apart([1.0, 2.0, 3.0], theirs) == inf
        assert apart(theirs, [1.0, 2.0, 3.0]) == inf


def test_an_interval_with_fitted_controls_misses_as_often_as_it_says() -> None:
    # skewed numbers whose controls explain them in part, and not linearly: at alpha 5 %, 100 of
    # 2000 intervals miss, deviation 10; the bias of the fit is below a tenth of the error
    rng = np.random.default_rng(4)
    missed, shift = 0, 0.0
    for _ in range(2000):
        gaps = rng.gamma(25.0, 1 / 25.0, (256, 12))
        values = gaps[:, 0] * gaps[:, 1] / gaps[:, 2] + 0.1 * rng.standard_normal(256)
        found = estimate(values, gaps - 1.0)
        away = (found.mean - 25.0 / 24.0) / found.error
        missed += abs(away) > quantile(0.05, found.df)
        shift += away / 2000
    assert 60 < missed < 145
    assert abs(shift) < 0.15


def test_a_skipped_check_is_not_bad() -> None:
    assert not skipped("x", "ciw is not installed").bad


def test_a_wrong_theory_must_be_refuted() -> None:
    found = Estimate(1.0, 0.01, 30)
    assert refuted("x", 1.5, found).verdict == "pass"
    assert refuted("x", 1.01, found).verdict == "FAIL"
