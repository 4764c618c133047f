from __future__ import annotations

import math

import pytest

from analysis.metrics import BY_KEY, METRICS, decimals, digits, number

P99, MEMORY, ACCURACY = (BY_KEY[k] for k in ("latency_p99_s", "memory_peak_bytes", "accuracy"))


@pytest.mark.parametrize(
    ("metric", "value", "said"),
    [
        (P99, 0.1824, "182 ms"),
        (P99, 3.25e-5, "32.5 µs"),
        (P99, 100.0, "100 s"),
        (P99, 240.0, "4.00 min"),
        (P99, 0.0, "0 s"),
        (MEMORY, 1.5 * 2**30, "1.50 GiB"),
        (ACCURACY, 0.8604, "86.0 %"),
        (ACCURACY, 0.0, "0 %"),
        (BY_KEY["regret_mean"], -0.0203, "\N{MINUS SIGN}2.03 points"),
        (BY_KEY["regret_mean"], -1e-7, "0 points"),
        (P99, math.nan, "-"),
        (P99, None, "-"),
    ],
)
def test_values_carry_a_unit_that_suits_them(metric, value, said) -> None:
    assert metric.text(value) == said


def test_a_mean_and_its_interval_share_one_unit() -> None:
    assert P99.pair(0.2709, 0.0038) == "271 ± 4 ms"
    assert P99.pair(0.06087, 0.00018) == "60.87 ± 0.18 ms"
    assert ACCURACY.pair(0.86, 0.0) == "86.0 %"
    assert ACCURACY.pair(0.86, math.nan) == "86.0 %"


def test_an_interval_shows_one_digit_or_two_when_it_starts_low() -> None:
    assert [decimals(h, 50.0) for h in (0.9, 0.3, 0.29, 0.1, 5.0, 12.0)] == [1, 1, 2, 2, 0, 0]


def test_no_negative_zero() -> None:
    assert "\N{MINUS SIGN}" not in BY_KEY["regret_mean"].pair(-1e-6, 0.001)
    assert digits(-1e-9) == "0"


def test_keys_are_unique_and_absent_values_are_nan() -> None:
    assert len(BY_KEY) == len(METRICS)
    assert math.isnan(number({"accuracy": None}, "accuracy"))
    assert math.isnan(number({"accuracy": ""}, "accuracy"))
    assert math.isnan(number({}, "accuracy"))
    assert number({"accuracy": "0.5"}, "accuracy") == 0.5
