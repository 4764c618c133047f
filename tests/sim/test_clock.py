"""The clock: order of equal times, SimPy's own events beside alarms, emissions merged in."""

from __future__ import annotations

from collections.abc import Generator
from itertools import permutations
from typing import Any

import pytest
import simpy

from sim.clock import ARRIVE, EMIT, END, FAULT, LAST, SLOT, START, Clock


class Noted(list[Any]):
    """A list whose `note` is a callback."""

    def note(self, item: Any, now_s: float) -> None:
        self.append(item)


def test_equal_times_go_by_rank_then_key_then_order_of_asking() -> None:
    asked = [(1.0, EMIT, 1, "e"), (1.0, END, 7, "c"), (1.0, END, 2, "b"), (1.0, FAULT, 9, "a"),
             (1.0, END, 7, "d"), (0.5, START, 0, "_")]  # fmt: skip
    for order in list(permutations(asked))[::37]:
        clock = Clock()
        seen = Noted()
        for t_s, rank, key, name in order:
            clock.at(t_s, rank, key, seen.note, name)
        clock.stop(2.0)
        clock.run_to_stop()
        assert "".join(seen).replace("dc", "cd") == "_abcde"
        assert clock.now == 2.0
        assert clock.alarms == 6


def test_ranks_are_those_of_the_design() -> None:
    assert FAULT < END < ARRIVE < SLOT < EMIT < START < LAST


def test_ties_of_rank_and_key_keep_the_order_of_asking() -> None:
    clock, seen = Clock(), list[int]()
    for i in range(50):
        clock.at(1.0, END, 0, lambda item, now_s: seen.append(item), i)
    clock.stop(1.0)
    clock.run_to_stop()
    assert seen == list(range(50))


def test_emissions_take_their_turn_among_alarms() -> None:
    clock, seen = Clock(), list[tuple[str, float]]()

    def emit(rid: int, now_s: float, idle_s: float) -> None:
        assert clock.now == now_s
        seen.append((f"emit {rid}", now_s))
        clock.at(now_s, START, 0, note, "start")

    def note(item: str, now_s: float) -> None:
        assert clock.now == now_s
        seen.append((item, now_s))

    clock.at(1.0, SLOT, 0, note, "slot")
    clock.at(2.5, END, 0, note, "end")
    clock.stop(3.0)
    clock.run_to_stop([1.0, 1.0, 2.0], emit)
    names = [name for name, _ in seen]
    assert names == ["slot", "emit 0", "emit 1", "start", "start", "emit 2", "start", "end"]
    assert clock.alarms == 2 + 3 + 3


def test_a_moment_is_idle_only_before_the_next_emission_and_the_next_alarm() -> None:
    clock, seen = Clock(), list[bool]()

    def emit(rid: int, now_s: float, idle_s: float) -> None:
        for t_s in (1.2, 1.3, 1.5, 1.6):
            seen.append(clock.idle_before(t_s, EMIT, rid))

    clock.at(1.4, END, 0, lambda item, now_s: None)
    clock.stop(5.0)
    clock.run_to_stop([1.0], emit)
    assert seen == [True, True, False, False]
    seen.clear()
    clock = Clock()
    clock.stop(5.0)
    clock.run_to_stop([1.0, 1.5], emit)
    assert seen == [True, True, True, False] + [True] * 4
    assert clock.idle_before(5.0, EMIT, 0)
    assert not clock.idle_before(5.1, EMIT, 0)  # after the end


def test_an_emission_is_told_until_when_nothing_else_is_due() -> None:
    clock, told = Clock(), list[float]()

    def emit(rid: int, now_s: float, idle_s: float) -> None:
        told.append(idle_s)
        assert clock.idle_before(idle_s - 0.01, EMIT, rid)
        assert not clock.idle_before(idle_s + 0.01, EMIT, rid)

    for t_s, rank in ((1.0, SLOT), (1.4, END), (2.0, START), (3.5, END)):
        clock.at(t_s, rank, 0, lambda item, now_s: None)
    clock.stop(4.0)
    clock.run_to_stop([1.0, 1.5, 2.5, 3.7], emit)
    assert told == [1.4, 2.0, 3.5, 4.0]


def test_the_run_stops_where_it_is_told_even_while_it_runs() -> None:
    clock, seen = Clock(), list[float]()

    def note(item: None, now_s: float) -> None:
        seen.append(now_s)
        if now_s == 2.0:
            clock.stop(3.0)

    for t_s in (1.0, 2.0, 3.0, 4.0):
        clock.at(t_s, END, 0, note)
    clock.stop(10.0)
    clock.run_to_stop()
    assert seen == [1.0, 2.0, 3.0]
    assert clock.now == 3.0


def test_what_is_pending_is_told_by_rank_in_its_order() -> None:
    clock = Clock()
    alarms = ((3.0, ARRIVE, "c"), (1.0, ARRIVE, "a"), (2.0, END, "x"), (1.0, ARRIVE, "b"))
    for t_s, rank, item in alarms:
        clock.at(t_s, rank, ord(item), print, item)
    assert clock.pending(ARRIVE) == ["a", "b", "c"]


def test_simpy_processes_run_beside_alarms() -> None:
    clock, seen = Clock(), list[tuple[str, float]]()
    box = simpy.Store(clock)

    def worker() -> Generator[Any, Any, None]:
        while True:
            item = yield box.get()
            yield clock.timeout(0.25)
            seen.append((item, clock.now))

    clock.process(worker())
    for t_s in (1.0, 1.1):
        clock.at(t_s, END, 0, lambda item, now_s: box.put(item), f"put at {t_s}")
    clock.run(until=3.0)
    assert seen == [("put at 1.0", 1.25), ("put at 1.1", 1.5)]


def test_a_process_that_fails_fails_the_run() -> None:
    clock = Clock()

    def broken() -> Generator[Any, Any, None]:
        yield clock.timeout(1.0)
        raise ZeroDivisionError("one over nothing")

    clock.process(broken())
    with pytest.raises(ZeroDivisionError, match="one over nothing"):
        clock.run()


def test_an_empty_clock_says_so_as_simpy_does() -> None:
    with pytest.raises(simpy.core.EmptySchedule):
        Clock().step()
