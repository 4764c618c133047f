"""The router of one block: what it is told, and what leaves of what it says.

The oracle boundary runs through this file: a router gets estimated clusters and audited rewards;
the true mix and the oracle table go only to routers whose class declares `oracle = True`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from agents.hosting.feedback import screen
from sim.errors import HostError, InputError
from sim.plans import Blend, ByTask, Merged, Plan, Single, TopK
from sim.ports import (
    BlockSetup,
    ContextBlock,
    DecisionBlock,
    FeedbackBlock,
    HostSpec,
    Message,
    ModelCard,
    NodeDecision,
    Receipts,
    Router,
    StepInput,
)

if TYPE_CHECKING:
    from agents.hosting.model import HostedModel
    from agents.hosting.monitor import Watch
    from sim.arrays import FloatArray, IntArray
    from sim.refusals import Refusal
    from sim.registry import Registry

Row: TypeAlias = Mapping[str, float | int | str]


@dataclass(frozen=True, slots=True)
class Steered:
    """What one block's router decided at one boundary."""

    decisions: Sequence[NodeDecision]
    telemetry: Sequence[Row]
    outbox: Sequence[Message] = ()


class Steering:
    """One router object over the routed nodes of one block.

    Args:
        spec: The host that the block lives in.
        block: Id of the block.
        nodes: Its routed nodes, ascending.
        model: Calibration for every router, the oracle table for declared oracles.
        routers: Where the policy's router is looked up.

    Raises:
        UnknownName: No such router.
        InputError: An oracle router meets a checkpoint without an oracle table.
    """

    def __init__(
        self,
        spec: HostSpec,
        block: int,
        nodes: IntArray,
        model: HostedModel,
        routers: Registry,
    ) -> None:
        self.nodes, self._name, self._model = nodes, spec.policy.kind, model
        make = routers.load(spec.policy.kind)
        self._oracle, self.learns = bool(make.oracle), bool(make.learns)
        if self._oracle and model.oracle is None:
            raise InputError(
                f"router {self._name!r} is an oracle, but checkpoint {spec.checkpoint!r} "
                f"has no oracle table"
            )
        self._router: Router = make(_setup(spec, block, nodes, model, self._oracle))

    def learn(self, feedback: FeedbackBlock | None) -> list[Refusal]:
        """Hand feedback over, if there is any; return what was no feedback, and was kept back."""
        told, refused = screen(feedback, self.nodes)
        if told is not None:
            self._router.update_block(told)
        return refused

    def decide(self, step: StepInput, watch: Watch) -> Steered:
        """Ask for the plans of the slot that opens.

        Args:
            step: The boundary.
            watch: What the monitor saw of the last slot.

        Raises:
            HostError: The router's answer breaks its contract.
        """
        active = np.isin(self.nodes, step.active)
        context = ContextBlock(
            slot=step.slot,
            t_s=step.t_s,
            active=active,
            counts=watch.counts,
            reset=np.isin(self.nodes, step.reset),
            true_mix=step.true_mix[self.nodes] if self._oracle else None,
            inbox=[message for message in step.inbox if message.dst in self.nodes],
            renewed=watch.renewed,
        )
        block = self._router.decide_block(context)
        self._check(block, step.slot)
        mixes = self._task_mixes(block.mix, watch, step.slot)
        # a router that keeps an estimate of the mix pays for the monitor that works for it
        own = watch.cost if block.mix is not None else Receipts.free(len(self.nodes))
        rows = np.flatnonzero(active).tolist()
        return Steered(
            [self._decision(block, own, row, mixes[row]) for row in rows],
            self._rows(block, watch, step.slot),
            self._outbox(block, context, step),
        )

    def _decision(
        self, block: DecisionBlock, own: Receipts, row: int, mix: tuple[float, ...] | None
    ) -> NodeDecision:
        """Collect one node's decision; `own` is what the host adds to its costs."""
        said = block.receipts
        return NodeDecision(
            node=int(self.nodes[row]),
            plan=block.plans[row],
            flop=float(said.flop[row] + own.flop[row]),
            read_bytes=float(said.read_bytes[row] + own.read_bytes[row]),
            moved_bytes=float(said.moved_bytes[row] + own.moved_bytes[row]),
            state_bytes=float(said.state_bytes[row] + own.state_bytes[row]),
            explored=bool(block.explored[row]),
            task_mix=mix,
        )

    def _task_mixes(
        self, mix: FloatArray | None, watch: Watch, slot: int
    ) -> Sequence[tuple[float, ...] | None]:
        """Carry estimates over clusters, (n, V), to tasks; None for a node without an estimate."""
        if mix is None:
            return [None] * len(self.nodes)
        self._finite("mix", mix, slot)
        # row by row: a matrix product over rows may round differently when other rows join
        pairs = zip(mix, watch.to_task, strict=True)
        return [_normalised(row, to_task) for row, to_task in pairs]

    def _rows(self, block: DecisionBlock, watch: Watch, slot: int) -> Sequence[Row]:
        nodes = [int(self.nodes[row]) for row in watch.refitted]
        own: list[Row] = [
            {"table": "drift", "slot": slot, "node": node, "kind": "recluster"} for node in nodes
        ]
        for row in block.telemetry:
            if row.get("table") not in ("tree", "drift") or row.get("node") not in self.nodes:
                raise self._broken(
                    slot, f"telemetry row {dict(row)} lacks its table or one of its nodes"
                )
        return [*own, *({"slot": slot, **row} for row in block.telemetry)]

    def _outbox(
        self, block: DecisionBlock, context: ContextBlock, step: StepInput
    ) -> Sequence[Message]:
        up = self.nodes[context.active]
        for message in block.outbox:
            size_bytes = message.size_bytes
            if message.src not in up or not 0 <= message.dst < len(step.true_mix):
                raise self._broken(
                    step.slot, f"message from {message.src} to {message.dst}: not its node, or none"
                )
            if not (math.isfinite(size_bytes) and size_bytes >= 0):
                raise self._broken(step.slot, f"message of {size_bytes} bytes")
        return block.outbox

    def _check(self, block: DecisionBlock, slot: int) -> None:
        n, work = len(self.nodes), block.receipts
        if len(block.plans) != n or len(block.explored) != n:
            raise self._broken(slot, f"{len(block.plans)} plans for {n} nodes")
        for name in ("flop", "read_bytes", "moved_bytes", "state_bytes"):
            self._finite(name, getattr(work, name), slot)
        for plan in block.plans:
            if plan is None:
                continue
            if reads_tasks(plan) and not self._oracle:
                raise self._broken(slot, f"{plan} reads true tasks; declare `oracle = True`")
            if not _runnable(plan, self._model.card):
                raise self._broken(slot, f"{plan} does not fit {self._model.card.experts} experts")

    def _finite(self, name: str, values: FloatArray, slot: int) -> None:
        if len(values) != len(self.nodes):
            raise self._broken(slot, f"{len(values)} rows of {name} for {len(self.nodes)} nodes")
        bad = ~(np.isfinite(values) & (values >= 0)).reshape(len(values), -1).all(axis=1)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise self._broken(slot, f"{name} of node {self.nodes[row]} is {values[row]}")

    def _broken(self, slot: int, what: str) -> HostError:
        return HostError(f"router {self._name!r}, slot {slot}: {what}")


