"""Experts over the links and experts that faults take, in whole runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from agents.caches import CACHES
from agents.dispatchers import DISPATCHERS
from agents.hosting.blocks import make_specs, shard_of
from agents.hosting.inline import InlineExecutor
from sim.arrivals.workload import draw_workload
from sim.clock import FAULT
from sim.compute.supply import ASK_BYTES
from sim.compute.swap_time import full_swap_s
from sim.config import Batching, FaultSpec, LinkSpec, NodeSpec, PolicySpec, World
from sim.errors import InputError
from sim.fleet import Fleet
from sim.parts import Parts
from sim.plans import Plan, TopK
from sim.ports import ExpertKey, Message, PlanProfile
from sim.records import CAUSES, MEMORY, Tables
from sim.simulation import simulate
from tests.agents.hosting.tiny import E, L, P, TinyModel
from tests.sim import minds
from tests.sim.minds import ALL_S, BACKBONE, FETCH_S, MB, MERGE_S, ONE_S, SKEW, UNIT, WORKING

ALL_UNITS = [(layer, e) for layer in range(L) for e in range(E)]
ASK_S = 0.1 + ASK_BYTES / MB  # over a link of 0.1 s and 1 MB/s
UNIT_S = 0.1 + 1.0


class Only(TinyModel):
    """All requests touch one expert per layer."""

    def __init__(self, expert: int = 2) -> None:
        super().__init__()
        self.expert = expert

    def profile(self, plan: Plan) -> PlanProfile:
        told = super().profile(plan)
        return replace(told, experts=np.full((P, L), 1 << self.expert, np.uint64))


def pair(
    times_s: Sequence[float], faults: Sequence[FaultSpec] = (), far: int | None = 1, **fields: Any
) -> World:
    """Node 0 serves; node 1 is where its experts come from, over links of 0.1 s and 1 MB/s."""
    world_fields = {k: fields.pop(k) for k in ("duration_s", "drain_s", "slot_s") if k in fields}
    near = minds.node(experts_from=far, **fields)
    links = (LinkSpec(0, 0, 1, 0.1, MB), LinkSpec(1, 1, 0, 0.1, MB))
    return minds.world(
        [near, minds.node(1)], [minds.timed(times_s)], links=links, faults=tuple(faults),
        **({"duration_s": 20.0, "drain_s": 60.0} | world_fields),
    )  # fmt: skip


Acts = Sequence[tuple[float, Callable[[Fleet, float], None]]]


def drive(
    world: World, policy: PolicySpec, model: TinyModel, acts: Acts = ()
) -> tuple[Fleet, Tables]:
    """Run a world, doing things to the fleet at given times, and check the laws."""
    executor = InlineExecutor(load=lambda *_: model, routers=minds.ROUTERS)
    specs = make_specs(world, policy, shards=1, block_size=4)
    owner = [shard_of(n.id, 1, 4) for n in world.nodes]
    parts = Parts(DISPATCHERS.load, CACHES.load, executor.start(specs), owner, model.card)
    fleet = Fleet(world, draw_workload(world, model.card.pool_sizes), parts, world.dispatch)
    for index, (t_s, act) in enumerate(acts):
        fleet.clock.at(t_s, FAULT, index, _act, (fleet, act))
    fleet.run()
    fleet.audit()
    return fleet, fleet.recorder.tables(fleet.requests)


def _act(item: tuple[Fleet, Callable[[Fleet, float], None]], now_s: float) -> None:
    fleet, act = item
    act(fleet, now_s)


def take(*experts: ExpertKey, corrupt: bool = False, node: int = 0) -> Any:
    def act(fleet: Fleet, now_s: float) -> None:
        assert fleet.brains is not None
        fleet.brains.lose_experts(node, experts, corrupt, now_s)

    return act


def give_back(*experts: ExpertKey, corrupt: bool = False, node: int = 0) -> Any:
    def act(fleet: Fleet, now_s: float) -> None:
        assert fleet.brains is not None
        fleet.brains.restore_experts(node, experts, corrupt, now_s)

    return act


def stalls(tables: Tables) -> list[float]:
    return [round(s, 9) for s in tables["requests"]["stall_s"].tolist()]


def residency(tables: Tables, node: int = 0) -> list[tuple[ExpertKey, float, str]]:
    log = tables["residency"]
    words = np.array(CAUSES)[log["cause"]]
    return [
        ((int(log["layer"][i]), int(log["expert"][i])), round(float(log["t_s"][i]), 9), words[i])
        for i in np.flatnonzero(log["node"] == node)
    ]


LRU: dict[str, Any] = {"cache": "lru", "plan": TopK(1)}

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
    waiting = [a for a in fleet.clock._heap if a[4].__name__ == "_again"]
    assert len(waiting) == 1


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
    lost = FaultSpec("expert-lost", 0, 1.0, 2.0, experts=((0, 1),))
    alone = (minds.node(), minds.node(1, experts_from=0))
    refused(
        r"faults.0: n0 has nowhere to fetch a lost expert from; give it `experts_from`",
        nodes=alone, faults=(lost,),
    )  # fmt: skip


def test_routers_are_told_what_a_swap_over_links_takes() -> None:
    told = full_swap_s(pair([0.5]), TinyModel().card)
    assert told == pytest.approx({0: ASK_S + 0.1 + L * E + MERGE_S, 1: ALL_S + MERGE_S})


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
    links = [
        LinkSpec(2 * i + way, *((i, 3) if way else (3, i)), 0.01, 5 * MB)
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
