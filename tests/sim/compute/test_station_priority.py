"""Who is served next where priorities count."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from sim.compute.waiting import Line, PatientLine, RankedLine
from sim.config import Batching
from sim.proofs.twins.stations import Coming, Rules
from sim.request import Requests
from tests.oracles.stations import engine, workload
from tests.sim import minds


def starts(rows: Sequence[tuple[float, int]], **rules: object) -> list[float]:
    """Return when requests of 1 s, given as (time, priority), start."""
    coming = [Coming(t, 1.0, p) for t, p in rows]
    return engine(coming, Rules(by_priority=True, **rules))["t_start_s"].tolist()


def test_the_highest_goes_first_and_within_one_the_first_come() -> None:
    assert starts([(0, 0), (0.1, 0), (0.2, 1), (0.3, 2), (0.4, 1)]) == [0, 4, 2, 1, 3]


def test_nobody_is_interrupted() -> None:
    assert starts([(0, 0), (0.5, 9)]) == [0, 1]


def test_of_one_instant_the_highest_starts() -> None:
    assert starts([(0, 0), (0, 1)]) == [1, 0]


def test_all_servers_take_from_one_queue() -> None:
    assert starts([(0, 0), (0, 0), (0.1, 0), (0.2, 1)], servers=2) == [0, 0, 1, 1]


def test_a_batch_takes_the_head_in_order_of_priority() -> None:
    assert starts([(0, 0), (0.1, 0), (0.2, 0), (0.3, 1)], size=2) == [0, 1, 2, 1]


def test_a_batch_is_due_when_the_oldest_has_waited_not_the_first_in_turn() -> None:
    # the oldest, of 0.0, has waited 1 s at 1.0; the one in turn came at 0.5
    assert starts([(0, 0), (0.5, 1)], size=3, wait_s=1.0) == [1, 1]


def test_a_full_node_refuses_whatever_the_priority() -> None:
    assert np.isnan(starts([(0, 0), (0.1, 0), (0.2, 9)], capacity=2)[2])


def test_a_model_serves_by_priority_too() -> None:
    low, high = minds.timed([0.5, 0.501, 0.502]), minds.timed([0.503])
    streams = [low, replace(high, id=1, priority=3)]
    node = minds.node(discipline="priority", batching=Batching(2))
    table = minds.run(minds.world([node], streams), minds.script())["requests"]
    np.testing.assert_allclose(table["t_start_s"], [0.5, 0.508, 0.524, 0.508])


@pytest.mark.parametrize("kind", [PatientLine, Line, RankedLine])
def test_who_is_put_back_stands_ahead_in_the_old_order(kind: type[Line]) -> None:
    queue = kind(Requests(workload([Coming(0.0, 1.0)] * 5)))
    for rid in (4, 2, 0, 1, 3):  # (in order of joining)
        queue.append(rid)
    taken = [queue.popleft() for _ in range(3)]
    queue.put_back(taken)
    assert [queue.popleft() for _ in range(5)] == [4, 2, 0, 1, 3]


def line(priorities: Sequence[int]) -> RankedLine:
    requests = Requests(workload([Coming(0.0, 1.0, p) for p in priorities]))
    requests.t_enqueue_s[:] = array("d", range(len(priorities)))
    made = RankedLine(requests)
    for rid in range(len(priorities)):
        made.append(rid)
    return made


def test_who_is_put_back_goes_ahead_of_the_own_priority_only() -> None:
    queue = line([0, 0, 1, 1])
    taken = [queue.popleft() for _ in range(3)]
    assert taken == [2, 3, 0]
    queue.put_back([0, 2, 3])
    assert (list(queue), queue.oldest_s()) == ([2, 3, 0, 1], 0.0)
    assert [queue.popleft() for _ in range(4)] == [2, 3, 0, 1]


def test_those_who_left_do_not_pile_up() -> None:
    queue = line([0] * 1000 + [1])
    for rid in range(1000):
        queue.remove(rid)
    assert len(queue) == 1
    assert len(queue._heap) < 20
    assert queue.popleft() == 1000
