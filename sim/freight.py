"""Expert bytes between nodes: a small message asks, the bytes come back over the same links.

They share the links with requests and other messages. A message that meets a broken link, or a node
that is down, is lost, and the node that asked tries again (sim.compute.supply).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.compute.storage import Storage
from sim.compute.supply import ASK_BYTES, FIRST_WAIT_S, Crate, Supply
from sim.errors import InputError
from sim.pace import Pace
from sim.ports import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sim.clock import Clock
    from sim.config import NodeSpec, World
    from sim.faults import Outage
    from sim.topology.graph import Network

EXPERT_FAULTS = ("expert-lost", "expert-corrupt")


class Freight:
    """Makes the supply of every node, and carries experts between nodes.

    A node fetches from its `experts_from`, which has storage of its own. What a fault took from a
    node that reads its own storage, or from the node that another fetches from, comes from the
    nearest node (by the delay of the way back, then the lowest id) that is up, has servers and
    storage of its own, and holds good copies.
    Deviation: the node that is asked answers at once, at no cost of its own beyond the link.

    Args:
        world: The run.
        clock: The run's clock.
        network: Routes, recomputed on topology events.
        up: Which nodes are up.
        outages: The timetable of faults.

    Attributes:
        post: Sends a message; set by who builds the network.

    Raises:
        InputError: A node has nowhere to fetch its experts from.
    """

    def __init__(
        self,
        world: World,
        clock: Clock,
        network: Network,
        up: Sequence[bool],
        outages: Iterable[Outage],
    ) -> None:
        self.world, self.clock, self.network, self.up = world, clock, network, up
        self.post: Callable[[Message, float], None]
        self._supplies: dict[int, Supply] = {}
        self._slow = [o for o in outages if o.kind == "storage-slow"]
        for node in world.nodes:
            self._check(node)
        for index, fault in enumerate(world.faults):
            if fault.kind in EXPERT_FAULTS:
                self._check_fault(index, fault.target)

    def _check(self, node: NodeSpec) -> None:
        source, last = node.experts_from, len(self.world.nodes) - 1
        if source is None or node.servers == 0:
            return
        where = f"nodes.{node.id}.experts_from ({node.name})"
        if not 0 <= source <= last or source == node.id:
            raise InputError(f"{where}: expected another node, 0 to {last}, found {source}")
        name = self.world.nodes[source].name
        if self.world.nodes[source].experts_from is not None:
            raise InputError(f"{where}: {name} keeps no experts itself, it has `experts_from`")
        if not self._joined(node.id, source):
            raise InputError(f"{where}: no links lead to {name} and back")

    def _check_fault(self, index: int, target: int) -> None:
        node = self.world.nodes[target]
        if node.experts_from is None and not self._others(target):
            raise InputError(
                f"faults.{index}: {node.name} has nowhere to fetch a lost expert from; give it"
                " `experts_from`, or links to a node with servers and storage of its own"
            )

    def _joined(self, here: int, there: int) -> bool:
        routes = self.network.route(here, there), self.network.route(there, here)
        return None not in routes

    def _others(self, node: int) -> list[int]:
        """List the nodes that could help out a node that has lost experts."""
        return [
            other.id
            for other in self.world.nodes
            if other.id != node
            and other.servers > 0
            and other.experts_from is None
            and self._joined(node, other.id)
        ]

    def supply(self, spec: NodeSpec) -> Supply:
        """Make what brings experts to a node."""
        slow = [(o.from_s, o.until_s, o.spec.factor) for o in self._slow if o.target == spec.id]
        supply = self._supplies[spec.id] = Supply(
            self.clock,
            spec.id,
            Storage(spec.hardware, Pace(slow)),
            stored=spec.experts_from is None,
            first_wait_s=max(self.world.transport.backoff_s, FIRST_WAIT_S),
        )
        supply.haul = self.fetch
        return supply

    def fetch(self, crate: Crate, now_s: float) -> None:
        """Ask another node for experts."""
        source = self._source(crate)
        if source is None:
            crate.lost(now_s)
            return
        crate.source = source
        self.post(Message(crate.node, source, ASK_BYTES, crate), now_s)

    def _source(self, crate: Crate) -> int | None:
        fixed = self.world.nodes[crate.node].experts_from
        if fixed is not None and self._holds(fixed, crate):
            return fixed
        good = [n for n in self._others(crate.node) if self.up[n] and self._holds(n, crate)]
        return min(good, key=lambda n: self._delay_s(n, crate.node), default=None)

    def _holds(self, node: int, crate: Crate) -> bool:
        supply = self._supplies.get(node)  # None: it only forwards, and no fault takes its copies
        return supply is None or not any(key in supply.bad for key in crate.keys)

    def _delay_s(self, here: int, there: int) -> float:
        route = self.network.route(here, there) or ()
        return sum(self.network.links[link].delay_s for link in route)

    def deliver(self, message: Message, now_s: float) -> None:
        """Answer a node that asks, or hand over what came."""
        crate: Crate = message.payload
        if message.dst == crate.node:
            crate.came(now_s)
        elif self.up[message.dst]:
            self.post(Message(message.dst, crate.node, crate.size_bytes, crate), now_s)
        else:
            crate.lost(now_s)

    def lose(self, message: Message, now_s: float) -> None:
        """Tell the node that asked that it must ask again."""
        crate: Crate = message.payload
        crate.lost(now_s)