def _setup(
    spec: HostSpec, block: int, nodes: IntArray, model: HostedModel, oracle: bool
) -> BlockSetup:
    return BlockSetup(
        nodes=nodes,
        block=block,
        experts=model.card.experts,
        clusters=model.card.clusters,
        layers=model.card.layers,
        slot_s=spec.slot_s,
        seed=spec.seed,
        calibration=model.calibration,
        params=spec.policy.params,
        oracle=model.oracle if oracle else None,
        pooled=spec.pooled,
        swap_s=_swap_s(spec, nodes),
    )


def _swap_s(spec: HostSpec, nodes: IntArray) -> FloatArray | None:
    if not spec.swap_s:
        return None
    known = dict(zip(spec.routed, spec.swap_s, strict=True))
    return np.array([known[node] for node in nodes.tolist()])


def reads_tasks(plan: Plan) -> bool:
    """Tell whether a plan serves requests by their hidden task, as only oracles may."""
    return isinstance(plan, ByTask) and plan.tags == "task"


def _runnable(plan: Plan, card: ModelCard) -> bool:
    experts = card.experts
    match plan:
        case TopK(k=k):
            return k <= experts
        case Single(expert=expert):
            return 0 <= expert < experts
        case Merged(weights=weights):
            return len(weights) == experts
        case ByTask(experts=chosen, tags=tags):
            kinds = card.clusters if tags == "cluster" else len(card.tasks)
            return len(chosen) == kinds and all(0 <= expert < experts for expert in chosen)
        case Blend(k=k):
            return k <= experts


def _normalised(mix: FloatArray, to_task: FloatArray) -> tuple[float, ...] | None:
    tasks = (mix[:, None] * to_task).sum(axis=0)
    total = math.fsum(tasks.tolist())
    return tuple((tasks / total).tolist()) if total > 0 else None
