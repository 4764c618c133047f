"""Where virtual time meets the hosts.

One call per shard and slot boundary, and one at the end to measure regret.

Wall time passes while hosts compute; simulated time does not. What a decision cost comes back as
work and is charged by the node that it is for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sim.arrays import FloatArray, IntArray
from sim.compute.inforce import InForce
from sim.compute.swap import DecisionRow, Swap, decision_s
from sim.compute.touched import Masks, as_rows
from sim.errors import HostError
from sim.plans import Gated, Plan, uniform
from sim.ports import (
    Message,
    ModelCard,
    NewPlan,
    NodeDecision,
    Served,
    StepInput,
    StepReply,
)
from sim.refusals import Refusals

if TYPE_CHECKING:
    from sim.audits import Audits
    from sim.config import World
    from sim.executors import HostHandle
    from sim.recorder import Recorder
    from sim.request import Requests

TrueMix = Callable[[int], FloatArray]  # slot -> (all nodes, M)


@dataclass(frozen=True, slots=True)
class Shards:
    """The started hosts, one per shard, and the shard of every node."""

    hosts: Sequence[HostHandle]
    shard_of: Sequence[int]


@dataclass(slots=True)
class _Box:
    """What one shard gets at the next boundary."""

    plans: list[NewPlan]
    ended: list[int]
    due: list[int]  # request ids whose feedback has arrived
    lost: list[int]  # request ids whose feedback never will
    spoiled: list[tuple[int, float]]  # request ids, and what their rewards have turned into
    reset: list[int]
    inbox: list[Message]


@dataclass(frozen=True, slots=True)
class _Made:
    """A decision, and the life of the node (it counts crashes) in which it was made."""

    plan_id: int
    decision: NodeDecision
    row: DecisionRow
    epoch: int


@dataclass(frozen=True, slots=True)
class _Due:
    """What was decided at one boundary and acts at the boundary of `slot`."""

    slot: int
    made: Sequence[_Made]
    mail: Sequence[Message]


class Profiles:
    """Gate choices of gated plans, asked once from the first host; every host says the same."""

    def __init__(self, host: HostHandle) -> None:
        self._host = host
        self._rows: dict[Gated, list[Masks]] = {}

    @property
    def plans(self) -> Sequence[Gated]:
        """Return the gated plans that were asked for, that is: that served."""
        return list(self._rows)

    def __call__(self, plan: Gated) -> list[Masks]:
        """Return the masks of every service input under a plan."""
        if plan not in self._rows:
            profile = self._host.call("profile", plan).result()
            self._rows[plan] = as_rows(profile.experts.tolist())
        return self._rows[plan]


class Coupling:
    """Exchanges outcomes, feedback and decisions with the hosts.

    Args:
        world: The run.
        card: The checkpoint.
        shards: The hosts.
        requests: Columns of all requests.
        recorder: Where decisions and telemetry go.
        true_mix: The mix of a slot by node, for oracles and metrics.
    """

    def __init__(
        self,
        world: World,
        card: ModelCard,
        shards: Shards,
        requests: Requests,
        recorder: Recorder,
        true_mix: TrueMix,
    ) -> None:
        self.world, self.card = world, card
        self.hosts, self.shard_of = shards.hosts, shards.shard_of
        self.requests, self.recorder, self.true_mix = requests, recorder, true_mix
        self.profiles = Profiles(self.hosts[0])
        self.swaps: dict[int, Swap] = {}
        self.routed = [n.plan is None and n.servers > 0 for n in world.nodes]
        self.estimates: dict[tuple[int, int], tuple[float, ...]] = {}
        self.receipts_s = [0.0] * len(
            world.nodes
        )  # server seconds that decisions asked for (law L7)
        self._boxes = [_Box([], [], [], [], [], [], []) for _ in self.hosts]
        self._delayed: deque[_Due] = deque()
        self.refusals = Refusals()
        self.post: Callable[[Message, float], None]
        self.audits: Audits

    def listens(self) -> list[bool]:
        """Return, by node, whether a router that learns steers it."""
        learns = bool(self.hosts[0].call("listens").result())
        return [routed and learns for routed in self.routed]

    # --- the simulation tells

    def start_plan(self, node: int) -> InForce:
        """Give a node its first plan: its group's fixed one, or the uniform merge."""
        plan = self.world.nodes[node].plan or uniform(self.card.experts)
        row = DecisionRow(slot=-1, node=node, plan=plan, start=True, t_force_s=0.0)
        return InForce(self._register(row, plan), plan)

    def _register(self, row: DecisionRow, plan: Plan | None) -> int:
        plan_id = self.recorder.decide(row)
        if plan is not None:
            box = self._boxes[self.shard_of[row.node]]
            box.plans.append(NewPlan(plan_id, row.node, row.slot, plan))
        return plan_id

    def served(self, node: int, ids: Sequence[int], now_s: float) -> None:
        """Note requests whose service ended."""
        self._boxes[self.shard_of[node]].ended.extend(ids)
        self.audits.served(node, ids, now_s)

    def deliver(self, message: Message, now_s: float) -> None:
        """Keep a message for the next boundary, unless its node is down or runs no router."""
        swap = self.swaps.get(message.dst)
        if swap is not None and swap.station.up and self.routed[message.dst]:
            self._boxes[self.shard_of[message.dst]].inbox.append(message)

    def restarted(self, node: int) -> None:
        """Note that a node came back with its router's state lost."""
        self._boxes[self.shard_of[node]].reset.append(node)

    # --- slot boundaries

    def boundary(self, slot: int, now_s: float, active: Sequence[int]) -> None:
        """Step every shard and apply what is decided; `active` are the nodes that are up."""
        self._take(slot, *self._exchange(slot, now_s, active))
        while self._delayed and self._delayed[0].slot <= slot:
            self._apply(self._delayed.popleft(), now_s)

    def last(self, slot: int, now_s: float) -> None:
        """Let the hosts score what was served at the end; decisions still to come never act."""
        self._exchange(slot, now_s, ())

    def _exchange(
        self, slot: int, now_s: float, active: Sequence[int]
    ) -> tuple[list[NodeDecision], list[Message]]:
        true_mix = self.true_mix(slot)
        self._collect(now_s)
        steps = []
        for shard, box in enumerate(self._boxes):
            here = np.array([n for n in active if self.shard_of[n] == shard], dtype=np.int64)
            steps.append(self._step_input(box, slot, now_s, here, true_mix))
        futures = [host.call("step", step) for host, step in zip(self.hosts, steps, strict=True)]
        replies: list[StepReply] = [future.result() for future in futures]
        decisions: list[NodeDecision] = []
        for step, reply in zip(steps, replies, strict=True):
            self._score(step.served.id, reply)
            decisions.extend(reply.decisions)
            self.refusals.add(reply.refused, now_s)
        # Telemetry goes by node, whatever the shards are.
        told = [row for reply in replies for row in reply.telemetry]
        for row in sorted(told, key=lambda r: int(r["node"])):
            self.recorder.named(row)
        mail = [message for reply in replies for message in reply.outbox]
        return sorted(decisions, key=lambda d: d.node), sorted(mail, key=lambda m: m.src)

    def _collect(self, now_s: float) -> None:
        """Sort the outcomes that arrived, or never will, by shard."""
        for rid, node in self.audits.collect(now_s):
            self._boxes[self.shard_of[node]].due.append(rid)
        for rid, node in self.audits.collect_lost():
            self._boxes[self.shard_of[node]].lost.append(rid)
        for rid, node, reward in self.audits.collect_spoiled():
            self._boxes[self.shard_of[node]].spoiled.append((rid, reward))

    def _step_input(
        self, box: _Box, slot: int, now_s: float, active: IntArray, true_mix: FloatArray
    ) -> StepInput:
        spoiled = sorted(box.spoiled, key=lambda pair: pair[0])
        step = StepInput(
            slot=slot,
            t_s=now_s,
            plans=tuple(box.plans),
            served=self._served(sorted(box.ended)),
            feedback=np.array(sorted(box.due), dtype=np.int64),
            active=active,
            reset=np.array(sorted(set(box.reset)), dtype=np.int64),
            true_mix=true_mix,
            inbox=tuple(box.inbox),
            lost=np.array(sorted(box.lost), dtype=np.int64),
            spoiled=np.array([rid for rid, _ in spoiled], dtype=np.int64),
            spoiled_reward=np.array([reward for _, reward in spoiled], dtype=np.float64),
        )
        box.plans, box.ended, box.due, box.lost, box.reset, box.inbox = [], [], [], [], [], []
        box.spoiled = []
        return step

    def _served(self, ids: list[int]) -> Served:
        requests, wanted = self.requests, self.audits.wanted
        return Served(
            id=np.array(ids, dtype=np.int64),
            node=_take(requests.server, ids),
            input=_take(requests.input, ids),
            plan_id=_take(requests.plan, ids),
            # nobody hears of a fixed plan's outcomes, so hosts must not wait to report them
            audited=np.array([wanted(i, requests.server[i]) for i in ids], np.bool_),
            batch=_take(requests.batch, ids),
        )

    def _score(self, ids: IntArray, reply: StepReply) -> None:
        if len(reply.correct) != len(ids):
            raise HostError(f"a host scored {len(reply.correct)} of {len(ids)} requests")
        correct = self.requests.correct
        for rid, right in zip(ids.tolist(), reply.correct.tolist(), strict=True):
            correct[rid] = int(right)

    def _take(self, slot: int, decisions: Sequence[NodeDecision], mail: Sequence[Message]) -> None:
        made = []
        for decision in decisions:
            row = DecisionRow(
                slot=slot, node=decision.node, plan=decision.plan, explored=decision.explored
            )
            plan_id, epoch = self._register(row, decision.plan), self._epoch(decision.node)
            made.append(_Made(plan_id, decision, row, epoch))
            if decision.task_mix is not None:
                self.estimates[slot, decision.node] = decision.task_mix
        self._delayed.append(_Due(slot + self.world.decision_delay_slots, made, mail))

    def _epoch(self, node: int) -> int:
        return self.swaps[node].station.epoch

    def _apply(self, due: _Due, now_s: float) -> None:
        """Carry out decisions and send the messages that came with them."""
        rows: dict[int, DecisionRow] = {}
        for each in due.made:
            node = each.decision.node
            if each.epoch != self._epoch(node):
                continue  # a crash took the decision with the router that had made it
            swap = self.swaps[node]
            self.receipts_s[node] += decision_s(each.decision, swap.deployment.spec.hardware)
            swap.decide(each.plan_id, each.decision, each.row, now_s)
            rows[node] = each.row
        for message in due.mail:
            if message.src in rows:
                rows[message.src].moved_bytes += message.size_bytes
                self.post(message, now_s)


def _take(column: Sequence[int], ids: list[int]) -> IntArray:
    return np.array([column[i] for i in ids], dtype=np.int64)
