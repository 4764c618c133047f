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


def streaming(
    room_units: float, size: int, rate: float = 15.0, cache: str = "lru"
) -> tuple[World, Seen]:
    """Serve TopK(2) on one server with memory for so many experts beside one request."""
    node = minds.node(
        memory_bytes=BACKBONE + WORKING + room_units * UNIT, cache=cache, plan=TopK(2),
        batching=Batching(size, 0.0),
    )  # fmt: skip
    world = minds.world([node], [minds.poisson(rate)], duration_s=6.0, drain_s=60.0)
    return world, minds.run(world, minds.script(), Varied())


Unit = tuple[int, int]


class Replay:
    """Memory as a list of experts, least recently used first; one batch after the other.

    Args:
        world: The run.
        batches: (start, inputs) of every batch, in order.
    """

    def __init__(self, world: World, batches: list[tuple[float, list[int]]]) -> None:
        self.room_bytes = world.nodes[0].hardware.memory_bytes - BACKBONE
        self.cache = world.nodes[0].cache
        self.masks = Varied().profile(TopK(2)).experts
        self.cost = CostModel(ARCHITECTURE, Varied().card, world.nodes[0].hardware)
        self.batches = [(start_s, inputs, self.touched(inputs)) for start_s, inputs in batches]
        self.accesses = [unit for *_, layers in self.batches for layer in layers for unit in layer]
        self.done = 0  # accesses so far
        self.order: list[Unit] = []
        self.uses: dict[Unit, int] = {}  # since it came
        self.log: list[tuple[int, int, float, str]] = []

    def touched(self, inputs: list[int]) -> list[list[Unit]]:
        return [
            [
                (layer, e)
                for e in range(E)
                if any(int(self.masks[i, layer]) >> e & 1 for i in inputs)
            ]
            for layer in range(L)
        ]

    def victim(self) -> Unit:
        if self.cache == "lfu":
            return min(self.order, key=self.uses.__getitem__)
        if self.cache == "belady":
            ahead = self.accesses[self.done :]
            return max(self.order, key=lambda u: ahead.index(u) if u in ahead else len(ahead))
        return self.order[0]

    def room(self, size_bytes: float, working_bytes: float, t_s: float) -> None:
        while len(self.order) * UNIT + working_bytes + size_bytes > self.room_bytes:
            gone = self.victim()
            self.order.remove(gone)
            self.log.append((*gone, t_s, "evict"))

    def run(self) -> list[tuple[float, float]]:
        """Return when each batch ends, and how long it stalled."""
        return [self.batch(*batch) for batch in self.batches]

    def batch(
        self, start_s: float, inputs: list[int], touched: list[list[Unit]]
    ) -> tuple[float, float]:
        working_bytes = len(inputs) * WORKING
        self.room(0.0, working_bytes, start_s)
        cost = self.cost.gated(len(inputs), 2, [len(units) for units in touched])
        t_s, stall_s = start_s, 0.0
        for layer, units in enumerate(touched):
            for unit in units:
                if unit in self.order:
                    self.order.remove(unit)
                    self.uses[unit] += 1
                else:
                    self.room(UNIT, working_bytes, t_s)
                    t_s, stall_s = t_s + FETCH_S, stall_s + FETCH_S
                    self.log.append((*unit, t_s, "fetch"))
                    self.uses[unit] = 1
                self.order.append(unit)
                self.done += 1
                t_s += cost.per_layer_s[layer] / len(units)
        return t_s, stall_s


CASES = [(1.0, 1), (3.0, 1), (5.5, 4), (7.0, 1), (8.0, 3)]
STREAMING = [
    *((units, size, cache) for units, size in CASES for cache in ("lru", "lfu")),
    # in batches of more than one nobody can know who will travel together
    *((units, 1, "belady") for units in (1.0, 2.0, 3.0, 5.0, 7.0)),
]


@pytest.mark.parametrize(("units", "size", "cache"), STREAMING)
def test_one_server_streams_as_the_replay_does(units: float, size: int, cache: str) -> None:
    world, seen = streaming(units, size, cache=cache)
    table = seen["requests"]
    done = np.flatnonzero(~np.isnan(table["t_finish_s"]))
    assert len(done) > 50
    rows = [np.flatnonzero(table["batch"] == batch) for batch in np.unique(table["batch"][done])]
    replay = Replay(
        world, [(float(table["t_start_s"][m[0]]), table["input"][m].tolist()) for m in rows]
    )
    for members, (end_s, stall_s) in zip(rows, replay.run(), strict=True):
        np.testing.assert_allclose(table["t_finish_s"][members], end_s, rtol=0, atol=1e-9)
        np.testing.assert_allclose(table["stall_s"][members], stall_s, rtol=0, atol=1e-9)
    log = seen["residency"]
    assert len(log["t_s"]) == len(replay.log)
    events = np.array(["fetch", "evict", "wipe"])[log["event"]]
    for row, (layer, expert, t_s, event) in enumerate(replay.log):
        found = (int(log["layer"][row]), int(log["expert"][row]), str(events[row]))
        assert found == (layer, expert, event)
        assert log["t_s"][row] == pytest.approx(t_s, abs=1e-9)


def fetches(units: float, size: int, cache: str) -> int:
    return int((streaming(units, size, cache=cache)[1]["residency"]["event"] == 0).sum())


def test_the_bound_is_not_beaten_on_a_node_and_the_report_marks_it() -> None:
    for units in (2.0, 3.0, 5.0):
        bound = fetches(units, 1, "belady")
        assert bound < min(fetches(units, 1, "lru"), fetches(units, 1, "lfu"))
    notes = streaming(3.0, 1, cache="belady")[1].record.meta["notes"]
    assert any("know the future, on 1 node(s) from n0: a bound" in note for note in notes)
    assert not any("future" in note for note in streaming(3.0, 1)[1].record.meta["notes"])


@pytest.mark.parametrize(("servers", "size"), [(1, 4), (3, 1), (2, 3)])
def test_foresight_helps_where_it_is_a_guess_too(servers: int, size: int) -> None:
    """More servers, batches and a crash: nobody waits for ever, and misses are fewer."""
    found = {}
    for cache in ("lru", "belady"):
        node = minds.node(
            memory_bytes=BACKBONE + 4 * WORKING * servers + 5 * UNIT, cache=cache, plan=TopK(2),
            batching=Batching(size, 0.0), servers=servers,
        )  # fmt: skip
        world = minds.world(
            [node], [minds.poisson(25.0)], duration_s=6.0, drain_s=60.0,
            faults=(FaultSpec("node-crash", 0, 3.0, 0.2),),
        )  # fmt: skip
        seen = minds.run(world, minds.script(), Varied())
        laws = seen.record.meta["laws"]
        assert laws["in_flight"] == 0
        found[cache] = (seen["residency"]["event"] == 0).sum() / laws["returned"]
    assert found["belady"] < found["lru"]


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
