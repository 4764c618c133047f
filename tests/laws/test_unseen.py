"""L4 and L6 where the monitor works: judged over links, clusters of some tasks, clustered anew."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from agents.caches import CACHES
from agents.dispatchers import DISPATCHERS
from agents.hosting.blocks import make_specs, shard_of
from agents.hosting.inline import InlineExecutor
from agents.hosting.model import HostedModel, load_model
from agents.moe.cards import read_card
from agents.moe.runtime import Runtime
from sim.compute.architectures import ARCHITECTURES
from sim.config import (
    ArrivalSpec,
    Batching,
    ClusterSpec,
    DriftSpec,
    FaultSpec,
    FeedbackSpec,
    MixSpec,
    ModelSpec,
    NodeSpec,
    PolicySpec,
    StreamSpec,
    World,
)
from sim.parts import Parts
from sim.records import DRIFTS, Record
from sim.simulation import simulate
from tests.laws.test_oracle_boundary import BUILTIN, TASKS, relabel, same
from tests.sim.worlds import EDGE, both_ways

CLUSTERS = ClusterSpec(4, (0, 1, 2), refit=True)
KNOWN = (0.5, 0.3, 0.2, 0.0, 0.0, 0.0, 0.0, 0.0)


def unseen() -> World:
    """Return a world whose users come to ask something that no cluster was fitted on."""
    nodes = tuple(
        NodeSpec(i, f"edge-{i}", "edge", EDGE, batching=Batching(4, 0.005)) for i in range(3)
    )
    drift = (DriftSpec("new-task", 24.0, share=0.7),)
    streams = tuple(
        StreamSpec(i, f"users-{i}", i, ArrivalSpec("poisson", 12.0),
                   MixSpec("explicit", weights=KNOWN), drift)
        for i in range(3)
    )  # fmt: skip
    return World(
        "unseen", 3, 48.0, 5.0, 2.0, nodes, (*both_ways(0, 1, 0), *both_ways(1, 2, 2)), streams,
        model=ModelSpec(BUILTIN, ARCHITECTURES["switch-base-8"], CLUSTERS),
        feedback=FeedbackSpec(0.3, 0.5, via=1, up_bytes=2e3, down_bytes=64.0),
        faults=(FaultSpec("link-down", 0, 10.0, 3.0), FaultSpec("node-crash", 2, 30.0, 3.0)),
        regret_sample=0.0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def model() -> HostedModel:
    return load_model(BUILTIN, CLUSTERS)


def run(model: HostedModel, shards: int = 1) -> Record:
    world, spec = unseen(), PolicySpec("tanbr", "tanbr")
    specs = make_specs(world, spec, shards=shards, block_size=1)
    hosts = InlineExecutor(load=lambda *_: model).start(specs)
    owner = [shard_of(node.id, len(specs), 1) for node in world.nodes]
    parts = Parts(DISPATCHERS.load, CACHES.load, hosts, owner, read_card(BUILTIN))
    return simulate(world, spec, parts)


@pytest.fixture(scope="module")
def plain(model: HostedModel) -> Record:
    return run(model)


def test_the_world_is_one_in_which_the_monitor_works(plain: Record) -> None:
    kinds = [DRIFTS[kind] for kind in plain.tables["drift"]["kind"].tolist()]
    assert "recluster" in kinds
    assert plain.meta["clusters"] == CLUSTERS.count  # not the checkpoint's eight
    audits = plain.meta["audits"]
    assert audits["heard"] > 300
    assert audits["lost"] > 5
    assert len(np.unique(plain.tables["decisions"]["w_0"])) > 10


def test_shards_agree_on_judged_requests_and_renewed_clusters(
    model: HostedModel, plain: Record
) -> None:
    split = run(model, shards=2)
    assert split.digest == plain.digest
    assert split.meta["audits"] == plain.meta["audits"]


@pytest.fixture
def hidden(model: HostedModel) -> Iterator[Record]:
    """Deal all tasks that world and hosts know of to other tasks."""
    assert isinstance(model, Runtime)
    order = np.roll(np.arange(TASKS), 3)
    with pytest.MonkeyPatch.context() as patch:
        relabel(patch)
        patch.setattr(model, "task_of", order[model.task_of])
        patch.setattr(model, "cluster_to_task", model.cluster_to_task[:, order])
        yield run(model)


def test_hidden_tasks_are_nothing_to_a_policy_that_clusters_anew(
    plain: Record, hidden: Record
) -> None:
    assert not same(plain, hidden, "requests", but=("correct",))
    assert same(plain, hidden, "requests", but=("task",))
    for table in ("decisions", "memory", "tree", "drift", "links", "faults", "residency"):
        assert same(plain, hidden, table)
    assert not same(plain, hidden, "slots")  # the context error, for one
