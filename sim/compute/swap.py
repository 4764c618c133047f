"""Putting a new plan in force: decide, fetch, merge, swap, all on the node's own hardware.

The decision's own work and the merge take a server like a batch does; experts are streamed from
storage, or from another node over the links. Until the end the old plan serves (double buffer: new
weights and one staged expert are in memory beside the old ones, which stay until their last batch
ends) or the servers wait (stop the world: running batches end, then new weights overwrite the old
ones). A later decision supersedes an unfinished one; work already begun stays charged.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import nan
from typing import TYPE_CHECKING

from sim.compute.inforce import InForce
from sim.compute.memory import EXPERTS, MERGED, STAGING
from sim.compute.supply import Load
from sim.plans import Plan, active_experts, is_gated, merge_weights

if TYPE_CHECKING:
    from sim.clock import Clock
    from sim.compute.deployment import Deployment
    from sim.config import Hardware
    from sim.ports import NodeDecision


@dataclass(slots=True)
class DecisionRow:
    """One row of the table `decisions`, filled as the decision takes its course."""

    slot: int
    node: int
    plan: Plan | None
    start: bool = False
    t_force_s: float = nan
    work_flop: float = 0.0
    read_bytes: float = 0.0
    moved_bytes: float = 0.0
    state_bytes: float = 0.0
    explored: bool = False


@dataclass(slots=True, eq=False)
class _Pending:
    plan_id: int
    plan: Plan
    row: DecisionRow
    epoch: int
    staged_bytes: float = 0.0
    waits: bool = False  # for the node to be loaded, or idle


class Swap:
    """Carries out the decisions of one node.

    Args:
        clock: The run's clock.
        deployment: The node's model.
        experts: Experts of the small model.
    """

    def __init__(self, clock: Clock, deployment: Deployment, experts: int) -> None:
        self.clock, self.deployment, self.experts = clock, deployment, experts
        self.station, self.ledger = deployment.station, deployment.ledger
        self._pending: _Pending | None = None
        self._stops = deployment.spec.swap == "stop-the-world"
        self.merge_s = 0.0  # server time asked for by merges (law L7)
        self.refused = 0  # plans for which there was no room
        deployment.resume = self.resume

    @property
    def goal(self) -> Plan | None:
        """Return the plan that is in force or on its way."""
        if self._pending is not None:
            return self._pending.plan
        force = self.deployment.current
        return None if force is None else force.plan

    def decide(self, plan_id: int, decision: NodeDecision, row: DecisionRow, now_s: float) -> None:
        """Charge a decision and start putting its plan in force, unless it keeps the plan."""
        row.work_flop, row.read_bytes = decision.flop, decision.read_bytes
        row.moved_bytes, row.state_bytes = decision.moved_bytes, decision.state_bytes
        self.deployment.hold_state(decision.state_bytes, now_s)
        pending = None
        if decision.plan is not None:
            pending = self._accept(plan_id, decision.plan, row, now_s)
        work_s = decision_s(decision, self.deployment.spec.hardware)
        if work_s > 0.0:
            self._charge(work_s, pending, now_s)
        elif pending is not None:
            self._load(pending, now_s)

    def _accept(self, plan_id: int, plan: Plan, row: DecisionRow, now_s: float) -> _Pending | None:
        """Let a plan supersede what is on its way, unless it is in force or on its way itself."""
        if plan == self.goal or self._go_back(plan, now_s):
            row.t_force_s = now_s
            self._confirm(plan_id)
            return None
        self._drop_pending(now_s)
        self._pending = _Pending(plan_id, plan, row, self.station.epoch)
        self.station.blocked = self.station.blocked or self._stops
        return self._pending

    def _confirm(self, plan_id: int) -> None:
        """Let what is served from now on answer the decision that wanted the same plan again."""
        if self._pending is not None:
            self._pending.plan_id = plan_id
        else:
            self.deployment.confirm(plan_id)

    def _go_back(self, plan: Plan, now_s: float) -> bool:
        """Forget what is on its way if the plan in force is wanted again and still whole."""
        force, pending = self.deployment.current, self._pending
        overwritten = self._stops and pending is not None and pending.staged_bytes > 0.0
        if force is None or plan != force.plan or overwritten:
            return False
        self._drop_pending(now_s)
        self._unblock(now_s)
        return True

    def _charge(self, work_s: float, pending: _Pending | None, now_s: float) -> None:
        def decided(at_s: float) -> None:
            if pending is not None and pending is self._pending:
                self._load(pending, at_s)

        self.station.work(work_s, decided, now_s)

    def _drop_pending(self, now_s: float) -> None:
        if self._pending is not None:
            self._unstage(self._pending, now_s)
            self._pending = None
            self.deployment.expect(None, now_s)
            self.deployment.freed(now_s)

    def _unstage(self, pending: _Pending, now_s: float) -> None:
        category = EXPERTS if is_gated(pending.plan) else STAGING
        self.ledger.add(category, -pending.staged_bytes, now_s)
        pending.staged_bytes = 0.0

    # --- fetch

    def _load(self, pending: _Pending, now_s: float) -> None:
        deployment = self.deployment
        if deployment.in_force is None or (self._stops and deployment.busy):
            pending.waits = True
            return
        missing = deployment.missing(pending.plan)
        need_bytes, fetch_bytes = self._needs(pending.plan, len(missing))
        if not self._make_room(pending.plan, need_bytes, now_s):
            self._refuse(now_s)
            return
        pending.staged_bytes = need_bytes
        self.ledger.add(EXPERTS if is_gated(pending.plan) else STAGING, need_bytes, now_s)
        deployment.expect(pending.plan, now_s)
        if not missing:
            self._force(pending, now_s)
            return
        load = Load(
            missing, fetch_bytes, -1 - deployment.spec.id, partial(self._fetched, pending),
            lambda: pending is self._pending, pending.row,
        )  # fmt: skip
        deployment.supply.bring(load, now_s)

    def resume(self, now_s: float) -> None:
        """Go on, because the node is loaded or idle now."""
        pending = self._pending
        if pending is None:
            return
        self.station.blocked = self.station.blocked or self._stops
        if pending.waits:
            pending.waits = False
            self._load(pending, now_s)

    def _needs(self, plan: Plan, missing: int) -> tuple[float, float]:
        """Return the memory that a swap to a plan takes, and the bytes to fetch for it."""
        cost = self.deployment.cost
        if is_gated(plan):
            missing_bytes = missing * cost.expert_bytes
            return missing_bytes, missing_bytes
        _, _, fetch_bytes = cost.merge_work(active_experts(plan, self.experts))
        need_bytes = cost.merged_bytes + cost.staging_bytes
        if self._stops:  # the old merged weights are overwritten
            need_bytes -= min(self.ledger.used_bytes[MERGED], cost.merged_bytes)
        return need_bytes, fetch_bytes

    def _make_room(self, plan: Plan, need_bytes: float, now_s: float) -> bool:
        deployment = self.deployment
        if is_gated(plan) and deployment.gated_need_bytes(plan) > self.ledger.budget_bytes:
            return False
        return deployment.make_room(need_bytes, now_s, serving=not self._stops)

    def _refuse(self, now_s: float) -> None:
        """Keep the old plan: the row's t_force_s stays NaN."""
        self._pending = None
        self.refused += 1
        self._unblock(now_s)

    def _fetched(self, pending: _Pending, now_s: float) -> None:
        if pending is not self._pending or pending.epoch != self.station.epoch:
            return
        if is_gated(pending.plan):
            self._force(pending, now_s)
            return
        self._merge(pending, now_s)

    # --- merge and swap

    def _merge(self, pending: _Pending, now_s: float) -> None:
        cost = self.deployment.cost
        active = active_experts(pending.plan, self.experts)
        if active == 1:  # one expert needs no arithmetic
            self._force(pending, now_s)
            return
        flop, read_bytes, _ = cost.merge_work(active)
        pending.row.work_flop += flop
        pending.row.read_bytes += read_bytes
        work_s = cost.seconds(flop, read_bytes)
        self.merge_s += work_s

        def merged(at_s: float) -> None:
            if pending is self._pending:
                self._force(pending, at_s)

        self.station.work(work_s, merged, now_s)

    def _force(self, pending: _Pending, now_s: float) -> None:
        if not is_gated(pending.plan):
            self._unstage(pending, now_s)
        self._pending = self.deployment.expected = None
        pending.row.t_force_s = now_s
        self.station.blocked = False
        self.deployment.install(InForce(pending.plan_id, pending.plan), now_s)

    def _unblock(self, now_s: float) -> None:
        if self.deployment.in_force is not None:
            self.station.blocked = False
            self.station.wake(now_s)

    def crash(self) -> None:
        """Forget what was on its way (the ledger is emptied by the deployment)."""
        self._pending = None


def decision_s(decision: NodeDecision, hardware: Hardware) -> float:
    """Return the server time that a decision itself takes on a node."""
    return decision.flop / hardware.flop_per_s + decision.read_bytes / hardware.bytes_per_s


def weights_row(row: DecisionRow, experts: int) -> tuple[float, ...]:
    """Return the w_e columns of a decision, NaN for gated plans and for keep."""
    weights = None if row.plan is None else merge_weights(row.plan, experts)
    return (nan,) * experts if weights is None else weights
