"""Busy time, energy and queues of a slot, by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sim.config import FaultSpec, World
from sim.slots import slot_of
from tests.sim import minds
from tests.sim.worlds import queue, run, scripted

POWER = minds.chip()  # 1 W idle, 3 W when all servers are busy


def two_servers(times_s: list[float], **fields: object) -> World:
    """Return a node with two servers, services of 1 s and slots of 2 s."""
    world = scripted(times_s, 8.0)
    spec = replace(world.nodes[0], hardware=POWER, servers=2)
    return replace(world, nodes=(spec,), slot_s=2.0, **fields)


def test_busy_seconds_and_energy_by_hand() -> None:
    # busy: 0.5-1.5, 0.5-1.5; 3.5-4.5 on one server; nothing; nothing
    slots = run(two_servers([0.5, 0.5, 3.5])).tables["slots"]
    assert slots["slot"].tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(slots["busy_s"], [2.0, 0.5, 0.5, 0.0])
    # 1 W for 2 s, and 2 W more for each second in which both servers work
    np.testing.assert_allclose(slots["energy_j"], [2 + 2 * 1.0, 2 + 0.5, 2 + 0.5, 2.0])
    assert slots["queue_max"].tolist() == [2, 1, 1, 0]


def test_a_node_that_is_down_uses_no_energy() -> None:
    crash = FaultSpec("node-crash", 0, 1.0, 4.0)
    slots = run(two_servers([0.5, 0.75, 3.5], faults=(crash,))).tables["slots"]
    # one server busy 0.5-1.0, the other 0.75-1.0; down from 1 to 5 s
    np.testing.assert_allclose(slots["busy_s"], [0.75, 0.0, 0.0, 0.0])
    np.testing.assert_allclose(slots["energy_j"], [1.0 + 0.75, 0.0, 1.0, 2.0])
    assert slots["dropped"].tolist() == [2, 1, 0, 0]


def test_what_waits_over_a_boundary_is_in_both_slots() -> None:
    slots = run(replace(scripted([0.5, 0.5, 0.5], 4.0), slot_s=1.0)).tables["slots"]
    # one serves from 0.5 s, then the next; at each boundary what is there is counted
    assert slots["queue_max"].tolist() == [3, 3, 2, 1]
    np.testing.assert_allclose(slots["busy_s"], [0.5, 1.0, 1.0, 0.5])


def test_boundaries_are_products() -> None:
    times = np.array([0.1 * k for k in range(40)])
    assert slot_of(times, 0.1, 40).tolist() == list(range(40))
    below = np.nextafter(times[1:], 0.0)
    assert slot_of(below, 0.1, 40).tolist() == list(range(39))


def test_the_last_slot_is_cut_at_the_end() -> None:
    record = run(replace(queue(5.0, 0.1, 10.0), slot_s=3.0, drain_s=0.5))
    slots = record.tables["slots"]
    end_s = record.meta["end_s"]
    assert slots["slot"].tolist() == [0, 1, 2, 3]
    idle_w = queue(5.0, 0.1, 10.0).nodes[0].hardware.idle_w
    assert slots["energy_j"].sum() > idle_w * end_s
    busy_w = queue(5.0, 0.1, 10.0).nodes[0].hardware.busy_w
    total = idle_w * end_s + (busy_w - idle_w) * slots["busy_s"].sum()
    assert slots["energy_j"].sum() == pytest.approx(total)


def test_rewards_are_grouped_by_the_slot_in_which_service_starts() -> None:
    # a batch from 0.996 to 1.004 s belongs to slot 0, though it is scored at boundary 2
    times = [0.5, 0.996, 1.5]
    world = minds.world([minds.node()], [minds.timed(times)], duration_s=3.0)
    seen = minds.run(world, minds.script())
    slots, table = seen["slots"], seen["requests"]
    assert slots["served"].tolist() == [2, 1, 0]
    assert (slots["task"] >= 0).tolist() == [True, True, False]
    assert slots["task"][2] == -1
    right = (table["correct"] == 1).astype(float)
    np.testing.assert_allclose(slots["reward"], [right[:2].mean(), right[2], np.nan])
    assert np.isnan(slots["reward_best"]).tolist() == [False, False, True]
    assert (slots["reward_expected"][:2] <= 1.0).all()


def test_a_run_with_a_model_and_no_requests_has_empty_rewards() -> None:
    seen = minds.run(minds.world([minds.node()], [minds.timed([])]), minds.script())
    assert np.isnan(seen["slots"]["reward"]).all()
    assert (seen["slots"]["served"] == 0).all()
