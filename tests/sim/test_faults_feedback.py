"""Rewards that are none: refused, counted, told, and without any effect on a router."""

from __future__ import annotations

import json
from dataclasses import replace
from math import inf, nan
from typing import Any

import numpy as np
import pytest

from agents.caches import CACHES
from agents.dispatchers import DISPATCHERS
from agents.hosting.blocks import make_specs, shard_of
from agents.hosting.inline import InlineExecutor
from agents.routers import ROUTERS
from sim.config import FaultSpec, FeedbackSpec, PolicySpec, World
from sim.parts import Parts
from sim.plans import TopK
from sim.records import DRIFTS, Record
from sim.simulation import simulate
from tests.agents.hosting.tiny import E, TinyModel, V, routers_of
from tests.sim import minds

LISTENER = PolicySpec("listener", "listener")
WHOLE = {"at_s": 0.0}


def world(*faults: FaultSpec, **fields: Any) -> World:
    """Return three nodes (the last with a fixed plan), half of whose requests are audited."""
    chip = minds.chip(flop_per_s=1e12, bytes_per_s=1e12, kernel_s=0.001)
    plans = (None, None, TopK(1))
    nodes = [minds.node(i, hardware=chip, plan=plan) for i, plan in enumerate(plans)]
    streams = [minds.poisson(12.0, at=i) for i in range(3)]
    settings: dict[str, Any] = {"feedback": FeedbackSpec(0.4, 0.5), "faults": faults, **fields}
    return minds.world(nodes, streams, **settings)


def spoiled(node: int, value: float = nan, **when: Any) -> FaultSpec:
    return FaultSpec("feedback-spoiled", node, value=value, **(when or WHOLE))


def told(seen: minds.Seen) -> float:
    """Count the outcomes that routers heard of; each reward is checked on the way."""
    count = 0.0
    for host in seen.hosts:
        for router in routers_of(host):
            for block in router.learned:
                assert ((block.reward >= 0.0) & (block.reward <= 1.0)).all()
                count += block.count.sum()
    return count


def refused(record: Record) -> dict[int, int]:
    return {row["node"]: row["count"] for row in record.meta["refused_rewards"]}


@pytest.mark.parametrize("value", [nan, inf, -inf, 1e9, -0.001, 1.001])
def test_what_is_no_reward_reaches_no_router(value: float) -> None:
    clean, seen = (minds.run(world(*faults), LISTENER) for faults in ((), (spoiled(0, value),)))
    assert refused(clean.record) == {}
    count = refused(seen.record)
    assert count.keys() == {0}
    heard = seen.record.meta["audits"]["heard"]
    assert told(seen) + count[0] <= heard  # the last exchange comes after the last decision
    assert 10 < count[0] < heard - 10
    assert 10 < told(seen) < told(clean)


@pytest.mark.parametrize("value", [0.0, 0.25, 1.0])
def test_a_spoiled_reward_that_may_be_one_is_believed(value: float) -> None:
    seen = minds.run(world(spoiled(0, value, at_s=0.0, also=(1,))), LISTENER)
    assert refused(seen.record) == {}
    for block in seen.router.learned:
        assert set(block.reward[block.count > 0].tolist()) == {value}


def test_truth_in_the_tables_is_not_spoiled() -> None:
    seen = minds.run(world(spoiled(0, at_s=0.0, also=(1,))), minds.script())
    clean = minds.run(world(), minds.script())
    for column in ("correct", "t_finish_s", "server"):
        np.testing.assert_array_equal(seen["requests"][column], clean["requests"][column])
    np.testing.assert_array_equal(seen["slots"]["reward"], clean["slots"]["reward"])


def test_outcomes_are_spoiled_whose_service_ends_while_the_fault_holds() -> None:
    # served at 1.0, 1.492, 2.0 and 2.492 s for 8 ms: the ends are at 1.008, 1.5, 2.008 and 2.5 s
    times = (1.0, 1.492, 2.0, 2.492)
    base = minds.world([minds.node()], [minds.timed(times)])
    ends = minds.run(base, minds.script())["requests"]["t_finish_s"]
    fault = spoiled(0, at_s=float(ends[1]), for_s=float(ends[3]) - float(ends[1]))
    seen = minds.run(replace(base, faults=(fault,)), minds.script())
    assert refused(seen.record) == {0: 2}  # from the first instant on, up to the last but not at it
    assert told(seen) == 2.0


