"""The models of a fleet in kernels: one deployment per node, coupled to the hosts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from sim.brains import Brains
from sim.fast import doors
from sim.fast.brain import FastDeployment, FastSwap, NodeClock
from sim.fast.held import FastLedger
from sim.fast.outcomes import FastAudits, FastCoupling
from sim.fast.tariffs import Tariffs
from sim.network.links import Links

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.clock import Clock
    from sim.compute.cost import CostModel
    from sim.compute.deployment import Deployment
    from sim.compute.memory import Ledger
    from sim.compute.station import Station
    from sim.compute.supply import Crate, Supply
    from sim.config import NodeSpec
    from sim.fast.facade import Facade
    from sim.fast.fleet import FastFleet
    from sim.fast.minds import MindFleet
    from sim.fleet import Fleet
    from sim.ports import ExpertKey


class FastLinks(Links):
    """Links whose state is the kernel's, as messages see them.

    Args:
        fleet: Of the run.
    """

    def __init__(self, fleet: FastFleet) -> None:
        super().__init__(fleet.world.links, fleet.faults.outages, fleet.world.seed)
        self._run, links = fleet.state.run, fleet.state.links
        self.epoch, self.lost = links["epoch"], links["lost"]  # type: ignore[assignment]
        self.total_landed_bytes = links["landed_bytes"]  # type: ignore[assignment]
        self.total_lost_bytes = links["lost_bytes"]  # type: ignore[assignment]

    def put(self, link: int, size_bytes: float, now_s: float) -> float:
        """Put a transfer on a link and return when its last bit arrives at the other end."""
        return float(doors.put(self._run, link, size_bytes, now_s))


class FastBrains(Brains):
    """The models of a fleet in kernels.

    Args:
        fleet: The stations, clock and records to work with.
        cache: Expert cache of the routed nodes; None: what the nodes say.
    """

    coupling_of, audits_of = FastCoupling, FastAudits
    coupling: FastCoupling
    audits: FastAudits
    deployments: dict[int, FastDeployment]  # type: ignore[assignment]

    def __init__(self, fleet: MindFleet, cache: str | None) -> None:
        assert fleet.card is not None
        self._state = fleet.state
        self._tariffs = Tariffs(fleet.state, fleet.card.layers, fleet.card.experts)
        super().__init__(cast("Fleet", fleet), cache)
        for node, deployment in self.deployments.items():
            if fleet.world.feedback.via is not None and self.audits.hears(node):
                deployment.waits_for_ends = True
                fleet.stations[node].served = self.coupling.served
            deployment.refresh()

    def _make(self, station: Station, cost: CostModel, ledger: Ledger) -> Deployment:
        """Make a node's deployment, and who carries out its decisions."""
        facade, clock = cast("Facade", station), NodeClock(self._common.clock)
        common = replace(
            self._common, clock=cast("Clock", clock), supply=lambda spec: self._supply(spec, clock)
        )
        deployment = FastDeployment(
            common, facade, cost, FastLedger(ledger, self._state), self._new_cache(station)
        )
        facade.service = clock.deployment = deployment
        deployment.tariffs = self._tariffs
        deployment.swap = FastSwap(self._common.clock, deployment, self._card.experts)
        self.coupling.swaps[facade.node] = deployment.swap
        return deployment

    def _supply(self, spec: NodeSpec, clock: NodeClock) -> Supply:
        """Make what brings experts to a node, and let it tell kernels of what has come."""
        supply = self._common.supply(spec)
        supply.clock, fetch = cast("Clock", clock), supply.haul

        def haul(crate: Crate, now_s: float) -> None:
            come = crate.came

            def came(at_s: float) -> None:
                come(at_s)
                clock.deployment.refresh()

            crate.came = came
            fetch(crate, now_s)

        supply.haul = haul
        return supply

    # --- faults

    def lose_experts(
        self, node: int, experts: Sequence[ExpertKey], corrupt: bool, now_s: float
    ) -> None:
        """Let a fault take experts from a node (storage and memory), or spoil its stored copies."""
        super().lose_experts(node, experts, corrupt, now_s)
        self.deployments[node].refresh()

    def crash(self, node: int, now_s: float) -> None:
        """Lose a node's memory, plan and pending decision."""
        super().crash(node, now_s)
        self.deployments[node].refresh()

    def restart(self, node: int, now_s: float) -> None:
        """Load a node's start plan again; its router starts cold."""
        super().restart(node, now_s)
        self.deployments[node].refresh()
