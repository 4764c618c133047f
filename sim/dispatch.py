"""Makes the dispatcher of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.errors import InputError
from sim.ports import DispatchSetup
from sim.rng import Streams

if TYPE_CHECKING:
    from sim.config import DispatchSpec, World
    from sim.parts import Parts
    from sim.ports import Dispatcher


def candidates(world: World, spec: DispatchSpec) -> list[int]:
    """Return the nodes that a dispatcher may choose."""
    return [n.id for n in world.nodes if n.servers > 0 and spec.to in {None, n.group, n.name}]


def make_dispatcher(world: World, spec: DispatchSpec, parts: Parts) -> Dispatcher:
    """Make the dispatcher of a run over the nodes that it may choose.

    Raises:
        InputError: No node may be chosen.
    """
    chosen = candidates(world, spec)
    if not chosen:
        raise InputError(f"dispatch.to: no node or group {spec.to!r} has servers")
    rng = Streams(world.seed).stream("dispatch", spec.kind)
    return parts.dispatcher(spec.kind)(DispatchSetup(world.nodes, chosen, rng, spec.params))
