"""Every law bites: what it forbids is done to a run, and the run is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from sim.arrivals.workload import draw_workload
from sim.clock import LAST
from sim.compute.floor import Floor
from sim.compute.memory import EXPERTS, ROUTER, Ledger
from sim.compute.station import Station
from sim.errors import LawViolation
from sim.fleet import Fleet
from sim.laws import causality, conservation
from tests.sim import minds, worlds


def lived(**fields: object) -> Fleet:
    """Return a fleet after its run, before its laws are checked."""
    world = worlds.fleet(3, duration_s=5.0, **fields)
    fleet = Fleet(world, draw_workload(world, None), worlds.parts(), world.dispatch)
    fleet.run()
    return fleet


def spoil_return(fleet: Fleet) -> None:
    fleet.requests.drop[7] = 0  # it has returned, too


def forget(fleet: Fleet) -> None:
    fleet.requests.t_return_s[7] = np.nan


def count_arrival(fleet: Fleet) -> None:
    fleet.stations[1].meters.arrived += 1


def move(fleet: Fleet) -> None:
    fleet.stations[1].meters.moved += 1


def overlap(fleet: Fleet) -> None:
    fleet.stations[1].meters.most_running = 2


def linger(fleet: Fleet) -> None:
    fleet.stations[2].meters.stays_s += 0.01


def work_unasked(fleet: Fleet) -> None:
    fleet.stations[0].meters.job_asked_s += 0.01


def work_undone(fleet: Fleet) -> None:
    fleet.stations[0].meters.job_s += 0.01


def lose_bytes(fleet: Fleet) -> None:
    fleet.links.total_landed_bytes[3] -= 1.0


def turn_back(fleet: Fleet) -> None:
    fleet.requests.t_start_s[7] = fleet.requests.t_enqueue_s[7] - 1e-9


@pytest.mark.parametrize(
    ("tamper", "words"),
    [
        (spoil_return, "L1: request 7 both returned and dropped"),
        (forget, "L1: requests are not conserved: "),
        (count_arrival, "L1: node 1: "),
        (move, "L1: node 1: "),
        (lose_bytes, "L1 bytes: link 3: "),
        (turn_back, "L2: request 7: t_start_s = "),
        (overlap, "L3: node 1 ran 2 of 1"),
        (work_unasked, "L7 own cost asked and charged: node 0: "),
        (work_undone, "L7 own cost charged and done: node 0: "),
        (linger, "L8 Little: node 2: "),
    ],
)
def test_a_law_refuses_what_it_forbids(tamper: Callable[[Fleet], None], words: str) -> None:
    fleet = lived()
    tamper(fleet)
    with pytest.raises(LawViolation, match=f"^{re.escape(words)}"):
        fleet.audit()


def test_a_broken_law_is_found_at_the_end_of_its_slot() -> None:
    world = worlds.fleet(3, duration_s=5.0)
    fleet = Fleet(world, draw_workload(world, None), worlds.parts(), world.dispatch)
    fleet.clock.at(1.5, LAST, 0, lambda fleet, now_s: linger(fleet), fleet)
    with pytest.raises(LawViolation, match=r"^L8 Little: node 2: "):
        fleet.run()
    assert fleet.clock.now == 2.0


def test_an_untouched_run_is_lawful() -> None:
    counts = lived().audit()
    assert counts["emitted"] == sum(n for name, n in counts.items() if name != "emitted") > 200


def test_every_pair_of_neighbouring_stamps_is_watched() -> None:
    table = worlds.requests(worlds.fleet(3, duration_s=3.0))
    names = [f"t_{n}_s" for n in ("emit", "dispatch", "enqueue", "start", "finish", "return")]
    rid = int(np.flatnonzero(~np.isnan(table["t_return_s"]))[0])
    for before, name in pairwise(names):
        bent = {**table, name: table[name].copy()}
        bent[name][rid] = table[before][rid] - 1e-9
        with pytest.raises(LawViolation, match=f"L2: request {rid}: {name}"):
            causality(bent)


def test_a_request_that_nobody_holds_is_missed() -> None:
    table = worlds.requests(worlds.scripted([0.0, 1.0], 5.0))
    with pytest.raises(LawViolation, match="not conserved"):
        conservation(table, in_flight=1)


class Nowhere:
    """Writes nothing down."""

    def memory(self, *row: float) -> None: ...

    def residency(self, *row: object) -> None: ...


def test_memory_never_passes_its_budget() -> None:
    ledger = Ledger(4, 100.0, Nowhere())
    ledger.set(EXPERTS, 60.0, 0.0)
    assert ledger.fits(40.0)
    assert not ledger.fits(40.5)
    with pytest.raises(LawViolation, match=r"L3 memory: node 4 at t=1.0: 101 B used.*\(router\)"):
        ledger.set(ROUTER, 41.0, 1.0)


def test_servers_are_never_overbooked() -> None:
    fleet = lived()
    floor = Floor(fleet.clock, fleet.requests, fleet.in_system, fleet, iter(range(9)))
    station = Station(floor, worlds.node(0, servers=1))
    station._take_server(0.0)
    with pytest.raises(LawViolation, match="L3 capacity: node 0 runs 2 of 1"):
        station._take_server(0.0)


def test_a_node_that_cannot_hold_its_plan_is_named() -> None:
    tiny = minds.node(memory_bytes=minds.BACKBONE)
    with pytest.raises(Exception, match="node n0: backbone, merged experts and one request need"):
        minds.run(minds.world([tiny], [minds.timed([0.5])]), minds.script())
