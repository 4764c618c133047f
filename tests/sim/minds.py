"""Small worlds with a model: round numbers for computing by hand, a router that follows a script.

One chip does 1e9 FLOP and moves 1e9 bytes in a second; one (layer, expert) is 1 MB, so that

    a merged batch of n costs 8n ms, and so does a gated one with k = 1 whatever it touches (n > 1)
    one expert comes from storage in 10 ms, all eight in 80 ms
    a merge of all experts costs 24 ms of a server
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from agents.caches import CACHES
from agents.dispatchers import DISPATCHERS
from agents.hosting.blocks import make_specs, shard_of
from agents.hosting.inline import InlineExecutor
from sim.config import (
    Architecture,
    ArrivalSpec,
    Hardware,
    MixSpec,
    ModelSpec,
    NodeSpec,
    PolicySpec,
    StreamSpec,
    World,
)
from sim.executors import HostHandle
from sim.parts import Parts
from sim.plans import ByTask, Merged, Plan, is_gated
from sim.ports import (
    BlockSetup,
    ContextBlock,
    DecisionBlock,
    FeedbackBlock,
    PlanProfile,
    Receipts,
)
from sim.records import MEMORY, Record
from sim.registry import Registry
from sim.simulation import simulate
from tests.agents.hosting.tiny import E, L, P, TinyModel, routers_of

MB = 1e6
UNIT, BACKBONE, WORKING = 1 * MB, 2 * MB, 0.1 * MB
MERGED = L * UNIT
FETCH_S, ALL_S, MERGE_S, ONE_S = 0.01, 0.08, 0.024, 0.008
SKEW = Merged((0.4, 0.3, 0.2, 0.1))
OTHER = Merged((0.1, 0.2, 0.3, 0.4))

ARCHITECTURE = Architecture(
    name="hand", layers=L, moe_layers=L, experts=E, top_k=1, expert_params=UNIT,
    backbone_params=BACKBONE, tokens_per_request=1.0, bytes_per_param=1.0,
    activation_bytes=WORKING,
)  # fmt: skip


def chip(memory_bytes: float = 100 * MB, **fields: Any) -> Hardware:
    base = Hardware(
        name="chip", flop_per_s=1e9, bytes_per_s=1e9, memory_bytes=memory_bytes,
        storage_bytes_per_s=1e8, storage_delay_s=0.0, kernel_s=0.0, idle_w=1.0, busy_w=3.0,
    )  # fmt: skip
    return replace(base, **fields)


class Varied(TinyModel):
    """The tiny model with gate choices that differ by input and layer."""

    def profile(self, plan: Plan) -> PlanProfile:
        assert is_gated(plan)
        rng = np.random.default_rng(plan.k)
        first, second = rng.integers(0, E, (P, L)), rng.integers(0, E, (P, L))
        masks = (1 << first) | (1 << second if plan.k > 1 else 0)
        if isinstance(plan, ByTask):
            expert = np.array(plan.experts)[self.cluster_of]
            masks = np.repeat(1 << expert[:, None], L, axis=1)
        return PlanProfile(masks.astype(np.uint64), np.arange(P) % 3 > 0, np.full(P, 0.5))


class Scripted:
    """Decides what its parameters say: `plans[slot]`, or `plans[slot][node]`; keeps otherwise.

    `flop`, `read_bytes` and `state_bytes` are what each decision costs; `state_from[slot]` is added
    to the state in one slot. `mail[slot]` are messages to send.
    """

    oracle: ClassVar[bool] = False
    learns: ClassVar[bool] = True

    def __init__(self, setup: BlockSetup) -> None:
        self.setup = setup
        self.learned: list[FeedbackBlock] = []
        self.seen: list[ContextBlock] = []

    def update_block(self, feedback: FeedbackBlock) -> None:
        self.learned.append(feedback)

    def decide_block(self, context: ContextBlock) -> DecisionBlock:
        self.seen.append(context)
        script, n = self.setup.params, len(self.setup.nodes)
        chosen = script.get("plans", {}).get(context.slot)
        plans: list[Plan | None] = [chosen] * n
        if isinstance(chosen, Mapping):
            plans = [chosen.get(node) for node in self.setup.nodes.tolist()]
        cost = [np.full(n, float(script.get(name, 0.0))) for name in _COSTS]
        cost[3] += script.get("state_from", {}).get(context.slot, 0.0)
        up = set(self.setup.nodes[context.active].tolist())
        mail = [m for m in script.get("mail", {}).get(context.slot, ()) if m.src in up]
        return DecisionBlock(plans, Receipts(*cost), np.zeros(n, np.bool_), outbox=mail)


class Deaf(Scripted):
    """Decides by its script and declares that it learns nothing."""

    learns: ClassVar[bool] = False


_COSTS = ("flop", "read_bytes", "moved_bytes", "state_bytes")

ROUTERS = Registry(
    "router",
    {
        "deaf": "tests.sim.minds:Deaf",
        "scripted": "tests.sim.minds:Scripted",
        "listener": "tests.agents.hosting.tiny:Listener",
        "still": "tests.agents.hosting.tiny:Still",
    },
)


def script(plans: Mapping[int, Any] | None = None, **params: Any) -> PolicySpec:
    return PolicySpec("scripted", "scripted", {"plans": plans or {}, **params})


def node(number: int = 0, memory_bytes: float = 100 * MB, **fields: Any) -> NodeSpec:
    hardware = fields.pop("hardware", chip(memory_bytes))
    return NodeSpec(id=number, name=f"n{number}", group="edge", hardware=hardware, **fields)


def timed(times_s: Sequence[float], at: int = 0, **fields: Any) -> StreamSpec:
    """Return a stream that emits at given times."""
    arrivals = ArrivalSpec("trace", times_s=tuple(times_s))
    return StreamSpec(at, f"stream-{at}", at, arrivals, MixSpec("uniform"), **fields)


def poisson(rate: float, at: int = 0, **fields: Any) -> StreamSpec:
    return StreamSpec(
        at, f"stream-{at}", at, ArrivalSpec("poisson", rate), MixSpec("uniform"), **fields
    )


def world(
    nodes: Sequence[NodeSpec], streams: Sequence[StreamSpec], duration_s: float = 5.0, **fields: Any
) -> World:
    base = World(
        name="minds", seed=1, duration_s=duration_s, drain_s=5.0, slot_s=1.0, nodes=tuple(nodes),
        links=(), streams=tuple(streams), model=ModelSpec("tiny", ARCHITECTURE), regret_sample=1.0,
    )  # fmt: skip
    return replace(base, **fields)


@dataclass
class Seen:
    """A run and the hosts that took part in it."""

    record: Record
    hosts: list[HostHandle]

    def __getitem__(self, table: str) -> dict[str, np.ndarray]:
        return self.record.tables[table]

    @property
    def router(self) -> Any:
        return routers_of(self.hosts[0])[0]


def run(
    world: World, policy: PolicySpec, model: TinyModel | None = None, *, shards: int = 1,
    block_size: int = 4, strict: bool = False,
) -> Seen:  # fmt: skip
    model = model or TinyModel()
    executor = InlineExecutor(strict=strict, load=lambda *_: model, routers=ROUTERS)
    specs = make_specs(world, policy, shards=shards, block_size=block_size)
    hosts = executor.start(specs)
    owner = [shard_of(n.id, len(specs), block_size) for n in world.nodes]
    parts = Parts(DISPATCHERS.load, CACHES.load, hosts, owner, model.card)
    return Seen(simulate(world, policy, parts), list(hosts))


def category(seen: Seen, name: str, at: int = 0) -> list[tuple[float, float]]:
    """Return the (time, MB) changes of one category of a node's memory."""
    table = seen["memory"]
    mine = (table["node"] == at) & (table["category"] == MEMORY.index(name))
    rows = zip(table["t_s"][mine].tolist(), table["bytes"][mine].tolist(), strict=True)
    return [(t_s, round(size_bytes / MB, 6)) for t_s, size_bytes in rows]
