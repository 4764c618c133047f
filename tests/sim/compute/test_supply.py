"""Where expert bytes come from: storage at a changing pace, good and bad copies, other nodes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.clock import Clock
from sim.compute.storage import Storage
from sim.compute.supply import Crate, Load, Supply
from sim.pace import Pace, Slowdown
from sim.ports import ExpertKey
from tests.sim.minds import MB, chip

A, B, C = (0, 0), (0, 1), (1, 3)


@dataclass
class Bill:
    read_bytes: float = 0.0
    moved_bytes: float = 0.0


@dataclass
class Dock:
    """One node's supply at 100 MB/s, and a network that takes 0.5 s or loses what it is told to."""

    stored: bool = True
    delay_s: float = 0.0
    bill: Bill = field(default_factory=Bill)
    wanted: bool = True
    lose: list[bool] = field(default_factory=list)  # of the next transfers, one each

    def __post_init__(self) -> None:
        self.clock = Clock()
        hardware = chip(storage_delay_s=self.delay_s)
        self.supply = Supply(self.clock, 0, Storage(hardware), stored=self.stored)
        self.supply.haul = self.haul
        self.asked: list[tuple[float, list[ExpertKey], float]] = []
        self.done: list[tuple[str, float]] = []

    def haul(self, crate: Crate, now_s: float) -> None:
        self.asked.append((now_s, list(crate.keys), crate.size_bytes))
        end = crate.lost if self.lose and self.lose.pop(0) else crate.came
        self.clock.at(now_s + 0.5, 2, 0, lambda _, at_s: end(at_s))

    def bring(self, name: str, *keys: ExpertKey, at_s: float = 0.0) -> None:
        load = Load(
            keys, len(keys) * MB, 0, lambda now_s: self.done.append((name, now_s)),
            lambda: self.wanted, self.bill,
        )  # fmt: skip
        self.clock.at(at_s, 0, 0, lambda _, now_s: self.supply.bring(load, now_s))

    def at(self, t_s: float, act: object, *args: object, **fields: object) -> None:
        self.clock.at(t_s, 0, 1, lambda _, now_s: act(*args, **fields))  # type: ignore[operator]

    def run(self) -> list[tuple[str, float]]:
        self.clock.stop(1000.0)
        self.clock.run_to_stop()
        return [(name, round(t_s, 9)) for name, t_s in self.done]


# --- storage


def slow_finish(slowdowns: list[Slowdown], start_s: float, work_s: float) -> float:
    """Walk from change to change of the speed."""
    now_s = start_s
    while True:
        speed = 1.0
        for from_s, until_s, factor in slowdowns:
            if from_s <= now_s < until_s:
                speed /= factor
        ahead = [t for s in slowdowns for t in s[:2] if t > now_s]
        until_s = min(ahead, default=float("inf"))
        if now_s + work_s / speed <= until_s:
            return now_s + work_s / speed
        work_s -= (until_s - now_s) * speed
        now_s = until_s


quarters = st.integers(0, 24).map(lambda n: n / 4)
slowdown = st.tuples(quarters, quarters, st.sampled_from([1.0, 2.0, 3.0, 10.0])).map(
    lambda s: (min(s[:2]), max(s[:2]), s[2])
)


@settings(max_examples=150)
@given(
    slow=st.lists(slowdown, max_size=4),
    reads=st.lists(st.tuples(quarters, st.sampled_from([0.25, 0.5, 1.0, 1.7])), max_size=6),
    delay_s=st.sampled_from([0.0, 0.25]),
)
def test_reads_end_as_a_walk_through_the_slowdowns_says(
    slow: list[Slowdown], reads: list[tuple[float, float]], delay_s: float
) -> None:
    hardware = chip(storage_bytes_per_s=MB, storage_delay_s=delay_s)
    storage, free_s = Storage(hardware, Pace(slow)), 0.0
    for now_s, work_s in sorted(reads):
        free_s = slow_finish(slow, max(free_s, now_s) + delay_s, work_s)
        assert storage.book(work_s * MB, now_s) == pytest.approx(free_s, abs=1e-9)


def test_a_read_that_a_slowdown_meets_ends_at_the_exact_instant() -> None:
    storage = Storage(chip(storage_bytes_per_s=MB), Pace([(1.0, 3.0, 4.0)]))
    assert storage.book(0.5 * MB, 0.0) == 0.5  # before
    assert storage.book(1.0 * MB, 0.0) == 3.0  # 0.5 s at full speed, 2 s at a quarter: just done
    assert storage.book(1.0 * MB, 0.0) == 4.0
    storage.clear(2.0)
    assert storage.book(0.25 * MB, 2.0) == 3.0
    assert storage.book(0.25 * MB, 2.0) == 3.25


# --- good and bad copies


def test_storage_serves_what_is_good_first_come_first_served() -> None:
    dock = Dock(delay_s=0.01)
    dock.bring("two", A, B)
    dock.bring("one", C)
    assert dock.run() == [("two", 0.03), ("one", 0.05)]
    assert (dock.bill.read_bytes, dock.bill.moved_bytes, dock.asked) == (3 * MB, 0.0, [])


