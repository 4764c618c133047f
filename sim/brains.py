"""The models of a fleet: one deployment per node, coupled to the hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sim.audits import Audits
from sim.compute.cost import CostModel
from sim.compute.deployment import Deployment
from sim.compute.inforce import Common, InForce
from sim.compute.memory import Ledger
from sim.compute.swap import Swap
from sim.coupling import Coupling, Shards
from sim.freight import Freight
from sim.network.post import Post
from sim.nodemix import NodeMixes
from sim.plans import Blend
from sim.records import DRIFTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.compute.station import Station
    from sim.fleet import Fleet
    from sim.ports import ExpertCache, ExpertKey


class Brains:
    """Deployments and their hosts in one run with a model.

    What another engine does its own way it overrides: `coupling_of`, `audits_of` and `_make`.

    Args:
        fleet: The stations, clock and records to work with.
        cache: Expert cache of the routed nodes; None: what the nodes say.
    """

    coupling_of: ClassVar[type[Coupling]] = Coupling
    audits_of: ClassVar[type[Audits]] = Audits

    def __init__(self, fleet: Fleet, cache: str | None) -> None:
        world, card, parts = fleet.world, fleet.card, fleet.parts
        assert card is not None
        assert world.model is not None
        self.parts, self.cache = parts, cache
        self.architecture = world.model.cost_as
        self.cost_as = self.architecture.name if self.architecture else "itself"
        self.usage_assumed, self.notes = False, list[str]()
        mixes = NodeMixes(world, len(card.tasks))
        shards = Shards(parts.hosts, parts.shard_of)
        self.coupling = self.coupling_of(
            world, card, shards, fleet.requests, fleet.recorder, mixes.by_node
        )
        post = Post(fleet.carrier, self.coupling.deliver)
        self.coupling.post = post.send
        self.coupling.audits = self.audits = self._audits(fleet)
        fleet.recorder.rows(
            "drift", [(slot, node, DRIFTS.index("true")) for slot, node in mixes.changes()]
        )
        self.deployments: dict[int, Deployment] = {}
        self._start: dict[int, InForce] = {}
        self._common = Common(
            fleet.clock,
            fleet.requests,
            self.coupling.profiles,
            card.layers,
            card.experts,
            self._freight(fleet).supply,
        )
        self._recorder, self._card = fleet.recorder, card
        for node, station in fleet.stations.items():
            self._deploy(node, station)

    def _audits(self, fleet: Fleet) -> Audits:
        feedback, clock = fleet.world.feedback, fleet.clock
        drawn: list[bool] = (fleet.requests.workload.audit < feedback.fraction).tolist()
        audits = self.audits_of(feedback, drawn, self.coupling.listens(), clock, fleet.life)
        post = Post(fleet.carrier, audits.deliver, audits.lose)
        audits.post = post.send
        return audits

    def _freight(self, fleet: Fleet) -> Freight:
        freight = Freight(fleet.world, fleet.clock, fleet.network, fleet.up, fleet.faults.outages)
        post = Post(fleet.carrier, freight.deliver, freight.lose)
        freight.post = post.send
        return freight

    def _deploy(self, node: int, station: Station) -> None:
        spec, card = station.spec, self._card
        cost = CostModel(self.architecture, card, spec.hardware)
        self.usage_assumed |= cost.usage_assumed
        if cost.usage_note and cost.usage_note not in self.notes:
            self.notes.append(cost.usage_note)
        ledger = Ledger(node, spec.hardware.memory_bytes, self._recorder)
        deployment = self._make(station, cost, ledger)
        deployment.check_fits()
        self.deployments[node] = deployment
        self._start[node] = self.coupling.start_plan(node)
        deployment.provision(self._start[node], 0.0)

    def _make(self, station: Station, cost: CostModel, ledger: Ledger) -> Deployment:
        """Make a node's deployment, and who carries out its decisions."""
        deployment = Deployment(self._common, station, cost, ledger, self._new_cache(station))
        station.service = deployment
        swap = Swap(self._common.clock, deployment, self._card.experts)
        self.coupling.swaps[station.node] = swap
        return deployment

    def _new_cache(self, station: Station) -> ExpertCache:
        override = self.cache if station.spec.plan is None else None
        make = self.parts.cache(override or station.spec.cache)
        return make(self._card.layers, self._card.experts)

    def assumptions(self) -> list[str]:
        """Return what the report must say: how the small model is mapped, what did not fit."""
        costs = [deployment.cost for deployment in self.deployments.values()]
        plans = self.coupling.profiles.plans
        gates = sorted({plan.k for plan in plans if not isinstance(plan, Blend)})
        about_k = {cost.k_note(k): None for k in gates for cost in costs}
        notes = [*self.notes, *(note for note in about_k if note)]
        return [*notes, *self._bounds(), *self._refusals()]

    def _bounds(self) -> list[str]:
        """Mark nodes whose cache knows the future."""
        knowing = [d.spec.name for d in self.deployments.values() if d.foresight is not None]
        if not knowing:
            return []
        return [
            f"Expert caches that know the future, on {len(knowing)} node(s) from {knowing[0]}: a"
            " bound, not a policy that could be deployed. Exact where a node serves its own streams"
            " only (dispatch local), on one server, one at a time, first come first served, without"
            " drops and under one plan; elsewhere a good guess."
        ]

    def _refusals(self) -> list[str]:
        refused = [swap.refused for swap in self.coupling.swaps.values() if swap.refused]
        if not refused:
            return []
        return [
            f"Plans refused for lack of memory: {sum(refused)}, on {len(refused)} node(s); the plan"
            " before stayed in force (table decisions, no t_force_s)."
        ]

    def plan_id(self, node: int) -> int:
        """Return the id of the plan in force on a node, -1 while it has none."""
        force = self.deployments[node].in_force
        return -1 if force is None else force.name

    def asked_s(self, node: int) -> float:
        """Return the server time that decisions and merges asked a node for (law L7)."""
        return self.coupling.receipts_s[node] + self.coupling.swaps[node].merge_s

    def lose_experts(
        self, node: int, experts: Sequence[ExpertKey], corrupt: bool, now_s: float
    ) -> None:
        """Let a fault take experts from a node (storage and memory), or spoil its stored copies."""
        self.deployments[node].lose_experts(experts, now_s, corrupt=corrupt)

    def restore_experts(
        self, node: int, experts: Sequence[ExpertKey], corrupt: bool, now_s: float
    ) -> None:
        """End what `lose_experts` began: the stored copies are good again."""
        self.deployments[node].restore_experts(experts)

    def crash(self, node: int, now_s: float) -> None:
        """Lose a node's memory, plan and pending decision."""
        self.coupling.swaps[node].crash()
        self.deployments[node].crash(now_s)

    def restart(self, node: int, now_s: float) -> None:
        """Load a node's start plan again; its router starts cold."""
        self.coupling.restarted(node)
        self.deployments[node].reload(self._start[node], now_s)
