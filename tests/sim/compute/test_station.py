"""A station's own work, crashes, and what its meters say."""

from __future__ import annotations

from sim.config import FaultSpec
from tests.sim.minds import node, run, script, timed, world


def test_own_work_that_a_crash_takes_is_lost_at_once_even_if_the_run_ends_first() -> None:
    # decisions of 1.2 s fill slots of 1 s, so one runs when the node crashes and when the run ends
    crash = FaultSpec("node-crash", 0, 4.95)
    seen = run(
        world([node()], [timed([0.5, 4.99])], drain_s=0.0, faults=(crash,)), script(flop=1.2e9)
    )
    assert seen.record.meta["laws"]["node_down"] == 2
