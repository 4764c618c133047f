"""What lies ahead of a node: running batches first, then its own requests in order."""

from __future__ import annotations

from math import inf

from sim.clock import Clock
from sim.compute.floor import Batch
from sim.compute.foresight import Foresight
from sim.compute.walk import Walk
from sim.plans import Gated, TopK

TOUCHED = [(0b0001, 0b0010), (0b0100, 0b0010), (0b0001, 0b1000)]  # by input: two layers, 4 experts
PLAN = TopK(1)
AHEAD = 1_048_576  # of uses, per request


def foresight(plan: Gated | None = PLAN) -> Foresight:
    """Requests 3, 5, 9 and 11 are the node's own and bring inputs 0, 1, 2 and 0."""
    inputs = [0] * 12
    inputs[5], inputs[9] = 1, 2
    return Foresight([3, 5, 9, 11], inputs, lambda _: TOUCHED, lambda: plan, 4)


def walk(batch: Batch) -> Walk:
    return Walk(Clock(), None, None, batch, TOUCHED[1], (1.0, 1.0))  # type: ignore[arg-type]


def test_uses_go_by_request_then_layer_then_expert() -> None:
    seen = foresight()
    assert seen.next_use((0, 0)) == 0
    assert seen.next_use((1, 1)) == 4 + 1
    assert seen.next_use((0, 2)) == AHEAD + 2
    assert seen.next_use((1, 3)) == 2 * AHEAD + 4 + 3
    assert seen.next_use((0, 1)) == inf


def test_what_has_started_lies_behind_and_running_batches_come_first() -> None:
    seen, batch = foresight(), Batch(0, [3], 0, 0.0)
    seen.begin([3], walk(batch))
    assert seen.next_use((0, 2)) == -1_000_000_000  # of the batch
    assert seen.next_use((1, 1)) == 1 - 1_000_000_000
    assert seen.next_use((0, 0)) == AHEAD  # of the third request, the second now
    seen.crash()
    assert seen.next_use((0, 2)) == 2  # of the second request, the first now
    seen.begin([4, 9], walk(batch))  # 4 is a stranger; 5 will never start
    seen.crash()
    assert seen.next_use((0, 0)) == 0
    assert seen.next_use((0, 2)) == inf


def test_without_a_gated_plan_nothing_lies_ahead() -> None:
    assert foresight(None).next_use((0, 0)) == inf


def test_batches_that_run_at_once_are_all_ahead() -> None:
    seen = foresight()
    first = Walk(Clock(), None, None, Batch(0, [3], 0, 0.0), TOUCHED[0], (1.0, 1.0))  # type: ignore[arg-type]
    seen.begin([3], first)
    seen.begin([5], walk(Batch(1, [5], 0, 0.0)))
    assert seen.next_use((0, 0)) == -1_000_000_000
    assert seen.next_use((0, 2)) == -1_000_000_000
