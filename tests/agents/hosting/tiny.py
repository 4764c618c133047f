"""A small model in plain numpy, two routers that show what they were told, and a small engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, ClassVar

import numpy as np

from agents.hosting.blocks import make_specs, shard_of
from agents.hosting.model import HostedModel
from sim.arrays import BoolArray, FloatArray, IntArray
from sim.config import ClusterSpec, Hardware, ModelSpec, NodeSpec, PolicySpec, World
from sim.executors import Executor, HostHandle
from sim.plans import Blend, ByTask, Merged, Plan, Single, TopK, is_gated, uniform
from sim.ports import (
    AssessInput,
    AssessReply,
    BlockSetup,
    Calibration,
    ContextBlock,
    DecisionBlock,
    FeedbackBlock,
    ModelCard,
    NewPlan,
    NodeDecision,
    Oracle,
    PlanProfile,
    Receipts,
    Served,
    StepInput,
    StepReply,
)
from sim.registry import Registry

E, L, M, V, D = 4, 2, 3, 3, 6
SHIPPED = ClusterSpec()
POOL = (30, 20, 25)
P = sum(POOL)
FAVOURITE = Merged((0.1, 0.2, 0.3, 0.4))
_MOST = 24  # requests of a node and slot

TINY_ROUTERS = Registry(
    "router",
    {
        "listener": "tests.agents.hosting.tiny:Listener",
        "blind": "tests.agents.hosting.tiny:Blind",
        "broken": "tests.agents.hosting.tiny:Broken",
        "deaf": "tests.agents.hosting.tiny:Deaf",
        "frugal": "tests.agents.hosting.tiny:Frugal",
        "peeker": "tests.agents.hosting.tiny:Peeker",
        "still": "tests.agents.hosting.tiny:Still",
    },
)


class TinyModel:
    """Answers right where a merge is close enough to what the input wants.

    Args:
        moody: Let every answer depend on all inputs scored with it: grouping by shard shows.
        table: Ship an oracle table.
    """

    def __init__(self, moody: bool = False, table: bool = True) -> None:
        rng = np.random.default_rng(7)
        self.moody = moody
        self.task_of = np.repeat(np.arange(M), POOL)
        self.cluster_of = (self.task_of + (rng.random(P) < 0.3)) % V
        self.cluster_to_task = np.full((V, M), 0.1) + 0.7 * np.eye(V, M)
        self.wants = rng.dirichlet(np.full(E, 0.7), P)
        self.centroids = 10.0 * np.eye(V, D)
        self.embeddings = self.centroids[self.cluster_of]
        self.embeddings += np.random.default_rng(8).standard_normal((P, D))
        self.card = ModelCard(
            name="tiny", suite="none", experts=E, layers=L, tasks=("a", "b", "c"), clusters=V,
            d_model=2, d_ff=2, tokens=1, backbone_params=1, expert_params=1, bytes_per_param=4,
            pool_sizes=POOL, digest="0",
        )  # fmt: skip
        w = rng.dirichlet(np.ones(E), 5)
        self.calibration = Calibration(w, rng.random((5, V)), np.full(V, 9.0), np.full(V, 1 / V))
        self.oracle = Oracle(w, rng.random((5, M)), np.full((M, E), 1 / E)) if table else None
        self.calls: list[tuple[str, Any]] = []

    def score_merged(
        self, weights: Sequence[float], inputs: IntArray
    ) -> tuple[BoolArray, FloatArray]:
        self.calls.append(("score_merged", (tuple(weights), inputs.tolist())))
        near = 1.0 - np.abs(self.wants[inputs] - np.asarray(weights)).sum(axis=1) / 2.0
        if self.moody:
            mood = blake2b(np.ascontiguousarray(inputs).tobytes(), digest_size=8).digest()
            near = (
                near + int.from_bytes(mood, "little") / 2**64 + np.arange(len(inputs)) * 0.37
            ) % 1
        return near > 0.5, near

    def profile(self, plan: Plan) -> PlanProfile:
        self.calls.append(("profile", plan))
        assert is_gated(plan)
        right = np.arange(P) % (plan.k + 2) > 0
        return PlanProfile(np.full((P, L), 1 << plan.k % E, np.uint64), right, np.full(P, 0.5))

    def score_batch(self, plan: TopK, inputs: IntArray) -> BoolArray:
        self.calls.append(("score_batch", (plan, inputs.tolist())))
        mood = blake2b(np.ascontiguousarray(inputs).tobytes(), digest_size=8).digest()
        return (int.from_bytes(mood, "little") % 2**60 >> np.arange(len(inputs))) % 3 > 0

    def task_accuracy(self, weights: Sequence[float], task: int) -> float:
        self.calls.append(("task_accuracy", (tuple(weights), task)))
        near = 1.0 - np.abs(self.wants - np.asarray(weights)).sum(axis=1) / 2.0
        return float((near > 0.5)[self.task_of == task].mean())


def load_tiny(reference: str, clusters: ClusterSpec = SHIPPED) -> TinyModel:
    return TinyModel(moody=reference == "moody", table=reference != "tableless")


class Listener:
    """Hashes all that it is told, per node; its plans, costs and telemetry follow from the hash."""

    oracle: ClassVar[bool] = False
    learns: ClassVar[bool] = True

    def __init__(self, setup: BlockSetup) -> None:
        self.setup = setup
        self.heard = [b""] * len(setup.nodes)
        self.learned: list[FeedbackBlock] = []
        self.seen: list[ContextBlock] = []

    def _hear(self, row: int, *parts: object) -> None:
        text = self.heard[row] + repr(parts).encode()
        self.heard[row] = blake2b(text, digest_size=8).digest()

    def update_block(self, feedback: FeedbackBlock) -> None:
        self.learned.append(feedback)
        for i, row in enumerate(feedback.row.tolist()):
            told = feedback.reward[i].tolist(), feedback.count[i].tolist()
            self._hear(row, feedback.slot, int(feedback.decided[i]), feedback.plans[i], told)

    def decide_block(self, context: ContextBlock) -> DecisionBlock:
        self.seen.append(context)
        for row in range(len(self.heard)):
            if context.reset[row]:
                self.heard[row] = b""
            mix = None if context.true_mix is None else context.true_mix[row].tolist()
            self._hear(row, int(self.setup.nodes[row]), context.counts[row].tolist(), mix)
        seeds = np.array([int.from_bytes(h, "little") % 2**32 for h in self.heard], np.float64)
        nodes = self.setup.nodes.tolist()
        return DecisionBlock(
            plans=[self._plan(int(s)) for s in seeds],
            receipts=Receipts(seeds, seeds + 1, seeds * 0, seeds * 0 + 8),
            explored=seeds % 2 == 0,
            mix=context.counts + 0.5,
            telemetry=[
                {"table": "drift", "node": n, "kind": "detected"}
                for n, s in zip(nodes, seeds, strict=True)
                if s % 3 == 0
            ],
        )

    def _plan(self, seed: int) -> Plan | None:
        rng = np.random.default_rng(seed)
        kind = int(rng.integers(8))
        fixed: dict[int, Plan | None] = {0: None, 1: TopK(seed % 2 + 1), 2: Single(seed % E)}
        # a favourite recurs until a block has asked it often enough to look it up
        fixed |= {3: FAVOURITE, 4: FAVOURITE}
        by_task: tuple[Plan, ...] = (ByTask((0, 1, seed % E)), Blend(seed % E + 1))
        fixed |= {5: TopK(1, capacity=1.25), 6: by_task[seed % 2]}
        return fixed.get(kind, Merged(tuple(rng.dirichlet(np.ones(E)).tolist())))


class Peeker(Listener):
    """The same, as a declared oracle."""

    oracle: ClassVar[bool] = True
    learns: ClassVar[bool] = True


class Still(Listener):
    """Keeps every plan, listens all the same."""

    def _plan(self, seed: int) -> Plan | None:
        return None


class Frugal(Listener):
    """Keeps every plan at no cost of its own, and estimates the mix."""

    def decide_block(self, context: ContextBlock) -> DecisionBlock:
        told, n = super().decide_block(context), len(context.active)
        return DecisionBlock([None] * n, Receipts.free(n), told.explored, self._mix(told))

    def _mix(self, told: DecisionBlock) -> FloatArray | None:
        return told.mix


class Blind(Frugal):
    """The same without an estimate."""

    def _mix(self, told: DecisionBlock) -> FloatArray | None:
        return None


class Deaf(Frugal):
    """The same as the frugal one, and declares that it learns nothing."""

    learns: ClassVar[bool] = False


class Broken(Listener):
    """Breaks its contract in the way that its parameter names."""

    def decide_block(self, context: ContextBlock) -> DecisionBlock:
        good, how = super().decide_block(context), self.setup.params["how"]
        n = len(good.plans)
        bad = np.where(np.arange(n) == 1, np.nan, 1.0)
        if how == "raise":
            raise ZeroDivisionError("one over nothing")
        receipts = Receipts(bad, *[np.ones(n)] * 3) if how == "nan" else good.receipts
        wrong: dict[str, Plan] = {
            "expert": Single(E), "tags": ByTask((0,) * M, "task"), "kinds": ByTask((0,) * (V + 1)),
        }  # fmt: skip
        plans = good.plans[:-1] if how == "short" else good.plans
        plans = [wrong[how]] * n if how in wrong else plans
        mix = np.full((n, V), np.inf) if how == "mix" else good.mix
        rows: Sequence[Mapping[str, Any]] = [{"table": "drift", "node": 999}]
        rows = rows if how == "telemetry" else good.telemetry
        return DecisionBlock(plans, receipts, good.explored, mix, rows)


CHIP = Hardware("chip", 1e9, 1e9, 1e9, 1e9, 0.0, 0.0, 1.0, 2.0)


def tiny_world(checkpoint: str = "moody", sample: float = 0.5, experts: int = E) -> World:
    """Return a world of edge nodes: three have a fixed plan, the last only forwards."""
    plans: dict[int, Plan] = {3: TopK(2), 7: Single(1), 11: uniform(experts)}
    specs = tuple(
        NodeSpec(i, f"n{i}", "edge", CHIP, servers=int(i != 15), plan=plans.get(i))
        for i in range(16)
    )
    return World(
        "tiny", 5, 80.0, 0.0, 10.0, specs, (), (), model=ModelSpec(checkpoint, None),
        regret_sample=sample,
    )  # fmt: skip


@dataclass
class Transcript:
    """All that a run's hosts said, in an order that knows no shards."""

    correct: dict[int, bool] = field(default_factory=dict)
    decisions: list[tuple[int, NodeDecision]] = field(default_factory=list)
    telemetry: list[Any] = field(default_factory=list)
    assessed: dict[tuple[int, int], tuple[str, str]] = field(default_factory=dict)


