"""Experts that faults take or spoil, in whole runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sim.config import Batching, FaultSpec, LinkSpec, PolicySpec
from sim.plans import Merged, TopK
from sim.records import MEMORY
from tests.agents.hosting.tiny import E, L
from tests.sim import minds
from tests.sim.hauls import (
    ALL_UNITS,
    ASK_S,
    LRU,
    UNIT_S,
    Only,
    drive,
    give_back,
    pair,
    residency,
    stalls,
    take,
)
from tests.sim.minds import BACKBONE, FETCH_S, MB, MERGE_S, ONE_S, SKEW, UNIT, WORKING

# --- experts that faults take


def test_a_lost_expert_comes_from_the_nearest_node_and_is_stored_again() -> None:
    acts = [(1.0, take((0, 2))), (4.0, take((0, 2)))]
    _, tables = drive(pair([0.5, 1.5, 4.5], far=None, **LRU), minds.script(), Only(), acts)
    far_s = ASK_S + UNIT_S
    assert stalls(tables) == [2 * FETCH_S, round(far_s, 9), round(far_s, 9)]
    assert [(key, cause) for key, _, cause in residency(tables)] == [
        ((0, 2), "miss"), ((1, 2), "miss"), ((0, 2), "fault"), ((0, 2), "miss"), ((0, 2), "fault"),
        ((0, 2), "miss"),
    ]  # fmt: skip


def test_what_came_back_is_good_although_the_fault_holds() -> None:
    # memory for one expert: each request evicts and fetches both
    tight = {**LRU, "memory_bytes": BACKBONE + WORKING + UNIT}
    acts = [(1.0, take((0, 2), (1, 2)))]
    _, tables = drive(pair([0.5, 1.5, 9.0], far=None, **tight), minds.script(), Only(), acts)
    assert stalls(tables) == [0.02, round(2 * (ASK_S + UNIT_S), 9), 0.02]


def test_a_restart_fetches_what_was_lost_before_or_meanwhile() -> None:
    crash = FaultSpec("node-crash", 0, 1.0, 0.2)
    world = pair([3.0], [crash], far=None, plan=TopK(1))
    image_s = (BACKBONE + L * E * UNIT) / 1e8  # 0.1 s
    for at_s, seconds in (
        (1.1, BACKBONE / 1e8 + ASK_S + UNIT_S),  # the others are read while it comes
        (1.25, image_s + ASK_S + UNIT_S),
    ):
        _, tables = drive(world, minds.script(), Only(), [(at_s, take((0, 2)))])
        back = [t_s for key, t_s, cause in residency(tables) if cause == "plan" and t_s > 0.0]
        assert back == pytest.approx([1.2 + seconds] * L * E), at_s


def test_the_end_of_a_fault_repairs_what_nobody_has_fetched() -> None:
    acts = [(1.0, take((0, 2), (1, 2))), (2.0, give_back((0, 2), (1, 2)))]
    _, tables = drive(pair([0.5, 2.5], far=None, **LRU), minds.script(), Only(), acts)
    assert stalls(tables) == [0.02, 0.02]


def test_a_spoiled_expert_is_read_in_vain_first() -> None:
    acts = [(0.2, take((0, 2), corrupt=True)), (3.0, take((1, 2), corrupt=True))]
    _, tables = drive(pair([0.5, 4.0], far=None, **LRU), minds.script(), Only(), acts)
    # what is in memory already is good
    assert stalls(tables) == [round(2 * FETCH_S + ASK_S + UNIT_S, 9), 0.0]


def test_an_expert_in_use_leaves_when_it_is_let_go() -> None:
    # both layers' experts are there and run from 1.5 to 1.508 s, pinned together
    acts = [(1.504, take((0, 2)))]
    _, tables = drive(pair([0.5, 1.5, 2.5], far=None, **LRU), minds.script(), Only(), acts)
    gone = [t_s for _, t_s, cause in residency(tables) if cause == "fault"]
    assert gone == [round(1.5 + ONE_S, 9)]
    assert stalls(tables) == [0.02, 0.0, round(ASK_S + UNIT_S, 9)]


def test_a_preloaded_expert_is_fetched_again_at_once_and_batches_wait_for_it() -> None:
    acts = [(1.0, take((1, 2), (0, 0)))]
    _, tables = drive(pair([0.5, 1.2, 4.0], far=None, plan=TopK(1)), minds.script(), Only(), acts)
    # asks queue behind each other by 256 B, units by a second: (0, 0) comes after (1, 2)
    first_s = 1.0 + ASK_S + UNIT_S
    assert residency(tables)[-4:] == [
        ((1, 2), 1.0, "fault"), ((0, 0), 1.0, "fault"),
        ((1, 2), round(first_s, 9), "miss"), ((0, 0), round(first_s + 1.0, 9), "miss"),
    ]  # fmt: skip
    assert stalls(tables) == [0.0, round(first_s - 1.2 - ONE_S / 2, 9), 0.0]
    held = tables["memory"]
    experts = held["bytes"][(held["node"] == 0) & (held["category"] == MEMORY.index("experts"))]
    assert experts[-1] == experts.max() == L * E * UNIT


def test_a_merge_that_needs_a_lost_expert_fetches_that_one_over_the_links() -> None:
    acts = [(0.6, take((0, 1)))]
    _, tables = drive(
        pair([0.5, 0.7, 4.0], far=None, slot_s=1.0, duration_s=5.0),
        minds.script({1: SKEW}),
        Only(),
        acts,
    )
    decisions = tables["decisions"]
    row = np.flatnonzero((decisions["slot"] == 1) & (decisions["node"] == 0))[0]
    # seven experts come from storage meanwhile
    assert decisions["t_force_s"][row] == pytest.approx(1.0 + ASK_S + UNIT_S + MERGE_S)
    assert decisions["moved_bytes"][row] == UNIT
    assert decisions["read_bytes"][row] == (L * E - 1) * UNIT + 3 * L * E * UNIT
    # the merged plan in force serves on: its weights are in memory
    assert tables["requests"]["service_s"].tolist() == pytest.approx([ONE_S] * 3)


def test_a_plan_that_changes_while_a_lost_expert_comes_leaves_no_bytes_behind() -> None:
    acts = [(1.9, take((0, 1), (1, 3)))]
    world = pair([0.5, 1.95, 9.0], far=None, slot_s=1.0, duration_s=10.0)
    fleet, tables = drive(
        world, minds.script({1: TopK(1), 2: SKEW, 5: TopK(1), 6: SKEW}), Only(), acts
    )
    held = tables["memory"]
    mine = (held["node"] == 0) & (held["category"] == MEMORY.index("experts"))
    assert held["bytes"][mine][-1] == 0.0
    assert fleet.brains is not None
    assert not fleet.brains.deployments[0].store.resident


def test_a_node_that_lost_it_too_cannot_help() -> None:
    # node 1 is nearer than node 2, but lost the same expert
    near = minds.node(**LRU)
    links = [
        LinkSpec(0, 0, 1, 0.1, MB), LinkSpec(1, 1, 0, 0.1, MB),
        LinkSpec(2, 0, 2, 0.4, MB), LinkSpec(3, 2, 0, 0.4, MB),
    ]  # fmt: skip
    world = minds.world(
        [near, minds.node(1), minds.node(2)], [minds.timed([0.5])], links=tuple(links), drain_s=60.0
    )
    acts = [(0.1, take((0, 2))), (0.1, take((0, 2), node=1))]
    _, tables = drive(world, minds.script(), Only(), acts)
    assert stalls(tables) == [round(ASK_S + UNIT_S + 0.6 + FETCH_S, 9)]


# --- random mixtures


@pytest.mark.parametrize("seed", range(12))
def test_random_trouble_breaks_no_law_and_all_drains(seed: int) -> None:
    """Crashes, cuts and experts that come and go: laws hold, books balance, nothing waits on."""
    rng = np.random.default_rng(seed)
    hardware = minds.chip(9 * MB, flop_per_s=1e12, bytes_per_s=1e12, kernel_s=0.001)
    caches, plans = ["all", "lru", "lfu", "belady"], [None, None, TopK(1), TopK(2)]
    nodes = [
        minds.node(
            i, hardware=replace(hardware, memory_bytes=int(rng.integers(6, 14)) * MB),
            servers=int(rng.integers(1, 4)), cache=caches[int(rng.integers(4))],
            batching=Batching(int(rng.integers(1, 5))), plan=plans[int(rng.integers(4))],
            experts_from=[None, 3][int(rng.integers(2))] if i < 3 else None,
            swap=["double-buffer", "stop-the-world"][int(rng.integers(2))],
        )
        for i in range(4)
    ]  # fmt: skip
    # the last one is where others fetch from; a fixed plan that is preloaded needs room for all
    nodes = [
        replace(n, cache="lru")
        if n.id == 3 or (n.plan and n.hardware.memory_bytes < 12 * MB)
        else n
        for n in nodes
    ]
    # servers that wait for a swap need it to be shorter than the slot in which it is called off
    speeds = [5 * MB if n.swap == "double-buffer" else 100 * MB for n in nodes]
    links = [
        LinkSpec(2 * i + way, *((i, 3) if way else (3, i)), 0.01, speeds[i])
        for i in range(3)
        for way in range(2)
    ]  # fmt: skip
    faults = [
        FaultSpec(kind, i, int(rng.integers(16)) / 4, int(rng.integers(1, 8)) / 4)
        for kind, count in (("node-crash", 4), ("link-down", 6))
        for i in range(count)
    ]
    acts: list[tuple[float, int, Any]] = []  # ends come before beginnings
    for _ in range(8):
        node, corrupt = int(rng.integers(4)), bool(rng.integers(2))
        keys = [ALL_UNITS[int(i)] for i in rng.choice(L * E, 3, replace=False)]
        start = int(rng.integers(0, 20))
        end = int(rng.integers(start + 1, 21))
        acts.append((start / 4, 1, take(*keys, corrupt=corrupt, node=node)))
        acts.append((end / 4, 0, give_back(*keys, node=node)))
    acts.sort(key=lambda act: act[:2])
    world = minds.world(
        nodes, [minds.poisson(30.0, at=i) for i in range(4)], slot_s=0.25, drain_s=200.0,
        links=tuple(links), faults=tuple(faults), seed=seed,
    )  # fmt: skip
    listener = PolicySpec("listener", "listener")
    fleet, tables = drive(world, listener, minds.Varied(), [(t_s, act) for t_s, _, act in acts])
    table = tables["requests"]
    over = ~np.isnan(table["t_return_s"]) | (table["drop"] >= 0)
    assert over.all()
    assert fleet.brains is not None
    for node, deployment in fleet.brains.deployments.items():
        assert not deployment.supply.bad
        used = deployment.ledger.used_bytes
        held = tables["memory"]
        last = [0.0] * len(MEMORY)
        for row in np.flatnonzero(held["node"] == node):
            last[held["category"][row]] = float(held["bytes"][row])
        assert last == used
        assert used[MEMORY.index("experts")] >= len(deployment.store.resident) * UNIT


def test_an_expert_that_comes_back_to_another_plan_is_let_go() -> None:
    # lost at 1.5 s, back at 2.7 s; from 2.02 s on the node serves expert 0 alone, merged
    alone = minds.script({0: TopK(1), 2: Merged((1.0, 0.0, 0.0, 0.0))})
    acts = [(1.5, take((0, 2)))]
    fleet, tables = drive(pair([0.5, 4.0], far=None), alone, Only(), acts)
    back_s = 1.5 + ASK_S + UNIT_S
    assert residency(tables)[-2:] == [
        ((0, 2), round(back_s, 9), "miss"), ((0, 2), round(back_s, 9), "plan"),
    ]  # fmt: skip
    assert fleet.brains is not None
    assert fleet.brains.deployments[0].ledger.used_bytes[MEMORY.index("experts")] == 0.0


@pytest.mark.parametrize(("kind", "corrupt"), [("expert-lost", False), ("expert-corrupt", True)])
def test_the_timetable_does_what_its_words_say(kind: Any, corrupt: bool) -> None:
    times = [0.5, 3.0, 5.0, 9.0]
    tight = {**LRU, "memory_bytes": BACKBONE + WORKING + UNIT}  # each request fetches both experts
    fault = FaultSpec(kind, 0, 2.0, 2.0, experts=((0, 2), (1, 2)))
    _, told = drive(pair(times, [fault], far=None, **tight), minds.script(), Only())
    keys = fault.experts
    acts = [(2.0, take(*keys, corrupt=corrupt)), (4.0, give_back(*keys, corrupt=corrupt))]
    _, done = drive(pair(times, far=None, **tight), minds.script(), Only(), acts)
    assert stalls(told) == stalls(done)
    away_s = ASK_S + UNIT_S + corrupt * FETCH_S  # a spoiled copy is read in vain first
    assert stalls(told) == [
        0.02,
        round(away_s + FETCH_S, 9),
        0.02,
        0.02,
    ]  # the fault ends meanwhile
    assert [told["faults"]["t_s"].tolist(), done["faults"]["t_s"].tolist()] == [[2.0, 4.0], []]


def test_a_slow_link_slows_no_storage_and_slow_storage_no_link() -> None:
    slow = {
        kind: FaultSpec(kind, 0, 0.1, 9.0, factor=4.0) for kind in ("link-slow", "storage-slow")
    }  # type: ignore[arg-type]
    taken = {}
    for kind, fault in slow.items():
        for far in (None, 1):
            _, tables = drive(pair([0.5], [fault], far=far, **LRU), minds.script(), Only())
            taken[kind, far] = stalls(tables)[0]
    ask_s = ASK_S + 3 * (ASK_S - 0.1)  # the message's bytes take four times as long
    assert taken["link-slow", None] == 0.02
    assert taken["storage-slow", None] == pytest.approx(4 * 0.02)
    assert taken["link-slow", 1] == pytest.approx(2 * (ask_s + UNIT_S))
    assert taken["storage-slow", 1] == pytest.approx(2 * (ASK_S + UNIT_S))
