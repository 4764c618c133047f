"""What the fault campaign found: each failure stays here as a test, with what it was."""

from __future__ import annotations

from math import inf, prod
from operator import mul

from hypothesis import given, settings
from hypothesis import strategies as st

from sim.pace import Pace, Steps

# --- paces took time in the square of the outages: minutes for some thousands (flapping links)

TIMES = st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, inf])
INTERVALS = st.lists(
    st.tuples(TIMES, TIMES, st.sampled_from([1.0, 2.0, 3.0, 7.0])).filter(lambda i: i[0] < i[1]),
    max_size=8,
)


@settings(deadline=None, max_examples=80)
@given(INTERVALS)
def test_what_holds_is_what_a_look_at_every_interval_finds(
    intervals: list[tuple[float, float, float]],
) -> None:
    steps = Steps(1.0, intervals, mul)
    assert list(steps.cuts_s) == sorted({t for i in intervals for t in i[:2]})
    for t_s in steps.cuts_s:
        assert steps.at(t_s) == prod(v for a, b, v in intervals if a <= t_s < b)


def test_a_long_timetable_costs_no_more_than_it_is_long() -> None:
    looks = 0

    def counted(value: float, factor: float) -> float:
        nonlocal looks
        looks += 1
        return value * factor

    count = 5_000
    flaps = [(0.01 * i, 0.01 * i + 0.015, 2.0) for i in range(count)]
    steps = Steps(1.0, flaps, counted)
    assert looks < 4 * count
    assert steps.at(30.002) == 4.0  # two of them overlap
    assert steps.at(30.007) == 2.0
    assert Pace(flaps).speed(30.002) == 0.25
