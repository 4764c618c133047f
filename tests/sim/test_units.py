"""Quantities: what is read, what is refused and with which words, and what is written."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim import units
from sim.errors import UnitError
from sim.units import (
    BANDWIDTH,
    BYTES,
    DIMENSIONS,
    ENERGY,
    FLOP,
    FLOP_RATE,
    POWER,
    RATE,
    TIME,
    exact,
    human,
    parse,
)


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("20 ms", TIME, 0.02),
        ("8 ms", TIME, 0.008),
        ("3 us", TIME, 3e-6),
        ("3 µs", TIME, 3e-6),
        ("3 \u03bcs", TIME, 3e-6),
        ("1 h 30 min", TIME, 5400.0),
        ("1h30min", TIME, 5400.0),
        ("90 s", TIME, 90.0),
        ("2 d", TIME, 172800.0),
        (".5 s", TIME, 0.5),
        ("1e3 ms", TIME, 1.0),
        ("  7 s ", TIME, 7.0),
        ("unlimited", TIME, math.inf),
        ("8 GiB", BYTES, 8.0 * 2**30),
        ("2KiB", BYTES, 2048.0),
        ("10 kB", BYTES, 10_000.0),
        ("8 kbit", BYTES, 1000.0),
        ("100 Mbit/s", BANDWIDTH, 12_500_000.0),
        ("1 GB/s", BANDWIDTH, 1e9),
        ("unlimited", BANDWIDTH, math.inf),
        ("20 /s", RATE, 20.0),
        ("20/s", RATE, 20.0),
        ("20 req/s", RATE, 20.0),
        ("90 /min", RATE, 1.5),
        ("15 W", POWER, 15.0),
        ("3 kWh", ENERGY, 10_800_000.0),
        ("1.8 TFLOP", FLOP, 1.8e12),
        ("1 TFLOP/s", FLOP_RATE, 1e12),
    ],
)
def test_reads_quantities_exactly(text, dimension, value):
    assert parse(text, dimension) == value


SIZES = "'2 KiB', '8 GiB' or '10 MB'"
TIMES = "'20 ms', '5 min' or '1 h 30 min'"


@pytest.mark.parametrize(
    ("value", "dimension", "said"),
    [
        (20, TIME, f"expected a time such as {TIMES}, found 20 (a number without a unit)"),
        (0.5, TIME, f"expected a time such as {TIMES}, found 0.5 (a number without a unit)"),
        (True, TIME, f"expected a time such as {TIMES}, found True"),
        (None, TIME, f"expected a time such as {TIMES}, found nothing"),
        ("20", TIME, f"expected a time such as {TIMES}, found '20' (a number without a unit)"),
        ("", TIME, f"expected a time such as {TIMES}, found ''"),
        ("fast", TIME, f"expected a time such as {TIMES}, found 'fast'"),
        ("nan s", TIME, f"expected a time such as {TIMES}, found 'nan s'"),
        ("٣ s", TIME, f"expected a time such as {TIMES}, found '٣ s'"),
        ("-3 ms", TIME, f"expected a time such as {TIMES}, found '-3 ms' (negative)"),
        ("1e999 s", TIME, f"expected a time such as {TIMES}, found '1e999 s' (too large)"),
        ("30 min 1 h", TIME, f"expected a time such as {TIMES}, found '30 min 1 h'"),
        ("1 h 1 h", TIME, f"expected a time such as {TIMES}, found '1 h 1 h'"),
        (
            "20 m",
            TIME,
            f"unknown unit 'm' in '20 m'; did you mean 'min'? (expected a time such as {TIMES})",
        ),
        (
            "100 Mb",
            BYTES,
            "unknown unit 'Mb' in '100 Mb'; did you mean 'MB' or 'Mbit'? "
            "(expected a size such as '2 KiB', '8 GiB' or '10 MB')",
        ),
        (
            "100 Mbps",
            BANDWIDTH,
            "unknown unit 'Mbps' in '100 Mbps'; did you mean 'Mbit/s'? "
            "(expected a bandwidth such as '100 Mbit/s', '1 GB/s' or 'unlimited')",
        ),
        (
            "100 MB",
            BANDWIDTH,
            "expected a bandwidth such as '100 Mbit/s', '1 GB/s' or 'unlimited', "
            "found '100 MB' (a size)",
        ),
        ("1 MB 2 kB", BYTES, f"expected a size such as {SIZES}, found '1 MB 2 kB'"),
        ("unlimited", BYTES, f"expected a size such as {SIZES}, found 'unlimited'"),
        ("5 GFLOPS", FLOP_RATE, "did you mean 'GFLOP/s'?"),
    ],
)  # fmt: skip
def test_refuses_with_what_was_found_and_what_is_allowed(value, dimension, said):
    with pytest.raises(UnitError, match=re.escape(said)):
        parse(value, dimension)


def test_case_counts():
    assert parse("1 MB", BYTES) == 1e6
    assert parse("1 MW", POWER) == 1e6
    assert parse("1 mW", POWER) == 1e-3
    with pytest.raises(UnitError):
        parse("1 mB", BYTES)


def test_refuses_long_text_fast():
    with pytest.raises(UnitError):
        parse("1" * 10_000_000 + " s", TIME)


def positive_floats():
    return st.floats(min_value=0.0, allow_nan=False, allow_infinity=False)


@settings(deadline=None)
@given(positive_floats(), st.sampled_from(DIMENSIONS))
def test_exact_text_gives_the_same_float_back(value, dimension):
    assert parse(exact(value, dimension), dimension) == value


@settings(deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(DIMENSIONS), st.data())
def test_neat_quantities_stay_neat(number, dimension, data):
    unit = data.draw(st.sampled_from(dimension.neat))
    value = parse(f"{number} {unit}", dimension)
    text = exact(value, dimension)
    assert parse(text, dimension) == value
    assert len(text.split()[0]) <= len(f"{number}") + 1


@pytest.mark.parametrize(
    ("value", "dimension", "text"),
    [
        (0.02, TIME, "20 ms"),
        (300.0, TIME, "5 min"),
        (0.0, TIME, "0 s"),
        (1 / 3, BANDWIDTH, "0.3333333333333333 B/s"),
        (12.5e6, BANDWIDTH, "100 Mbit/s"),
        (2.0**33, BYTES, "8 GiB"),
        (10_000.0, BYTES, "10 kB"),
        (math.inf, BANDWIDTH, "unlimited"),
    ],
)
def test_exact_text_is_readable(value, dimension, text):
    assert exact(value, dimension) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (units.format_s(0.0123456), "12.3 ms"),
        (units.format_s(0.99996), "1.00 s"),
        (units.format_s(0.0), "0 s"),
        (units.format_s(90061), "1 d 1 h 1 min 1 s"),
        (units.format_s(5400), "1 h 30 min"),
        (units.format_s(-75), "-1 min 15 s"),
        (units.format_s(math.nan), "-"),
        (units.format_s(math.inf), "unlimited"),
        (units.format_bytes(1.5 * 2**30), "1.50 GiB"),
        (units.format_bytes(2**30), "1.00 GiB"),
        (units.format_bytes(1000 * 2**20), "1000 MiB"),
        (units.format_bytes_per_s(12.5e6), "100 Mbit/s"),
        (units.format_per_s(20), "20.0 /s"),
        (units.format_w(15), "15.0 W"),
        (units.format_j(1.2e6), "1.20 MJ"),
        (units.format_flop(3e9), "3.00 GFLOP"),
        (units.format_flop_per_s(4e13), "40.0 TFLOP/s"),
        (units.format_share(0.973), "97.3 %"),
        (units.format_share(math.nan), "-"),
        (units.format_count(1234567), "1,234,567"),
        (units.significant(0.000012345), "1.23e-05"),
        (units.significant(0.0), "0"),
    ],
)
def test_writes_for_people(text, expected):
    assert text == expected


@settings(deadline=None)
@given(st.floats(1e-9, 1e15), st.sampled_from(DIMENSIONS))
def test_human_text_is_close(value, dimension):
    assert parse(human(value, dimension), dimension) == pytest.approx(value, rel=0.0051)
