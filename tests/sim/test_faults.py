"""The timetable of faults."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest

from sim.config import FaultKind, FaultSpec, ServiceSpec, World
from sim.errors import InputError
from sim.faults import timetable
from sim.records import FAULTS
from sim.rng import Streams
from tests.agents.hosting.tiny import TinyModel
from tests.sim import minds
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


# --- more targets, repeats, kinds


def spans(*faults: FaultSpec, **fields: Any) -> list[tuple[int, float, float]]:
    world = replace(with_faults(*faults), **fields)
    return [(o.target, o.from_s, o.until_s) for o in timetable(world)]


def test_other_targets_are_hit_at_the_same_moments() -> None:
    assert spans(FaultSpec("node-crash", 1, 2.0, 1.0, also=(0, 2))) == [
        (0, 2.0, 3.0), (1, 2.0, 3.0), (2, 2.0, 3.0),
    ]  # fmt: skip


def test_one_draw_holds_for_all_targets() -> None:
    alone = spans(FaultSpec("node-crash", 1, mtbf_s=1.0, mttr_s=0.5))
    joint = spans(FaultSpec("node-crash", 1, mtbf_s=1.0, mttr_s=0.5, also=(2,)))
    assert len(alone) > 3
    assert [s for s in joint if s[0] == 1] == alone
    assert [(1, *s[1:]) for s in joint if s[0] == 2] == alone


def test_the_draws_of_the_old_kinds_are_what_they_were() -> None:
    drawn = spans(FaultSpec("node-crash", 1, mtbf_s=4.0, mttr_s=1.0))
    rng = Streams(1).stream("faults", "node-crash", 1, 0)
    first_s, down_s = float(rng.exponential(4.0)), float(rng.exponential(1.0))
    assert drawn[0] == (1, first_s, first_s + down_s)


def test_repeats_start_at_products() -> None:
    got = spans(FaultSpec("link-down", 4, 0.3, 0.05, every_s=0.1, until_s=1.0))
    want = [0.3 + i * 0.1 for i in range(9) if 0.3 + i * 0.1 < 1.0]
    assert [s[1] for s in got] == want
    assert [s[2] for s in got] == [t + 0.05 for t in want]


@pytest.mark.parametrize(
    ("fault", "starts"),
    [
        ({"every_s": 4.0}, [3.0, 7.0, 11.0, 15.0, 19.0]),  # up to the end of the drain
        ({"every_s": 4.0, "until_s": 11.0}, [3.0, 7.0]),  # at `until_s` it is over
        ({"every_s": 4.0, "until_s": 11.5}, [3.0, 7.0, 11.0]),
        ({"every_s": 4.0, "until_s": 1.0}, [3.0]),  # the first one is a fault of its own
        ({}, [3.0]),
    ],
)
def test_repeats_end(fault: dict[str, float], starts: list[float]) -> None:
    assert [s[1] for s in spans(FaultSpec("node-crash", 1, 3.0, 1.0, **fault))] == starts


def test_repeats_may_overlap() -> None:
    fault = FaultSpec("node-crash", 1, 1.0, 2.5, every_s=2.0, until_s=6.0)
    table = run(with_faults(fault)).tables["faults"]
    assert table["t_s"].tolist() == [1.0, 7.5]  # 1 to 3.5, 3 to 5.5, 5 to 7.5


KINDS = [
    ("node-crash", "node-restart"),
    ("link-down", "link-up"),
    ("telemetry-loss", "telemetry-loss-end"),
]


@pytest.mark.parametrize(("kind", "end"), KINDS)
def test_a_fault_and_its_end_are_in_the_table(kind: FaultKind, end: str) -> None:
    table = run(with_faults(FaultSpec(kind, 1, 2.0, 3.0))).tables["faults"]
    assert [FAULTS[k] for k in table["kind"]] == [kind, end]
    assert (table["t_s"].tolist(), table["target"].tolist()) == ([2.0, 5.0], [1, 1])


def test_every_kind_has_its_words_in_the_schema() -> None:
    kinds = get_args(FaultKind)
    ends = {"node-crash": "node-restart", "link-down": "link-up"}
    assert sorted(FAULTS) == sorted([*kinds, *(ends.get(k, f"{k}-end") for k in kinds)])


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (FaultSpec("node-crash", 0, 1.0, also=(3,)), r"faults\.0\.target: expected 0 to 2"),
        (FaultSpec("node-crash", 0, 1.0, also=(0,)), r"also: expected each target once"),
        (FaultSpec("link-slow", 6, 1.0), r"expected 0 to 5, found 6"),
        (FaultSpec("link-slow", 0, 1.0, factor=0.5), r"factor: expected >= 1\.0 .* found 0\.5"),
        (FaultSpec("link-slow", 0, 1.0, factor=math.inf), r"factor: .* found inf"),
        (FaultSpec("link-slow", 0, 1.0, factor=1e308), r"factor: .* < 1000000\.0, found 1e\+308"),
        (FaultSpec("link-slow", 0, 1.0, delay_s=-1.0), r"delay_s: expected >= 0\.0"),
        (FaultSpec("link-lossy", 0, 1.0, loss=1.0), r"loss: expected >= 0\.0 and < 1\.0"),
        (FaultSpec("link-down", 0, -1.0), r"at_s: expected >= 0\.0"),
        (FaultSpec("link-down", 0, math.nan), r"at_s: expected >= 0\.0"),
        (FaultSpec("link-down", 0, 1.0, 0.0), r"for_s: expected > 0, found 0\.0"),
        (FaultSpec("link-down", 0, 1.0, every_s=0.0), r"every_s: expected > 0"),
        (FaultSpec("link-down", 0, mtbf_s=0.0), r"mtbf_s: expected > 0"),
        (FaultSpec("link-down", 0, mtbf_s=1.0, mttr_s=-1.0), r"mttr_s: expected > 0"),
        (FaultSpec("link-down", 0), r"either at_s or mtbf_s"),
        (FaultSpec("link-down", 0, 1.0, mtbf_s=1.0), r"either at_s or mtbf_s"),
        (FaultSpec("link-down", 0, mtbf_s=1.0, every_s=1.0), r"every_s: only a scheduled fault"),
        (FaultSpec("storage-slow", 0, 1.0, factor=2.0), r"storage-slow needs a model"),
        (FaultSpec("expert-lost", 0, 1.0, experts=((0, 0),)), r"expert-lost needs a model"),
        (FaultSpec("expert-corrupt", 0, 1.0, experts=((0, 0),)), r"needs a model"),
        (FaultSpec("feedback-spoiled", 0, 1.0), r"feedback-spoiled needs a model"),
        (FaultSpec("link-down", 0, 1.0, work="keep"), r"work: only node-crash has it"),
        (FaultSpec("link-down", 0, 1e-3, 1e-9, every_s=1e-6), r"expected at most 200000 outages"),
        (FaultSpec("link-down", 0, mtbf_s=1e-7, mttr_s=1e-7), r"expected at most 200000 outages"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(fault: FaultSpec, message: str) -> None:
    with pytest.raises(InputError, match=message):
        timetable(with_faults(fault))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (FaultSpec("expert-lost", 0, 1.0), r"expected \(layer, expert\) pairs, found none"),
        (FaultSpec("expert-lost", 0, 1.0, experts=((0, 1), (2, 0))),
         r"expected layer 0 to 1 and expert 0 to 3, found \(2, 0\)"),
        (FaultSpec("expert-corrupt", 0, 1.0, experts=((1, 4),))
         , r"expected layer 0 to 1 and expert 0 to 3, found \(1, 4\)"),
        (FaultSpec("node-crash", 0, 1.0, work="resume"), r"resume needs `model: none`"),
        (FaultSpec("telemetry-loss", 1, 1.0), r"node n1 has no servers .* telemetry-loss takes"),
    ],
)  # fmt: skip
def test_faults_of_models_are_checked(fault: FaultSpec, message: str) -> None:
    nodes = [minds.node(0), minds.node(1, servers=0)]
    world = minds.world(nodes, [minds.timed((0.5,))], faults=(fault,))
    with pytest.raises(InputError, match=message):
        timetable(world, TinyModel().card)


def test_flapping_is_no_livelock() -> None:
    faults = (
        FaultSpec("node-crash", 0, 0.0, 0.0005, every_s=0.001),
        FaultSpec("link-down", 2, 0.0, 0.001, every_s=0.001),  # up and down again at one instant
        FaultSpec("node-crash", 1, mtbf_s=0.002, mttr_s=0.002, also=(2,)),
        FaultSpec("telemetry-loss", 1, 0.0, 0.003, every_s=0.001),
    )
    brief = ServiceSpec("exponential", 0.0003)
    record = run(replace(with_faults(*faults), duration_s=3.0, drain_s=1.0, service=brief))
    assert record.meta["laws"]["returned"] > 0
    assert record.meta["laws"]["node_down"] > 0
    assert record.meta["laws"]["in_flight"] == 0
    crashes = record.tables["faults"]["kind"] == FAULTS.index("node-crash")
    assert crashes.sum() > 4000
