"""L6: what a policy must not know changes nothing that it does (shipped model, Tanbr)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import sim.coupling
import sim.simulation
from agents.caches import CACHES
from agents.dispatchers import DISPATCHERS
from agents.hosting.blocks import make_specs
from agents.hosting.inline import InlineExecutor
from agents.moe.cards import read_card
from sim.arrivals.workload import Workload
from sim.compute.architectures import ARCHITECTURES
from sim.config import (
    ArrivalSpec,
    Batching,
    DriftSpec,
    FeedbackSpec,
    MixSpec,
    ModelSpec,
    NodeSpec,
    PolicySpec,
    StreamSpec,
    World,
)
from sim.nodemix import NodeMixes
from sim.parts import Parts
from sim.records import Record
from sim.simulation import simulate
from tests.sim.worlds import EDGE

BUILTIN = "builtin:stream"
TASKS = 8


def small() -> World:
    batching, mix = Batching(4, 0.005), MixSpec("dirichlet", alpha=0.5, tasks=3)
    nodes = tuple(NodeSpec(i, f"edge-{i}", "edge", EDGE, batching=batching) for i in range(2))
    arrivals, drift = ArrivalSpec("poisson", 15.0), (DriftSpec("switch", 15.0),)
    streams = tuple(StreamSpec(i, f"users-{i}", i, arrivals, mix, drift) for i in range(2))
    return World(
        "small", 3, 30.0, 5.0, 2.0, nodes, (), streams,
        model=ModelSpec(BUILTIN, ARCHITECTURES["switch-base-8"]), feedback=FeedbackSpec(1.0, 0.5),
        regret_sample=0.0,
    )  # fmt: skip


def run(policy: str) -> Record:
    world, spec = small(), PolicySpec(policy, policy)
    hosts = InlineExecutor().start(make_specs(world, spec))
    parts = Parts(DISPATCHERS.load, CACHES.load, hosts, [0, 0], read_card(BUILTIN))
    return simulate(world, spec, parts)


def relabel(patch: pytest.MonkeyPatch) -> None:
    """Deal the hidden tasks of requests, and the true mix that hosts are sent, to other tasks."""
    order = np.random.default_rng(5).permutation(TASKS)
    assert (order != np.arange(TASKS)).any()
    draw, by_node = sim.simulation.draw_workload, NodeMixes.by_node

    def other(*args: object) -> Workload:
        drawn = draw(*args)  # type: ignore[arg-type]
        return replace(drawn, task=order[drawn.task].astype(drawn.task.dtype))

    patch.setattr(sim.simulation, "draw_workload", other)
    patch.setattr(NodeMixes, "by_node", lambda self, slot: by_node(self, slot)[:, order])


def same(one: Record, two: Record, table: str, but: tuple[str, ...] = ()) -> bool:
    left, right = one.tables[table], two.tables[table]
    return all(
        np.array_equal(left[name], right[name], equal_nan=left[name].dtype.kind == "f")
        for name in left
        if name not in but
    )


def test_relabelling_the_hidden_tasks_leaves_every_decision_identical() -> None:
    plain = run("tanbr")
    with pytest.MonkeyPatch.context() as patch:
        relabel(patch)
        hidden = run("tanbr")
    assert not same(plain, hidden, "requests")
    assert same(plain, hidden, "requests", but=("task",))
    for table in ("decisions", "memory", "tree", "links", "faults", "residency"):
        assert same(plain, hidden, table)
    kinds = plain.tables["decisions"]["kind"]
    assert len(kinds) > 30
    assert len(np.unique(plain.tables["decisions"]["w_0"])) > 5  # it did explore


def test_an_oracle_does_follow_the_labels() -> None:
    plain = run("mix-oracle")
    with pytest.MonkeyPatch.context() as patch:
        relabel(patch)
        hidden = run("mix-oracle")
    assert not same(plain, hidden, "decisions")
