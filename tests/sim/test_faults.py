"""The timetable of faults."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sim.config import FaultSpec, World
from sim.errors import InputError
from sim.faults import timetable
from sim.records import FAULTS
from tests.sim.worlds import fleet, run


def with_faults(*faults: FaultSpec) -> World:
    return fleet(3, duration_s=10.0, faults=faults)


def test_a_node_that_only_forwards_cannot_crash() -> None:
    world = with_faults(FaultSpec("node-crash", 0, 1.0, 1.0))
    gateway = replace(world.nodes[0], servers=0)
    with pytest.raises(InputError, match=r"faults\.0: node edge-0 has no servers"):
        run(replace(world, nodes=(gateway, *world.nodes[1:])))


def test_a_target_must_exist() -> None:
    with pytest.raises(InputError, match=r"faults\.1\.target: expected 0 to 5, found 6"):
        timetable(with_faults(FaultSpec("node-crash", 0, 1.0), FaultSpec("link-down", 6, 1.0)))


def test_outages_that_overlap_end_with_the_last_one() -> None:
    faults = (FaultSpec("node-crash", 1, 2.0, 3.0), FaultSpec("node-crash", 1, 4.0, 3.0))
    table = run(with_faults(*faults)).tables["faults"]
    assert table["t_s"].tolist() == [2.0, 7.0]
    assert [FAULTS[k] for k in table["kind"]] == ["node-crash", "node-restart"]


def test_outages_that_touch_are_two() -> None:
    faults = (FaultSpec("node-crash", 1, 2.0, 2.0), FaultSpec("node-crash", 1, 4.0, 2.0))
    table = run(with_faults(*faults)).tables["faults"]
    assert table["t_s"].tolist() == [2.0, 4.0, 4.0, 6.0]


def test_drawn_faults_have_the_availability_that_was_asked() -> None:
    world = replace(
        with_faults(FaultSpec("node-crash", 1, mtbf_s=8.0, mttr_s=2.0)), duration_s=50_000.0
    )
    down_s = sum(o.until_s - o.from_s for o in timetable(world))
    # about 5000 cycles: the share is known to 3 % of itself
    assert down_s / world.duration_s == pytest.approx(0.2, rel=0.1)


def test_drawn_faults_depend_on_nothing_but_seed_and_place() -> None:
    drawn = FaultSpec("node-crash", 1, mtbf_s=2.0, mttr_s=1.0)
    alone = timetable(with_faults(drawn))
    longer = timetable(replace(with_faults(drawn), duration_s=100.0, streams=()))
    assert alone == longer[: len(alone)]
    assert timetable(replace(with_faults(drawn), seed=2)) != alone


def test_a_crash_drops_what_is_in_the_system_and_what_comes() -> None:
    record = run(with_faults(FaultSpec("node-crash", 1, 3.0, 2.0)))
    table = record.tables["requests"]
    lost = table["drop"] == 1
    assert lost.sum() == record.meta["laws"]["node_down"] > 0
    assert (table["server"][lost] == 1).all()
    waiting = lost & ~np.isnan(table["t_enqueue_s"])
    assert (table["t_enqueue_s"][waiting] <= 3.0).all()
    assert np.isnan(table["t_finish_s"][lost]).all()
    served = (table["server"] == 1) & ~np.isnan(table["t_start_s"]) & ~lost
    assert not ((table["t_start_s"][served] > 3.0) & (table["t_start_s"][served] < 5.0)).any()
