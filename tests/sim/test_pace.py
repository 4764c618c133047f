"""Work on a channel whose speed changes: no byte is lost or won at a change."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.pace import Pace, Slowdown

GRID = st.integers(0, 12).map(lambda n: n / 4.0)


@st.composite
def slowdowns(draw: st.DrawFn) -> list[Slowdown]:
    found = []
    for _ in range(draw(st.integers(0, 4))):
        from_s = draw(GRID)
        until_s = draw(st.sampled_from([from_s, from_s + 0.5, from_s + 2.0, inf]))
        found.append((from_s, until_s, draw(st.sampled_from([0.5, 1.0, 2.0, 4.0]))))
    return found


def speed(slow: list[Slowdown], t_s: float) -> float:
    factor = 1.0
    for from_s, until_s, divides in slow:
        if from_s <= t_s < until_s:
            factor *= divides
    return 1.0 / factor


def walk(slow: list[Slowdown], start_s: float, work_s: float) -> float:
    """Return the end in steps of 1/64 s: all changes lie on that grid."""
    step = 1.0 / 64.0
    while work_s > speed(slow, start_s) * step:
        work_s -= speed(slow, start_s) * step
        start_s += step
    return start_s + work_s / speed(slow, start_s)


@settings(max_examples=200, deadline=None)
@given(slow=slowdowns(), start_s=GRID, work_s=GRID)
def test_work_ends_where_the_speed_adds_up_to_it(
    slow: list[Slowdown], start_s: float, work_s: float
) -> None:
    assert Pace(slow).finish(start_s, work_s) == walk(slow, start_s, work_s)


@settings(max_examples=50, deadline=None)
@given(slow=slowdowns(), t_s=GRID)
def test_speeds_hold_from_their_first_instant_and_no_longer_at_their_last(
    slow: list[Slowdown], t_s: float
) -> None:
    assert Pace(slow).speed(t_s) == speed(slow, t_s)


def test_without_slowdowns_nothing_is_rounded() -> None:
    assert Pace().finish(0.1, 0.2) == 0.1 + 0.2
    assert Pace([(0.0, 9.0, 1.0)]).cuts_s == []


@pytest.mark.parametrize(
    ("start_s", "end_s"),
    [(0.0, 1.0), (1.0, 3.0), (2.0, 4.0), (2.5, 4.25), (3.5, 4.75), (4.0, 5.0), (0.5, 2.0)],
)
def test_one_second_of_work_around_a_halved_speed(start_s: float, end_s: float) -> None:
    # half speed from 1 s to 4 s
    assert Pace([(1.0, 4.0, 2.0)]).finish(start_s, 1.0) == end_s
