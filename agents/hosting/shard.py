"""A shard: the host of whole blocks of nodes, one `step` per slot boundary."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from agents.hosting.block import Block
from agents.hosting.model import HostedModel, load_model
from agents.hosting.regret import Assessor
from agents.hosting.scoring import BlockScorer, PoolScores
from agents.hosting.state import pack, unpack
from agents.hosting.steering import Steering, reads_tasks
from agents.hosting.threads import one_thread
from agents.routers import ROUTERS
from sim.errors import HostError
from sim.ports import (
    AssessInput,
    AssessReply,
    HostSpec,
    ModelCard,
    NewPlan,
    PlanProfile,
    Served,
    StepInput,
    StepReply,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sim.arrays import IntArray
    from sim.plans import Plan
    from sim.registry import Registry

_FOREIGN = -1
# parts of a model that blocks refer to
_LASTING = (
    "card", "calibration", "oracle", "embeddings", "centroids", "cluster_of", "cluster_to_task",
    "task_of",
)  # fmt: skip


class Shard:
    """Keeps the model and the router state of whole blocks of nodes.

    Args:
        spec: What it hosts.
        runtime: The model; None loads `spec.checkpoint`.
        routers: Where the policy's router is looked up.
    """

    def __init__(
        self,
        spec: HostSpec,
        runtime: HostedModel | None = None,
        routers: Registry = ROUTERS,
    ) -> None:
        one_thread()  # before libraries load, so that they start with one thread
        self._spec = spec
        self._listens = bool(routers.load(spec.policy.kind).learns)
        self._model = runtime if runtime is not None else load_model(spec.checkpoint, spec.clusters)
        self._pool = PoolScores(self._model)
        self._plans: dict[int, NewPlan] = {}
        self._block_of = np.full(spec.all_nodes, _FOREIGN, np.int64)
        self._blocks = [self._block(*block, routers) for block in spec.blocks]
        for position, block in enumerate(self._blocks):
            self._block_of[block.nodes] = position
        self._assessor = Assessor(self._model, self._pool, spec.seed, spec.regret_sample)
        one_thread()  # and again for those that the model and the routers have loaded

    def describe(self) -> ModelCard:
        """Return the card of the checkpoint."""
        return self._model.card

    def listens(self) -> bool:
        """Tell whether the policy's router learns from feedback."""
        return self._listens

    def profile(self, plan: Plan) -> PlanProfile:
        """Score a gated plan over the whole service pool, once."""
        return self._pool.profile(plan)

    def step(self, step: StepInput) -> StepReply:
        """Score what was served, let routers learn what is due, and decide the next plans.

        Raises:
            HostError: The input names a node, plan or request that is not this shard's, or a router
                broke its contract.
        """
        self._register(step.plans)
        served = step.served
        position = self._position(served.node)
        correct = np.zeros(len(served.id), np.bool_)
        replies = []
        for index, block in enumerate(self._blocks):
            rows = np.flatnonzero(position == index)
            reply = block.step(step, _part(served, rows), self._plans)
            correct[rows] = reply.correct
            replies.append(reply)
        self._account(step, sum(reply.answered for reply in replies))
        decisions = [decision for reply in replies for decision in reply.decisions]
        telemetry = [row for reply in replies for row in reply.telemetry]
        outbox = [message for reply in replies for message in reply.outbox]
        refused = [refusal for reply in replies for refusal in reply.refused]
        return StepReply(
            correct=correct,
            decisions=sorted(decisions, key=lambda decision: decision.node),
            telemetry=sorted(telemetry, key=lambda row: int(row["node"])),
            outbox=sorted(outbox, key=lambda message: message.src),
            refused=sorted(refused, key=lambda refusal: refusal.node),
        )

    def assess(self, query: AssessInput) -> AssessReply:
        """Measure node-slots for regret: never seen by routers."""
        return self._assessor.assess(query, self._blocks, self._plans)

    def snapshot(self) -> bytes:
        """Return all state that later answers depend on; what only saves time is left out."""
        return pack((self._plans, self._blocks), self._lasting())

    def restore(self, snapshot: bytes) -> None:
        """Take the state of another shard of the same spec: the next answers are that one's."""
        self._plans, self._blocks = unpack(snapshot, self._lasting())

    def _lasting(self) -> dict[str, Any]:
        """Return what every shard of this spec has: it is named in snapshots, not copied."""
        model = self._model
        lasting = {"spec": self._spec, "model": model, "pool": self._pool}
        return {**lasting, **{name: getattr(model, name) for name in _LASTING}}

    def _block(self, block: int, members: tuple[int, ...], routers: Registry) -> Block:
        nodes = np.array(members, np.int64)
        routed = nodes[np.isin(nodes, np.array(self._spec.routed, np.int64))]
        steering = None
        if len(routed):
            steering = Steering(self._spec, block, routed, self._model, routers)
        scorer = BlockScorer(self._model, self._pool)
        return Block(nodes, self._model, scorer, steering, self._spec)

    def _register(self, plans: Iterable[NewPlan]) -> None:
        for new in plans:
            if new.decided < 0 and reads_tasks(new.plan):
                raise HostError(
                    f"node {new.node}: fixed plan {new.plan} reads true tasks; only a router that"
                    " declares `oracle = True` may"
                )
            self._plans[new.plan_id] = new
            position = int(self._position(np.array([new.node]))[0])
            self._blocks[position].register(new)

    def _position(self, nodes: IntArray) -> IntArray:
        """Return the position of each node's block in this shard."""
        position = self._block_of[nodes]
        if (position == _FOREIGN).any():
            node = int(nodes[np.flatnonzero(position == _FOREIGN)[0]])
            raise HostError(
                f"shard {self._spec.shard} was sent node {node}, which it does not host"
            )
        return position

    def _account(self, step: StepInput, answered: int) -> None:
        if answered != len(step.feedback):
            raise HostError(
                f"shard {self._spec.shard}, slot {step.slot}: feedback is due for "
                f"{len(step.feedback)} requests, but only {answered} of them were served here, "
                f"audited, and not answered before"
            )


def _part(served: Served, rows: IntArray) -> Served:
    return Served(*(getattr(served, field.name)[rows] for field in fields(served)))
