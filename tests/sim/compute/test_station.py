"""A station's own work, crashes, and what its meters say."""

from __future__ import annotations

from sim.arrivals.workload import draw_workload
from sim.config import Batching, FaultSpec
from sim.fleet import Fleet
from tests.sim import worlds
from tests.sim.minds import node, run, script, timed, world


def test_own_work_that_a_crash_takes_is_lost_at_once_even_if_the_run_ends_first() -> None:
    # decisions of 1.2 s fill slots of 1 s, so one runs when the node crashes and when the run ends
    crash = FaultSpec("node-crash", 0, 4.95)
    seen = run(
        world([node()], [timed([0.5, 4.99])], drain_s=0.0, faults=(crash,)), script(flop=1.2e9)
    )
    assert seen.record.meta["laws"]["node_down"] == 2


def test_arrivals_of_one_instant_share_one_check() -> None:
    def alarms(times_s: list[float]) -> int:
        world = worlds.scripted(times_s, 10.0, batching=Batching(8, 0.0))
        fleet = Fleet(world, draw_workload(world, None), worlds.parts(), world.dispatch)
        fleet.run()
        return fleet.clock.alarms

    assert alarms([1.0] * 5) == alarms([1.0]) + 4  # their emissions
