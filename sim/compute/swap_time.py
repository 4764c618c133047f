"""What a change of plan takes on a node: known before the run, for routers that weigh it."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from sim.compute.cost import CostModel
from sim.compute.supply import ASK_BYTES
from sim.topology.graph import Network

if TYPE_CHECKING:
    from sim.config import World
    from sim.ports import ModelCard
    from sim.topology.graph import Route


def full_swap_s(world: World, card: ModelCard) -> dict[int, float]:
    """Return, per node with servers, the seconds that fetching and merging all experts takes.

    One read of all experts from storage (or one transfer of them over idle links), then the merge
    on one server with nothing else running; the work of deciding and the wait behind batches are
    left out.

    Args:
        world: A run with a model.
        card: The checkpoint.
    """
    assert world.model is not None
    serving = [node for node in world.nodes if node.servers > 0]
    network = Network(world.links)
    costs = {n.hardware: CostModel(world.model.cost_as, card, n.hardware) for n in serving}
    seconds = {}
    for node in serving:
        hardware, cost = node.hardware, costs[node.hardware]
        flop, read_bytes, fetch_bytes = cost.merge_work(card.experts)
        if node.experts_from is None:
            fetch_s = hardware.storage_delay_s + fetch_bytes / hardware.storage_bytes_per_s
        else:
            ask = network.route(node.id, node.experts_from) or ()
            back = network.route(node.experts_from, node.id) or ()
            fetch_s = _journey_s(world, ask, ASK_BYTES) + _journey_s(world, back, fetch_bytes)
        seconds[node.id] = fetch_s + cost.seconds(flop, read_bytes)
    return seconds


def _journey_s(world: World, route: Route, size_bytes: float) -> float:
    """Return how long a transfer takes over idle links: hop by hop, runs of fair links at once."""
    total_s = 0.0
    for fair, run in groupby((world.links[i] for i in route), lambda link: link.sharing == "fair"):
        links = list(run)
        flows_s = [size_bytes / link.bytes_per_s for link in links]
        total_s += sum(link.delay_s for link in links) + (max(flows_s) if fair else sum(flows_s))
    return total_s
