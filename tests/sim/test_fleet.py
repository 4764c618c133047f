"""What happens at one instant, what dispatchers see, how a run ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from agents.caches import CACHES
from sim.compute.floor import Floor
from sim.compute.station import Station
from sim.compute.stations import DrawnService
from sim.config import (
    ArrivalSpec,
    Batching,
    DispatchSpec,
    FaultSpec,
    NodeSpec,
    ServiceSpec,
    World,
)
from sim.errors import InputError
from sim.parts import Parts
from sim.plans import TopK
from sim.records import DROPS, Record
from sim.simulation import simulate
from sim.views import FleetView
from tests.sim import minds
from tests.sim.worlds import both_ways, fleet, node, run, scripted, stream


def drops(record: Record) -> list[str]:
    return [DROPS[d] if d >= 0 else "" for d in record.tables["requests"]["drop"]]


# --- ties: fault, service end, link arrival, slot boundary, emission, batch start


@pytest.mark.parametrize("batching", [Batching(), Batching(2)])
def test_a_service_that_ends_makes_room_for_the_request_of_the_same_instant(
    batching: Batching,
) -> None:
    record = run(scripted([0.0, 1.0, 1.0], 5.0, servers=1, capacity=1, batching=batching))
    assert drops(record) == ["", "", "queue_full"]


@pytest.mark.parametrize("batching", [Batching(), Batching(2)])
def test_a_crash_takes_the_service_that_would_end_at_the_same_instant(batching: Batching) -> None:
    world = scripted([0.0, 1.0], 5.0, batching=batching)
    record = run(replace(world, faults=(FaultSpec("node-crash", 0, 1.0, 0.5),)))
    assert drops(record) == ["node_down", "node_down"]


def test_a_node_that_is_back_takes_the_request_of_the_same_instant() -> None:
    world = scripted([0.0, 1.0], 5.0)
    record = run(replace(world, faults=(FaultSpec("node-crash", 0, 0.5, 0.5),)))
    assert drops(record) == ["node_down", ""]


def remote(times: list[float], **fields: Any) -> World:
    """Return a source beside one server, 0.5 s away."""
    world = scripted(times, 5.0)
    links = both_ways(0, 1, 0, delay_s=0.5, bytes_per_s=np.inf)
    settings = {"links": links, "dispatch": DispatchSpec("round-robin"), **fields}
    return replace(world, nodes=(node(0, servers=0), node(1, capacity=1)), **settings)


def test_a_crash_comes_before_what_a_link_delivers_at_the_same_instant() -> None:
    record = simulate(
        remote([0.25], faults=(FaultSpec("node-crash", 1, 0.75, 1.0),)), None, spied(Always)
    )
    assert drops(record) == ["node_down"]


def test_a_link_delivers_before_a_request_of_the_same_instant_is_emitted() -> None:
    # the first is emitted at 0.25 s far away and arrives at 0.75 s, the second is emitted there
    world = remote([0.25])
    here = stream(1, 1, ArrivalSpec("trace", times_s=(0.75,)))
    record = simulate(replace(world, streams=(*world.streams, here)), None, spied(Always))
    assert drops(record) == ["", "queue_full"]


def test_a_link_delivers_after_a_service_of_the_same_instant_ends() -> None:
    # the first serves from 0.75 to 1.75 s, the second arrives at 1.75 s
    record = simulate(remote([0.25, 1.25]), None, spied(Always))
    assert drops(record) == ["", ""]
    assert record.tables["requests"]["t_start_s"].tolist() == [0.75, 1.75]


def test_a_batch_takes_all_that_come_at_its_instant_and_the_plan_of_the_boundary() -> None:
    lru = minds.node(cache="lru", batching=Batching(4))
    seen = minds.run(
        minds.world([lru], [minds.timed([0.9, 1.0, 1.0, 1.0])], duration_s=2.0),
        minds.script({1: TopK(1)}),
    )
    assert seen["decisions"]["t_force_s"][2] == 1.0
    assert seen["requests"]["plan"].tolist() == [0, 2, 2, 2]
    assert seen["requests"]["batch_size"].tolist() == [1, 3, 3, 3]


def test_a_service_that_ends_at_a_boundary_is_told_at_that_boundary() -> None:
    chip = minds.chip(flop_per_s=np.inf, bytes_per_s=np.inf, kernel_s=0.125)  # 0.5 s a batch
    seen = minds.run(
        minds.world([minds.node(hardware=chip)], [minds.timed([0.5, 0.75])], duration_s=3.0),
        minds.script(),
    )
    assert seen["requests"]["t_finish_s"].tolist() == [1.0, 1.5]
    assert [int(c.counts.sum()) for c in seen.router.seen] == [0, 1, 1, 0]


# --- what dispatchers see


class Always:
    """Sends everything to node 1, at no cost, and writes down what it sees."""

    flop = 0.0
    saw: list[tuple[float, list[int], list[bool]]] = []  # noqa: RUF012

    def __init__(self, *args: object) -> None:
        type(self).saw = []

    def choose(self, source: int, view: FleetView) -> int:
        self.saw.append((view.t_s, list(view.in_system), list(view.up)))
        return 1


class Slow(Always):
    """The same, but it takes 0.1 s to think."""

    flop = 0.1 * node(0).hardware.flop_per_s


def spied(kind: type[Always]) -> Parts:
    return Parts(lambda _: kind, CACHES.load)


def test_a_live_view_is_now() -> None:
    world = scripted([0.25, 0.75, 3.5], 5.0)
    world = replace(world, nodes=(node(0), node(1)), links=both_ways(0, 1, 0, delay_s=0.0))
    crash = FaultSpec("node-crash", 1, 3.0)
    simulate(replace(world, faults=(crash,)), None, spied(Always))
    assert [t_s for t_s, _, _ in Always.saw] == [0.25, 0.75, 3.5]
    assert [n for _, n, _ in Always.saw] == [[0, 0], [0, 1], [0, 0]]
    assert [up for _, _, up in Always.saw] == [[True, True], [True, True], [True, False]]


def test_a_dated_view_is_as_old_as_it_says() -> None:
    world = scripted([0.0, 0.1, 0.99, 1.0, 1.7], 5.0)
    world = replace(world, nodes=(node(0), node(1)), links=both_ways(0, 1, 0, delay_s=0.0))
    dated = replace(world, dispatch=DispatchSpec("always", view_every_s=0.5))
    simulate(dated, None, spied(Always))
    assert [t_s for t_s, _, _ in Always.saw] == [0.0, 0.0, 0.5, 1.0, 1.5]
    # at 1.0 s the first has just left: ends come before views, views before emissions
    assert [n[1] for _, n, _ in Always.saw] == [0, 0, 2, 2, 3]


@pytest.mark.parametrize(("every_s", "expected"), [(0.0, [0.25, 0.5]), (0.4, [0.0, 0.4])])
def test_who_moves_on_from_a_crash_is_sent_by_the_same_view(
    every_s: float, expected: list[float]
) -> None:
    world = scripted([0.25], 5.0)
    world = replace(world, nodes=(node(0), node(1)), links=both_ways(0, 1, 0, delay_s=0.0))
    crash = FaultSpec("node-crash", 1, 0.5, 1.0, work="migrate")
    dispatch = DispatchSpec("always", view_every_s=every_s)
    simulate(replace(world, faults=(crash,), dispatch=dispatch), None, spied(Always))
    assert [t_s for t_s, _, _ in Always.saw] == expected


def test_thinking_delays_a_request_and_nothing_overtakes() -> None:
    world = remote([0.0, 0.05, 0.5])
    table = simulate(world, None, spied(Slow)).tables["requests"]
    np.testing.assert_allclose(table["t_dispatch_s"], [0.1, 0.15, 0.6])
    np.testing.assert_allclose(table["t_enqueue_s"][0], 0.6)


def test_who_is_sent_to_a_node_without_servers_is_told() -> None:
    class Wrong(Always):
        def choose(self, source: int, view: FleetView) -> int:
            return 0

    with pytest.raises(InputError, match="request 0 was sent to edge-0, which has no servers"):
        simulate(remote([0.25]), None, spied(Wrong))


def test_no_candidate_is_an_error_of_the_scenario() -> None:
    world = replace(remote([0.25]), dispatch=DispatchSpec("random", to="moon"))
    with pytest.raises(InputError, match=r"dispatch\.to: no node or group 'moon' has servers"):
        run(world)


# --- how a run ends


def test_a_run_ends_with_its_last_answer_but_not_before_arrivals_do() -> None:
    late = run(scripted([1.0, 4.5], 5.0))
    early = run(scripted([1.0], 5.0))
    assert (late.meta["end_s"], early.meta["end_s"]) == (5.5, 5.0)
    assert late.tables["slots"]["slot"].max() == 10  # slots of 0.5 s, the last is cut at 5.5 s
    assert early.tables["slots"]["slot"].max() == 9


def test_an_empty_world_passes_its_time() -> None:
    record = run(scripted([], 5.0))
    assert record.meta["end_s"] == 5.0
    assert record.meta["laws"]["emitted"] == 0
    assert len(record.tables["slots"]["slot"]) == 10


def test_drops_end_a_run_too() -> None:
    world = scripted([1.0], 5.0)
    record = run(replace(world, faults=(FaultSpec("node-crash", 0, 1.0, 9.0),)))
    assert record.meta["end_s"] == 5.0
    assert drops(record) == ["node_down"]


def test_answers_need_their_time_even_if_nothing_else_happens() -> None:
    record = simulate(remote([4.9]), None, spied(Always))
    assert record.meta["end_s"] == pytest.approx(4.9 + 0.5 + 1.0 + 0.5)


def test_a_world_without_model_needs_a_service_law() -> None:
    with pytest.raises(InputError, match="service: required with `model: none`"):
        run(replace(fleet(2), service=None))


def test_a_world_with_a_model_needs_a_policy_and_hosts() -> None:
    world = minds.world([minds.node()], [minds.timed([0.5])])
    with pytest.raises(InputError, match="needs a policy, a model card and at least one host"):
        simulate(world, minds.script(), spied(Always))


def test_plain_and_batched_stations_share_one_numbering_of_batches() -> None:
    world = fleet(2, duration_s=5.0, service=ServiceSpec("exponential", 0.01))
    mixed = replace(world, nodes=(node(0), node(1, batching=Batching(2, 0.01))))
    table = run(mixed).tables["requests"]
    batches = table["batch"][table["batch"] >= 0]
    assert (np.bincount(batches) > 0).all()
    for batch in np.unique(batches):
        assert len(np.unique(table["server"][table["batch"] == batch])) == 1


class Long(Station):
    """The general station, served as drawn."""

    def __init__(self, floor: Floor, spec: NodeSpec) -> None:
        super().__init__(floor, spec)
        self.service = DrawnService(floor.clock, self, floor.requests)


def test_a_batch_of_one_is_a_batch_whichever_way_it_goes() -> None:
    plain = fleet(3, duration_s=5.0, faults=(FaultSpec("node-crash", 1, 2.0, 1.0),))
    short = replace(plain, nodes=tuple(node(i, capacity=5, servers=2) for i in range(3)))
    one = run(short).tables["requests"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sim.compute.stations.PlainStation", Long)
        two = run(short).tables["requests"]
    for name in one:
        if name == "batch":
            assert len(np.unique(one[name])) == len(np.unique(two[name]))
        else:
            np.testing.assert_array_equal(one[name], two[name], err_msg=name)


def test_a_request_over_a_link_that_cannot_fail_costs_three_events() -> None:
    """Emission, arrival, end of service; a fourth where the answer can get lost on its way."""
    times = [0.07 * i for i in range(1, 40)]
    world = replace(remote(times, service=ServiceSpec("deterministic", 0.01)), slot_s=1.0)
    room = replace(world, nodes=(node(0, servers=0), node(1)))
    boundaries = 6  # at 0 to 5 s, when the run ends
    assert run(room).meta["events"] == 3 * len(times) + boundaries
    faults = (FaultSpec("link-down", 0, 34.0),)
    shaky = run(replace(room, faults=faults, drain_s=30.0))
    assert shaky.meta["events"] == 4 * len(times) + boundaries + len(faults)
