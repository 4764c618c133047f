"""The true mix of tasks by node and slot.

For declared oracles and for metrics, never for other policies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim.arrivals.emission import expected
from sim.arrivals.mix import draw_schedules

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sim.arrays import FloatArray
    from sim.config import World


class NodeMixes:
    """Averages the mixes of a node's own streams by their expected requests in the slot.

    A node without a stream of its own (a cloud, say) gets the fleet's average. That is what a node
    serves under the dispatcher `local`; under others it is what its users ask, and served_mix is
    what it serves.

    Args:
        world: The run.
        tasks: Number of tasks M.
    """

    def __init__(self, world: World, tasks: int) -> None:
        self.world, self.tasks = world, tasks
        self.schedules = draw_schedules(world, tasks)

    def by_node(self, slot: int) -> FloatArray:
        """Return the mix that each node's users ask in a slot, (nodes, M), rows sum to 1."""
        slot_s = self.world.slot_s
        total = np.zeros((len(self.world.nodes), self.tasks))
        for schedule in self.schedules:
            stream = schedule.stream
            weight = max(expected(stream.arrivals, slot * slot_s, (slot + 1) * slot_s), 1e-12)
            total[stream.node] += weight * schedule.slot_mix(slot, slot_s)
        share = total.sum(axis=1, keepdims=True)
        fleet = total.sum(axis=0)
        fleet = fleet / fleet.sum() if fleet.sum() > 0.0 else np.full(self.tasks, 1.0 / self.tasks)
        mixes: FloatArray = np.where(share > 0.0, total / np.where(share > 0.0, share, 1.0), fleet)
        return mixes

    def changes(self) -> Iterator[tuple[int, int]]:
        """Yield (slot, node) of every change of a stream's mix, for the table `drift`."""
        for schedule in self.schedules:
            for t_s in schedule.change_times(self.world.duration_s):
                yield int(t_s // self.world.slot_s), schedule.stream.node