@dataclass
class Engine:
    """A small engine: fixed work, plans in force at once, delayed and partial feedback, one crash.

    Ids are given in node order, so that they do not depend on the shards either.
    """

    world: World
    slots: int = 8
    block_size: int = 4
    crashed: int = 5
    down: tuple[int, ...] = (3, 4)
    model: HostedModel = field(default_factory=TinyModel)
    said: Transcript = field(default_factory=Transcript)
    due: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    fresh: list[NewPlan] = field(default_factory=list)
    in_force: dict[int, int] = field(default_factory=dict)
    log: list[tuple[int, int, int, int, int, bool]] = field(default_factory=list)

    def drive(self, executor: Executor, shards: int, kind: str = "listener") -> Transcript:
        specs = make_specs(
            self.world, PolicySpec(kind, kind), shards=shards, block_size=self.block_size
        )
        self.shards, self.handles = len(specs), executor.start(specs)
        self.nodes = sorted(node for spec in specs for _, nodes in spec.blocks for node in nodes)
        self.next_id = self.plan_count = 0
        for node in self.nodes:
            self._adopt(node, -1, self.world.nodes[node].plan or uniform(self.model.card.experts))
        for slot in range(self.slots):
            self._boundary(slot)
        self._assess()
        return self.said

    def _adopt(self, node: int, decided: int, plan: Plan) -> None:
        self.in_force[node] = self.plan_count
        self.fresh.append(NewPlan(self.plan_count, node, decided, plan))
        self.plan_count += 1

    def _owner(self, node: int) -> int:
        return shard_of(node, self.shards, self.block_size)

    def _serve(self, slot: int) -> list[tuple[int, int, int, int, bool]]:
        """Serve requests in the slot before a boundary: (id, node, input, plan id, audited)."""
        rng = np.random.default_rng([11, slot])
        served = []
        for node in self.nodes if slot else ():
            count, inputs = (
                int(rng.integers(0, _MOST)),
                rng.integers(0, self.model.card.pool_size, _MOST),
            )
            delays, audits = rng.integers(0, 4, _MOST), rng.random(_MOST) < 0.6
            if node == self.crashed and slot in self.down:
                continue
            for i in range(count):
                row = (self.next_id, node, int(inputs[i]), self.in_force[node], bool(audits[i]))
                served.append(row)
                self.next_id += 1
                if audits[i]:
                    self.due.setdefault(slot + int(delays[i]), []).append((row[0], node))
        self.log += [(slot - 1, *row) for row in served]
        return served

    def _boundary(self, slot: int) -> None:
        served, due = self._serve(slot), sorted(self.due.pop(slot, []))
        up = [n for n in self.nodes if not (n == self.crashed and slot in self.down)]
        restarted = [self.crashed] if slot == max(self.down) + 1 else []
        tasks = np.ones(len(self.model.card.tasks))
        mix = np.random.default_rng([3, slot]).dirichlet(tasks, len(self.world.nodes))
        fresh, self.fresh = self.fresh, []
        futures = []
        for shard, handle in enumerate(self.handles):
            rows = [row for row in served if self._owner(row[1]) == shard]
            step = StepInput(
                slot=slot, t_s=slot * self.world.slot_s,
                plans=[new for new in fresh if self._owner(new.node) == shard],
                served=served_of(rows),
                feedback=ints(i for i, node in due if self._owner(node) == shard),
                active=ints(n for n in up if self._owner(n) == shard),
                reset=ints(n for n in restarted if self._owner(n) == shard),
                true_mix=mix,
            )  # fmt: skip
            futures.append((rows, handle.call("step", step)))
        decisions: list[NodeDecision] = []
        telemetry: list[Any] = []
        for rows, future in futures:
            reply: StepReply = future.result()
            self.said.correct |= {r[0]: bool(c) for r, c in zip(rows, reply.correct, strict=True)}
            decisions += reply.decisions
            telemetry += [tuple(sorted(row.items(), key=str)) for row in reply.telemetry]
        self.said.telemetry += sorted(telemetry, key=str)
        for decision in sorted(decisions, key=lambda d: d.node):
            self.said.decisions.append((slot, decision))
            if decision.plan is not None:
                self._adopt(decision.node, slot, decision.plan)

    def _assess(self) -> None:
        tasks = self.model.task_of
        for shard, handle in enumerate(self.handles):
            log = [r for r in self.log if self._owner(r[2]) == shard]
            query = query_of([(r[0], r[2], r[4], int(tasks[r[3]])) for r in log])
            reply: AssessReply = handle.call("assess", query).result()
            for i, key in enumerate(zip(query.row_slot, query.row_node, strict=True)):
                values = reply.reward_best[i], reply.reward_expected[i]
                self.said.assessed[int(key[0]), int(key[1])] = (values[0].hex(), values[1].hex())


