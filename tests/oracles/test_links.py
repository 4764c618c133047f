"""Links against a slow twin: transfers handed from hop to hop, earliest first, one at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sim.config import ArrivalSpec, FaultSpec, LinkSpec, ServiceSpec, World
from sim.topology.graph import Network
from tests.sim.worlds import both_ways, fleet, node, queue, run, stream


def line(sharing: str = "fifo", seed: int = 1) -> World:
    """Return four nodes in a line whose links are often busy; requests cross up to three."""
    links: list[LinkSpec] = []
    for i in range(3):
        fields = {"delay_s": 0.003 * (i + 1), "bytes_per_s": 1e6 / (i + 1), "sharing": sharing}
        links += both_ways(i, i + 1, len(links), **fields)
    streams = tuple(
        stream(i, i, ArrivalSpec("poisson", 25.0), up_bytes=9e3 + i, down_bytes=4e3)
        for i in range(4)
    )
    world = fleet(3, seed=seed, duration_s=10.0, service=ServiceSpec("exponential", 0.01))
    return replace(
        world, nodes=tuple(node(i) for i in range(4)), links=tuple(links), streams=streams
    )


def twin(world: World, table: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return when each request reached its server and its answer its source."""
    network, n = Network(world.links), len(table["id"])
    free = dict.fromkeys(range(len(world.links)), 0.0)
    reached, back = np.full(n, np.nan), np.full(n, np.nan)
    moving = []
    for rid in range(n):
        here, there = int(table["source"][rid]), int(table["server"][rid])
        moving.append((float(table["t_dispatch_s"][rid]), rid, True, network.route(here, there)))
        if not np.isnan(table["t_finish_s"][rid]):
            home = network.route(there, here)
            moving.append((float(table["t_finish_s"][rid]), rid, False, home))
    while moving:
        now = min(moving)
        moving.remove(now)
        t_s, rid, up, route = now
        assert route is not None
        if not route:
            (reached if up else back)[rid] = t_s
            continue
        link = world.links[route[0]]
        size = table["up_bytes"][rid] if up else table["down_bytes"][rid]
        begin = max(t_s, free[link.id]) if link.sharing == "fifo" else t_s
        free[link.id] = begin + size / link.bytes_per_s
        moving.append((free[link.id] + link.delay_s, rid, up, route[1:]))
    return reached, back