def test_a_node_without_copies_of_its_own_fetches_all_over_the_links() -> None:
    dock = Dock(stored=False)
    dock.bring("two", A, B, at_s=1.0)
    assert dock.run() == [("two", 1.5)]
    assert dock.asked == [(1.0, [A, B], 2 * MB)]
    assert (dock.bill.read_bytes, dock.bill.moved_bytes) == (0.0, 2 * MB)


def test_what_is_lost_comes_over_the_links_and_is_stored_again() -> None:
    dock = Dock()
    dock.supply.lose([A], corrupt=False)
    dock.bring("first", A, B)  # A over the links, B from storage: done when both are here
    dock.bring("second", A, at_s=1.0)
    assert dock.run() == [("first", 0.5), ("second", 1.01)]
    assert dock.asked == [(0.0, [A], MB)]
    assert (dock.bill.read_bytes, dock.bill.moved_bytes) == (2 * MB, MB)
    dock.supply.restore([A])
    assert not dock.supply.bad


def test_what_is_spoiled_is_found_when_it_has_been_read() -> None:
    dock = Dock()
    dock.supply.lose([A], corrupt=True)
    dock.bring("first", A, B)
    dock.bring("second", A, at_s=0.3)  # it is known by now: no second read
    assert dock.run() == [("first", 0.52), ("second", 0.8)]
    assert dock.asked == [(0.02, [A], MB), (0.3, [A], MB)]
    assert (dock.bill.read_bytes, dock.bill.moved_bytes) == (2 * MB, 2 * MB)


def test_a_copy_that_goes_bad_while_it_waits_to_be_read_is_not_used() -> None:
    for corrupt in (False, True):
        dock = Dock()
        dock.bring("it", B, A)
        dock.at(0.005, dock.supply.lose, [A], corrupt=corrupt)
        assert dock.run() == [("it", 0.52)]


def test_a_spoiled_copy_that_is_lost_as_well_is_not_read() -> None:
    for kinds in ((True, False), (False, True)):
        dock = Dock()
        for corrupt in kinds:
            dock.supply.lose([A], corrupt=corrupt)
        dock.bring("it", A)
        assert dock.run() == [("it", 0.5)]
        assert dock.bill.read_bytes == 0.0


def test_a_copy_is_good_again_when_the_last_fault_is_over() -> None:
    dock = Dock()
    for _ in range(2):
        dock.supply.lose([A, B], corrupt=False)
    dock.supply.restore([A, B])
    assert dock.supply.bad == {A: False, B: False}
    dock.supply.restore([A])
    assert dock.supply.bad == {B: False}


# --- lost on the way


def test_lost_transfers_are_tried_again_after_waits_that_double_up_to_a_minute() -> None:
    dock = Dock(stored=False, lose=[True] * 9)
    dock.bring("it", A)
    # each try takes 0.5 s and then waits
    waits = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    assert dock.run() == [("it", 0.5 * 10 + sum(waits))]
    tries = [t_s for t_s, *_ in dock.asked]
    assert [b - a - 0.5 for a, b in itertools.pairwise(tries)] == pytest.approx(waits)
    assert dock.bill.moved_bytes == MB  # of what came, once


def test_nobody_tries_again_for_what_nobody_wants() -> None:
    dock = Dock(stored=False, lose=[True])
    dock.bring("it", A)
    dock.at(0.7, setattr, dock, "wanted", False)
    assert dock.run() == []
    assert len(dock.asked) == 1


def test_a_lost_transfer_is_read_from_storage_once_that_is_good_again() -> None:
    dock = Dock(lose=[True])
    dock.supply.lose([A], corrupt=False)
    dock.bring("it", A)
    dock.at(1.0, dock.supply.restore, [A])
    assert dock.run() == [("it", 1.51)]
    assert (dock.bill.read_bytes, dock.bill.moved_bytes) == (MB, 0.0)


@pytest.mark.parametrize("at_s", [0.005, 0.3, 0.9])
def test_a_crash_forgets_reads_transfers_and_waits(at_s: float) -> None:
    dock = Dock(lose=[True, False])
    dock.supply.lose([A], corrupt=True)
    dock.bring("before", A, B)
    dock.at(at_s, dock.supply.crash)
    dock.bring("after", B, at_s=2.0)
    assert dock.run() == [("after", 2.01)]


def test_without_a_network_everything_asked_for_is_lost_and_asked_for_again() -> None:
    clock, waits = Clock(), []
    supply = Supply(clock, 0, Storage(chip()), stored=False, first_wait_s=2.0)

    def wanted() -> bool:
        waits.append(clock.now)
        return len(waits) < 3

    supply.bring(Load([A], MB, 0, lambda now_s: None, wanted), 0.0)
    clock.stop(100.0)
    clock.run_to_stop()
    assert waits == [2.0, 6.0, 14.0]
