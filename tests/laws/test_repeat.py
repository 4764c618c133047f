"""L4: same seed, same bits, however hosts are cut. L5: the world does not depend on the policy."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from sim.config import Batching, DispatchSpec, FaultSpec, FeedbackSpec, PolicySpec, World
from sim.plans import Single, TopK
from sim.records import DECISIONS, Record
from tests.sim import minds, worlds

CUTS = [(1, 4), (2, 4), (3, 4), (4, 4)]  # shards, block size
LISTENER = PolicySpec("listener", "listener")


def sixteen(nodes: int = 16) -> World:
    """Return sixteen nodes: two with fixed plans, one that only forwards, three that crash."""
    roomy = minds.chip(12.2 * minds.MB, flop_per_s=1e12, bytes_per_s=1e12, kernel_s=0.001)
    tight = replace(roomy, memory_bytes=7.5 * minds.MB)
    plans = {3: TopK(2), 7: Single(1)}
    specs = []
    for i in range(nodes):
        fields: dict[str, Any] = {"plan": plans.get(i), "batching": Batching(1 + i % 4, 0.002)}
        fields |= {"servers": 0 if i == 15 else 1 + i % 2, "hardware": roomy if i % 3 else tight}
        specs.append(minds.node(i, cache="all" if i % 3 else "lru", **fields))
    links = tuple(
        link
        for i in range(nodes)
        for link in worlds.both_ways(i, (i + 1) % nodes, 2 * i, bytes_per_s=1e7)
    )
    crashes = (
        FaultSpec("node-crash", 3, 1.7, 0.6),
        FaultSpec("node-crash", 5, 2.0, 0.4),
        FaultSpec("node-crash", 10, mtbf_s=3.0, mttr_s=0.5),
    )
    return minds.world(
        specs, [minds.poisson(15.0, at=i, up_bytes=1e3, down_bytes=1e2) for i in range(nodes)],
        duration_s=4.0, slot_s=0.5, links=links, faults=crashes, feedback=FeedbackSpec(0.3, 0.6),
        dispatch=DispatchSpec("power-of-two"),
    )  # fmt: skip


class Moody(minds.Varied):
    """Answers depend on who is scored together."""

    def __init__(self) -> None:
        super().__init__(moody=True)


@cache
def cut(shards: int, block_size: int, strict: bool = False) -> Record:
    return minds.run(
        sixteen(), LISTENER, Moody(), shards=shards, block_size=block_size, strict=strict
    ).record


def test_the_same_seed_gives_the_same_bits_twice() -> None:
    world = worlds.fleet(4, faults=(FaultSpec("node-crash", 1, mtbf_s=5.0, mttr_s=1.0),))
    assert worlds.run(world).digest == worlds.run(world).digest
    assert worlds.run(replace(world, seed=2)).digest != worlds.run(world).digest


@pytest.mark.parametrize(("shards", "block_size"), CUTS[1:])
def test_the_digest_knows_no_shards(shards: int, block_size: int) -> None:
    assert cut(shards, block_size).digest == cut(1, block_size).digest


def test_hosts_share_nothing_with_the_simulation() -> None:
    assert cut(3, 4, strict=True).digest == cut(3, 4).digest


def test_the_run_that_is_repeated_is_a_rich_one() -> None:
    tables = cut(1, 4).tables
    assert len(np.unique(tables["decisions"]["kind"])) == len(DECISIONS)
    assert np.isfinite(tables["decisions"]["t_force_s"]).sum() > 40
    assert len(np.unique(tables["residency"]["cause"])) == 4
    assert {"node_down"} <= {k for k, n in cut(1, 4).meta["laws"].items() if n}
    assert (np.unique(tables["requests"]["correct"]) == [-1, 0, 1]).all()


DRAWN = ("stream", "source", "task", "input", "t_emit_s", "deadline_s", "up_bytes", "down_bytes")


@pytest.mark.parametrize(
    "other",
    [
        {"dispatch": DispatchSpec("least-loaded", 0.5)},
        {"faults": (FaultSpec("node-crash", 1, 1.0, 1.0),)},
        {"decision_delay_slots": 1},
        {"drain_s": 0.5},
    ],
)
def test_requests_do_not_depend_on_what_happens_to_them(other: dict[str, object]) -> None:
    one = cut(1, 4)
    two = minds.run(replace(sixteen(), **other), minds.script({0: minds.SKEW})).record
    assert one.workload_digest == two.workload_digest
    assert one.digest != two.digest
    for name in DRAWN:
        np.testing.assert_array_equal(
            one.tables["requests"][name], two.tables["requests"][name], err_msg=name
        )


def test_services_and_faults_do_not_depend_on_the_dispatcher() -> None:
    crash = (FaultSpec("node-crash", 1, mtbf_s=2.0, mttr_s=1.0),)
    one, two = (
        worlds.run(worlds.fleet(4, dispatch=dispatch, faults=crash))
        for dispatch in ("random", "least-loaded")
    )
    assert one.workload_digest == two.workload_digest
    for name in ("t_s", "kind", "target"):
        short = min(len(r.tables["faults"][name]) for r in (one, two))
        assert short > 3
        np.testing.assert_array_equal(
            one.tables["faults"][name][:short], two.tables["faults"][name][:short]
        )


def test_a_stream_more_moves_no_other_stream() -> None:
    world = worlds.fleet(3)
    more = replace(world, streams=(*world.streams, replace(world.streams[0], id=3)))
    one, two = (worlds.requests(w) for w in (world, more))
    for stream in range(3):
        np.testing.assert_array_equal(
            one["t_emit_s"][one["stream"] == stream], two["t_emit_s"][two["stream"] == stream]
        )
