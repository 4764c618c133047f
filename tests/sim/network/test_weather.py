"""Slowed and lossy links: what a transfer meets, and what the table says."""

from __future__ import annotations

import pytest

from sim.config import FaultKind, FaultSpec, LinkSpec
from sim.faults import Outage
from sim.network.links import LANDED, LINK_DOWN, LOSS, Links
from sim.network.weather import either
from sim.pace import Steps


def outage(kind: FaultKind, from_s: float, until_s: float, target: int = 0, **f: float) -> Outage:
    spec = FaultSpec(kind, target, from_s, until_s - from_s, **f)  # type: ignore[arg-type]
    return Outage(kind, target, from_s, until_s, spec)


def links(*outages: Outage, sharing: str = "fifo", loss: float = 0.0) -> Links:
    """Return link 0, 100 bytes/s and 0.5 s, and its way back without faults."""
    ends = [(0, 1), (1, 0)]
    specs = [
        LinkSpec(i, src, dst, 0.5, 100.0, sharing, loss if i == 0 else 0.0)  # type: ignore[arg-type]
        for i, (src, dst) in enumerate(ends)
    ]
    return Links(specs, outages, seed=1)


SLOW = outage("link-slow", 2.0, 6.0, factor=4.0, delay_s=1.0)


def test_what_transmits_when_the_speed_changes_is_slower_from_then_on() -> None:
    found = links(SLOW)
    # 200 bytes: 1 s at full speed, then 100 bytes at a quarter: gone at 6 s, when it ends
    assert found.put(0, 200.0, 1.0) == 6.0 + 0.5
    # waits until 6 s, then at full speed
    assert found.put(0, 100.0, 1.5) == 7.0 + 0.5
    assert found.put(1, 200.0, 1.0) == 3.0 + 0.5  # the way back is as it was
    (slow, *_) = found.flush()
    assert slow == (0, 300.0, 5.0 + 1.0, 0)  # busy from 1 s to 7 s


def test_uncontended_links_slow_down_each_transfer_for_itself() -> None:
    found = links(SLOW, sharing="none")
    assert found.put(0, 200.0, 1.0) == 6.0 + 0.5
    assert found.put(0, 100.0, 1.5) == 4.0 + 1.5


def test_the_delay_is_that_of_the_instant_at_which_the_last_bit_leaves() -> None:
    found = links(outage("link-slow", 2.0, 6.0, delay_s=1.0), sharing="none")
    dues = [found.put(0, 100.0, t_s) for t_s in (0.5, 1.0, 4.5, 5.0)]
    assert dues == [2.0, 3.5, 7.0, 6.5]  # gone at 1.5, 2, 5.5 and 6 s


def test_faults_that_overlap_multiply_and_add() -> None:
    found = links(SLOW, outage("link-slow", 4.0, 5.0, factor=2.0, delay_s=0.25))
    assert [found.capacity(0, t_s) for t_s in (1.0, 2.0, 4.0, 5.0, 6.0)] == [
        100.0, 25.0, 12.5, 25.0, 100.0,
    ]  # fmt: skip
    assert [found.delay_at(0, t_s) for t_s in (1.0, 2.0, 4.0, 5.0, 6.0)] == [
        0.5, 1.5, 1.75, 1.5, 0.5,
    ]  # fmt: skip


def test_losses_of_link_and_faults_are_independent() -> None:
    found = links(
        outage("link-lossy", 1.0, 4.0, loss=0.5), outage("link-lossy", 3.0, 9.0, loss=0.2), loss=0.1
    )
    chance = [found.weather[0].loss.at(t_s) for t_s in (0.5, 1.0, 3.0, 4.0, 9.0)]
    assert chance == pytest.approx([0.1, 0.55, 1 - 0.9 * 0.5 * 0.8, 1 - 0.9 * 0.8, 0.1])
    assert either(0.0, 0.3) == 0.3
    assert found.lossy == [True, False]


def test_a_try_is_lost_when_its_luck_is_below_the_probability() -> None:
    found = links(outage("link-lossy", 1.0, 2.0, loss=0.3))
    before, during, after = (
        sum(found.loses(0, key, 1, t_s) for key in range(10_000)) for t_s in (0.5, 1.0, 2.0)
    )
    assert before == after == 0
    assert during / 10_000 == pytest.approx(0.3, abs=4 * (0.3 * 0.7 / 10_000) ** 0.5)


def test_what_settles_is_counted_once_on_each_link_of_its_way() -> None:
    found = links(sharing="fair")
    assert found.settle((0, 1), (0, 0), 7.0, -1) == LANDED
    assert found.settle((0, 1), (0, 0), 7.0, 1) == LOSS
    found.fail(0)
    assert found.settle((0, 1), (0, 0), 7.0, 1) == LINK_DOWN  # cut is cut, however unlucky
    assert found.total_landed_bytes == [7.0, 7.0]
    assert found.total_lost_bytes == [14.0, 14.0]
    assert found.lost == [1, 1]  # each try by one culprit


def test_only_links_on_which_nothing_can_happen_are_sure() -> None:
    lossy = outage("link-lossy", 8.0, 9.0, loss=0.1)
    assert [links().sure(i) for i in (0, 1)] == [True, True]
    assert [links(SLOW).sure(i) for i in (0, 1)] == [True, True]
    assert [links(lossy).sure(i) for i in (0, 1)] == [False, True]
    assert [links(loss=0.1).sure(i) for i in (0, 1)] == [False, True]
    assert [links(sharing="fair").sure(i) for i in (0, 1)] == [False, False]


def test_steps_hold_from_their_beginning_and_end_before_their_end() -> None:
    steps = Steps(1.0, [(2.0, 4.0, 10.0), (3.0, 3.0, 100.0)], lambda a, b: a + b)
    assert [steps.at(t) for t in (1.9, 2.0, 3.0, 3.9, 4.0)] == [1.0, 11.0, 11.0, 11.0, 1.0]


def test_many_steps_take_time_in_proportion() -> None:
    calls = []

    def count(a: float, b: float) -> float:
        calls.append(1)
        return a + b

    n = 5000
    steps = Steps(0.0, [(float(i), i + 1.5, 1.0) for i in range(n)], count)
    assert [steps.at(t) for t in (0.25, 1.25, 1.75, n - 0.5, n + 0.5)] == [1.0, 2.0, 1.0, 1.0, 0.0]
    assert len(calls) <= 4 * n
