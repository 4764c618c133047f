"""Decisions on their way: superseded, wanted again, lost with their node."""

from __future__ import annotations

import numpy as np
import pytest

from sim.config import FaultSpec
from sim.plans import TopK, uniform
from tests.sim.minds import (
    BACKBONE,
    MERGED,
    OTHER,
    SKEW,
    UNIT,
    WORKING,
    category,
    node,
    run,
    script,
    timed,
    world,
)


def test_the_plan_in_force_comes_back_without_a_second_swap() -> None:
    # SKEW takes 104 ms from 0.1 s; OTHER starts at 0.3 s and is called off at 0.35 s
    plans = {2: SKEW, 6: OTHER, 7: SKEW}
    seen = run(
        world([node()], [timed([0.5])], slot_s=0.05, duration_s=1.0, drain_s=0.0), script(plans)
    )
    forced = dict(zip(seen["decisions"]["slot"], seen["decisions"]["t_force_s"], strict=True))
    assert forced[2] == pytest.approx(0.204)
    assert np.isnan(forced[6])
    assert forced[7] == pytest.approx(0.35)
    assert category(seen, "staging")[-1] == (pytest.approx(0.35), 0.0)
    # start, seven decisions, then the one that wanted SKEW again: outcomes answer it
    assert seen["requests"]["plan"].tolist() == [8]


def test_outcomes_answer_the_last_decision_that_wanted_the_plan_in_force() -> None:
    same = uniform(4)  # what every node starts with
    times = [0.5, 1.5, 2.5, 3.5]
    plans = {1: same, 3: same}
    seen = run(world([node()], [timed(times)], slot_s=1.0, duration_s=4.0), script(plans))
    decisions = seen["decisions"]
    named = decisions["slot"][seen["requests"]["plan"]]
    assert named.tolist() == [-1, 1, 1, 3]
    assert category(seen, "staging") == []  # nothing is fetched for it


def test_a_plan_confirmed_on_its_way_takes_force_under_its_last_name() -> None:
    # SKEW takes 104 ms from 0.1 s, longer than two slots
    plans = {2: SKEW, 3: SKEW}
    seen = run(world([node()], [timed([0.5])], slot_s=0.05, duration_s=1.0), script(plans))
    named = seen["decisions"]["slot"][seen["requests"]["plan"]]
    assert named.tolist() == [3]


def test_a_swap_that_overwrites_the_old_weights_must_load_them_again() -> None:
    plans = {2: SKEW, 6: OTHER, 7: SKEW}
    stops = node(swap="stop-the-world")
    seen = run(world([stops], [timed([0.5])], slot_s=0.05, duration_s=1.0), script(plans))
    forced = dict(zip(seen["decisions"]["slot"], seen["decisions"]["t_force_s"], strict=True))
    assert np.isnan(forced[6])
    # storage is busy with OTHER until 0.38 s, then fetches again and merges
    assert forced[7] == pytest.approx(0.38 + 0.104)


def test_a_superseded_decision_leaves_no_bytes_behind_and_later_ones_wait_for_storage() -> None:
    seen = run(
        world([node()], [timed([0.5])], slot_s=0.05, duration_s=1.0), script({2: SKEW, 3: OTHER})
    )
    forced = dict(zip(seen["decisions"]["slot"], seen["decisions"]["t_force_s"], strict=True))
    assert np.isnan(forced[2])
    assert forced[3] == pytest.approx(0.18 + 0.08 + 0.024)
    assert [mb for _, mb in category(seen, "staging")] == [3.0, 0.0, 3.0, 0.0]


def test_a_delayed_decision_does_not_outlive_the_crash_of_its_router() -> None:
    crash = FaultSpec("node-crash", 0, 1.5, 0.1)
    for at, faults in ((1, ()), (1, (crash,))):
        seen = run(
            world([node()], [timed([0.5])], faults=faults, decision_delay_slots=2),
            script({at: SKEW}),
        )
        forced = seen["decisions"]["t_force_s"][seen["decisions"]["slot"] == at]
        assert np.isnan(forced).all() == bool(faults)


def test_a_decision_that_would_act_after_the_end_costs_nothing() -> None:
    seen = run(
        world([node()], [timed([0.5])], duration_s=3.5, drain_s=0.0, decision_delay_slots=2),
        script({0: SKEW, 2: OTHER}, flop=1e6),
    )
    slot, work = seen["decisions"]["slot"], seen["decisions"]["work_flop"]
    assert (work[slot >= 2] == 0.0).all()
    assert (work[(slot >= 0) & (slot < 2)] > 0.0).all()


def test_a_crash_in_the_middle_of_a_swap_forgets_it() -> None:
    # crash at 1.05 s during the fetch, restart at 1.2 s, image of 4 MB loaded at 1.24 s
    crash = FaultSpec("node-crash", 0, 1.05, 0.15)
    seen = run(world([node()], [timed([0.5, 1.21])], faults=(crash,)), script({1: SKEW, 2: SKEW}))
    forced = dict(zip(seen["decisions"]["slot"], seen["decisions"]["t_force_s"], strict=True))
    assert np.isnan(forced[1])
    assert forced[2] == pytest.approx(2.104)
    assert category(seen, "staging") == [(1.0, 3.0), (1.05, 0.0), (2.0, 3.0), (2.104, 0.0)]
    assert seen["requests"]["t_start_s"][1] == pytest.approx(1.24)
    assert seen["requests"]["plan"].tolist() == [0, 0]


def test_a_plan_that_a_restart_is_loading_is_named_after_who_wants_it() -> None:
    # the image of 4 MB is loaded from 0.98 s to 1.02 s; the router wants the same plan at 1.0 s
    crash = FaultSpec("node-crash", 0, 0.9, 0.08)
    seen = run(world([node()], [timed([1.5])], faults=(crash,)), script({1: uniform(4)}))
    decisions = seen["decisions"]
    assert decisions["slot"][seen["requests"]["plan"]].tolist() == [1]
    assert decisions["t_force_s"][decisions["slot"] == 1].tolist() == [1.0]


def test_a_restarted_node_that_stops_the_world_serves_nobody_before_its_new_plan() -> None:
    # loaded at 1.02 s, when SKEW, wanted since 1.0 s, is fetched and merged: 104 ms
    crash = FaultSpec("node-crash", 0, 0.9, 0.08)
    stops = node(swap="stop-the-world")
    seen = run(world([stops], [timed([1.05])], faults=(crash,)), script({1: SKEW}))
    assert seen["requests"]["t_start_s"].tolist() == pytest.approx([1.124])


@pytest.mark.parametrize("swap", ["double-buffer", "stop-the-world"])
def test_a_node_whose_plan_was_refused_serves_on(swap: str) -> None:
    small = node(memory_bytes=BACKBONE + MERGED + WORKING + 0.5 * UNIT, swap=swap)
    seen = run(world([small], [timed([0.5, 1.5])]), script({1: SKEW}))
    assert np.isnan(seen["decisions"]["t_force_s"][1:]).all()
    assert seen["requests"]["t_start_s"].tolist() == [0.5, 1.5]


def test_a_gated_plan_must_leave_every_server_an_expert() -> None:
    tight = {"memory_bytes": BACKBONE + 2 * UNIT + 3 * WORKING, "cache": "lru"}
    for servers, forced in ((2, True), (3, False)):
        seen = run(world([node(servers=servers, **tight)], [timed([1.5])]), script({1: TopK(1)}))
        (t_force_s,) = seen["decisions"]["t_force_s"][seen["decisions"]["slot"] == 1]
        assert np.isfinite(t_force_s) == forced
