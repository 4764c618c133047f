from __future__ import annotations

import math

import numpy as np
import pytest

from analysis.stats import batch_means, bca_interval, paired, t_interval, verdict


def test_t_interval_is_scipys() -> None:
    from scipy import stats

    x = np.random.default_rng(1).normal(3.0, 2.0, 9)
    low, high = stats.t.interval(0.95, 8, loc=x.mean(), scale=stats.sem(x))
    found = t_interval(x)
    assert (found.mean, found.low, found.high) == pytest.approx((x.mean(), low, high), rel=1e-12)
    assert found.n == 9


def test_one_value_has_no_interval_and_few_are_flagged() -> None:
    assert math.isnan(t_interval([1.0]).low)
    assert t_interval([1.0, 2.0, math.nan]).n == 2
    assert t_interval([1.0] * 4).few
    assert not t_interval([1.0] * 5).few
    assert math.isnan(t_interval([]).mean)


def test_bca_agrees_with_scipy_on_skewed_data() -> None:
    from scipy import stats

    x = np.random.default_rng(2).exponential(1.0, 15)
    ours = bca_interval(x, resamples=20_000)
    theirs = stats.bootstrap(
        (x,), np.mean, method="BCa", n_resamples=20_000, rng=np.random.default_rng(3)
    ).confidence_interval
    width = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.03 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.03 * width)


def test_bca_of_a_constant_has_no_width_and_a_seed_fixes_it() -> None:
    assert bca_interval([2.0, 2.0, 2.0]).half_width == 0.0
    x = [1.0, 4.0, 2.0, 8.0, 5.0]
    assert bca_interval(x) == bca_interval(x)


def test_t_interval_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(4)
    hits = [(i := t_interval(rng.normal(0.0, 1.0, 5))).low <= 0.0 <= i.high for _ in range(1500)]
    assert np.mean(hits) == pytest.approx(0.95, abs=0.02)


def test_pairing_removes_what_seeds_share() -> None:
    world = {seed: 100.0 + 10.0 * seed for seed in range(6)}
    policy = {seed: value * 0.55 + 0.01 * seed for seed, value in world.items()}
    found = paired(policy, world, "lower")
    assert found is not None
    assert found.verdict == "better"
    assert found.ratio.mean == pytest.approx(-0.45, abs=0.001)
    assert found.ratio.low < found.ratio.mean < found.ratio.high < -0.44
    assert found.difference.mean == pytest.approx(np.mean(list(policy.values())) - 125.0)


def test_only_shared_finite_seeds_count() -> None:
    found = paired({1: 1.0, 2: 2.0, 3: math.nan, 9: 5.0}, {1: 2.0, 2: 3.0, 3: 1.0}, "higher")
    assert found is not None
    assert found.differences == (-1.0, -1.0)
    assert found.verdict == "worse"
    assert paired({1: 1.0}, {2: 1.0}, "lower") is None


def test_rounding_is_no_difference() -> None:
    base = {s: 0.1 * s for s in range(1, 6)}
    found = paired({s: v * (1 + 1e-13) for s, v in base.items()}, base, "lower")
    assert found is not None
    assert found.verdict == "same"
    assert not any(found.differences)


def test_a_ratio_to_nothing_or_to_a_negative_baseline_is_not_given() -> None:
    for base in ({1: 0.0, 2: 0.0}, {1: -1.0, 2: -2.0}):
        found = paired({1: 1.0, 2: 3.0}, base, "lower")
        assert found is not None
        assert math.isnan(found.ratio.mean)


def test_verdicts() -> None:
    up = t_interval([1.0, 1.1, 0.9])
    around = t_interval([-1.0, 1.1, 0.1])
    assert [verdict(up, d) for d in ("lower", "higher", "none")] == ["worse", "better", "unclear"]
    assert verdict(around, "lower") == "same"
    assert verdict(t_interval([1.0]), "lower") == "unclear"


def test_batch_means_widen_for_correlated_series() -> None:
    rng = np.random.default_rng(5)
    noise = rng.normal(0.0, 1.0, 20_000)
    series = np.empty_like(noise)
    level = 0.0
    for i, e in enumerate(noise):
        level = 0.95 * level + e
        series[i] = level
    naive = t_interval(series).half_width
    honest = batch_means(series)
    # the variance of an AR(1) mean is (1 + a) / (1 - a) times the naive one
    assert honest.half_width == pytest.approx(naive * math.sqrt(39.0), rel=0.4)
    assert honest.low < 0.0 < honest.high
    assert honest.n == 20
    assert batch_means([1.0, 2.0]).n == 0
