"""Streaming experts against a slow replay, and the memory log against the ledger."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agents.caches import CACHES
from agents.dispatchers import DISPATCHERS
from agents.hosting.blocks import make_specs, shard_of
from agents.hosting.inline import InlineExecutor
from sim.arrivals.workload import draw_workload
from sim.compute.cost import CostModel
from sim.config import Batching, FaultSpec, PolicySpec, World
from sim.fleet import Fleet
from sim.parts import Parts
from sim.plans import Plan, TopK
from sim.ports import PlanProfile
from sim.records import MEMORY
from tests.agents.hosting.tiny import E, L, P
from tests.sim import minds
from tests.sim.minds import ARCHITECTURE, BACKBONE, FETCH_S, UNIT, WORKING, Seen, Varied


def streaming(room_units: float, size: int, rate: float = 15.0) -> tuple[World, Seen]:
    """Serve TopK(2) on one server with memory for so many experts beside one request."""
    node = minds.node(
        memory_bytes=BACKBONE + WORKING + room_units * UNIT, cache="lru", plan=TopK(2),
        batching=Batching(size, 0.0),
    )  # fmt: skip
    world = minds.world([node], [minds.poisson(rate)], duration_s=6.0, drain_s=60.0)
    return world, minds.run(world, minds.script(), Varied())


class Replay:
    """Memory as a list of experts, least recently used first; one batch after the other."""

    def __init__(self, world: World) -> None:
        self.room_bytes = world.nodes[0].hardware.memory_bytes - BACKBONE
        self.masks = Varied().profile(TopK(2)).experts
        self.cost = CostModel(ARCHITECTURE, Varied().card, world.nodes[0].hardware)
        self.order: list[tuple[int, int]] = []
        self.log: list[tuple[int, int, float, str]] = []

    def room(self, size_bytes: float, working_bytes: float, t_s: float) -> None:
        while len(self.order) * UNIT + working_bytes + size_bytes > self.room_bytes:
            layer, expert = self.order.pop(0)
            self.log.append((layer, expert, t_s, "evict"))

    def batch(self, start_s: float, inputs: list[int]) -> tuple[float, float]:
        """Return when a batch ends, and how long it stalled."""
        working_bytes = len(inputs) * WORKING
        self.room(0.0, working_bytes, start_s)
        touched = [
            [e for e in range(E) if any(int(self.masks[i, layer]) >> e & 1 for i in inputs)]
            for layer in range(L)
        ]
        cost = self.cost.gated(len(inputs), 2, [len(t) for t in touched])
        t_s, stall_s = start_s, 0.0
        for layer, experts in enumerate(touched):
            for expert in experts:
                if (layer, expert) in self.order:
                    self.order.remove((layer, expert))
                else:
                    self.room(UNIT, working_bytes, t_s)
                    t_s, stall_s = t_s + FETCH_S, stall_s + FETCH_S
                    self.log.append((layer, expert, t_s, "fetch"))
                self.order.append((layer, expert))
                t_s += cost.per_layer_s[layer] / len(experts)
        return t_s, stall_s


@pytest.mark.parametrize(("units", "size"), [(1.0, 1), (3.0, 1), (5.5, 4), (7.0, 1), (8.0, 3)])
def test_one_server_streams_as_the_replay_does(units: float, size: int) -> None:
    world, seen = streaming(units, size)
    replay, table = Replay(world), seen["requests"]
    done = np.flatnonzero(~np.isnan(table["t_finish_s"]))
    assert len(done) > 50
    for batch in np.unique(table["batch"][done]):
        members = np.flatnonzero(table["batch"] == batch)
        start_s = float(table["t_start_s"][members[0]])
        end_s, stall_s = replay.batch(start_s, table["input"][members].tolist())
        np.testing.assert_allclose(table["t_finish_s"][members], end_s, rtol=0, atol=1e-9)
        np.testing.assert_allclose(table["stall_s"][members], stall_s, rtol=0, atol=1e-9)
    log = seen["residency"]
    assert len(log["t_s"]) == len(replay.log)
    events = np.array(["fetch", "evict", "wipe"])[log["event"]]
    for row, (layer, expert, t_s, event) in enumerate(replay.log):
        found = (int(log["layer"][row]), int(log["expert"][row]), str(events[row]))
        assert found == (layer, expert, event)
        assert log["t_s"][row] == pytest.approx(t_s, abs=1e-9)


def test_less_memory_means_more_misses() -> None:
    fetched = [
        int((streaming(units, 1)[1]["residency"]["event"] == 0).sum()) for units in (1.0, 4.0, 8.0)
    ]
    assert fetched[0] > fetched[1] > fetched[2] == E * L


def test_equal_fetches_at_once_are_read_once() -> None:
    # two servers start at 0.5 s; two more, at 0.505 s, join the reads that are under way
    node = minds.node(servers=4, cache="lru", plan=TopK(1))
    world = minds.world([node], [minds.timed([0.5, 0.5, 0.505, 0.505])])

    class One(Varied):
        def profile(self, plan: Plan) -> PlanProfile:
            return replace(super().profile(plan), experts=np.full((P, L), 4, np.uint64))

    seen = minds.run(world, minds.script(), One())
    assert seen["residency"]["t_s"].tolist() == pytest.approx([0.51, 0.524])
    assert seen["requests"]["stall_s"].tolist() == pytest.approx([0.02, 0.02, 0.015, 0.015])


def alive(world: World, policy: PolicySpec) -> Fleet:
    """Return a fleet with its model after its run."""
    model = Varied()
    executor = InlineExecutor(load=lambda *_: model, routers=minds.ROUTERS)
    specs = make_specs(world, policy, shards=1, block_size=4)
    owner = [shard_of(n.id, 1, 4) for n in world.nodes]
    parts = Parts(DISPATCHERS.load, CACHES.load, executor.start(specs), owner, model.card)
    fleet = Fleet(world, draw_workload(world, model.card.pool_sizes), parts, world.dispatch)
    fleet.run()
    return fleet


def test_the_memory_log_ends_where_the_ledger_does() -> None:
    hardware = minds.chip(8 * minds.MB, flop_per_s=1e12, bytes_per_s=1e12, kernel_s=0.001)
    nodes = [
        minds.node(i, hardware=hardware, servers=2, cache="lru", batching=Batching(4))
        for i in range(3)
    ]
    world = minds.world(
        nodes, [minds.poisson(40.0, at=i) for i in range(3)], drain_s=0.0, slot_s=0.25,
        faults=(FaultSpec("node-crash", 1, 2.0, 0.3),),
    )  # fmt: skip
    fleet = alive(world, PolicySpec("listener", "listener"))
    assert fleet.brains is not None
    memory = fleet.recorder.tables(fleet.requests)["memory"]
    for node in range(3):
        used = fleet.brains.deployments[node].ledger.used_bytes
        resident = fleet.brains.deployments[node].store.resident
        last = [0.0] * len(MEMORY)
        for row in np.flatnonzero(memory["node"] == node):
            last[memory["category"][row]] = float(memory["bytes"][row])
        assert last == used
        assert used[MEMORY.index("experts")] >= len(resident) * UNIT
        assert len(np.unique(memory["category"][memory["node"] == node])) >= 5


def test_nothing_remains_of_a_batch_that_is_over() -> None:
    _, seen = streaming(4.0, 3)
    assert minds.category(seen, "activations")[-1][1] == 0.0
    assert max(mb for _, mb in minds.category(seen, "experts")) <= 4.0
