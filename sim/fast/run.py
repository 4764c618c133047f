"""Makes the fleet of a run by the `slots` engine: which kernels, and which rows are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.arrivals.workload import draw_workload
from sim.dispatch import make_dispatcher
from sim.fast.fleet import FastFleet
from sim.fast.flow_fleet import FlowFleet
from sim.fast.flow_ways import flow_fits
from sim.fast.sinks import WINDOW, Sampled, Whole
from sim.faults import timetable
from sim.sampling import sample_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.arrays import IntArray
    from sim.config import DispatchSpec, World
    from sim.fast.sinks import Sink
    from sim.parts import Parts


FUSED_WINDOW = WINDOW // 2  # records of requests are larger there than columns are


def fast_fleet(
    world: World,
    parts: Parts,
    dispatch: DispatchSpec,
    window: int = WINDOW,
    cache: str | None = None,
) -> FastFleet | FlowFleet:
    """Return the fleet of a run: one that feeds forward needs no heap of events.

    Args:
        world: The run.
        parts: Plug-ins.
        dispatch: Who serves a request, and how old a view it gets.
        window: Emissions that are loaded at once; no result depends on it.
        cache: Name of the expert cache of every routed node; None: what the nodes say.
    """
    if parts.card is not None:
        from sim.fast.minds import MindFleet

        workload = draw_workload(world, parts.card.pool_sizes)
        return MindFleet(world, workload, parts, dispatch, cache)
    dispatcher = make_dispatcher(world, dispatch, parts)
    if not flow_fits(world, dispatch, dispatcher, timetable(world)):
        sampled = sample_of(world).every > 1
        return FlowFleet(world, parts, dispatch, sampled=sampled, window=window)
    return fused_fleet(world, parts, dispatch, min(window, FUSED_WINDOW))


def fused_fleet(
    world: World, parts: Parts, dispatch: DispatchSpec, window: int = FUSED_WINDOW
) -> FastFleet:
    """Return the fleet of a run by the fused kernel, which any run of `model: none` may have."""

    def sink(choice_s: Sequence[float], priorities: IntArray) -> Sink:
        if sample_of(world).every > 1:
            return Sampled(world, choice_s, priorities, window)
        return Whole(draw_workload(world, None), choice_s, priorities, window)

    return FastFleet(world, sink, parts, dispatch)
