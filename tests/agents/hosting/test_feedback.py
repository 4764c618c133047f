from __future__ import annotations

from collections import defaultdict

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.hosting.feedback import NOBODY, Outcomes, Pending, group
from sim.plans import Single
from tests.agents.hosting.tiny import V, ints

ROWS = st.lists(
    st.tuples(st.integers(-1, 3), st.integers(-1, 5), st.integers(0, V - 1), st.booleans()),
    max_size=40,
)
PLANS = {(row, decided): Single(row + decided + 1) for row in range(4) for decided in range(-1, 6)}


def outcomes(rows: list[tuple[int, int, int, bool]], first: int = 0) -> Outcomes:
    row, decided, cluster, right = zip(*rows, strict=True) if rows else ((), (), (), ())
    ids = range(first, first + len(rows))
    return Outcomes(ints(ids), ints(row), ints(decided), ints(cluster), np.array(right, np.float64))


def slow_group(rows: list[tuple[int, int, int, bool]]) -> dict[tuple[int, int], list[list[bool]]]:
    """Collect the outcomes of each (row, decision) per cluster, one by one."""
    found: dict[tuple[int, int], list[list[bool]]] = defaultdict(lambda: [[] for _ in range(V)])
    for row, decided, cluster, right in rows:
        if row != NOBODY:
            found[row, decided][cluster].append(right)
    return found


@settings(deadline=None, max_examples=60)
@given(ROWS)
def test_grouping_equals_the_slow_twin(rows: list[tuple[int, int, int, bool]]) -> None:
    block, slow = group(outcomes(rows), 9, V, PLANS), slow_group(rows)
    if block is None:
        assert not slow
        return
    keys = list(zip(block.row.tolist(), block.decided.tolist(), strict=True))
    assert keys == sorted(slow)
    assert block.slot == 9
    assert list(block.plans) == [PLANS[key] for key in keys]
    for i, key in enumerate(keys):
        assert block.count[i].tolist() == [len(seen) for seen in slow[key]]
        means = [sum(seen) / len(seen) if seen else 0.0 for seen in slow[key]]
        assert block.reward[i].tolist() == means


def test_outcomes_wait_until_they_are_due_and_come_once_by_id() -> None:
    pending = Pending(2)
    pending.add(outcomes([(0, -1, 0, True), (1, -1, 1, False), (0, 0, 2, True)]))
    pending.add(outcomes([(1, 0, 0, True)], first=3))
    assert len(pending.take(ints([]))) == 0
    assert pending.take(ints([1, 3])).id.tolist() == [1, 3]
    assert pending.take(ints([0, 1, 2, 3])).id.tolist() == [0, 2]


def test_a_restart_takes_the_outcomes_that_were_pending() -> None:
    pending = Pending(2)
    pending.add(outcomes([(0, -1, 0, True), (0, 2, 0, True), (1, 2, 0, True)]))
    pending.reset(0, 4)
    taken = pending.take(ints([0, 1, 2]))
    assert taken.row.tolist() == [NOBODY, NOBODY, 1]  # still accounted for, but nobody hears them


def test_after_a_restart_old_decisions_stay_unheard_and_the_start_plan_is_heard() -> None:
    pending = Pending(2)
    pending.reset(1, 4)
    pending.add(outcomes([(1, 3, 0, True), (1, 4, 0, True), (1, -1, 0, True), (0, 3, 0, True)]))
    assert pending.take(ints(range(4))).row.tolist() == [NOBODY, 1, 1, 0]


def test_a_block_without_routed_nodes_still_accounts_for_its_feedback() -> None:
    pending = Pending(0)
    pending.add(outcomes([(NOBODY, -1, 0, True), (NOBODY, 3, 0, True)]))
    taken = pending.take(ints([0, 7]))
    assert taken.id.tolist() == [0]
    assert group(taken, 1, V, {}) is None


def test_outcomes_do_not_alias_what_they_were_made_from() -> None:
    source = outcomes([(0, -1, 0, True)])
    pending = Pending(1)
    pending.add(source)
    source.reward[0] = 0.0
    assert pending.take(ints([0])).reward.tolist() == [1.0]
