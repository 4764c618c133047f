"""Base of routers that choose once per slot and learn one number from it, node by node."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from agents.routers.context import MixEstimate, switch_rows
from agents.routers.feedback import sound_rows
from agents.routers.model import Work
from agents.routers.pulls import Answer, Pulls
from agents.routers.snapshots import below, flat
from sim.plans import Merged, Plan, Single, merge_weights
from sim.ports import BlockSetup, ContextBlock, DecisionBlock, FeedbackBlock, Receipts

if TYPE_CHECKING:
    from agents.routers.context import ContextParams
    from sim.arrays import AnyArray, BoolArray, FloatArray


@dataclass(frozen=True, slots=True)
class Pick:
    """A node's choice for one slot."""

    plan: Plan
    choice: FloatArray  # what the answer will be learned with, (W,)
    explored: bool  # it is not what looks best by now


class Slotwise(ABC):
    """Keeps the mix, the open choices and the books; a subclass chooses and learns.

    The reward of a slot is the mean over all its requests that were answered; what arrives in parts
    is put together again. A subclass calls `begin` when it is ready.

    Args:
        setup: The block.
        params: How the mix is estimated.
    """

    oracle: ClassVar[bool] = False
    learns: ClassVar[bool] = True

    def __init__(self, setup: BlockSetup, params: ContextParams) -> None:
        n = len(setup.nodes)
        self.nodes = [int(node) for node in setup.nodes]
        self.experts, self.clusters = setup.experts, setup.clusters
        self.mix = MixEstimate(n, setup.calibration.prior, params)
        self.refused = 0
        self.pulls = [Pulls() for _ in range(n)]
        self.plans: list[Plan | None] = [None] * n  # decided last
        self.since = [-1] * n  # slot of that decision
        self.flop: FloatArray = np.zeros(n)  # work since the last decision
        self.read_bytes: FloatArray = np.zeros(n)

    # --- what a subclass does

    @abstractmethod
    def start(self, row: int) -> Work:
        """Forget all that a node has learned; return the work of its start."""

    @abstractmethod
    def pick(self, row: int, mix: FloatArray) -> Pick:
        """Choose for a node whose estimated mix is (V,)."""

    @abstractmethod
    def learn(self, row: int, answer: Answer) -> None:
        """Learn from an answer."""

    @abstractmethod
    def renew(self, row: int, renewed: BoolArray) -> None:
        """Forget what was learned of clusters that mean something else now, (V,)."""

    @abstractmethod
    def node_bytes(self, row: int) -> int:
        """Count the bytes of what a node has learned."""

    # --- deciding

    def begin(self) -> None:
        """Put all nodes into the state in which they are deployed."""
        for row in range(len(self.nodes)):
            self._restart(row)

    def _restart(self, row: int) -> None:
        self.mix.restart(row)
        self.pulls[row].clear()
        self.plans[row], self.since[row] = None, -1
        self.flop[row] = self.read_bytes[row] = 0.0
        self.charge(row, self.start(row))

    def charge(self, row: int, work: Work) -> None:
        """Add work to a node's next receipt."""
        self.flop[row] += work.flop
        self.read_bytes[row] += work.read_bytes

    def decide_block(self, context: ContextBlock) -> DecisionBlock:
        """Choose for every active node; None where the plan stays."""
        for row in np.flatnonzero(context.reset).tolist():
            self._restart(row)
        if context.renewed is not None:
            self._renew(context.renewed)
        switched = self.mix.observe(context.counts, context.active)
        mix = self.mix.mix
        plans: list[Plan | None] = [None] * len(self.nodes)
        explored = np.zeros(len(self.nodes), dtype=np.bool_)
        for row in np.flatnonzero(context.active).tolist():
            pick = self.pick(row, mix[row])
            plans[row] = self._issue(row, context.slot, pick)
            explored[row] = pick.explored and plans[row] is not None
            self.charge(row, self.mix.work())
        telemetry = switch_rows(context.slot, self.nodes, switched)
        return DecisionBlock(plans, self._receipts(context.active), explored, mix, telemetry)

    def _renew(self, renewed: BoolArray) -> None:
        self.mix.renew(renewed)
        for row in np.flatnonzero(renewed.any(axis=1)).tolist():
            self.renew(row, renewed[row])

    def _issue(self, row: int, slot: int, pick: Pick) -> Plan | None:
        """Note a choice under the slot of its plan's decision; None when the node has the plan."""
        kept = pick.plan == self.plans[row]
        if not kept:
            self.plans[row], self.since[row] = pick.plan, slot
        self.pulls[row].note(self.since[row], pick.choice)
        return None if kept else pick.plan

    def _receipts(self, active: BoolArray) -> Receipts:
        """Hand over the work since the last decision of each active node."""
        flop, read = np.where(active, self.flop, 0.0), np.where(active, self.read_bytes, 0.0)
        self.flop[active] = self.read_bytes[active] = 0.0
        state = [
            self.node_bytes(row) + self.pulls[row].nbytes + self.mix.state_bytes
            for row in range(len(self.nodes))
        ]
        return Receipts(flop, read, np.zeros(len(flop)), np.array(state, dtype=np.float64))

    # --- learning

    def update_block(self, feedback: FeedbackBlock) -> None:
        """Learn from each row the mean reward of the choice that it answers."""
        sound = sound_rows(feedback)
        self.refused += int((~sound).sum())
        total = feedback.count.sum(axis=1)
        for r in np.flatnonzero(sound & (total > 0.0)).tolist():
            row, count = int(feedback.row[r]), float(total[r])
            reward = float(feedback.reward[r] @ feedback.count[r]) / count
            answer = self.pulls[row].answer(int(feedback.decided[r]), reward, count)
            self.charge(row, Work(2.0 * self.clusters + 4.0, 16.0 * self.clusters))
            if answer is not None:
                self.learn(row, answer)

    # --- checkpoints

    def snapshot(self) -> dict[str, AnyArray]:
        """Return a copy of all state that changes, as flat numpy arrays."""
        state = flat({"mix": self.mix.snapshot()})
        state |= flat({f"pulls.{row}": pulls.snapshot() for row, pulls in enumerate(self.pulls)})
        return state | {
            "refused": np.array(self.refused),
            "since": np.array(self.since),
            "plans": np.array([_numbers(plan, self.experts) for plan in self.plans]),
            "flop": self.flop.copy(),
            "read_bytes": self.read_bytes.copy(),
        }

    def restore(self, state: dict[str, AnyArray]) -> None:
        """Put a snapshot of a router with the same setup back."""
        self.mix.restore(below(state, "mix"))
        for row, pulls in enumerate(self.pulls):
            pulls.restore(below(state, f"pulls.{row}"))
        self.refused = int(state["refused"])
        self.since = [int(slot) for slot in state["since"]]
        self.plans = [_plan(row) for row in state["plans"].tolist()]
        self.flop, self.read_bytes = np.array(state["flop"]), np.array(state["read_bytes"])


def _numbers(plan: Plan | None, experts: int) -> list[float]:
    """Write a merge or a single expert as numbers: which of them, then the weights; NaN: none."""
    weights = None if plan is None else merge_weights(plan, experts)
    return [math.nan] * (experts + 1) if weights is None else [isinstance(plan, Single), *weights]


def _plan(numbers: list[float]) -> Plan | None:
    if math.isnan(numbers[0]):
        return None
    return Single(numbers.index(1.0, 1) - 1) if numbers[0] else Merged(tuple(numbers[1:]))
