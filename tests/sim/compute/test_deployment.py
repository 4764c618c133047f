"""Memory of a deployed model: nobody waits for ever, nothing leaks, nothing is left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agents.caches.lru import LeastRecentlyUsed
from sim.clock import Clock
from sim.compute.memory import BACKBONE as BACKBONE_BYTES
from sim.compute.memory import EXPERTS, Ledger
from sim.compute.storage import BY_MISS, EVICT, ExpertStore, Storage
from sim.compute.supply import Supply
from sim.config import Batching, FaultSpec, ModelSpec
from sim.errors import PlanRefused
from sim.plans import TopK
from tests.sim.minds import (
    ALL_S,
    ARCHITECTURE,
    BACKBONE,
    MERGED,
    ONE_S,
    OTHER,
    SKEW,
    UNIT,
    WORKING,
    Varied,
    category,
    chip,
    node,
    poisson,
    run,
    script,
    timed,
    world,
)


@pytest.mark.parametrize("servers", [1, 2, 3])
def test_batches_leave_room_for_the_expert_that_they_stream(servers: int) -> None:
    # 22 requests' working memory would fill the node, and no batch could ever fetch an expert
    memory_bytes = BACKBONE + servers * (UNIT + WORKING) + UNIT
    small = node(
        memory_bytes=memory_bytes, servers=servers, cache="lru", plan=TopK(2),
        batching=Batching(32, 0.01),
    )  # fmt: skip
    seen = run(world([small], [poisson(80.0)], drain_s=60.0), script(), Varied())
    laws = seen.record.meta["laws"]
    assert laws["returned"] == laws["emitted"] > 300


class Silent:
    """Writes nothing down."""

    def memory(self, *row: float) -> None: ...

    def residency(self, *row: object) -> None: ...


def test_a_request_for_room_that_cannot_succeed_evicts_nothing() -> None:
    ledger = Ledger(0, 5 * UNIT, Silent())
    hardware = chip(5 * UNIT)
    supply = Supply(Clock(), 0, Storage(hardware))
    store = ExpertStore(ledger, supply, LeastRecentlyUsed(2, 4), UNIT)
    for expert in range(3):
        ledger.add(EXPERTS, UNIT, 0.0)
        store.admit((0, expert), 0.0, BY_MISS)
    ledger.set(BACKBONE_BYTES, 2 * UNIT, 0.0)
    assert store.use((0, 0))
    assert not store.make_room(2.5 * UNIT, 1.0)
    assert len(store.resident) == 3
    assert store.make_room(1.5 * UNIT, 1.0)
    assert list(store.resident) == [(0, 0)]


def test_an_expert_that_is_here_is_not_read_again() -> None:
    supply = Supply(Clock(), 0, Storage(chip()))
    store = ExpertStore(Ledger(0, 5 * UNIT, Silent()), supply, LeastRecentlyUsed(2, 4), UNIT)
    store.admit((0, 1), 1.0, BY_MISS)
    told: list[float] = []
    store.fetch((0, 1), told.append, 2.0)
    assert told == [2.0]
    assert store.settled
    assert supply.storage.free_s == 0.0


def test_a_change_between_gated_plans_fetches_no_expert_twice() -> None:
    seen = run(
        world([node()], [timed([0.5, 1.5, 2.5, 3.5])]), script({1: TopK(1), 2: TopK(2), 3: SKEW})
    )
    assert seen["decisions"]["t_force_s"][2:5:1].tolist()[:2] == [1.0 + ALL_S, 2.0]
    held = category(seen, "experts")
    assert held[0] == (1.0, 8.0)
    assert held[-1] == (3.104, 0.0)


def test_a_restarting_node_takes_no_new_plan_before_its_image_is_loaded() -> None:
    # back at 0.995 s, backbone and merged experts (4 MB) are there at 1.035 s
    crash = FaultSpec("node-crash", 0, 0.9, 0.095)
    seen = run(
        world([node(cache="lru")], [timed([0.5, 1.01, 1.5])], faults=(crash,)), script({1: TopK(1)})
    )
    forced = seen["decisions"]["t_force_s"][seen["decisions"]["slot"] == 1]
    np.testing.assert_allclose(forced, [1.035])
    np.testing.assert_allclose(seen["requests"]["t_start_s"][1:], [1.035, 1.5])
    assert seen["requests"]["plan"].tolist() == [0, 2, 2]


def test_old_weights_stay_until_their_last_batch_ends() -> None:
    # a batch of 20 runs on one of two servers from 0.99 to 1.15 s, across the swap at 1.104 s
    both = node(servers=2, batching=Batching(20, 0.0))
    seen = run(world([both], [timed([0.99] * 20 + [1.12])], duration_s=2.0), script({1: SKEW}))
    assert seen["decisions"]["t_force_s"][2] == pytest.approx(1.104)
    held = category(seen, "staging")
    assert [mb for _, mb in held] == [3.0, 0.0, 2.0, 0.0]
    assert [t for t, _ in held] == pytest.approx([1.0, 1.104, 1.104, 1.15])
    assert seen["requests"]["plan"].tolist() == [0] * 20 + [2]


def test_stopping_the_world_waits_for_running_batches_before_it_overwrites_their_weights() -> None:
    one = node(swap="stop-the-world", batching=Batching(20, 0.0))
    seen = run(world([one], [timed([0.99] * 20 + [1.12])], duration_s=2.0), script({1: SKEW}))
    assert seen["decisions"]["t_force_s"][2] == pytest.approx(1.15 + 0.104)
    assert seen["requests"]["t_start_s"][-1] == pytest.approx(1.254)
    held = category(seen, "staging")
    assert [mb for _, mb in held] == [1.0, 0.0]  # one expert is staged, two are overwritten
    assert [t for t, _ in held] == pytest.approx([1.15, 1.254])


def test_router_state_waits_for_running_batches_and_new_ones_wait_for_it() -> None:
    # room for two requests' working memory; at 1.0 s both run and the router wants one's worth
    tight = node(memory_bytes=BACKBONE + MERGED + 2 * WORKING, batching=Batching(2, 0.0))
    seen = run(
        world([tight], [timed([0.99, 0.99, 0.995, 0.995])], duration_s=2.0),
        script(state_bytes=WORKING),
    )
    # from the start the state leaves room for one request at a time
    assert category(seen, "router") == [(0.0, 0.1)]
    assert seen["requests"]["batch_size"].tolist() == [1, 1, 1, 1]
    grown = run(
        world([tight], [timed([0.99, 0.99, 0.995, 0.995])], duration_s=2.0),
        script(state_bytes=0.0, state_from={1: WORKING}),
    )
    assert grown["requests"]["batch_size"].tolist() == [2, 2, 1, 1]
    assert category(grown, "router") == [(pytest.approx(1.006), 0.1)]


def test_state_that_can_never_fit_is_refused_by_name() -> None:
    tight = node(memory_bytes=BACKBONE + MERGED + 2 * WORKING)
    with pytest.raises(PlanRefused, match=r"node n0: the router's state of .* does not fit"):
        run(world([tight], [timed([0.5])]), script(state_bytes=2 * WORKING))


def test_a_swap_that_would_leave_no_room_to_serve_is_refused_and_nothing_is_dropped() -> None:
    # 3 MB of staging would fit, but no request beside it
    tight = node(memory_bytes=BACKBONE + 2 * MERGED + UNIT + 0.5 * WORKING)
    times = [0.01 * i for i in range(1, 200)]
    seen = run(world([tight], [timed(times)], duration_s=3.0), script({1: SKEW, 2: OTHER}))
    assert seen.record.meta["laws"]["memory"] == 0
    assert np.isnan(seen["decisions"]["t_force_s"][1:]).all()
    told = "Plans refused for lack of memory: 2, on 1 node(s); the plan before stayed in force"
    assert [told in note for note in seen.record.meta["notes"]].count(True) == 1
    roomy = node(memory_bytes=BACKBONE + 2 * MERGED + UNIT + WORKING)
    seen = run(world([roomy], [timed(times)], duration_s=3.0), script({1: SKEW, 2: OTHER}))
    assert seen.record.meta["laws"]["memory"] == 0
    assert np.isfinite(seen["decisions"]["t_force_s"]).sum() == 3
    assert not any("refused" in note for note in seen.record.meta["notes"])


def test_key_value_memory_is_a_category_of_its_own() -> None:
    talks = replace(ARCHITECTURE, kv_bytes=3 * WORKING)
    seen = run(
        world([node(batching=Batching(2))], [timed([0.5, 0.5])], model=ModelSpec("tiny", talks)),
        script(),
    )
    assert category(seen, "kv") == [(0.5, 0.6), (pytest.approx(0.516), 0.0)]
    assert category(seen, "activations") == [(0.5, 0.2), (pytest.approx(0.516), 0.0)]


def test_a_node_with_a_fixed_gated_plan_needs_no_room_for_a_merge() -> None:
    lean = node(memory_bytes=BACKBONE + UNIT + WORKING, cache="lru", plan=TopK(1))
    seen = run(world([lean], [timed([0.5])]), script(), Varied())
    assert seen.record.meta["laws"]["returned"] == 1
    with pytest.raises(PlanRefused, match=r"merged experts and one request need"):
        run(world([replace(lean, plan=None)], [timed([0.5])]), script())


@pytest.mark.parametrize("crash_s", [0.505, 0.512, 0.52])  # while it fetches, computes, fetches
def test_a_crash_takes_a_batch_that_streams_and_all_its_experts(crash_s: float) -> None:
    lru = node(cache="lru", plan=TopK(2))
    faults = (FaultSpec("node-crash", 0, crash_s, 0.5),)
    seen = run(world([lru], [timed([0.5, 1.6])], faults=faults), script(), Varied())
    laws = seen.record.meta["laws"]
    assert (laws["node_down"], laws["returned"]) == (1, 1)
    again = seen["requests"]["stall_s"][1]
    assert again == pytest.approx(0.01 * (seen["residency"]["t_s"] > 1.6).sum())
    assert category(seen, "experts")[-1][1] == (seen["residency"]["t_s"] > 1.6).sum()


def test_a_gate_that_the_architecture_was_not_trained_with_is_said() -> None:
    seen = run(world([node()], [timed([0.5])]), script({0: TopK(2)}))
    assert [n for n in seen.record.meta["notes"] if "trained with k = 1, not 2" in n]
    native = run(world([node()], [timed([0.5])]), script({0: TopK(1)}))
    assert not [n for n in native.record.meta["notes"] if "trained with k" in n]


def test_router_state_takes_the_room_of_experts_at_its_own_time() -> None:
    # five units fit beside one request; the state wants two of them at 3.0 s
    small = node(memory_bytes=BACKBONE + 5 * UNIT + WORKING, cache="lru")
    seen = run(
        world([small], [timed([0.5 + 0.1 * i for i in range(24)])], duration_s=5.0),
        script({0: TopK(1)}, state_from={3: 2 * UNIT}),
        Varied(),
    )
    log = seen["residency"]
    evicted_s = log["t_s"][log["event"] == EVICT]
    assert evicted_s[evicted_s > 2.95].tolist() == [3.0, 3.0]
    assert category(seen, "router") == [(3.0, 2.0), (4.0, 0.0)]


def test_a_crash_forgets_weights_that_waited_for_their_last_batch() -> None:
    # a batch of 60 runs until 1.47 s; SKEW takes force at 1.104 s, the node crashes at 1.2 s
    both = node(servers=2, batching=Batching(60, 0.0))
    crash = FaultSpec("node-crash", 0, 1.2, 0.1)
    seen = run(
        world([both], [timed([0.99] * 60 + [1.6])], duration_s=2.0, faults=(crash,)),
        script({1: SKEW}),
    )
    held = category(seen, "staging")
    assert [mb for _, mb in held] == [3.0, 0.0, 2.0, 0.0]  # and nothing is given back twice
    assert held[-1][0] == 1.2
    assert seen["requests"]["t_finish_s"][-1] == pytest.approx(1.6 + ONE_S)


def test_experts_leave_with_their_last_batch_although_another_merge_is_under_way() -> None:
    # a gated batch of 30 runs from 0.99 to 1.23 s; SKEW is in force at 1.104 s, OTHER, wanted from
    # 1.15 s on, at 1.254 s
    both = node(servers=2, batching=Batching(30, 0.0))
    seen = run(
        world([both], [timed([0.99] * 30)], duration_s=2.0, slot_s=0.05),
        script({0: TopK(1), 20: SKEW, 23: OTHER}),
    )
    forced = dict(zip(seen["decisions"]["slot"], seen["decisions"]["t_force_s"], strict=True))
    assert forced[20] == pytest.approx(1.104)
    assert forced[23] == pytest.approx(1.254)
    (end_s,) = np.unique(seen["requests"]["t_finish_s"])
    assert 1.15 < end_s < 1.25
    assert category(seen, "experts")[-1] == (pytest.approx(end_s), 0.0)


def test_a_batch_that_streams_with_foresight_goes_on_when_a_merge_takes_force() -> None:
    # memory for the staging of a merge beside three experts; 30 requests touch all eight
    small = node(
        memory_bytes=BACKBONE + MERGED + 4 * UNIT + 30 * WORKING, cache="belady", servers=2,
        batching=Batching(30, 0.0),
    )  # fmt: skip
    seen = run(
        world([small], [timed([0.9] * 30)], duration_s=3.0),
        script({0: TopK(2), 1: SKEW}),
        Varied(),
    )
    forced_s = seen["decisions"]["t_force_s"][seen["decisions"]["slot"] == 1]
    log = seen["residency"]
    evicted_s = log["t_s"][log["event"] == EVICT]
    (end_s,) = np.unique(seen["requests"]["t_finish_s"])
    assert forced_s < end_s
    assert ((forced_s < evicted_s) & (evicted_s < end_s)).any()
