"""What a crash does to the requests of a node: drop, keep, resume, migrate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from agents.caches import CACHES
from sim.config import (
    ArrivalSpec,
    Batching,
    DispatchSpec,
    FaultSpec,
    NodeSpec,
    ServiceSpec,
    Work,
    World,
)
from sim.errors import InputError
from sim.fleet import Fleet
from sim.parts import Parts
from sim.proofs.twins.stations import Coming, Down, Rules
from sim.records import DROPS, Record
from sim.simulation import simulate
from sim.views import FleetView
from tests.oracles.stations import engine, live, workload, world
from tests.sim import minds
from tests.sim.worlds import both_ways, node, run, scripted, stream


def times(coming: Sequence[Coming], *outages: Down, **rules: Any) -> list[tuple[float, float]]:
    """Return (start, finish) of each request, which is checked to have no other end."""
    table = engine(coming, Rules(**rules), outages)
    assert (table["drop"] < 0).all()
    return list(zip(table["t_start_s"].tolist(), table["t_finish_s"].tolist(), strict=True))


def reasons(coming: Sequence[Coming], *outages: Down, **rules: Any) -> list[str]:
    table = engine(coming, Rules(**rules), outages)
    return [DROPS[d] if d >= 0 else "" for d in table["drop"]]


THREE = [Coming(0, 2), Coming(0.5, 1), Coming(0.75, 1)]


def test_kept_work_starts_again_from_nothing_in_the_old_order() -> None:
    assert times(THREE, Down(1, 3, "keep")) == [(3, 5), (5, 6), (6, 7)]


def test_resumed_work_goes_on_where_it_was() -> None:
    assert times(THREE, Down(1, 3, "resume")) == [(0, 4), (4, 5), (5, 6)]


def test_the_time_in_between_is_a_stall() -> None:
    twice = [Down(0.5, 1.0, "resume"), Down(1.25, 3.25, "resume")]
    table = engine([Coming(0, 2)], Rules(), twice)
    assert table["t_finish_s"].tolist() == [4.5]
    assert (table["service_s"].tolist(), table["stall_s"].tolist()) == ([2.0], [2.5])


def test_resumed_work_holds_its_servers() -> None:
    coming = [Coming(0, 4), Coming(0, 1), Coming(1, 1), Coming(1.5, 1)]
    expected = [(0, 6), (0, 3), (3, 4), (4, 5)]
    assert times(coming, Down(0.5, 2.5, "resume"), servers=2) == expected


def test_a_batch_is_put_back_in_its_order_and_resumed_as_a_whole() -> None:
    coming = [Coming(0, 1), Coming(0, 2), Coming(0, 1), Coming(0, 1)]
    again = times(coming, Down(1, 2, "keep"), size=2)
    assert again == [(2, 4), (2, 4), (4, 5), (4, 5)]
    on = times(coming, Down(1, 2, "resume"), size=2)
    assert on == [(0, 3), (0, 3), (3, 4), (3, 4)]


def test_batches_are_formed_anew_from_what_was_put_back() -> None:
    coming = [Coming(0, 3), Coming(0.5, 2), Coming(0.5, 1)]  # batches of one and two, then two, one
    again = times(coming, Down(1, 2, "keep"), size=2, servers=2)
    assert again == [(2, 5), (2, 5), (2, 3)]


def test_what_was_put_back_can_share_a_batch_with_others() -> None:
    coming = [Coming(0, 1), Coming(0.25, 1), Coming(1.5, 1)]
    assert times(coming, Down(0.5, 2, "keep"), size=3) == [(2, 3), (2, 3), (2, 3)]


@pytest.mark.parametrize("work", ["keep", "resume"])
def test_who_comes_meanwhile_joins_while_there_is_room(work: Work) -> None:
    coming = [Coming(0, 2), Coming(1.25, 1), Coming(1.5, 1)]
    assert reasons(coming, Down(1, 3, work), capacity=2) == ["", "", "queue_full"]


@pytest.mark.parametrize("work", ["drop", "migrate"])
def test_who_comes_meanwhile_is_refused(work: Work) -> None:
    coming = [Coming(0, 2), Coming(1.25, 1), Coming(3, 1)]
    assert reasons(coming, Down(1, 3, work)) == ["node_down", "node_down", ""]


def test_patience_goes_on_while_the_node_is_down() -> None:
    hasty = Coming(0.5, 1.0, patience_s=1.0)
    assert reasons([Coming(0, 2), hasty], Down(1, 3, "keep")) == ["", "patience"]


def test_service_protects_only_until_the_crash() -> None:
    served = Coming(0, 2, patience_s=0.5)
    assert reasons([served], Down(1, 3, "keep")) == ["patience"]
    assert reasons([served], Down(1, 3, "resume")) == [""]
    later = Coming(0, 2, patience_s=1.5)  # is put back at 1.0 s and leaves at 1.5 s
    table = engine([later], Rules(), [Down(1, 3, "keep")])
    assert DROPS[table["drop"][0]] == "patience"
    assert np.isnan(table["t_start_s"][0])


def test_a_priority_that_waited_overtakes_what_was_put_back() -> None:
    coming = [Coming(0, 2, priority=0), Coming(0.5, 1, priority=1), Coming(0.6, 1, priority=0)]
    expected = [(4, 6), (3, 4), (6, 7)]
    assert times(coming, Down(1, 3, "keep"), by_priority=True) == expected


@pytest.mark.parametrize("work", ["keep", "resume"])
def test_a_service_that_would_end_at_the_instant_of_the_crash_does_not(work: Work) -> None:
    expected = {"keep": [(2, 3)], "resume": [(0, 2)]}
    assert times([Coming(0, 1)], Down(1, 2, work)) == expected[work]


@pytest.mark.parametrize("work", ["drop", "migrate"])
@pytest.mark.parametrize("size", [1, 2])
def test_nor_is_it_done_and_dropped(work: Work, size: int) -> None:
    table = engine([Coming(0, 1), Coming(1, 1)], Rules(size=size), [Down(1, 2, work)])
    assert np.isnan(table["t_finish_s"]).all()
    assert [DROPS[d] for d in table["drop"]] == ["node_down", "node_down"]


@pytest.mark.parametrize("size", [1, 2])
def test_a_node_that_is_back_serves_whom_it_kept_at_that_instant(size: int) -> None:
    coming = [Coming(0, 1), Coming(2, 1)]  # the second comes when the node does
    second = {1: (3, 4), 2: (2, 3)}
    assert times(coming, Down(1, 2, "keep"), size=size) == [(2, 3), second[size]]


def test_the_outage_that_takes_the_node_down_decides() -> None:
    first, second = Down(1, 3, "keep"), Down(2, 4, "drop")
    assert times([Coming(0, 2)], first, second) == [(4, 6)]


def test_servers_are_idle_while_the_node_is_down() -> None:
    fleet = live(world(Rules(), [Down(1, 3, "resume")]), workload([Coming(0, 2)]))
    meters = fleet.stations[0].meters
    assert (meters.busy_area, meters.up_area_s) == (2.0, fleet.end_s - 2.0)


def test_own_work_is_lost_in_every_mode() -> None:
    crash = FaultSpec("node-crash", 0, 1.5, 1.0, work="keep")
    plan = minds.world([minds.node()], [minds.timed([0.5, 1.49, 1.495])], faults=(crash,))
    table = minds.run(plan, minds.script(flop=1.2e9))["requests"]
    # decisions of 1.2 s hold the server from 0 s on; the plan is back 40 ms after 2.5 s
    np.testing.assert_allclose(table["t_start_s"], [2.54, 2.548, 2.556])


def test_a_model_keeps_its_queue_until_its_plan_is_loaded() -> None:
    crash = FaultSpec("node-crash", 0, 0.504, 1.0, work="keep")
    plan = minds.world([minds.node()], [minds.timed([0.5, 0.5, 1.0])], faults=(crash,))
    seen = minds.run(plan, minds.script())
    assert (seen["requests"]["drop"] < 0).all()
    np.testing.assert_allclose(seen["requests"]["t_start_s"], [1.544, 1.552, 1.56])


def test_a_model_cannot_resume() -> None:
    crash = FaultSpec("node-crash", 0, 0.5, 1.0, work="resume")
    plan = minds.world([minds.node()], [minds.timed([0.5])], faults=(crash,))
    words = r"faults\.0\.work: resume needs `model: none`"
    with pytest.raises(InputError, match=words):
        minds.run(plan, minds.script())


# --- migration


class Around:
    """Sends everything to the source, or to the next node round that is up."""

    flop = 0.0

    def __init__(self, setup: Any) -> None:
        self.nodes = len(setup.nodes)

    def choose(self, source: int, view: FleetView) -> int:
        turn = [(source + step) % self.nodes for step in range(self.nodes)]
        return next((n for n in turn if view.up[n]), source)


class Told(Around):
    """Sends the first request to node 0 and the next to node 1, whatever the view."""

    def __init__(self, setup: Any) -> None:
        self.names = iter([0, 1])

    def choose(self, source: int, view: FleetView) -> int:
        return next(self.names)


AROUND = Parts(lambda _: Around, CACHES.load)


def ring(nodes: Sequence[NodeSpec], emissions: Sequence[float], *faults: FaultSpec) -> World:
    """Return nodes in a ring, 0.25 s apart, whose first emits at given times."""
    count = len(nodes)
    links = [
        link
        for i in range(count if count > 2 else count - 1)
        for link in both_ways(i, (i + 1) % count, 2 * i, delay_s=0.25, bytes_per_s=1e6)
    ]
    source = stream(0, 0, ArrivalSpec("trace", times_s=tuple(emissions)), up_bytes=1e5)
    base = scripted([], 50.0)
    return replace(
        base, nodes=tuple(nodes), links=tuple(links), streams=(source,), faults=faults,
        service=ServiceSpec("deterministic", 1.0),
    )  # fmt: skip


def crash(at: int, from_s: float, for_s: float, work: Work = "migrate") -> FaultSpec:
    return FaultSpec("node-crash", at, from_s, for_s, work=work)


def drops(record: Record) -> list[str]:
    return [DROPS[d] if d >= 0 else "" for d in record.tables["requests"]["drop"]]


def test_requests_move_over_the_links_and_start_anew() -> None:
    record = simulate(ring([node(0), node(1)], [0, 0.5], crash(0, 0.75, 9)), None, AROUND)
    table = record.tables["requests"]
    # both leave at 0.75 s, 0.1 s each on the link: arrivals at 1.1 and 1.2 s
    np.testing.assert_allclose(table["t_enqueue_s"], [1.1, 1.2])
    np.testing.assert_allclose(table["t_start_s"], [1.1, 2.1])
    np.testing.assert_allclose(table["t_return_s"], [2.35, 3.35])
    assert table["server"].tolist() == [1, 1]
    assert table["t_dispatch_s"].tolist() == [0, 0.5]
    assert record.tables["links"]["sent_bytes"].sum() == 2e5


def test_moves_are_counted_where_they_left() -> None:
    world = ring([node(0), node(1)], [0, 0.5], crash(0, 0.75, 9))
    fleet = Fleet(world, workload([Coming(0, 1), Coming(0.5, 1)]), AROUND, world.dispatch)
    fleet.run()
    fleet.audit()
    here, there = (fleet.stations[n].meters for n in (0, 1))
    assert (here.arrived, here.moved, here.finished, here.lost) == (2, 2, 0, 0)
    assert (there.arrived, there.moved, there.finished, there.lost) == (2, 0, 2, 0)


def test_what_comes_back_is_served_once() -> None:
    # from node 0 to node 1 at 0.5 s, and back at 1.0 s while its old end at 2.0 s is still set
    faults = (crash(0, 0.5, 0.25), crash(1, 1.0, 9.0))
    base = ring([node(0), node(1)], [0], *faults)
    slow = replace(base, service=ServiceSpec("deterministic", 2.0))
    table = simulate(slow, None, AROUND).tables["requests"]
    np.testing.assert_allclose(table["t_enqueue_s"], [1.35])
    np.testing.assert_allclose(table["t_finish_s"], [3.35])


def test_patience_begins_anew_where_a_request_joins_anew() -> None:
    # it would have left node 0 at 2.0 s, but comes back to it at 1.25 s and is served at 2.6 s
    world = ring([node(0), node(1)], [], crash(0, 0.5, 0.25), crash(1, 1.0, 9.0))
    coming = [Coming(0, 1, patience_s=2.0), Coming(1.1, 1.5)]
    table = live(world, workload(coming), Around).requests
    assert list(table.t_enqueue_s) == [1.25, 1.1]
    assert list(table.t_start_s) == [2.6, 1.1]
    assert list(table.drop) == [-1, -1]


def test_who_has_nowhere_to_go_is_lost_at_the_node() -> None:
    alone = simulate(ring([node(0)], [0], crash(0, 0.5, 1)), None, AROUND)
    assert drops(alone) == ["node_down"]
    assert alone.tables["slots"]["dropped"].sum() == 1
    faults = (crash(0, 0.5, 9), crash(1, 0.25, 9))
    assert drops(simulate(ring([node(0), node(1)], [0], *faults), None, AROUND)) == ["node_down"]
    local = replace(ring([node(0), node(1)], [0], crash(0, 0.5, 1)), dispatch=DispatchSpec("local"))
    assert drops(run(local)) == ["node_down"]


def told(*faults: FaultSpec) -> Record:
    """Run one request at node 0, which is then sent to node 1 by an old view."""
    base = ring([node(0), node(1)], [0], *faults)
    dated = replace(base, dispatch=DispatchSpec("told", view_every_s=5.0))
    return simulate(dated, None, Parts(lambda _: Told, CACHES.load))


def test_an_old_view_may_name_a_node_that_is_down() -> None:
    record = told(crash(1, 0.25, 9), crash(0, 0.5, 9))
    assert drops(record) == ["node_down"]
    assert record.tables["links"]["sent_bytes"].sum() == 1e5  # nobody knew before it got there


def test_whether_a_node_is_down_counts_when_the_request_gets_there() -> None:
    # 0.35 s on the way: node 1 is back at 0.75 s; or it is down until 2 s and keeps its queue
    back = told(crash(1, 0.25, 0.5), crash(0, 0.5, 9)).tables["requests"]
    np.testing.assert_allclose(back["t_start_s"], [0.85])
    kept = told(crash(1, 0.25, 1.75, "keep"), crash(0, 0.5, 9)).tables["requests"]
    np.testing.assert_allclose(kept["t_start_s"], [2.0])


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_nodes_that_crash_together_send_nothing_to_each_other(order: tuple[int, int]) -> None:
    fault = replace(crash(order[0], 0.5, 9), also=(order[1],))
    emissions = [stream(i, i, ArrivalSpec("trace", times_s=(0.25 * i,))) for i in (0, 1)]
    base = replace(ring([node(0), node(1), node(2)], [0], fault), streams=tuple(emissions))
    table = simulate(base, None, AROUND).tables["requests"]
    assert table["server"].tolist() == [2, 2]
    np.testing.assert_allclose(table["t_start_s"], [0.75, 1.75])


def test_a_model_moves_its_requests_too() -> None:
    plan = minds.world(
        [minds.node(0), minds.node(1)], [minds.timed([0.5, 0.5])],
        links=both_ways(0, 1, 0, delay_s=0.1), faults=(crash(0, 0.504, 9.0),),
        dispatch=DispatchSpec("least-loaded"),
    )  # fmt: skip
    busy = replace(plan, nodes=(plan.nodes[0], replace(plan.nodes[1], batching=Batching(2))))
    seen = minds.run(busy, minds.script())
    assert (seen["requests"]["drop"] < 0).all()
    assert seen["requests"]["server"].tolist() == [1, 1]
