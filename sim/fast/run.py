"""Makes the fleet of a run by the `slots` engine: which kernels, and which rows are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.arrivals.workload import draw_workload
from sim.fast.fleet import FastFleet
from sim.fast.sinks import WINDOW, Sampled, Whole
from sim.sampling import sample_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.arrays import IntArray
    from sim.config import DispatchSpec, World
    from sim.fast.sinks import Sink
    from sim.parts import Parts


def fast_fleet(
    world: World, parts: Parts, dispatch: DispatchSpec, window: int = WINDOW
) -> FastFleet:
    """Return the fleet of a run.

    Args:
        world: The run.
        parts: Plug-ins.
        dispatch: Who serves a request, and how old a view it gets.
        window: Emissions that are loaded at once; no result depends on it.
    """

    def sink(choice_s: Sequence[float], priorities: IntArray) -> Sink:
        if sample_of(world).every > 1:
            return Sampled(world, choice_s, priorities, window)
        return Whole(draw_workload(world, None), choice_s, priorities, window)

    return FastFleet(world, sink, parts, dispatch)
