"""Putting a new plan in force: decide, fetch, merge, swap, all on the node's own hardware.

The decision's own work and the merge take a server like a batch does; experts are streamed from
storage. Until the end the old plan serves (double buffer: new weights and one staged expert are in
memory beside the old ones) or the servers wait (stop the world). A later decision supersedes an
unfinished one; work already begun stays charged.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING

from sim.clock import END, Alarm, Clock
from sim.compute.deployment import Deployment, InForce
from sim.compute.memory import EXPERTS, MERGED, ROUTER, STAGING
from sim.errors import PlanRefused
from sim.plans import Plan, TopK, active_experts, merge_weights
from sim.units import format_bytes

if TYPE_CHECKING:
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
        self.merge_s = 0.0  # server time asked for by merges (law L7)

    @property
    def goal(self) -> Plan | None:
        """Return the plan that is in force or on its way."""
        if self._pending is not None:
            return self._pending.plan
        force = self.deployment.in_force
        return None if force is None else force.plan

    def decide(self, plan_id: int, decision: NodeDecision, row: DecisionRow, now_s: float) -> None:
        """Charge a decision and start putting its plan in force, unless it keeps the plan."""
        row.work_flop, row.read_bytes = decision.flop, decision.read_bytes
        row.moved_bytes, row.state_bytes = decision.moved_bytes, decision.state_bytes
        self._hold_state(decision.state_bytes, now_s)
        changes = decision.plan is not None and decision.plan != self.goal
        if not changes and decision.plan is not None:
            row.t_force_s = now_s  # the same weights are in force (or on their way) already
        hardware = self.deployment.spec.hardware
        work_s = decision_s(decision, hardware)
        pending = None
        if changes and decision.plan is not None:
            pending = _Pending(plan_id, decision.plan, row, self.station.epoch)
            self._supersede(pending, now_s)
        if work_s > 0.0:
            self._charge(work_s, pending, now_s)
        elif pending is not None:
            self._load(pending, now_s)

    def _charge(self, work_s: float, pending: _Pending | None, now_s: float) -> None:
        def decided(at_s: float) -> None:
            if pending is not None and pending is self._pending:
                self._load(pending, at_s)

        self.station.work(work_s, decided, now_s)

    def _hold_state(self, state_bytes: float, now_s: float) -> None:
        extra_bytes = state_bytes - self.ledger.used_bytes[ROUTER]
        if extra_bytes > 0.0 and not self.deployment.store.make_room(extra_bytes, now_s):
            raise PlanRefused(
                f"node {self.deployment.spec.name}: the router's state of "
                f"{format_bytes(state_bytes)} does not fit"
            )
        self.ledger.set(ROUTER, state_bytes, now_s)

    def _supersede(self, pending: _Pending, now_s: float) -> None:
        self._drop_pending(now_s)
        self._pending = pending
        if self.deployment.spec.swap == "stop-the-world":
            self.station.blocked = True

    def _drop_pending(self, now_s: float) -> None:
        if self._pending is not None:
            self._unstage(self._pending, now_s)
            self._pending = None

    def _unstage(self, pending: _Pending, now_s: float) -> None:
        category = EXPERTS if isinstance(pending.plan, TopK) else STAGING
        self.ledger.add(category, -pending.staged_bytes, now_s)
        pending.staged_bytes = 0.0

    # --- fetch

    def _load(self, pending: _Pending, now_s: float) -> None:
        deployment, cost = self.deployment, self.deployment.cost
        if isinstance(pending.plan, TopK):
            if deployment.gated_need_bytes() > self.ledger.budget_bytes:
                self._refuse(now_s)
                return
            need_bytes = cost.expert_bytes * len(deployment.units) if deployment.preload else 0.0
            fetch_bytes = need_bytes
        else:
            active = active_experts(pending.plan, self.experts)
            _, _, fetch_bytes = cost.merge_work(active)
            reused_bytes = 0.0
            if deployment.spec.swap == "stop-the-world":  # the old merged weights are overwritten
                reused_bytes = min(self.ledger.used_bytes[MERGED], cost.merged_bytes)
            need_bytes = cost.merged_bytes + cost.staging_bytes - reused_bytes
        if not deployment.store.make_room(need_bytes, now_s):
            self._refuse(now_s)
            return
        pending.staged_bytes = need_bytes
        self.ledger.add(EXPERTS if isinstance(pending.plan, TopK) else STAGING, need_bytes, now_s)
        pending.row.read_bytes += fetch_bytes
        if fetch_bytes == 0.0:
            self._force(pending, now_s)
            return
        done_s = deployment.storage.book(fetch_bytes, now_s)
        self.clock.at(done_s, END, -1 - deployment.spec.id, self._fetched, pending)

    def _refuse(self, now_s: float) -> None:
        """Keep the old plan: the row's t_force_s stays NaN."""
        self._pending = None
        self._unblock(now_s)

    def _fetched(self, alarm: Alarm) -> None:
        pending: _Pending = alarm.item
        if pending is not self._pending or pending.epoch != self.station.epoch:
            return
        now_s = self.clock.now
        if isinstance(pending.plan, TopK):
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
        if not isinstance(pending.plan, TopK):
            self._unstage(pending, now_s)
        self._pending = None
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
