"""Small worlds whose experts travel over links, and what faults do to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from agents.caches import CACHES
from agents.dispatchers import DISPATCHERS
from agents.hosting.blocks import make_specs, shard_of
from agents.hosting.inline import InlineExecutor
from sim.arrivals.workload import draw_workload
from sim.clock import FAULT
from sim.compute.supply import ASK_BYTES
from sim.config import FaultSpec, LinkSpec, PolicySpec, World
from sim.fleet import Fleet
from sim.parts import Parts
from sim.plans import Plan, TopK
from sim.ports import ExpertKey, PlanProfile
from sim.records import CAUSES, Tables
from tests.agents.hosting.tiny import E, L, P, TinyModel
from tests.sim import minds
from tests.sim.minds import MB

ALL_UNITS = [(layer, e) for layer in range(L) for e in range(E)]
ASK_S = 0.1 + ASK_BYTES / MB  # over a link of 0.1 s and 1 MB/s
UNIT_S = 0.1 + 1.0


class Only(TinyModel):
    """All requests touch one expert per layer."""

    def __init__(self, expert: int = 2) -> None:
        super().__init__()
        self.expert = expert

    def profile(self, plan: Plan) -> PlanProfile:
        told = super().profile(plan)
        return replace(told, experts=np.full((P, L), 1 << self.expert, np.uint64))


def pair(
    times_s: Sequence[float], faults: Sequence[FaultSpec] = (), far: int | None = 1, **fields: Any
) -> World:
    """Node 0 serves; node 1 is where its experts come from, over links of 0.1 s and 1 MB/s."""
    world_fields = {k: fields.pop(k) for k in ("duration_s", "drain_s", "slot_s") if k in fields}
    near = minds.node(experts_from=far, **fields)
    links = (LinkSpec(0, 0, 1, 0.1, MB), LinkSpec(1, 1, 0, 0.1, MB))
    return minds.world(
        [near, minds.node(1)], [minds.timed(times_s)], links=links, faults=tuple(faults),
        **({"duration_s": 20.0, "drain_s": 60.0} | world_fields),
    )  # fmt: skip


Acts = Sequence[tuple[float, Callable[[Fleet, float], None]]]


def build(world: World, policy: PolicySpec, model: TinyModel) -> Fleet:
    """Build a fleet with its model, ready to run."""
    executor = InlineExecutor(load=lambda *_: model, routers=minds.ROUTERS)
    specs = make_specs(world, policy, shards=1, block_size=4)
    owner = [shard_of(n.id, 1, 4) for n in world.nodes]
    parts = Parts(DISPATCHERS.load, CACHES.load, executor.start(specs), owner, model.card)
    return Fleet(world, draw_workload(world, model.card.pool_sizes), parts, world.dispatch)


def drive(
    world: World, policy: PolicySpec, model: TinyModel, acts: Acts = ()
) -> tuple[Fleet, Tables]:
    """Run a world, doing things to the fleet at given times, and check the laws."""
    fleet = build(world, policy, model)
    for index, (t_s, act) in enumerate(acts):
        fleet.clock.at(t_s, FAULT, index, _act, (fleet, act))
    fleet.run()
    fleet.audit()
    return fleet, fleet.recorder.tables(fleet.requests)


def _act(item: tuple[Fleet, Callable[[Fleet, float], None]], now_s: float) -> None:
    fleet, act = item
    act(fleet, now_s)


def take(*experts: ExpertKey, corrupt: bool = False, node: int = 0) -> Any:
    def act(fleet: Fleet, now_s: float) -> None:
        assert fleet.brains is not None
        fleet.brains.lose_experts(node, experts, corrupt, now_s)

    return act


def give_back(*experts: ExpertKey, corrupt: bool = False, node: int = 0) -> Any:
    def act(fleet: Fleet, now_s: float) -> None:
        assert fleet.brains is not None
        fleet.brains.restore_experts(node, experts, corrupt, now_s)

    return act


def stalls(tables: Tables) -> list[float]:
    return [round(s, 9) for s in tables["requests"]["stall_s"].tolist()]


def residency(tables: Tables, node: int = 0) -> list[tuple[ExpertKey, float, str]]:
    log = tables["residency"]
    words = np.array(CAUSES)[log["cause"]]
    return [
        ((int(log["layer"][i]), int(log["expert"][i])), round(float(log["t_s"][i]), 9), words[i])
        for i in np.flatnonzero(log["node"] == node)
    ]


LRU: dict[str, Any] = {"cache": "lru", "plan": TopK(1)}