@pytest.mark.parametrize("sharing", ["fifo", "none"])
def test_every_hop_departs_as_its_twin_does(sharing: str) -> None:
    world = line(sharing)
    table = run(world).tables["requests"]
    hops = [
        len(Network(world.links).route(int(a), int(b)) or ())
        for a, b in zip(table["source"], table["server"], strict=True)
    ]
    assert np.bincount(hops).min() > 50  # none, one, two and three hops
    reached, back = twin(world, table)
    np.testing.assert_allclose(table["t_enqueue_s"], reached, rtol=0.0, atol=1e-12)
    np.testing.assert_allclose(table["t_return_s"], back, rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_knowing_that_no_link_fails_changes_no_stamp(seed: int) -> None:
    for world in (line(seed=seed), fleet(4, seed=seed, duration_s=8.0)):
        # a fault after the last answer, but before the latest end, sends all by the longer way
        late = FaultSpec("link-down", 0, world.duration_s + world.drain_s - 0.1)
        steady, shaky = run(world), run(replace(world, faults=(late,)))
        assert steady.meta["end_s"] == shaky.meta["end_s"] < late.at_s
        assert steady.meta["events"] < shaky.meta["events"]
        for name, values in steady.tables["requests"].items():
            np.testing.assert_array_equal(values, shaky.tables["requests"][name], err_msg=name)
        for name, values in steady.tables["links"].items():
            np.testing.assert_allclose(values, shaky.tables["links"][name], err_msg=name)


def test_answers_that_are_late_are_in_flight_either_way() -> None:
    world = replace(line(), drain_s=0.0)
    steady = run(world)
    shaky = run(replace(world, faults=(FaultSpec("link-down", 5, world.duration_s),)))
    for name in ("t_enqueue_s", "t_start_s", "t_finish_s"):
        early = steady.tables["requests"][name] < world.duration_s
        np.testing.assert_array_equal(
            steady.tables["requests"][name][early], shaky.tables["requests"][name][early]
        )
    assert steady.meta["laws"]["in_flight"] > 0


def one_link(**fields: float) -> World:
    """Return a source that sends a small message every 25 ms over one link."""
    world = queue(40.0, 0.001, 60.0, kind="deterministic")
    arrivals = ArrivalSpec("deterministic", 40.0)
    settings = {"delay_s": 0.05, "bytes_per_s": 1e9, **fields}
    return replace(
        world, nodes=(node(0, servers=0), node(1)), links=both_ways(0, 1, 0, **settings),
        streams=(stream(0, 0, arrivals, up_bytes=100.0, down_bytes=100.0),),
        dispatch=replace(world.dispatch, kind="random"),
    )  # fmt: skip


def test_a_link_is_not_held_while_bits_propagate() -> None:
    table = run(one_link()).tables["requests"]
    assert len(table["id"]) in {2399, 2400, 2401}
    np.testing.assert_allclose(table["t_enqueue_s"] - table["t_dispatch_s"], 0.05, atol=1e-6)
    np.testing.assert_allclose(table["t_return_s"] - table["t_finish_s"], 0.05, atol=1e-6)


def test_a_link_that_is_too_narrow_makes_transfers_wait() -> None:
    # 4000 bytes/s come, 3000 bytes/s go: after 60 s there are 20 s of backlog
    table = run(one_link(bytes_per_s=3000.0)).tables["requests"]
    waited = (table["t_enqueue_s"] - table["t_dispatch_s"])[-1]
    assert waited == pytest.approx(20.0 + 0.05, abs=0.05)


def test_what_a_link_carried_is_in_its_table() -> None:
    world = line()
    record = run(world)
    table, links = record.tables["requests"], record.tables["links"]
    crossed = np.zeros(len(world.links))
    network = Network(world.links)
    for rid in range(len(table["id"])):
        here, there = int(table["source"][rid]), int(table["server"][rid])
        for link in network.route(here, there) or ():
            crossed[link] += table["up_bytes"][rid]
        for link in (network.route(there, here) or ()) if table["drop"][rid] < 0 else ():
            crossed[link] += table["down_bytes"][rid]
    sent = np.bincount(links["link"], links["sent_bytes"], len(world.links))
    busy = np.bincount(links["link"], links["busy_s"], len(world.links))
    np.testing.assert_allclose(sent, crossed)
    np.testing.assert_allclose(busy, crossed / [link.bytes_per_s for link in world.links])


def test_what_flies_when_a_link_fails_is_lost_and_later_requests_go_round() -> None:
    # a ring of three: link 0 leads from 0 to 1; while it is down, 0 reaches 1 by way of 2
    world = fleet(3, duration_s=10.0, faults=(FaultSpec("link-down", 0, 4.0, 2.0),))
    far = tuple(replace(link, delay_s=0.3) for link in world.links)
    record = run(replace(world, nodes=tuple(node(i) for i in range(3)), links=far))
    table = record.tables["requests"]
    lost = table["drop"] == 2
    assert lost.sum() == record.meta["laws"]["link_down"] == record.tables["links"]["lost"].sum()
    assert lost.sum() > 0
    up = lost & np.isnan(table["t_enqueue_s"])
    assert ((table["t_dispatch_s"][up] <= 4.0) & (table["t_dispatch_s"][up] > 3.6)).all()
    pair = (table["source"] == 0) & (table["server"] == 1) & ~lost
    during = pair & (table["t_dispatch_s"] > 4.0) & (table["t_dispatch_s"] < 5.9)
    assert during.sum() > 5
    way = table["t_enqueue_s"] - table["t_dispatch_s"]
    assert way[during].min() >= 2 * (0.3 + 0.02) - 1e-9
    before = pair & (table["t_enqueue_s"] < 4.0)
    assert way[before].min() == pytest.approx(0.3 + 0.02)


def test_without_any_way_requests_are_dropped_where_they_start() -> None:
    world = one_link()
    record = run(replace(world, faults=(FaultSpec("link-down", 0, 30.0),)))
    laws = record.meta["laws"]
    assert laws["no_route"] == pytest.approx(1200, abs=2)
    assert laws["link_down"] == pytest.approx(2, abs=1)  # 50 ms of flight at 40 messages/s
