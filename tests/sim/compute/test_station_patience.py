"""Who leaves a queue, when, and why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sim.compute.plain import ImpatientStation, PlainStation
from sim.compute.station import Station
from sim.config import Batching, FaultSpec, ServiceSpec
from sim.proofs.twins.stations import Coming, Rules
from sim.records import DROPS
from tests.oracles.stations import engine, live, workload, world
from tests.sim import minds
from tests.sim.worlds import run, scripted

WAYS = pytest.mark.parametrize("by_priority", [False, True], ids=["plain", "general"])


def fates(*coming: Coming, **rules: Any) -> list[float | str]:
    """Return when each request starts, or why it is dropped."""
    table = engine(coming, Rules(**rules))
    return [
        DROPS[drop] if drop >= 0 else start
        for start, drop in zip(table["t_start_s"].tolist(), table["drop"], strict=True)
    ]


@WAYS
def test_who_has_waited_too_long_leaves(by_priority: bool) -> None:
    short, long = Coming(0.5, 1.0, patience_s=0.25), Coming(0.5, 1.0, patience_s=0.75)
    assert fates(Coming(0, 1), short, long, by_priority=by_priority) == [0, "patience", 1]


@WAYS
def test_who_can_start_at_that_very_instant_starts(by_priority: bool) -> None:
    just, late = Coming(0.5, 1.0, patience_s=0.5), Coming(0.5, 1.0, expires_s=1.0)
    assert fates(Coming(0, 1), just, by_priority=by_priority) == [0, 1]
    assert fates(Coming(0, 1), late, by_priority=by_priority) == [0, 1]


@WAYS
def test_who_has_no_patience_starts_at_once_or_leaves_at_once(by_priority: bool) -> None:
    hasty = Coming(0.0, 1.0, patience_s=0.0)
    assert fates(hasty, hasty, by_priority=by_priority) == [0, "patience"]


@WAYS
def test_the_deadline_counts_when_it_comes_first_or_ties(by_priority: bool) -> None:
    first = Coming(0.0, 1.0, patience_s=0.5, expires_s=0.25)
    tie = Coming(0.0, 1.0, patience_s=0.5, expires_s=0.5)
    after = Coming(0.0, 1.0, patience_s=0.5, expires_s=0.75)
    expected = [0, "deadline", "deadline", "patience"]
    assert fates(Coming(0, 1), first, tie, after, by_priority=by_priority) == expected


@WAYS
def test_who_comes_too_late_does_not_join(by_priority: bool) -> None:
    table = engine([Coming(0.5, 1.0, expires_s=0.5)], Rules(by_priority=by_priority))
    assert DROPS[table["drop"][0]] == "deadline"
    assert np.isnan(table["t_enqueue_s"][0])


@WAYS
def test_who_is_served_does_not_leave(by_priority: bool) -> None:
    served = Coming(0.0, 5.0, patience_s=1.0, expires_s=2.0)
    assert fates(served, by_priority=by_priority) == [0]


@WAYS
def test_who_leaves_makes_room(by_priority: bool) -> None:
    hasty = Coming(0.0, 1.0, patience_s=0.25)
    coming = [Coming(0, 1), hasty, Coming(0.25, 1.0), Coming(0.5, 1.0)]
    expected = [0, "patience", "queue_full", 1]  # room is there after the instant of leaving
    assert fates(*coming, capacity=2, by_priority=by_priority) == expected


def test_a_batch_that_is_due_takes_who_would_leave() -> None:
    pair = [Coming(0.0, 1.0, patience_s=0.5), Coming(0.25, 1.0)]
    assert fates(*pair, size=3, wait_s=0.5) == [0.5, 0.5]


def test_a_batch_waits_for_the_oldest_of_those_who_stay() -> None:
    pair = [Coming(0.0, 1.0, patience_s=0.125), Coming(0.25, 1.0)]
    assert fates(*pair, size=3, wait_s=0.5) == ["patience", 0.75]


def test_an_empty_queue_is_no_batch() -> None:
    assert fates(Coming(0.0, 1.0, patience_s=0.25), size=2, wait_s=0.5) == ["patience"]


def test_a_run_without_impatience_takes_the_short_way_and_sets_no_alarms() -> None:
    patient = live(world(Rules()), workload([Coming(0, 1), Coming(0, 1)]))
    hasty = live(world(Rules()), workload([Coming(0, 1), Coming(0, 1, patience_s=9.0)]))
    kinds = [type(fleet.stations[0]) for fleet in (patient, hasty)]
    assert kinds == [PlainStation, ImpatientStation]
    assert hasty.clock.alarms - patient.clock.alarms == 1  # of the one that waited


def test_the_short_way_is_the_long_way() -> None:
    rng = np.random.default_rng(3)
    coming = [
        Coming(t, 0.7, patience_s=p)
        for t, p in zip(
            np.cumsum(rng.exponential(0.3, 300)), rng.exponential(1.0, 300), strict=True
        )
    ]
    short = engine(coming, Rules(servers=2, capacity=6))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sim.compute.stations.is_plain", lambda *_: False)
        fleet = live(world(Rules(servers=2, capacity=6)), workload(coming))
    assert type(fleet.stations[0]) is Station
    long = fleet.recorder.requests(fleet.requests)
    assert {DROPS[d] for d in short["drop"] if d >= 0} == {"patience", "queue_full"}
    for name in short:
        if name != "batch":  # numbered by starts, here in order of starting, there of ids
            np.testing.assert_array_equal(short[name], long[name], err_msg=name)


def test_a_stream_that_gives_up_is_drawn_so() -> None:
    base = scripted([0.0, 0.1, 0.2], 9.0)
    patience = ServiceSpec("deterministic", 1.5)
    streams = tuple(replace(s, patience=patience) for s in base.streams)
    table = run(replace(base, streams=streams)).tables["requests"]
    assert [DROPS[d] if d >= 0 else "" for d in table["drop"]] == ["", "", "patience"]


def test_late_requests_leave_a_node_with_a_model() -> None:
    # a batch of one takes 8 ms; the third starts at 0.516 s and is late by then
    stream = minds.timed([0.5, 0.5, 0.5], deadline_s=0.015, late="drop")
    table = minds.run(minds.world([minds.node()], [stream]), minds.script())["requests"]
    assert [DROPS[d] if d >= 0 else "" for d in table["drop"]] == ["", "", "deadline"]


def test_who_waits_for_a_node_to_load_leaves_too() -> None:
    crash = FaultSpec("node-crash", 0, 0.2, 0.1)  # back at 0.3 s, loaded at 0.34 s
    node = minds.node(batching=Batching(2))
    stream = minds.timed([0.31, 0.32], deadline_s=0.025, late="drop")
    plan = minds.world([node], [stream], faults=(crash,))
    table = minds.run(plan, minds.script())["requests"]
    assert [DROPS[d] if d >= 0 else "" for d in table["drop"]] == ["deadline", ""]
