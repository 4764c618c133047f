"""The flow pass against the `events` engine: the same bits, whatever the windows."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis.strategies import integers

from sim.config import World
from sim.fast import flow as flow_module
from sim.records import Record, digest
from sim.simulation import simulate
from tests.sim.fast.flow_draws import draw
from tests.sim.fast.flowing import TABLES, Cut, flow, one_window, reason, same_bits, windows
from tests.sim.worlds import parts

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