def test_of_two_faults_the_later_one_decides() -> None:
    times = (0.5, 1.5, 2.5, 3.5)
    faults = (spoiled(0, 0.25, at_s=0.0, for_s=3.0), spoiled(0, 0.75, at_s=1.0, for_s=1.0))
    base = minds.world([minds.node()], [minds.timed(times)], faults=faults)
    rewards = [b.reward[b.count > 0].item() for b in minds.run(base, minds.script()).router.learned]
    assert rewards[:3] == [0.25, 0.75, 0.25]
    assert rewards[3] in {0.0, 1.0}


def test_refusals_are_told_by_node_with_router_and_times() -> None:
    seen = minds.run(world(spoiled(1, at_s=1.0, for_s=2.0)), LISTENER)
    (row,) = seen.record.meta["refused_rewards"]
    assert (row["node"], row["router"], row["reward"]) == (1, "listener", "nan")
    assert 1.0 < row["first_s"] < row["last_s"] <= 4.0
    line = (
        f"router listener: reward nan at t={row['last_s']:g} from node n1, "
        f"ignored ({row['count']} so far)"
    )
    assert line in seen.record.meta["notes"]
    assert json.loads(json.dumps(seen.record.meta["refused_rewards"], allow_nan=False)) == [row]
    drift = seen["drift"]
    mine = drift["kind"] == DRIFTS.index("refused")
    assert (drift["node"][mine] == 1).all()
    slots = drift["slot"][mine].tolist()
    assert slots == list(range(int(row["first_s"]), int(row["last_s"]) + 1))


def test_notes_of_a_big_fleet_are_bounded() -> None:
    count = 25
    nodes = [minds.node(i) for i in range(count)]
    streams = [minds.poisson(5.0, at=i) for i in range(count)]
    fault = spoiled(0, inf, at_s=0.0, also=tuple(range(1, count)))
    seen = minds.run(minds.world(nodes, streams, faults=(fault,)), minds.script())
    lines = [note for note in seen.record.meta["notes"] if "reward" in note]
    assert len(lines) == 21
    assert lines[0].startswith("router scripted: reward inf at t=")
    assert lines[-1].endswith("more such rewards from 5 more nodes")
    assert len(seen.record.meta["refused_rewards"]) == count


def test_refusals_know_no_shards() -> None:
    there = world(spoiled(0, 1e9, at_s=1.0, for_s=2.0, also=(1,)))
    runs = [minds.run(there, LISTENER, shards=k, block_size=1, strict=k == 2) for k in (1, 2, 3)]
    assert len({r.record.digest for r in runs}) == 1
    assert len({str(r.record.meta["refused_rewards"]) for r in runs}) == 1


# --- every learner of the registry: refused rewards leave it as lost ones do


class Cornered(TinyModel):
    """The tiny model with the single experts in its tables, which some routers ask for."""

    def __init__(self) -> None:
        super().__init__()
        corners = np.eye(E)
        known = np.random.default_rng(9).random((E, V))
        self.calibration = replace(self.calibration, weights=corners, reward=known)
        assert self.oracle is not None
        self.oracle = replace(self.oracle, weights=corners, accuracy=known)


def steered(there: World, kind: str) -> Record:
    policy = PolicySpec(kind, kind)
    model = Cornered()
    executor = InlineExecutor(load=lambda *_: model, routers=ROUTERS)
    specs = make_specs(there, policy, block_size=4)
    hosts = executor.start(specs)
    owner = [shard_of(n.id, len(specs), 4) for n in there.nodes]
    return simulate(there, policy, Parts(DISPATCHERS.load, CACHES.load, hosts, owner, model.card))


@pytest.mark.parametrize("kind", list(ROUTERS))
def test_refused_rewards_change_a_router_as_little_as_lost_ones(kind: str) -> None:
    # in the middle of the run, so that there is a state to spoil; then all is well again
    when = {"at_s": 2.0, "for_s": 2.0, "also": (1,)}
    lost = steered(world(FaultSpec("telemetry-loss", 0, **when)), kind)
    bad = steered(world(spoiled(0, **when)), kind)
    if ROUTERS.load(kind).learns:
        assert sum(refused(bad).values()) > 10
        assert lost.meta["audits"]["lost"] > 10
    else:
        assert lost.meta["audits"]["begun"] == sum(refused(bad).values()) == 0
    for name in lost.tables["decisions"]:
        np.testing.assert_array_equal(
            lost.tables["decisions"][name], bad.tables["decisions"][name], err_msg=name
        )