def ints(values: Any) -> IntArray:
    return np.array(list(values), np.int64)


def served_of(rows: Sequence[tuple[int, int, int, int, bool]]) -> Served:
    """Build Served from rows (id, node, input, plan id, audited), in batches of at most three."""
    columns = list(zip(*rows, strict=True)) or [()] * 5
    ids, nodes, inputs, plans = (ints(column) for column in columns[:4])
    return Served(
        ids, nodes, inputs, plans, np.array(columns[4], np.bool_), plans * 1000 + ids // 3
    )


def query_of(requests: Sequence[tuple[int, int, int, int]]) -> AssessInput:
    """Build AssessInput from requests (slot, node, plan id, task)."""
    rows = sorted({(slot, node) for slot, node, _, _ in requests})
    entries = sorted((rows.index((s, n)), plan, task) for s, n, plan, task in requests)
    keys = sorted(set(entries))
    return AssessInput(
        ints(r[0] for r in rows), ints(r[1] for r in rows), ints(k[0] for k in keys),
        ints(k[1] for k in keys), ints(k[2] for k in keys), ints(entries.count(k) for k in keys),
    )  # fmt: skip


def step_of(slot: int = 0, **parts: Any) -> StepInput:
    """Build a StepInput over 16 nodes of which all are up, with parts replaced."""
    base: dict[str, Any] = {
        "plans": (), "served": served_of([]), "feedback": ints([]), "active": np.arange(16),
        "reset": ints([]), "true_mix": np.full((16, M), 1 / M),
    }  # fmt: skip
    return StepInput(slot=slot, t_s=slot * 10.0, **(base | parts))


def routers_of(handle: HostHandle) -> list[Any]:
    """Return the router objects inside an inline handle, to see what they were told."""
    return [block._steering._router for block in handle._host._blocks if block._steering]  # type: ignore[attr-defined]
