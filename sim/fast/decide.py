"""Which engine computes a run, and why: the feature that forces `events` is named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sim.arrivals.windows import expected_requests
from sim.dispatch import make_dispatcher
from sim.errors import InputError
from sim.fast.jit import COMPILED, ready
from sim.plans import is_gated
from sim.rules import Ruled

if TYPE_CHECKING:
    from sim.config import DispatchSpec, World
    from sim.parts import Parts

# below, `events` ends before kernels are loaded, or before they are compiled for the first time; a
# request of a world with a model costs `events` five times as much
WORTH_REQUESTS, WORTH_COMPILING = 300_000, 10_000_000
DEARER_WITH_MODEL = 5


@dataclass(frozen=True, slots=True)
class Decision:
    """The engine of a run, and in a few words why."""

    engine: Literal["events", "slots"]
    why: str

    def facts(self) -> dict[str, str]:
        """Return it JSON-ready, for the meta facts of a run."""
        return {"name": self.engine, "why": self.why}


def decide(world: World, parts: Parts, dispatch: DispatchSpec) -> Decision:
    """Choose the engine that a world asks for.

    Raises:
        InputError: It asks for `slots`, which cannot do what else it asks for.
    """
    if world.engine == "events":
        return Decision("events", "asked for")
    obstacle = forces_events(world, parts, dispatch)
    if world.engine == "slots":
        if obstacle:
            raise InputError(
                f"engine: slots cannot do {obstacle}; choose auto or events, or leave that out"
            )
        return Decision("slots", "asked for")
    if obstacle:
        return Decision("events", f"only events can do {obstacle}")
    if slow := streams_experts(world, parts):
        return Decision("events", f"{slow}, which events do faster")
    return _by_size(world)


def _by_size(world: World) -> Decision:
    if not COMPILED:
        return Decision("events", "kernels are not compiled here, so slots would be slower")
    about = f"about {(number := expected_requests(world)):,.0f} requests"
    dearer = DEARER_WITH_MODEL if world.model is not None else 1
    least, compiling = WORTH_REQUESTS // dearer, WORTH_COMPILING // dearer
    if number < least:
        return Decision("events", f"{about} are too few for slots to pay (from {least:,})")
    if number < compiling and not ready():
        return Decision(
            "events", f"{about} end before kernels are compiled; `moedge kernels` does that once"
        )
    return Decision("slots", f"nothing needs events, and there are {about}")


def streams_experts(world: World, parts: Parts) -> str:
    """Name a node that serves a gated plan out of a cache that evicts, "" if there is none.

    Python walks its batches in both engines, and kernels and Python would take turns at each.
    """
    for node in world.nodes:
        if node.plan is not None and is_gated(node.plan):
            make: Any = parts.cache(node.cache)
            if not make.preload:
                return f"nodes.{node.id} streams experts (cache: {node.cache})"
    return ""


def forces_events(world: World, parts: Parts, dispatch: DispatchSpec) -> str:
    """Return the feature that only `events` can do, "" if there is none."""
    for link in world.links:
        if link.sharing == "fair":
            return f"fair links (links.{link.id}.sharing)"
        if link.loss > 0.0:
            return f"lossy links (links.{link.id}.loss)"
    for index, fault in enumerate(world.faults):
        if fault.kind == "link-lossy":
            return f"links that become lossy (faults.{index})"
    if not isinstance(make_dispatcher(world, dispatch, parts), Ruled):
        return f"a dispatcher without a rule (dispatch: {dispatch.kind})"
    return ""
