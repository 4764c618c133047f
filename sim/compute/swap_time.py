"""What a change of plan takes on a node: known before the run, for routers that weigh it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.compute.cost import CostModel

if TYPE_CHECKING:
    from sim.config import World
    from sim.ports import ModelCard


def full_swap_s(world: World, card: ModelCard) -> dict[int, float]:
    """Return, per node with servers, the seconds that fetching and merging all experts takes.

    One read of all experts from storage, then the merge on one server with nothing else running;
    the work of deciding and the wait behind batches are left out.

    Args:
        world: A run with a model.
        card: The checkpoint.
    """
    assert world.model is not None
    serving = [node for node in world.nodes if node.servers > 0]
    kinds = {node.hardware: 0.0 for node in serving}
    for hardware in kinds:
        cost = CostModel(world.model.cost_as, card, hardware)
        flop, read_bytes, fetch_bytes = cost.merge_work(card.experts)
        fetch_s = hardware.storage_delay_s + fetch_bytes / hardware.storage_bytes_per_s
        kinds[hardware] = fetch_s + cost.seconds(flop, read_bytes)
    return {node.id: kinds[node.hardware] for node in serving}
