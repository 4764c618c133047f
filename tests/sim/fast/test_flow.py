"""The flow pass against the `events` engine: the same bits, whatever the windows."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis.strategies import integers

from sim.arrivals.workload import draw_workload
from sim.config import ArrivalSpec, DispatchSpec, LinkSpec, ServiceSpec, World
from sim.fast import flow as flow_module
from sim.fleet import Fleet
from sim.records import Record, digest
from sim.simulation import simulate
from tests.campaign.draws import GRID_S
from tests.sim.fast.flow_draws import draw
from tests.sim.fast.flowing import TABLES, Cut, flow, one_window, reason, same_bits, windows
from tests.sim.worlds import EDGE, node, parts, stream

SEEDS = range(80)


def differences(world: World, record: Record, cut: Cut = one_window) -> dict[str, object]:
    """Say in what a flow pass differs from a record of the `events` engine."""
    ran = flow(world, cut)
    found: dict[str, object] = {
        table: names for table in TABLES
        if (names := same_bits(ran.tables[table], record.tables[table]))
    }  # fmt: skip
    facts = {"end_s": ran.end_s, "slots": ran.slots, "laws": ran.counts}
    found |= {name: fact for name, fact in facts.items() if record.meta[name] != fact}
    return found


@settings(max_examples=20, deadline=None)
@given(seed=integers(0, 100_000), size=integers(1, 60))
def test_windows_may_have_any_size(seed: int, size: int) -> None:
    world = draw(seed)
    assume(not reason(world))
    assert not differences(world, simulate(world, None, parts()), windows(size))


@pytest.mark.parametrize("seed", SEEDS)
def test_stamps_slots_and_links_have_the_bits_of_events(seed: int) -> None:
    world = draw(seed)
    if why := reason(world):
        pytest.skip(why)
    record = simulate(world, None, parts())
    assert not differences(world, record)
    assert not differences(world, record, windows(1 + seed % 23))
    assert digest(record.tables) == record.digest


def test_random_fleets_show_all_that_can_happen() -> None:
    worlds = [world for seed in SEEDS if not reason(world := draw(seed))]
    seen = np.zeros(9, np.int64)
    late = choosing = flying = present = 0
    for world in worlds[:60]:
        ran = flow(world)
        seen += np.bincount(ran.tables["requests"]["drop"] + 1, minlength=9)
        closing = ran.closing
        late, choosing = late + closing.late, choosing + len(closing.choosing)
        flying, present = (
            flying + closing.flying,
            present + int(closing.settled.marks["number"].sum()),
        )
    assert len(worlds) > 0.7 * len(SEEDS)
    assert (seen > 0).tolist() == [True, True, False, False, False, False, False, True, True]
    assert min(late, choosing, flying, present) > 0


def test_a_step_with_too_many_slot_boundaries_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_module, "_CELLS", 6)
    for seed in range(8):
        world = replace(draw(seed), slot_s=0.1)
        if not reason(world):
            assert not differences(world, simulate(world, None, parts()))


def test_plain_python_gives_the_same_bits() -> None:
    code = (
        "from tests.sim.fast.test_flow import digests\n"
        "from sim.fast.jit import COMPILED\n"
        "print(COMPILED, *digests())\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "MOEDGE_KERNELS": "python"}, text=True,
        check=True, capture_output=True, cwd=Path(__file__).resolve().parents[3],
    )  # fmt: skip
    assert answer.stdout.split() == ["False", *digests()]


def digests() -> list[str]:
    """Return digests of some runs."""
    worlds = [world for seed in range(12) if not reason(world := draw(seed))]
    return [digest(flow(world, windows(30)).tables) for world in worlds]


# --- instants at which order matters


def same(world: World) -> None:
    """Hold a world to the `events` engine in windows of many sizes."""
    assert not reason(world)
    record = simulate(world, None, parts())
    for cut in (one_window, windows(1), windows(3)):
        assert not differences(world, record, cut)


def thinkers(*flop_per_s: float, **fields: Any) -> World:
    """Return nodes that choose slowly, and send to each other or serve themselves."""
    count = len(flop_per_s)
    nodes = tuple(
        replace(node(i, servers=1 + i % 2, **fields), hardware=replace(EDGE, flop_per_s=speed))
        for i, speed in enumerate(flop_per_s)
    )
    ends = [(i, j) for i in range(count) for j in range(count) if i != j]
    link = {"delay_s": 0.25, "bytes_per_s": inf, "sharing": "none"}
    links = tuple(LinkSpec(k, *pair, **link) for k, pair in enumerate(ends))
    return replace(
        draw(0), nodes=nodes, links=links, dispatch=DispatchSpec("random"), slot_s=0.25,
        service=ServiceSpec("deterministic", 0.125), drain_s=50.0,
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
def test_choices_of_one_source_outlast_those_of_another(seed: int) -> None:
    rng = np.random.default_rng(seed)
    streams = tuple(
        stream(i, i, ArrivalSpec("trace", times_s=tuple(sorted(rng.choice(GRID_S[:-1], 30)))),
               up_bytes=8.0, down_bytes=8.0)
        for i in range(3)
    )  # fmt: skip
    same(replace(thinkers(2.0, inf, 4.0, capacity=2.5), streams=streams, seed=seed))


@pytest.mark.parametrize("deadline_s", [0.25, 0.5])
def test_who_is_late_at_the_last_boundary_counts_in_no_slot(deadline_s: float) -> None:
    late = stream(
        0, 0, ArrivalSpec("trace", times_s=(0.0, 3.75)), deadline_s=deadline_s, late="drop"
    )
    world = replace(thinkers(4.0), streams=(late,), slot_s=1.0)
    same(world)
    assert flow(world).tables["slots"]["dropped"].sum() == (deadline_s == 0.25)


def test_patience_and_deadline_that_end_together_count_as_deadline() -> None:
    both = stream(
        0, 0, ArrivalSpec("trace", times_s=(0.0, 0.0, 0.0, 1.0)), deadline_s=0.0625, late="drop",
        patience=ServiceSpec("deterministic", 0.0625),
    )  # fmt: skip
    world = replace(thinkers(inf), streams=(both,))
    same(world)
    assert flow(world).counts["deadline"] == 2


@pytest.mark.parametrize("seed", range(12))
def test_meters_have_the_bits_of_events(seed: int) -> None:
    world = draw(seed)
    if why := reason(world):
        pytest.skip(why)
    fleet = Fleet(world, draw_workload(world, None), parts(), world.dispatch)
    fleet.run()
    ran = flow(world, windows(9))
    marks = ran.closing.settled.marks[0]
    for station, mark, most in zip(
        fleet.stations.values(), marks, ran.closing.most_running, strict=True
    ):
        meters = station.settle(fleet.end_s)
        for name in ("area", "stays_s", "busy_area", "arrived", "finished", "lost"):
            assert mark[name] == getattr(meters, name), name
        assert most == meters.most_running
