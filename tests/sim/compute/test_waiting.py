"""Queues of a station: who comes next, who leaves from the middle, who comes back."""

from __future__ import annotations

import pytest

from sim.arrivals.workload import draw_workload
from sim.compute.waiting import Line, PatientLine, RankedLine
from sim.request import Requests
from tests.sim import worlds

KINDS = [PatientLine, Line, RankedLine]


def requests(*priorities: int) -> Requests:
    """Return requests that joined a second after each other."""
    world = worlds.scripted([float(i) for i in range(len(priorities))], 99.0)
    drawn = Requests(draw_workload(world, None))
    drawn.priority[:] = priorities
    for rid in range(len(priorities)):
        drawn.t_enqueue_s[rid] = float(rid)
    return drawn


@pytest.mark.parametrize("kind", KINDS)
def test_who_is_put_back_goes_first_in_the_order_of_before(kind: type[Line]) -> None:
    line = kind(requests(0, 0, 0, 0, 0))
    for rid in range(5):
        line.append(rid)
    running = [line.popleft() for _ in range(3)]
    assert running == [0, 1, 2]
    assert line.oldest_s() == 3.0
    line.put_back(running)
    assert list(line) == [0, 1, 2, 3, 4]
    assert line.oldest_s() == 0.0
    assert [line.popleft() for _ in range(5)] == [0, 1, 2, 3, 4]
    assert not line


def test_who_is_put_back_goes_ahead_of_its_own_priority_only() -> None:
    line = RankedLine(requests(0, 1, 0, 1))
    for rid in range(4):
        line.append(rid)
    assert [line.popleft(), line.popleft(), line.popleft()] == [1, 3, 0]
    line.put_back([0, 3])
    assert line.oldest_s() == 0.0
    line.append(1)
    assert [line.popleft() for _ in range(4)] == [3, 1, 0, 2]


@pytest.mark.parametrize("kind", [Line, RankedLine])
def test_who_leaves_from_the_middle_is_never_served(kind: type[Line]) -> None:
    line = kind(requests(*[0] * 60))
    for rid in range(60):
        line.append(rid)
    for rid in range(1, 60, 2):
        line.remove(rid)
    line.remove(0)
    assert 0 not in line
    assert 2 in line
    assert len(line) == 29
    assert list(line) == [line.popleft() for _ in range(29)] == list(range(2, 60, 2))
    line.append(0)
    line.clear()
    assert len(line) == 0
    assert list(line) == []
