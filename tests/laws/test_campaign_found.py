"""What the fault campaign found: each failure stays here as a test, with what it was."""

from __future__ import annotations

from math import inf
from typing import ClassVar

from hypothesis import given, settings
from hypothesis import strategies as st

from sim.pace import Pace, held

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
    steps = list(held(intervals))
    assert [t for t, _ in steps] == sorted({t for i in intervals for t in i[:2]})
    for t_s, values in steps:
        assert values == [v for a, b, v in intervals if a <= t_s < b]


class Counted(float):
    """A time that counts how often it is compared as intervals are."""

    looks: ClassVar[int] = 0

    def __le__(self, other: float) -> bool:
        Counted.looks += 1
        return float.__le__(self, other)


def test_a_long_timetable_costs_no_more_than_it_is_long() -> None:
    count = 5_000
    flaps = [(Counted(0.01 * i), 0.01 * i + 0.015, 2.0) for i in range(count)]
    pace = Pace(flaps)
    assert Counted.looks < 10 * count
    assert pace.speed(30.002) == 0.25  # two of them overlap
    assert pace.speed(30.007) == 0.5
