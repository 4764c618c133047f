"""Flows on fair links: rates, ends, and what a change does not touch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.clock import EMIT, END, FAULT, Clock
from sim.network.fluid import Fluid
from sim.network.maxmin import max_min
from sim.proofs.twins.fluid import water_fill

Ends = list[tuple[str, float]]


def flow(
    capacity: Sequence[float],
    *starts: tuple[float, str, tuple[int, ...], float],
    then: Sequence[tuple[float, Callable[[Fluid[str], float], None]]] = (),
) -> Ends:
    """Return (item, end) in the order in which flows end; keys go by place."""
    clock, ends = Clock(), list[tuple[str, float]]()
    fluid = Fluid[str](clock, capacity, lambda item, now_s: ends.append((item, now_s)))
    for key, (start_s, item, links, size_bytes) in enumerate(starts):
        clock.at(
            start_s, EMIT, key,
            lambda args, now_s: fluid.start(*args, now_s), (item, key, links, size_bytes),
        )  # fmt: skip
    for t_s, act in then:
        clock.at(t_s, FAULT, 0, lambda act, now_s: act(fluid, now_s), act)
    clock.stop(1e9)
    clock.run_to_stop()
    assert fluid.items() == []
    return ends


@pytest.mark.parametrize(
    ("capacity", "routes", "rates"),
    [
        ([6.0], [(0,)] * 3, [2.0, 2.0, 2.0]),
        # the parking lot: the long flow takes half, the others the rest of their links
        ([2.0, 4.0, 8.0], [(0, 1, 2), (0,), (1,), (2,)], [1.0, 1.0, 3.0, 7.0]),
        # two levels: the first link binds three flows, the last one what is left
        ([1.0, 1.0, 1.0], [(0,), (0, 1), (0, 1, 2), (2,)], [1 / 3, 1 / 3, 1 / 3, 2 / 3]),
        ([inf, 3.0], [(0,), (0, 1), (1,)], [inf, 1.5, 1.5]),
        ([5.0], [], []),
    ],
)
def test_rates_of_known_networks(
    capacity: list[float], routes: list[tuple[int, ...]], rates: list[float]
) -> None:
    assert max_min(capacity, routes) == pytest.approx(rates)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_rates_are_those_of_the_definition(data: st.DataObject) -> None:
    links = data.draw(st.integers(1, 6))
    capacity = data.draw(st.lists(st.floats(0.01, 1e6), min_size=links, max_size=links))
    route = st.lists(st.integers(0, links - 1), min_size=1, max_size=4, unique=True)
    routes = data.draw(st.lists(route, max_size=10))
    exact = water_fill(capacity, dict(enumerate(routes)))
    assert max_min(capacity, routes) == pytest.approx([float(r) for r in exact.values()], rel=1e-12)


def test_two_flows_share_and_the_later_one_gets_what_the_first_leaves() -> None:
    # 10 bytes/s; a: 10 alone until 1, then 5: 20 bytes by 3 s; b: 5 until 3, then 10
    ends = flow([10.0], (0.0, "a", (0,), 20.0), (1.0, "b", (0,), 30.0))
    assert ends == [("a", 3.0), ("b", 5.0)]


def test_a_flow_that_is_narrow_elsewhere_leaves_the_rest_to_others() -> None:
    ends = flow([10.0, 2.0], (0.0, "narrow", (0, 1), 4.0), (0.0, "wide", (0,), 16.0))
    assert ends == [("narrow", 2.0), ("wide", 2.0)]


def test_what_is_empty_or_unbound_is_gone_at_once() -> None:
    ends = flow(
        [1.0, inf],
        (1.0, "full", (0,), 1.0),
        (1.0, "empty", (0,), 0.0),
        (1.0, "unbound", (1,), 1e9),
        (1.0, "bound", (0, 1), 1.0),
    )
    assert ends == [("empty", 1.0), ("unbound", 1.0), ("full", 3.0), ("bound", 3.0)]


def test_ends_of_one_instant_go_by_key_whatever_started_first() -> None:
    clock, ends = Clock(), list[int]()
    fluid = Fluid[int](clock, [4.0, 4.0], lambda item, now_s: ends.append(item))
    for key in (3, 0, 2, 1):
        fluid.start(key, key, (key % 2,), 8.0, 0.0)
    clock.stop(10.0)
    clock.run_to_stop()
    assert ends == [0, 1, 2, 3]


def test_ends_with_one_key_go_by_start() -> None:
    clock, ends = Clock(), list[str]()
    fluid = Fluid[str](clock, [4.0], lambda item, now_s: ends.append(item))
    for item in ("first", "second", "third"):
        fluid.start(item, 7, (0,), 8.0, 0.0)
    clock.stop(10.0)
    clock.run_to_stop()
    assert ends == ["first", "second", "third"]


def test_the_order_of_starting_does_not_touch_a_bit() -> None:
    sizes = [7.3, 1.1, 9.7, 4.4, 2.2]

    def ends(order: Sequence[int]) -> dict[int, float]:
        clock, found = Clock(), dict[int, float]()
        fluid = Fluid[int](clock, [1.7, 0.9, 3.1], found.__setitem__)
        for key in order:
            fluid.start(key, key, tuple({key % 3, (key + 1) % 3}), sizes[key], 0.0)
        clock.stop(1e6)
        clock.run_to_stop()
        return found

    assert ends([0, 1, 2, 3, 4]) == ends([4, 2, 0, 3, 1])


def test_a_cut_ends_what_crosses_and_frees_the_rest() -> None:
    ends = flow(
        [2.0, 9.0],
        (0.0, "crosses", (0, 1), 8.0),
        (0.0, "stays", (0,), 8.0),
        then=[(2.0, lambda fluid, now_s: fluid.cut(1, now_s))],
    )
    assert ends == [("crosses", 2.0), ("stays", 5.0)]


def test_a_slower_link_makes_flows_later() -> None:
    ends = flow(
        [4.0], (0.0, "a", (0,), 16.0),
        then=[(1.0, lambda f, t: f.change(0, 1.0, t)), (5.0, lambda f, t: f.change(0, 4.0, t))],
    )  # fmt: skip
    assert ends == [("a", 7.0)]  # 4 bytes by 1 s, 4 more by 5 s, 8 in 2 s


def test_changes_elsewhere_set_no_alarm() -> None:
    clock = Clock()
    fluid = Fluid[int](clock, [1.0] * 4, lambda item, now_s: None)
    fluid.start(0, 0, (0, 1), 5.0, 0.0)
    assert clock.alarms == 1
    fluid.start(1, 1, (2,), 50.0, 0.0)  # ends later, shares nothing
    fluid.change(3, 7.0, 0.0)
    fluid.cut(3, 0.0)
    assert clock.alarms == 1
    fluid.start(2, 2, (1, 2), 0.5, 0.0)  # joins all three
    assert len(clock.pending(END)) == 2


def test_stale_ends_do_not_pile_up() -> None:
    clock = Clock()
    fluid = Fluid[int](clock, [1.0], lambda item, now_s: None)
    for key in range(5):
        fluid.start(key, key, (0,), 1e6, 0.0)
    for step in range(1000):
        fluid.change(0, 1.0 + step % 2, float(step))
    assert len(fluid._dues) < 100
