"""Ways that are looked up once: they do what the slower ways do, bit by bit."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.clock import Clock
from sim.config import DispatchSpec, FaultSpec, LinkSpec
from sim.faults import Outage
from sim.network.links import Links
from sim.network.ways import Made, free_down, free_up
from tests.sim.worlds import fleet, run

NUMBERS = st.floats(0.0, 1e9, allow_nan=False)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=20),
    st.floats(1e-3, 1e12),
    st.floats(0.0, 1e3),
)
def test_a_free_way_takes_the_time_that_a_link_says(
    trips: list[tuple[float, float]], bytes_per_s: float, delay_s: float
) -> None:
    specs = [LinkSpec(0, 0, 1, delay_s, inf), LinkSpec(1, 0, 1, delay_s, bytes_per_s, "none")]
    one, two, three, clock = Links(specs), Links(specs), Links(specs), Clock()
    door, back = list[tuple[int, float]](), list[tuple[int, float]]()
    sizes = [size_bytes for _, size_bytes in trips]
    up = free_up(two, 1, sizes, clock, lambda rid, now_s: door.append((rid, now_s)))
    down = free_down(three, 1, sizes, lambda rid, now_s: back.append((rid, now_s)))
    due = [(rid, one.put(1, size, now_s)) for rid, (now_s, size) in enumerate(trips)]
    for rid, (now_s, _) in enumerate(trips):
        up(rid, now_s)
        down(rid, now_s)
    clock.stop(inf)
    clock.run_to_stop()
    assert back == due
    assert door == sorted(due, key=lambda arrival: (arrival[1], arrival[0]))
    assert clock.alarms == len(trips)
    assert one.sent_bytes == two.sent_bytes == three.sent_bytes
    assert one.flush() == two.flush()
    up(0, 0.0)  # a flush leaves the way its counter
    assert two.sent_bytes == [0.0, sizes[0]]


def test_only_uncontended_links_of_unchanging_speed_are_free() -> None:
    kinds = ("none", "none", "fifo", "fair")
    links = [LinkSpec(i, 0, 1, 0.0, 1.0, kind) for i, kind in enumerate(kinds)]
    slow = Outage("link-slow", 1, 9.0, 10.0, FaultSpec("link-slow", 1, 9.0, 1.0, factor=2.0))
    told = Links(links, [slow])
    assert [told.free(link.id) for link in links if told.sure(link.id)] == [True, False, False]


@pytest.mark.parametrize("delay_s", [0.0, 0.25])
def test_requests_fare_alike_on_free_ways_and_on_journeys(delay_s: float) -> None:
    """A link that would fail after the last answer makes every transfer a journey of its own."""
    world = replace(fleet(3, duration_s=8.0), drain_s=50.0, dispatch=DispatchSpec("random"))
    links = tuple(replace(x, sharing="none", delay_s=delay_s) for x in world.links)
    late = FaultSpec("link-down", 0, world.duration_s + 49.0)
    free, one_by_one = (run(replace(world, links=links, faults=f)) for f in ((), (late,)))
    table = free.tables["requests"]
    sent = table["source"] != table["server"]
    assert sent.sum() > 50
    assert one_by_one.meta["events"] >= free.meta["events"] + sent.sum()  # answers arrive
    for name in ("requests", "links", "slots"):
        for column, values in free.tables[name].items():
            np.testing.assert_array_equal(values, one_by_one.tables[name][column], err_msg=column)


def test_values_are_made_once_when_they_are_asked_for() -> None:
    asked: list[int] = []

    def make(key: int) -> int:
        asked.append(key)
        return 2 * key

    made = Made(make)
    assert [made[3], made[1], made[3]] == [6, 2, 6]
    assert asked == [3, 1]
    assert dict(made) == {3: 6, 1: 2}
