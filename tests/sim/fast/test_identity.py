"""The engines `events` and `slots` leave the same bits behind, whatever happens in a world."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sim.config import ArrivalSpec, Discipline, DispatchSpec, World
from sim.fast import warm
from sim.records import Record
from sim.sampling import row_bytes
from tests.campaign.draws import DISPATCH
from tests.sim.fast import worlds

pytestmark = pytest.mark.xdist_group("kernels")  # compiled once
MOST = 1_000_000


def differences(one: Record, other: Record) -> list[str]:
    """Name the columns that differ."""
    return [
        f"{name}.{column}"
        for name, table in one.tables.items()
        for column, values in table.items()
        if values.tobytes() != other.tables[name][column].tobytes()
    ]


def hold(world: World) -> None:
    events, slots = worlds.run(world, "events"), worlds.run(world, "slots")
    assert differences(events, slots) == []
    assert events.digest == slots.digest
    assert events.meta["laws"] == slots.meta["laws"]
    assert events.meta["end_s"] == slots.meta["end_s"]
    assert (events.meta["engine"]["name"], slots.meta["engine"]["name"]) == ("events", "slots")


@given(st.integers(0, MOST))
@settings(max_examples=220, deadline=None, derandomize=True, database=None)
def test_random_worlds_with_faults(number: int) -> None:
    hold(worlds.plain(number))


@given(st.integers(0, MOST), st.sampled_from((*DISPATCH, "local", "cloud")))
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
def test_random_worlds_without_faults_under_every_dispatcher(number: int, kind: str) -> None:
    world = replace(worlds.plain(number), faults=())
    params = {"group": world.nodes[0].group} if kind == "cloud" else {}
    sources = {stream.node for stream in world.streams}
    if kind == "local" and any(not world.nodes[node].servers for node in sources):
        kind = "random"
    hold(replace(world, dispatch=DispatchSpec(kind, world.dispatch.view_every_s, params=params)))


@given(st.integers(0, MOST), st.integers(1, 50))
@example(3, 1)
@settings(max_examples=40, deadline=None, derandomize=True, database=None)
def test_windows_of_emissions_change_nothing(number: int, window: int) -> None:
    world = worlds.plain(number)
    assert worlds.windowed(world, window) == worlds.run(world, "events").digest


@given(st.integers(0, MOST), st.integers(1, 30))
@settings(max_examples=30, deadline=None, derandomize=True, database=None)
def test_a_sample_of_rows_is_the_same_whoever_draws_it(number: int, rows: int) -> None:
    world = replace(worlds.plain(number), rows_bytes=float(rows * row_bytes()))
    hold(world)
    events, slots = worlds.run(world, "events"), worlds.run(world, "slots")
    assert events.workload_digest == slots.workload_digest
    assert events.meta.get("rows") == slots.meta.get("rows")
    assert events.meta.get("totals") == slots.meta.get("totals")


@pytest.mark.parametrize("rows_bytes", [1.0, float("inf")])
@pytest.mark.parametrize("faults", [True, False])
def test_a_world_in_which_nobody_asks(rows_bytes: float, faults: bool) -> None:
    world = worlds.plain(2)
    rare = tuple(replace(s, arrivals=ArrivalSpec("poisson", 1e-3)) for s in world.streams)
    world = replace(world, streams=rare, rows_bytes=rows_bytes, seed=5)
    hold(world if faults else replace(world, faults=()))
    assert worlds.run(world, "slots").meta["laws"]["emitted"] == 0


def test_the_worlds_have_everything() -> None:
    drawn = [worlds.plain(number) for number in range(60)]
    nodes = [node for world in drawn for node in world.nodes if node.servers]
    assert {node.discipline for node in nodes} == set(get_args(Discipline))
    assert any(n.batching.max_wait_s > 0 for n in nodes)
    assert any(n.setup for n in nodes)
    assert {link.sharing for world in drawn for link in world.links} == {"fifo", "none"}
    faults = [fault for world in drawn for fault in world.faults]
    works = {f.work for f in faults if f.kind == "node-crash"}
    assert works == {"drop", "keep", "resume", "migrate"}
    kinds = {"node-crash", "link-down", "link-slow", "telemetry-loss"}
    assert {fault.kind for fault in faults} == kinds
    streams = [stream for world in drawn for stream in world.streams]
    assert any(s.patience for s in streams)
    assert any(s.late == "drop" for s in streams)
    assert {world.dispatch.view_every_s == 0.0 for world in drawn} == {True, False}


SCRIPT = """
from sim.fast.jit import COMPILED
from tests.sim.fast import worlds
assert not COMPILED
for number in (1, 2, 4, 6, 9, 11):
    print(worlds.run(worlds.plain(number), "slots").digest)
"""


def test_plain_python_gives_the_same_bits() -> None:
    env = {**os.environ, "MOEDGE_KERNELS": "python"}
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, check=False
    )
    assert found.stderr == ""
    known = [worlds.run(worlds.plain(n), "events").digest for n in (1, 2, 4, 6, 9, 11)]
    assert found.stdout.split() == known


@pytest.mark.parametrize("place", range(8))
def test_the_worlds_that_compile_kernels_are_alike_too(place: int) -> None:
    hold(list(warm.worlds())[place])


def test_a_difference_is_seen() -> None:
    world = worlds.plain(1)
    one, other = worlds.run(world, "events"), worlds.run(world, "slots")
    stamps = other.tables["requests"]["t_finish_s"]
    stamps[0] = np.nextafter(stamps[0], np.inf) if np.isfinite(stamps[0]) else 1.0
    assert differences(one, other) == ["requests.t_finish_s"]
