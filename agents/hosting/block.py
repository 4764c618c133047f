"""One block of nodes in a host: scorer, pending outcomes and router, stepped together.

Everything here depends on the block's own nodes and history, so a block behaves alike in any shard.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from agents.hosting.feedback import NOBODY, Outcomes, Pending, group, refuse
from agents.hosting.monitor import Monitor
from agents.hosting.scoring import Asked
from sim.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from agents.hosting.model import HostedModel
    from agents.hosting.monitor import Watch
    from agents.hosting.scoring import BlockScorer
    from agents.hosting.steering import Row, Steering
    from sim.arrays import BoolArray, FloatArray, IntArray
    from sim.plans import Plan
    from sim.ports import (
        FeedbackBlock,
        HostSpec,
        Message,
        NewPlan,
        NodeDecision,
        Served,
        StepInput,
    )
    from sim.refusals import Refusal


@dataclass(frozen=True, slots=True)
class BlockReply:
    """What one block answers at one boundary."""

    correct: BoolArray  # (R,), in the order of the block's served requests
    answered: int  # how many of the ids due were this block's
    decisions: Sequence[NodeDecision] = ()
    telemetry: Sequence[Row] = ()
    outbox: Sequence[Message] = ()
    refused: Sequence[Refusal] = ()


class Block:
    """The state of one block of nodes.

    Args:
        nodes: All its nodes, ascending.
        model: The model that its nodes run.
        scorer: Scores its requests.
        steering: Its router, or None when every node has a fixed plan.
        spec: The host that it lives in.
    """

    def __init__(
        self,
        nodes: IntArray,
        model: HostedModel,
        scorer: BlockScorer,
        steering: Steering | None,
        spec: HostSpec,
    ) -> None:
        self.nodes, self.scorer = nodes, scorer
        self._model, self._steering, self._pooled = model, steering, spec.pooled
        routed = steering.nodes if steering else np.zeros(0, np.int64)
        self._row = {node: row for row, node in enumerate(routed.tolist())}
        self._pending = Pending(len(routed))
        # who learns nothing hears of no cluster, and pays for none
        refit = spec.clusters.refit and steering is not None and steering.learns
        self._monitor = Monitor(model, len(routed), refit=refit)
        self._plans: dict[tuple[int, int], Plan] = {}

    def register(self, new: NewPlan) -> None:
        """Remember which plan a decision became.

        Raises:
            HostError: The same decision was registered with another plan.
        """
        row = self._row.get(new.node)
        if row is None:
            return
        known = self._plans.setdefault((row, new.decided), new.plan)
        if known != new.plan:
            raise HostError(
                f"node {new.node}, decision of slot {new.decided}: "
                f"registered as {known}, then as {new.plan}"
            )

    def step(self, step: StepInput, served: Served, plans: Mapping[int, NewPlan]) -> BlockReply:
        """Score the block's requests, let its router learn, and ask it for plans.

        Args:
            step: The shard's boundary; its `served` is not read.
            served: The block's part of it.
            plans: Plans by id.
        """
        reward = self._score(served, plans)
        correct = reward >= 0.5  # a broken model's NaN is wrong
        self._hold(served, _spoil(served.id, reward, step), plans)
        for node in step.reset.tolist():
            if node in self._row:
                self._pending.reset(self._row[node], step.slot)
                self._monitor.restart(self._row[node])
        watch = self._watch(step, served)
        self._pending.forget(step.lost)
        due = self._pending.take(step.feedback)
        if self._steering is None:
            return BlockReply(correct, len(due))
        heard, refused = refuse(due, self._steering.nodes)
        refused += self._steering.learn(self._group(heard, step.slot))
        steered = self._steering.decide(step, watch)
        nodes = sorted({refusal.node for refusal in refused})
        rows: list[Row] = [
            {"table": "drift", "slot": step.slot, "node": node, "kind": "refused"} for node in nodes
        ]
        return BlockReply(
            correct,
            len(due),
            steered.decisions,
            [*rows, *steered.telemetry],
            steered.outbox,
            refused,
        )

    def _watch(self, step: StepInput, served: Served) -> Watch:
        """Let the monitor see what was served; feedback of clusters that it renews is void."""
        nodes = np.array(list(self._row), np.int64)
        awake = np.isin(nodes, step.active) & ~np.isin(nodes, step.reset)
        watch = self._monitor.observe(self._rows(served.node), served.input, awake)
        if watch.renewed is not None:
            for row in watch.refitted:
                self._pending.void(row, watch.renewed[row])
        return watch

    def _group(self, due: Outcomes, slot: int) -> FeedbackBlock | None:
        clusters = self._model.card.clusters
        return group(due, slot, clusters, self._plans, pooled=self._pooled)

    def _score(self, served: Served, plans: Mapping[int, NewPlan]) -> FloatArray:
        reward = np.zeros(len(served.id))
        groups = list(_groups(served))
        asked = [
            Asked(plans[int(served.plan_id[rows[0]])], served.input[rows], served.batch[rows])
            for rows in groups
        ]
        for rows, right in zip(groups, self.scorer.score(asked), strict=True):
            reward[rows] = right
        return reward

    def _hold(self, served: Served, reward: FloatArray, plans: Mapping[int, NewPlan]) -> None:
        audited = np.flatnonzero(served.audited)
        decided = [plans[plan].decided for plan in served.plan_id[audited].tolist()]
        row = self._rows(served.node[audited])
        self._pending.add(
            Outcomes(
                id=served.id[audited],
                row=row,
                decided=np.array(decided, np.int64),
                cluster=self._monitor.assign(row, served.input[audited]),
                reward=reward[audited],
            )
        )

    def _rows(self, nodes: IntArray) -> IntArray:
        return np.array([self._row.get(node, NOBODY) for node in nodes.tolist()], np.int64)


def _spoil(ids: IntArray, reward: FloatArray, step: StepInput) -> FloatArray:
    """Return the rewards of requests as faults have made them."""
    hit = np.isin(ids, step.spoiled)
    if not hit.any():
        return reward
    told = reward.copy()
    told[hit] = step.spoiled_reward[np.searchsorted(step.spoiled, ids[hit])]
    return told


def _groups(served: Served) -> Iterator[IntArray]:
    """Yield row numbers per (node, plan id), both ascending, each sorted by request id."""
    if not len(served.id):
        return
    order = np.lexsort((served.id, served.plan_id, served.node))
    node, plan = served.node[order], served.plan_id[order]
    cuts = np.flatnonzero((np.diff(node) != 0) | (np.diff(plan) != 0)) + 1
    yield from np.split(order, cuts)
