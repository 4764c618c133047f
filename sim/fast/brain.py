"""The model as deployed on one node of the fused kernel.

`sim.compute.deployment` does everything; here its facts are put where kernels read them, and
prices are put in tables as they become known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from sim.compute.deployment import Deployment
from sim.compute.swap import Swap
from sim.fast.access import floats_of, ints_of, word
from sim.fast.held import FastRunning
from sim.fast.layout import MIND
from sim.plans import Blend, is_gated

if TYPE_CHECKING:
    from sim.clock import Callback, Clock
    from sim.compute.cost import BatchCost, CostModel
    from sim.compute.floor import Batch
    from sim.compute.inforce import Common, InForce
    from sim.compute.station import Station
    from sim.fast.facade import Facade
    from sim.fast.held import FastLedger
    from sim.fast.tariffs import Tariffs
    from sim.plans import Gated, Plan
    from sim.ports import ExpertCache, NodeDecision

_PLAN, _WEIGHTS, _GATED, _GATED_RUNNING, _SPARE, _CALM, _TELL, _MASKS, _TARIFF = (
    word(MIND, name)
    for name in (
        "plan", "weights", "gated", "gated_running", "spare", "calm", "tell", "masks", "tariff",
    )
)  # fmt: skip
_EACH_BYTES, _KV_BYTES, _FLOP = (word(MIND, name) for name in ("each_bytes", "kv_bytes", "flop"))


class NodeClock:
    """The run's clock as one node sees it: after each of its alarms the kernel is told what is new.

    Args:
        clock: The run's.
    """

    deployment: FastDeployment

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def at(self, t_s: float, rank: int, key: int, callback: Callback, item: Any = None) -> None:
        """Call back with (item, t_s) at `t_s`."""
        self._clock.at(t_s, rank, key, self._due, (callback, item))

    def _due(self, asked: tuple[Callback, Any], now_s: float) -> None:
        callback, item = asked
        callback(item, now_s)
        self.deployment.refresh()


class FastDeployment(Deployment):
    """Serves batches of one node where kernels cannot, and tells them what they need to know.

    Args:
        common: What all nodes share; its clock is the node's.
        facade: The node's servers.
        cost: What batches, merges and weights cost on this node.
        ledger: The node's memory.
        cache: The node's expert cache.
    """

    swap: FastSwap
    tariffs: Tariffs

    def __init__(
        self,
        common: Common,
        facade: Facade,
        cost: CostModel,
        ledger: FastLedger,
        cache: ExpertCache,
    ) -> None:
        self._facade, self._state = facade, facade._state
        minds = self._state.minds
        self._mind, self._mind_reals = ints_of(minds, facade.node), floats_of(minds, facade.node)
        self._force: InForce | None = None
        super().__init__(common, cast("Station", facade), cost, ledger, cache)
        self._running: FastRunning = FastRunning(ledger, cost.merged_bytes, self._state)
        self._mind_reals[_KV_BYTES] = cost.kv_bytes(1)
        self.waits_for_ends = False  # somebody wants to know of every batch that ends

    # --- facts that kernels read

    @property
    def in_force(self) -> InForce | None:
        """Return the plan that the next batch takes."""
        return self._force

    @in_force.setter
    def in_force(self, force: InForce | None) -> None:
        self._force, mind = force, self._mind
        if force is None:
            mind[_PLAN] = -1
            return
        mind[_PLAN], mind[_WEIGHTS] = force.name, force.plan_id
        mind[_GATED] = is_gated(force.plan)
        mind[_TARIFF] = self.tariffs.tariff(self.cost, force.plan, self.spec.batching.max_size)
        self._mind_reals[_EACH_BYTES] = self.cost.activation_bytes(1, force.plan)

    @property
    def _gated_running(self) -> int:
        return self._mind[_GATED_RUNNING]

    @_gated_running.setter
    def _gated_running(self, number: int) -> None:
        self._mind[_GATED_RUNNING] = number

    @property
    def flop(self) -> float:
        """Return the work of all batches."""
        return self._mind_reals[_FLOP]

    @flop.setter
    def flop(self, value: float) -> None:
        self._mind_reals[_FLOP] = value

    def refresh(self) -> None:
        """Say whether kernels may start batches here, and whether somebody waits for their ends."""
        mind, force, store = self._mind, self._force, self.store
        owes = self._owed_bytes > 0.0
        mind[_SPARE] = bool(store.resident)
        mind[_CALM] = force is not None and not owes and self._is_priced(force.plan)
        mind[_TELL] = (
            owes
            or self.waits_for_ends
            or bool(store._starved)
            or self._running.retired
            or self.swap.waits_for_ends
            or self._frees_experts(force)
        )

    def _is_priced(self, plan: Plan) -> bool:
        """Tell whether size and experts make a batch's time; let kernels find the tables."""
        mind = self._mind
        mind[_MASKS] = -1
        if mind[_GATED]:
            plan = cast("Gated", plan)
            place = self.tariffs.masks(plan)
            if not self.preload or not self.store.settled or place is None:
                return False
            mind[_MASKS] = -1 if isinstance(plan, Blend) else place
            return True
        return self.preload or not mind[_GATED_RUNNING]

    def _frees_experts(self, force: InForce | None) -> bool:
        """Tell whether the end of a gated batch may let experts go."""
        if force is None or not self._mind[_GATED]:
            return self._mind[_GATED_RUNNING] > 0
        if not self.preload:
            return False
        settled = self.store.settled and self.expected is None
        return not settled or len(self.store.resident) != len(
            self._units.of(cast("Gated", force.plan))
        )

    # --- service

    def begin(self, batch: Batch, now_s: float) -> None:
        """Serve a batch under the plan in force, and remember what it costs."""
        super().begin(batch, now_s)
        plan = batch.plan
        assert plan is not None
        if is_gated(plan) and not self.preload:
            return
        if is_gated(plan):
            self.tariffs.learn_masks(plan, self.touches)
        self.tariffs.learn(self._mind[_TARIFF], len(batch.ids), self.cost, plan)

    def _run(self, batch: Batch, cost: BatchCost, now_s: float) -> None:
        self.flop += cost.flop
        batch.service_s = cost.service_s
        self._facade.serve_for(batch, now_s)


class FastSwap(Swap):
    """Carries out the decisions of one node, and tells the kernel."""

    deployment: FastDeployment

    @property
    def waits_for_ends(self) -> bool:
        """Tell whether a plan on its way may go on when the node is idle."""
        pending = self._pending
        return pending is not None and (pending.waits or self._stops)

    def decide(self, plan_id: int, decision: NodeDecision, row: Any, now_s: float) -> None:
        """Charge a decision and start putting its plan in force, unless it keeps the plan."""
        super().decide(plan_id, decision, row, now_s)
        self.deployment.refresh()
