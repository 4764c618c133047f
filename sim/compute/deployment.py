"""The model as deployed on one node.

The plan in force, its memory, and how a batch is served under it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sim.clock import END
from sim.compute.foresight import Foresight, look_ahead
from sim.compute.inforce import Running, Units
from sim.compute.memory import (
    ACTIVATIONS,
    BACKBONE,
    EXPERTS,
    KV,
    MERGED,
    ROUTER,
    Ledger,
)
from sim.compute.storage import BY_PLAN, ExpertStore
from sim.compute.supply import Load
from sim.compute.touched import counts, union
from sim.compute.walk import Walk
from sim.errors import PlanRefused
from sim.plans import Gated, Plan, is_gated
from sim.ports import Clairvoyant
from sim.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sim.compute.cost import BatchCost, CostModel
    from sim.compute.floor import Batch
    from sim.compute.inforce import Common, InForce
    from sim.compute.station import Station
    from sim.config import NodeSpec
    from sim.ports import ExpertCache, ExpertKey


class Deployment:
    """Serves batches of one node under its plan in force; implements `floor.Service`.

    Args:
        common: What all nodes share.
        station: The node's servers.
        cost: What batches, merges and weights cost on this node.
        ledger: The node's memory.
        cache: The node's expert cache.
    """

    def __init__(
        self, common: Common, station: Station, cost: CostModel, ledger: Ledger, cache: ExpertCache
    ) -> None:
        self.clock, self.requests, self.touches = common.clock, common.requests, common.touches
        self.station, self.cost, self.ledger = station, cost, ledger
        self.spec: NodeSpec = station.spec
        self.supply = common.supply(self.spec)
        self.storage = self.supply.storage
        self.preload = cache.preload
        self.store = ExpertStore(ledger, self.supply, cache, cost.expert_bytes)
        self.store.refill = self._refill
        self._units = Units(common.layers, common.experts)
        self.in_force: InForce | None = None
        self.loading: InForce | None = None  # the start plan, after a restart
        self.resume: Callable[[float], None] = _nobody  # told when idle, and when loaded
        self.expected: Gated | None = None  # a plan on its way, which counts on experts held now
        self.flop = 0.0  # of batches, for the report
        self._gated_running = 0
        self._running = Running(ledger, cost.merged_bytes)
        self._owed_bytes = 0.0  # router state that waits for room
        self.foresight: Foresight | None = None
        if isinstance(cache, Clairvoyant):
            self.foresight = look_ahead(common, self.spec.id, self._plan_ahead)
            cache.foresee(self.foresight.next_use)

    def _plan_ahead(self) -> Gated | None:
        plan = None if self.in_force is None else self.in_force.plan
        return plan if plan is not None and is_gated(plan) else self.expected

    @property
    def current(self) -> InForce | None:
        """Return the plan in force, or the one that a restart is loading."""
        return self.in_force or self.loading

    @property
    def busy(self) -> bool:
        """Tell whether batches run."""
        return bool(self._running)

    # --- what a plan needs

    def check_fits(self) -> None:
        """Refuse a node that could not serve even one request under a merged start plan.

        Raises:
            PlanRefused: Backbone, one merged expert and one request's activations do not fit.
        """
        if self.spec.plan is not None and is_gated(self.spec.plan):
            return  # `provision` knows what that needs
        need_bytes = self.cost.backbone_bytes + self.cost.merged_bytes + self._working_bytes(1)
        if need_bytes > self.ledger.budget_bytes:
            raise PlanRefused(
                f"node {self.spec.name}: backbone, merged experts and one request need "
                f"{format_bytes(need_bytes)}, memory is {format_bytes(self.ledger.budget_bytes)}"
            )

    def gated_need_bytes(self, plan: Gated) -> float:
        """Return the least memory a gated plan needs.

        All experts that it may touch, or with an evicting cache one per server.
        """
        return self._need_bytes(plan, self.spec.servers)

    def _need_bytes(self, plan: Plan, servers: int) -> float:
        """Return the memory with which so many servers can run one request each under a plan."""
        fixed_bytes = self.cost.backbone_bytes + self.ledger.used_bytes[ROUTER] + self._owed_bytes
        working_bytes = servers * self._working_bytes(1, plan)
        if not is_gated(plan):
            return fixed_bytes + working_bytes + self.cost.merged_bytes
        units = len(self._units.of(plan)) if self.preload else servers
        return fixed_bytes + working_bytes + units * self.cost.expert_bytes

    def missing(self, plan: Plan) -> list[ExpertKey]:
        """List the experts to fetch before a plan takes force.

        Of a gated plan those that are neither here nor on their way; of a merge all that it needs.
        """
        if not is_gated(plan):
            return self._units.merged(plan)
        wanted, store = self._units.of(plan) if self.preload else {}, self.store
        return [key for key in wanted if key not in store.resident and not store.coming(key)]

    # --- memory

    def make_room(self, size_bytes: float, now_s: float, *, serving: bool = False) -> bool:
        """Evict experts until so many bytes fit beside what must go on.

        Batches that stream experts need room for one of them, or they would wait for each other
        for ever; the router's state comes before new batches; and when `serving`, a request more
        must be able to run.
        """
        ledger, used_bytes = self.ledger, self.ledger.used_bytes
        size_bytes += self._owed_bytes
        if serving:
            running_bytes = used_bytes[ACTIVATIONS] + used_bytes[KV]
            plan = None if self.in_force is None else self.in_force.plan
            size_bytes += max(0.0, self._working_bytes(1, plan) - running_bytes)
        if self._streams():
            others_bytes = ledger.total_bytes - used_bytes[EXPERTS]
            if others_bytes + size_bytes + self.cost.expert_bytes > ledger.budget_bytes:
                return False
        return self.store.make_room(size_bytes, now_s)

    def _streams(self) -> bool:
        gated = self._gated_running > 0 or (
            self.in_force is not None and is_gated(self.in_force.plan)
        )
        return gated and not self.preload

    def hold_state(self, state_bytes: float, now_s: float) -> None:
        """Keep the router's state in memory, as soon as running batches leave room for it.

        Raises:
            PlanRefused: The node could serve nothing beside that state.
        """
        self._owed_bytes = max(0.0, state_bytes - self.ledger.used_bytes[ROUTER])
        force = self.current
        if force is not None and self._owed_bytes > 0.0:
            need_bytes = self._need_bytes(force.plan, 1)
            if need_bytes > self.ledger.budget_bytes:
                raise PlanRefused(
                    f"node {self.spec.name}: the router's state of {format_bytes(state_bytes)} "
                    f"does not fit beside one request: {format_bytes(need_bytes)} needed, memory "
                    f"is {format_bytes(self.ledger.budget_bytes)}"
                )
        if self._owed_bytes == 0.0:
            self.ledger.set(ROUTER, state_bytes, now_s)
        self._settle_state(now_s)

    def _settle_state(self, now_s: float) -> None:
        if self._owed_bytes > 0.0 and self.make_room(0.0, now_s):
            self.ledger.add(ROUTER, self._owed_bytes, now_s)
            self._owed_bytes = 0.0

    def freed(self, now_s: float) -> None:
        """Let those who wait for memory try again."""
        self._settle_state(now_s)
        self.store.retry(now_s)
        self.station.wake(now_s)

    def _place_weights(self, force: InForce, now_s: float) -> float:
        """Reserve memory for the backbone and a plan's weights; return the bytes."""
        cost, bytes_before = self.cost, self.ledger.total_bytes
        self.ledger.set(BACKBONE, cost.backbone_bytes, now_s)
        if not is_gated(force.plan):
            self.ledger.set(MERGED, cost.merged_bytes, now_s)
        elif self.preload:
            self.ledger.set(EXPERTS, cost.expert_bytes * len(self._units.of(force.plan)), now_s)
        return self.ledger.total_bytes - bytes_before

    def provision(self, force: InForce, now_s: float) -> None:
        """Put a plan in force with its weights in memory, as a node is delivered.

        Raises:
            PlanRefused: The plan does not fit the node.
        """
        plan, budget_bytes = force.plan, self.ledger.budget_bytes
        if is_gated(plan) and (need_bytes := self.gated_need_bytes(plan)) > budget_bytes:
            raise PlanRefused(
                f"node {self.spec.name}: {plan} needs {format_bytes(need_bytes)}, memory is "
                f"{format_bytes(budget_bytes)}; try `cache: lru`"
            )
        self._place_weights(force, now_s)
        self.install(force, now_s)

    def install(self, force: InForce, now_s: float) -> None:
        """Put a plan in force.

        The bytes of preloaded experts or of a staged merge are in the ledger already.
        """
        plan = force.plan
        if is_gated(plan) and self.preload:
            for key in self.missing(plan):
                self.store.admit(key, now_s, BY_PLAN)
        before, self.in_force = self.in_force, force
        self.ledger.set(MERGED, 0.0 if is_gated(plan) else self.cost.merged_bytes, now_s)
        self._running.retire(before, now_s)
        self._free_experts(now_s)
        self.freed(now_s)

    def confirm(self, plan_id: int) -> None:
        """Name the plan in force (or being loaded) after a decision that wants it again."""
        if self.in_force is not None:
            self.in_force = replace(self.in_force, confirmed=plan_id)
        elif self.loading is not None:
            self.loading = replace(self.loading, confirmed=plan_id)

    def _free_experts(self, now_s: float) -> None:
        """Let go of experts that the plan in force has no use for, once no batch needs them."""
        if self.in_force is None or self._gated_running:
            return
        plan = self.in_force.plan
        if is_gated(plan) and not self.preload:
            return  # the cache knows what to give up
        keep = self._units.of(plan) if is_gated(plan) else {}
        if self.expected is not None:
            keep = keep | self._units.of(self.expected)
        elif self.store.settled and len(self.store.resident) == len(keep):
            return
        self.store.empty(now_s, keep)

    def expect(self, plan: Plan | None, now_s: float) -> None:
        """Keep what is here of the experts that a plan on its way needs; None: it is so no more."""
        self.expected = plan if plan is not None and is_gated(plan) else None
        if self.expected is None:
            self._free_experts(now_s)

    # --- service

    def admit(self, size: int, now_s: float) -> int:
        """Return how many requests' activations fit now, evicting experts if that helps."""
        if self.in_force is None:
            return 0
        plan = self.in_force.plan
        for fitting in range(size, 0, -1):
            if self.make_room(self._working_bytes(fitting, plan), now_s):
                return fitting
        return 0

    def _working_bytes(self, size: int, plan: Plan | None = None) -> float:
        return self.cost.activation_bytes(size, plan) + self.cost.kv_bytes(size)

    def _hold_working(self, size: int, plan: Plan, now_s: float) -> None:
        """Take the working memory of so many requests (fewer than none: give it back)."""
        self.ledger.add(ACTIVATIONS, self.cost.activation_bytes(size, plan), now_s)
        if kv_bytes := self.cost.kv_bytes(size):
            self.ledger.add(KV, kv_bytes, now_s)

    def begin(self, batch: Batch, now_s: float) -> None:
        """Serve a batch under the plan in force."""
        force = self.in_force
        assert force is not None
        batch.plan_id, batch.plan, batch.weights = force.name, force.plan, force.plan_id
        self._running.enter(batch.weights)
        self._hold_working(len(batch.ids), force.plan, now_s)
        if is_gated(force.plan):
            self._begin_gated(batch, force.plan, now_s)
        else:
            self._run(batch, self.cost.merged(len(batch.ids)), now_s)

    def _begin_gated(self, batch: Batch, plan: Gated, now_s: float) -> None:
        rows, inputs = self.touches(plan), self.requests.input
        touched = union(rows[inputs[rid]] for rid in batch.ids)
        cost = self.cost.priced(plan, len(batch.ids), counts(touched))
        self._gated_running += 1
        if self.preload and self.store.settled:
            self._run(batch, cost, now_s)
            return
        self.flop += cost.flop
        walk = Walk(self.clock, self.station, self.store, batch, touched, cost.per_layer_s)
        if self.foresight is not None:
            self.foresight.begin(batch.ids, walk)
        walk.go(now_s)

    def _run(self, batch: Batch, cost: BatchCost, now_s: float) -> None:
        self.flop += cost.flop
        batch.service_s = cost.service_s
        end_s = now_s + cost.service_s
        self.clock.at(end_s, END, batch.ids[0], self.station.finish, batch)

    def end(self, batch: Batch, now_s: float) -> None:
        """Free a batch's working memory, and weights that nobody needs any more."""
        assert batch.plan is not None
        self._hold_working(-len(batch.ids), batch.plan, now_s)
        self._running.leave(batch.weights, now_s)
        if is_gated(batch.plan):
            self._gated_running -= 1
            self._free_experts(now_s)
        self._settle_state(now_s)
        self.store.retry(now_s)
        if not self._running:
            self.resume(now_s)

    # --- faults

    def crash(self, now_s: float) -> None:
        """Lose memory and plan."""
        self.in_force = self.loading = self.expected = None
        self.station.blocked = True
        self._gated_running, self._owed_bytes = 0, 0.0
        self._running.clear()
        self.store.crash(now_s)
        self.supply.crash()
        self.storage.clear(now_s)
        if self.foresight is not None:
            self.foresight.crash()
        self.ledger.clear(now_s)

    def lose_experts(self, experts: Sequence[ExpertKey], now_s: float, *, corrupt: bool) -> None:
        """Let a fault take experts, from storage and memory, or spoil their stored copies.

        Deviation: with a cache that preloads, a batch that runs already is not disturbed.
        """
        self.supply.lose(experts, corrupt=corrupt)
        if corrupt:
            return
        gone = [self.store.lose(key, now_s) for key in experts]
        if any(gone):
            self.freed(now_s)

    def restore_experts(self, experts: Sequence[ExpertKey]) -> None:
        """End a fault: stored copies are good again."""
        self.supply.restore(experts)

    def _refill(self, key: ExpertKey, now_s: float) -> None:
        """Fetch an expert again that a fault took from memory, if a plan counts on it."""
        gated = self._gated_running > 0 or self._plan_ahead() is not None
        if self.preload and gated:
            self.store.fetch(key, self._refilled, now_s)

    def _refilled(self, now_s: float) -> None:
        self._free_experts(now_s)  # the plan may have changed meanwhile
        self.freed(now_s)

    def reload(self, force: InForce, now_s: float) -> None:
        """Load backbone and the start plan's weights after a restart, then serve again.

        Backbone and merged weights are kept on storage as the node's delivered image. Experts to
        preload are part of it where all copies are there; else they are fetched like any others.
        """
        size_bytes = self._place_weights(force, now_s)
        self.loading = force
        epoch, order = self.station.epoch, -1 - self.spec.id
        experts, image = self.missing(force.plan) if is_gated(force.plan) else [], self.supply.whole
        if not image:
            size_bytes -= len(experts) * self.cost.expert_bytes

        def loaded(at_s: float) -> None:
            whole = self.loading or force
            self.loading, self.station.blocked = None, False
            self.install(whole, at_s)
            self.resume(at_s)

        def read(_: None, at_s: float) -> None:
            if self.station.epoch != epoch:
                return
            left = [key for key in experts if not image or key in self.supply.bad]
            left_bytes = len(left) * self.cost.expert_bytes
            load = Load(left, left_bytes, order, loaded, lambda: self.station.epoch == epoch)
            self.supply.bring(load, at_s) if left else loaded(at_s)

        self.clock.at(self.storage.book(size_bytes, now_s), END, order, read)


def _nobody(now_s: float) -> None:
    """Take no notice."""
