"""Choosers, sorting, ways and laws of the flow pass, one by one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sim.arrivals.workload import draw_workload
from sim.config import (
    ArrivalSpec,
    Batching,
    DispatchSpec,
    FaultSpec,
    LinkSpec,
    ServiceSpec,
    Setup,
    StreamSpec,
    World,
)
from sim.dispatch import candidates, make_dispatcher
from sim.errors import LawViolation
from sim.fast.arrange import in_order
from sim.fast.choose import KINDS, chooser
from sim.fast.flow import FlowPass
from sim.fast.flow_rows import FlowLaws
from sim.fast.flow_state import LANE
from sim.fast.flow_step import Closing, Settled, whole
from sim.fast.flow_ways import flow_fits, pairs_of
from sim.faults import timetable
from sim.rng import Streams
from sim.topology.graph import Network
from sim.views import FleetView
from tests.sim.fast.flow_draws import draw
from tests.sim.fast.flowing import reason
from tests.sim.worlds import both_ways, node, parts, queue, stream


def star(**fields: Any) -> World:
    """Return a gateway that sends to three nodes."""
    links = tuple(x for i in (1, 2, 3) for x in both_ways(0, i, 2 * i - 2, sharing="none"))
    settings: dict[str, Any] = {
        "nodes": (node(0, servers=0), *(node(i) for i in (1, 2, 3))),
        "links": links,
        "streams": (stream(0, 0, ArrivalSpec("poisson", 50.0), up_bytes=1e3, down_bytes=1e3),),
        "dispatch": DispatchSpec("random"),
        **fields,
    }
    return replace(queue(1.0, 0.02, 4.0), **settings)


# --- choosers


@pytest.mark.parametrize("kind", KINDS)
def test_choosers_choose_what_dispatchers_do(kind: str) -> None:
    nodes = tuple(node(i, servers=1 + i % 2) for i in range(5))
    ends = [(i, j) for i in range(5) for j in range(5) if i != j]
    links = tuple(LinkSpec(k, *pair, 0.1, 1e6, "none") for k, pair in enumerate(ends))
    sources = np.random.default_rng(3).integers(1, 4, 9000)
    streams = tuple(stream(i, i, ArrivalSpec("poisson", 1.0)) for i in (1, 2, 3))
    dispatch = DispatchSpec(kind, to="edge")
    world = star(nodes=nodes, links=links, streams=streams, dispatch=dispatch)
    dispatcher = make_dispatcher(world, dispatch, parts())
    if kind in {"local", "cloud"}:
        pairs = pairs_of(world, dispatch, dispatcher)
    else:
        pairs = pairs_of(world, dispatch, _Mute())
    rng = Streams(world.seed).stream("dispatch", kind)
    fast = chooser(kind, len(candidates(world, dispatch)), pairs.sources, rng)
    number = np.searchsorted(pairs.sources, sources).astype(np.int32)
    found = [pairs.server[fast.choose(part)] for part in np.split(number, [1, 5000, 5000])]
    view = FleetView(0.0, [0] * 5, [True] * 5, [1] * 5)
    assert np.concatenate(found).tolist() == [dispatcher.choose(s, view) for s in sources.tolist()]


class _Mute:
    """A dispatcher that must not be asked."""

    flop = 0.0

    def choose(self, source: int, view: FleetView) -> int:
        raise AssertionError


# --- sorting


@pytest.mark.parametrize("spread", [0.0, 2.0, 1e9])
def test_arrivals_are_sorted_stably_however_much_out_of_order(spread: float) -> None:
    rng = np.random.default_rng(int(spread) % 97)
    span = np.array([0, 3, 3, 40, 1040])
    fresh = span[:-1] + np.array([0, 0, 5, 20])
    lanes = np.zeros(1041, LANE)
    lanes["row"] = np.arange(1041)
    lanes["due_s"] = np.arange(1041) + np.floor(rng.random(1041) * spread)
    lanes["due_s"][700:710] = 5e8
    lanes["late"] = rng.integers(0, 2, 1041)
    before = lanes.copy()
    in_order(lanes, fresh, span, np.zeros(1041, LANE))
    for begin, first, stop in zip(span[:-1], fresh, span[1:], strict=True):
        assert lanes["row"][begin:first].tolist() == before["row"][begin:first].tolist()
        rows = sorted(range(first, stop), key=lambda i: (before["due_s"][i], before["late"][i], i))
        assert lanes["row"][first:stop].tolist() == rows
        assert (lanes[first:stop] == before[rows]).all()


# --- ways


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"dispatch": DispatchSpec("power-of-two")}, "dispatcher power-of-two"),
        ({"dispatch": DispatchSpec("local")}, "a source has no servers"),
        ({"service": None}, "a model"),
        ({"faults": (FaultSpec("node-crash", 1, 1.0, 1.0),)}, "faults"),
        ({"links": ()}, "a way of several links, or none"),
        ({"links": both_ways(0, 1, 0) + both_ways(1, 2, 2) + both_ways(2, 3, 4)}, "a way of sev"),
        ({"nodes": (node(0, servers=0), node(1, discipline="priority"))}, "not plain"),
        ({"nodes": (node(0, servers=0), node(1, batching=Batching(2)))}, "not plain"),
        ({"nodes": (node(0, servers=0), node(1, setup=Setup(1.0)))}, "not plain"),
        ({"nodes": (node(0, servers=0), node(1, servers=20_000_000))}, "servers"),
    ],
)
def test_what_does_not_feed_forward_is_refused(change: dict[str, Any], why: str) -> None:
    assert not reason(star())
    assert why in _reason(star(**change))


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"sharing": "fair"}, "fair or lossy"),
        ({"loss": 0.1}, "fair or lossy"),
        ({"sharing": "fifo"}, "a FIFO link carries requests and answers"),
        ({"sharing": "none"}, "not whole bytes"),
    ],
)
def test_links_must_be_sure_and_mostly_one_way(fields: dict[str, Any], why: str) -> None:
    streams = tuple(
        stream(i, i, ArrivalSpec("poisson", 5.0), up_bytes=0.5, down_bytes=1.0) for i in (0, 1)
    )
    world = star(nodes=(node(0), node(1)), links=both_ways(0, 1, 0, **fields), streams=streams)
    assert why in _reason(world)


def _reason(world: World) -> str:
    dispatcher = make_dispatcher(world, world.dispatch, parts())
    return flow_fits(world, world.dispatch, dispatcher, timetable(world, None))


def test_a_way_is_the_network_s_even_where_a_link_is_longer() -> None:
    for seed in range(60):
        rng = np.random.default_rng(seed)
        links = [
            LinkSpec(k, *rng.choice(5, 2, replace=False).tolist(), rng.integers(0, 4) / 4, 1e6)
            for k in range(40)
        ]
        world = star(
            nodes=tuple(node(i) for i in range(5)), links=tuple(links),
            dispatch=DispatchSpec("random"), service=ServiceSpec("deterministic", 0.1),
        )  # fmt: skip
        network = Network(links)
        routes = [network.route(0, i) for i in range(5)], [network.route(i, 0) for i in range(5)]
        alone = all(route is not None and len(route) <= 1 for way in routes for route in way)
        dispatcher = make_dispatcher(world, world.dispatch, parts())
        if not alone:
            assert "a way of several links" in _reason(world)
            continue
        pairs = pairs_of(world, replace(world.dispatch), dispatcher)
        assert [tuple(x for x in [i] if x >= 0) for i in pairs.up_link.tolist()] == routes[0]
        assert [tuple(x for x in [i] if x >= 0) for i in pairs.down_link.tolist()] == routes[1]


# --- laws


def closed(world: World) -> tuple[FlowLaws, Closing, list[Settled]]:
    """Run a world whose end cuts it; return what holds it to the laws, and what is to be held."""
    run = FlowPass(world, world.dispatch, make_dispatcher(world, world.dispatch, parts()))
    workload = draw_workload(world, None)
    settled = [step.settled for step in run.advance(whole(workload), world.duration_s)]
    settled += [step.settled for step in run.drain()]
    return FlowLaws(run.nodes, len(run.pairs.server)), run.close(), settled


@pytest.mark.parametrize(
    ("field", "law"),
    [("finished", "L1"), ("number", "L1"), ("arrived", "L1"), ("area", "L8"), ("stays_s", "L8")],
)
def test_a_meter_that_is_off_breaks_a_law_at_the_next_boundary(field: str, law: str) -> None:
    laws, _, settled = closed(star())
    for one in settled:
        laws.check(one)
    due = next(s for s in settled if len(s.bound_s) and not np.isnan(s.marks["open_s"]).all())
    at = tuple(int(i[0]) for i in np.nonzero(~np.isnan(due.marks["open_s"])))
    due.marks[field][at] += 1
    with pytest.raises(LawViolation, match=f"{law}.*: node {1 + at[1]}: "):
        laws.check(due)


@pytest.mark.parametrize("field", ["flying_up_bytes", "landed_up_bytes", "landed_down_bytes"])
def test_bytes_that_are_gone_break_a_law_at_the_end(field: str) -> None:
    laws, closing, settled = closed(star(drain_s=0.0))
    for one in settled:
        laws.check(one)
    getattr(closing, field)[1] += 1.0
    with pytest.raises(LawViolation, match=r"L1 bytes (up|down): pair 1: "):
        laws.close(closing)


def test_more_services_than_servers_break_a_law_at_the_end() -> None:
    laws, closing, settled = closed(star())
    for one in settled:
        laws.check(one)
    closing.most_running[2] = 2
    with pytest.raises(LawViolation, match="L3: ran, and servers: node 3: 2 is not 1"):
        laws.close(closing)


def test_backlog_counts_who_is_in_the_fleet() -> None:
    world = star(service=ServiceSpec("deterministic", 10.0))
    run = FlowPass(world, world.dispatch, make_dispatcher(world, world.dispatch, parts()))
    workload = draw_workload(world, None)
    assert [len(s.retired) for s in run.advance(whole(workload), world.duration_s)] == [0]
    assert run.backlog == len(workload)
    (left,) = (s.stayed for s in run.advance(whole(workload).part(0, 0), world.duration_s))
    assert sorted(left.id.tolist()) == list(range(len(workload)))


def test_consumers_get_the_columns_that_they_want() -> None:
    world = draw(2)
    assert isinstance(world.streams[0], StreamSpec)
    workload = draw_workload(world, None)
    names = ("t_emit_s", "deadline_s", "priority")
    dispatcher = make_dispatcher(world, world.dispatch, parts())
    run = FlowPass(world, world.dispatch, dispatcher, names)
    everybody, seen = whole(workload), 0
    choice_s = [dispatcher.flop / node.hardware.flop_per_s for node in world.nodes]
    for begin in range(0, len(workload), 5):
        stop = min(begin + 5, len(workload))
        until_s = workload.t_emit_s[stop] if stop < len(workload) else world.duration_s
        for step in run.advance(everybody.part(begin, stop), float(until_s)):
            ids = step.retired.id
            seen += len(ids)
            for name in names:
                assert step.retired.drawn(name).tolist() == getattr(workload, name)[ids].tolist()
            sources = workload.source[ids].tolist()
            chosen_s = workload.t_emit_s[ids] + [choice_s[s] for s in sources]
            assert step.retired.dispatch_s.tolist() == chosen_s.tolist()
    assert seen > 20
