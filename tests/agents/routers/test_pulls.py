"""Which choice an answer belongs to."""

from __future__ import annotations

import numpy as np
import pytest

from agents.routers.pulls import Pulls


def noted(*choices, since=3):
    pulls = Pulls()
    for choice in choices:
        pulls.note(since, np.array([float(choice)]))
    return pulls


def test_answers_come_in_the_order_of_the_choices():
    pulls = noted(7, 8)
    assert [pulls.answer(3, 0.5, 2.0).choice[0] for _ in range(2)] == [7.0, 8.0]


def test_nobody_waits_for_an_unknown_decision_or_after_clearing():
    pulls = noted(7)
    assert pulls.answer(4, 0.5, 1.0) is None
    pulls.clear()
    assert pulls.answer(3, 0.5, 1.0) is None


def test_a_further_part_mends_the_mean():
    pulls = noted(7)
    first = pulls.answer(3, 1.0, 1.0)
    later = pulls.answer(3, 0.0, 3.0)
    last = pulls.answer(3, 1.0, 4.0)
    assert (first.first, first.reward, first.change) == (True, 1.0, 1.0)
    assert (later.first, later.reward, later.change) == (False, 0.25, -0.75)
    assert last.reward == pytest.approx(5.0 / 8.0)
    assert first.change + later.change + last.change == pytest.approx(last.reward)


def test_old_decisions_are_forgotten():
    pulls = Pulls()
    for since in range(600):
        pulls.note(since, np.zeros(1))
    assert pulls.answer(0, 0.5, 1.0) is None
    assert pulls.answer(599, 0.5, 1.0) is not None


def test_a_snapshot_holds_what_waits_and_what_may_still_be_mended():
    pulls = noted(7, 8)
    pulls.answer(3, 0.5, 2.0)
    again = Pulls()
    again.restore(pulls.snapshot())
    for one in (pulls, again):
        one.note(5, np.array([9.0]))
    for since, reward in ((3, 0.25), (3, 1.0), (5, 0.75)):
        mine, theirs = pulls.answer(since, reward, 2.0), again.answer(since, reward, 2.0)
        assert (mine.first, mine.reward, mine.change) == (
            theirs.first,
            theirs.reward,
            theirs.change,
        )
        np.testing.assert_array_equal(mine.choice, theirs.choice)
    assert pulls.nbytes == again.nbytes


def test_an_empty_snapshot_restores_to_nothing():
    pulls = noted(7)
    pulls.restore(Pulls().snapshot())
    assert pulls.answer(3, 0.5, 1.0) is None
