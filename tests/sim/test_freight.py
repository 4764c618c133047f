"""Experts over the links, in whole runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from agents.caches import CACHES
from agents.dispatchers import DISPATCHERS
from agents.hosting.blocks import make_specs
from agents.hosting.inline import InlineExecutor
from sim.compute.supply import ASK_BYTES
from sim.compute.swap_time import full_swap_s
from sim.config import DispatchSpec, FaultSpec, LinkSpec, NodeSpec
from sim.errors import InputError
from sim.parts import Parts
from sim.plans import TopK
from sim.ports import Message
from sim.simulation import simulate
from tests.agents.hosting.tiny import E, L, TinyModel
from tests.sim import minds
from tests.sim.hauls import (
    ASK_S,
    LRU,
    UNIT_S,
    Only,
    drive,
    pair,
    residency,
    stalls,
)
from tests.sim.minds import ALL_S, BACKBONE, FETCH_S, MB, MERGE_S, ONE_S, SKEW, UNIT

# --- over the links


def test_a_miss_asks_the_other_node_and_waits_for_the_bytes() -> None:
    _, tables = drive(pair([0.5, 8.0], **LRU), minds.script(), Only())
    # one expert per layer, one after the other; the second request finds both
    assert stalls(tables) == [round(2 * (ASK_S + UNIT_S), 9), 0.0]
    sent = np.bincount(tables["links"]["link"], tables["links"]["sent_bytes"])
    assert sent.tolist() == [2 * ASK_BYTES, 2 * UNIT]


def test_experts_share_the_links_with_other_messages() -> None:
    """Half a MB from router to router lies between the two experts on the way back."""
    mail = {1: [Message(1, 0, 0.5 * MB, "x")]}
    _, tables = drive(pair([0.5], **LRU), minds.script(mail=mail), Only())
    first_s = 0.5 + ASK_S + UNIT_S
    free_s = 0.5 + ASK_S + 1.0 + 0.5
    asked_s = first_s + ONE_S / 2
    assert asked_s + ASK_S < free_s
    assert stalls(tables) == [round(first_s - 0.5 + free_s + UNIT_S - asked_s, 9)]


def test_equal_fetches_at_once_travel_once() -> None:
    _, tables = drive(pair([0.5, 0.5, 0.6], servers=3, **LRU), minds.script(), Only())
    sent = np.bincount(tables["links"]["link"], tables["links"]["sent_bytes"])
    assert sent.tolist() == [2 * ASK_BYTES, 2 * UNIT]


def test_a_merge_moves_its_experts_as_one_transfer_and_is_charged() -> None:
    _, tables = drive(
        pair([0.5, 14.0], slot_s=5.0, duration_s=20.0), minds.script({1: SKEW}), Only()
    )
    decisions = tables["decisions"]
    row = np.flatnonzero((decisions["slot"] == 1) & (decisions["node"] == 0))[0]
    assert decisions["t_force_s"][row] == pytest.approx(5.0 + ASK_S + 0.1 + L * E + MERGE_S)
    assert decisions["moved_bytes"][row] == L * E * UNIT
    assert decisions["read_bytes"][row] == 3 * L * E * UNIT  # of the merge itself, in memory
    other = np.flatnonzero((decisions["slot"] == 1) & (decisions["node"] == 1))[0]
    assert decisions["moved_bytes"][other] == 0.0
    assert decisions["read_bytes"][other] == 4 * L * E * UNIT


def test_a_gated_plan_is_preloaded_over_the_links() -> None:
    _, tables = drive(
        pair([0.5, 14.0], slot_s=5.0, duration_s=20.0), minds.script({1: TopK(1)}), Only()
    )
    decisions = tables["decisions"]
    row = np.flatnonzero((decisions["slot"] == 1) & (decisions["node"] == 0))[0]
    assert decisions["t_force_s"][row] == pytest.approx(5.0 + ASK_S + 0.1 + L * E)
    assert (decisions["moved_bytes"][row], decisions["read_bytes"][row]) == (L * E * UNIT, 0.0)
    assert tables["requests"]["stall_s"].tolist() == [0.0, 0.0]


def test_a_node_that_is_down_does_not_answer_and_is_asked_again() -> None:
    down = FaultSpec("node-crash", 1, 0.4, 2.0)  # back at 2.4 s
    _, tables = drive(pair([0.5], [down], **LRU), minds.script(), Only())
    # asked at 0.5, lost at 0.5 + ASK; 1 s later lost again; 2 s later answered
    assert stalls(tables) == [round(2 * ASK_S + 3.0 + 2 * (ASK_S + UNIT_S), 9)]


def test_a_partition_stalls_fetches_and_they_drain_when_it_is_over() -> None:
    # the ask is under way when its link is cut; tries at 1.6, 3.6, 7.6 s (at once: no way) and on
    cut = FaultSpec("link-down", 0, 0.6, 10.0)
    _, tables = drive(pair([0.5], [cut], **LRU), minds.script(), Only())
    found = stalls(tables)[0]
    lost_s = 0.5 + ASK_S
    assert found == pytest.approx(lost_s - 0.5 + 1 + 2 + 4 + 8 + 2 * (ASK_S + UNIT_S))
    assert np.isfinite(tables["requests"]["t_return_s"]).all()


def test_bytes_that_meet_a_broken_link_are_fetched_again() -> None:
    cut = FaultSpec("link-down", 1, 1.0, 0.5)  # the way back, up again at 1.5 s
    _, tables = drive(pair([0.5], [cut], **LRU), minds.script(), Only())
    # known when they should have arrived; then 1 s, and both experts without trouble
    assert stalls(tables) == [round(ASK_S + UNIT_S + 1.0 + 2 * (ASK_S + UNIT_S), 9)]
    sent = np.bincount(tables["links"]["link"], tables["links"]["sent_bytes"])
    assert sent.tolist() == [3 * ASK_BYTES, 3 * UNIT]


def test_a_node_that_crashes_forgets_what_it_waits_for_and_loads_its_own_image() -> None:
    crash = FaultSpec("node-crash", 0, 1.0, 0.2)
    _, tables = drive(pair([0.5, 5.0], [crash], **LRU), minds.script(), Only())
    table = tables["requests"]
    assert table["drop"].tolist()[0] >= 0
    assert stalls(tables)[1] == round(2 * (ASK_S + UNIT_S), 9)
    fetched = [t_s for _, t_s, cause in residency(tables) if cause == "miss"]
    assert fetched == pytest.approx([5 + ASK_S + UNIT_S, 5 + ONE_S / 2 + 2 * (ASK_S + UNIT_S)])


def test_a_superseded_plan_gives_up_trying() -> None:
    cut = FaultSpec("link-down", 0, 0.5)  # for ever
    world = pair([0.2, 9.0], [cut], slot_s=1.0, duration_s=10.0, drain_s=1.0)
    fleet, tables = drive(world, minds.script({1: TopK(1), 3: SKEW}), Only())
    decisions = tables["decisions"]
    mine = (decisions["node"] == 0) & (decisions["slot"] >= 0)
    forced = decisions["t_force_s"][mine & np.isin(decisions["slot"], [1, 3])]
    assert np.isnan(forced).all()
    assert tables["requests"]["plan"].tolist() == [0, 0]  # the start plan serves on
    assert fleet.brains is not None
    # nobody is left who tries for the first plan: one alarm at most waits, for the second
    waiting = [a for a in fleet.clock.heap if a[4].__name__ == "_again"]
    assert len(waiting) == 1


def test_a_restart_fetches_preloaded_experts_over_the_links() -> None:
    """Nothing is stored here but the image without experts: its backbone takes 2 MB / 100 MB/s."""
    crash = FaultSpec("node-crash", 0, 1.0, 0.2)
    world = pair([3.0], [crash], plan=TopK(1))
    _, tables = drive(world, minds.script(), Only())
    back_s = 1.2 + BACKBONE / 1e8 + ASK_S + 0.1 + L * E
    assert tables["requests"]["t_start_s"].tolist() == pytest.approx([back_s])
    sent = np.bincount(tables["links"]["link"], tables["links"]["sent_bytes"])
    assert sent.tolist() == [ASK_BYTES, L * E * UNIT]


def test_a_restart_during_a_restart_loads_once_more() -> None:
    crashes = [FaultSpec("node-crash", 0, 1.0, 0.2), FaultSpec("node-crash", 0, 5.0, 0.2)]
    _, tables = drive(pair([6.0], crashes, plan=TopK(1)), minds.script(), Only())
    # what came for the first life is not for the second, but takes the link until 1.2 + ... s
    first_s = 1.2 + BACKBONE / 1e8 + ASK_S + L * E
    asked_s = 5.2 + BACKBONE / 1e8 + ASK_S
    assert first_s > asked_s
    assert tables["requests"]["t_start_s"].tolist() == pytest.approx([first_s + L * E + 0.1])


def test_what_the_source_has_lost_comes_from_another_node() -> None:
    lost = FaultSpec("expert-lost", 1, 0.1, 9.0, experts=((0, 2),))
    base = pair([0.5], [lost], **LRU)
    slow = (LinkSpec(2, 0, 2, 0.3, MB), LinkSpec(3, 2, 0, 0.3, MB))
    world = replace(base, nodes=(*base.nodes, minds.node(2)), links=base.links + slow)
    _, tables = drive(world, minds.script(), Only())
    # layer 0 from the node behind the slower links, layer 1 from its source
    assert stalls(tables) == [round(2 * (ASK_S + UNIT_S) + 2 * 0.2, 9)]


def test_help_comes_from_the_node_with_the_shortest_way_back() -> None:
    lost = FaultSpec("expert-lost", 0, 0.1, 9.0, experts=((0, 2),))
    delays_s = {(0, 1): 0.1, (1, 0): 0.3, (0, 2): 0.4, (2, 0): 0.2}
    links = tuple(LinkSpec(i, *ends, d, MB) for i, (ends, d) in enumerate(delays_s.items()))
    base = pair([0.5], [lost], far=None, **LRU)
    world = replace(base, nodes=(*base.nodes, minds.node(2)), links=links)
    _, tables = drive(world, minds.script(), Only())
    assert stalls(tables) == [round(0.4 + ASK_BYTES / MB + 0.2 + 1.0 + FETCH_S, 9)]


def test_a_fetch_waits_while_no_node_has_a_good_copy() -> None:
    lost = FaultSpec("expert-lost", 1, 0.1, 2.0, experts=((0, 2),), also=(2,))
    base = pair([0.5], [lost], **LRU)
    slow = (LinkSpec(2, 0, 2, 0.3, MB), LinkSpec(3, 2, 0, 0.3, MB))
    world = replace(base, nodes=(*base.nodes, minds.node(2)), links=base.links + slow)
    _, tables = drive(world, minds.script(), Only())
    # nobody to ask at 0.5 and 1.5 s; the fault ends at 2.1 s, the next try is at 3.5 s
    assert stalls(tables) == [round(3.0 + 2 * (ASK_S + UNIT_S), 9)]


# --- slow storage


def test_storage_that_is_slow_for_a_while_delays_what_it_reads_then() -> None:
    # 10 ms a read; a quarter of the speed from 0.505 to 0.525 s, half of that again from 0.515 s
    slow = (
        FaultSpec("storage-slow", 0, 0.505, 0.02, factor=4.0),
        FaultSpec("storage-slow", 0, 0.515, 0.01, factor=2.0),
        FaultSpec("storage-slow", 1, 0.0, 9.0, factor=100.0),
    )
    _, tables = drive(pair([0.5, 1.0], slow, far=None, **LRU), minds.script(), Only())
    # first read: 5 ms of work, then 10 ms at 1/4, 10 ms at 1/8, the last 1.25 ms at full speed
    work_s = 0.01 - 0.005 - 0.0025 - 0.00125
    assert tables["requests"]["stall_s"].tolist() == pytest.approx([0.025 + work_s + FETCH_S, 0.0])


# --- what is refused, what routers are told


def test_impossible_sources_are_refused() -> None:
    def refused(match: str, **fields: Any) -> None:
        with pytest.raises(InputError, match=match):
            minds.run(replace(pair([0.5]), **fields), minds.script(), Only())

    def nodes(source: int) -> tuple[NodeSpec, ...]:
        return (minds.node(experts_from=source), minds.node(1))

    refused(r"nodes.0.experts_from \(n0\): expected another node, 0 to 1, found 2", nodes=nodes(2))
    refused(r"experts_from \(n0\): expected another node, 0 to 1, found 0", nodes=nodes(0))
    refused(r"experts_from \(n0\): no links lead to n1 and back", nodes=nodes(1), links=())
    for way in (LinkSpec(0, 0, 1, 0.1, MB), LinkSpec(0, 1, 0, 0.1, MB)):
        refused(r"no links lead to n1 and back", nodes=nodes(1), links=(way,))
    chain = (minds.node(experts_from=1), minds.node(1, experts_from=0))
    refused(r"experts_from \(n0\): n1 keeps no experts itself, it has", nodes=chain)
    lost = FaultSpec("expert-lost", 0, 1.0, 2.0, experts=((0, 1),))
    alone = (minds.node(), minds.node(1, experts_from=0))
    refused(
        r"faults.0: n0 has nowhere to fetch a lost expert from; give it `experts_from`",
        nodes=alone, faults=(lost,),
    )  # fmt: skip


def test_routers_are_told_what_a_swap_over_links_takes() -> None:
    told = full_swap_s(pair([0.5]), TinyModel().card)
    assert told == pytest.approx({0: ASK_S + 0.1 + L * E + MERGE_S, 1: ALL_S + MERGE_S})


@pytest.mark.parametrize(
    ("sharing", "moving_s"),
    [
        # two fair links in a row are filled at once: back at the speed of link 1
        ("fair", ASK_BYTES / MB + L * E / 2),
        # others one after the other
        ("fifo", ASK_BYTES / MB * (1 + 1 / 3) + L * E * (1 / 4 + 1 / 2)),
    ],
)
def test_a_swap_over_two_links_is_told_as_it_is(sharing: Any, moving_s: float) -> None:
    ends = [(0, 1), (1, 0), (1, 2), (2, 1)]
    links = tuple(LinkSpec(i, a, b, 0.1, (i + 1) * MB, sharing) for i, (a, b) in enumerate(ends))
    nodes = [minds.node(0, experts_from=2), minds.node(1, servers=0), minds.node(2)]
    world = minds.world(
        nodes, [minds.timed([0.5])], links=links, duration_s=40.0, drain_s=60.0, slot_s=20.0
    )
    _, tables = drive(world, minds.script({1: SKEW}), Only())
    decisions = tables["decisions"]
    row = np.flatnonzero((decisions["slot"] == 1) & (decisions["node"] == 0))[0]
    took_s = 4 * 0.1 + moving_s + MERGE_S
    assert decisions["t_force_s"][row] - 20.0 == pytest.approx(took_s)
    assert full_swap_s(world, TinyModel().card)[0] == pytest.approx(took_s)


@pytest.mark.parametrize(
    ("sharing", "came_s", "enqueued_s"),
    [
        # from 0.8 to 1.8 s half the speed for each; then the expert's last 0.300256 MB
        ("fair", 1.700256, 1.9),
        # the expert until 1.600256 s, then the request
        ("fifo", ASK_S + UNIT_S, 2.200256),
        ("none", ASK_S + UNIT_S, 1.4),
    ],
)
def test_experts_and_requests_share_a_link(sharing: Any, came_s: float, enqueued_s: float) -> None:
    """At 0.8 s a request of half a MB starts on the link that an expert came on at 0.600256 s."""
    links = (LinkSpec(0, 0, 1, 0.1, MB, sharing), LinkSpec(1, 1, 0, 0.1, MB, sharing))
    streams = [minds.timed([0.5]), minds.timed([0.8], at=1, up_bytes=0.5 * MB)]
    world = minds.world(
        [minds.node(experts_from=1, **LRU), minds.node(1, servers=0)], streams, links=links,
        duration_s=20.0, drain_s=60.0, dispatch=DispatchSpec("random"),
    )  # fmt: skip
    _, tables = drive(world, minds.script(), Only())
    assert tables["requests"]["t_enqueue_s"].tolist() == pytest.approx([0.5, enqueued_s])
    second_s = ASK_S + UNIT_S
    if sharing == "fifo":  # it was asked for when the request was still on the link
        second_s = 2.100256 + UNIT_S - (0.5 + came_s + ONE_S / 2)
    assert stalls(tables) == pytest.approx([came_s + second_s, 0.0])


def test_the_same_run_twice_is_the_same() -> None:
    world = pair([0.5, 0.7, 2.0], [FaultSpec("link-down", 0, 0.6, 3.0)], **LRU)
    policy = minds.script()
    digests = []
    for _ in range(2):
        model = Only()
        executor = InlineExecutor(load=lambda *_, m=model: m, routers=minds.ROUTERS)
        hosts = executor.start(make_specs(world, policy, shards=1, block_size=4))
        parts = Parts(DISPATCHERS.load, CACHES.load, hosts, [0, 0], model.card)
        digests.append(simulate(world, policy, parts).digest)
    assert digests[0] == digests[1]
