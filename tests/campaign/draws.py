"""One random run from one integer: a world, its faults, a policy. One small function per feature.

Times lie on coarse grids, services and delays are often fixed or zero, so that ties are common.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf, nan
from typing import Any, TypeVar, get_args

import numpy as np

from agents.caches import CACHES
from sim.config import (
    ArrivalSpec,
    Batching,
    Discipline,
    DispatchSpec,
    FaultKind,
    FaultSpec,
    FeedbackSpec,
    LinkSpec,
    MixSpec,
    NodeSpec,
    PolicySpec,
    ServiceSpec,
    Setup,
    Sharing,
    StreamSpec,
    SwapMode,
    TransportSpec,
    Work,
    World,
)
from sim.faults import EXPERT_KINDS, LINK_KINDS, MODEL_KINDS
from sim.plans import Plan, Single, TopK
from sim.topology.generators import barabasi_albert, ring, star, tree
from tests.agents.hosting.tiny import E, L
from tests.sim import minds, worlds

T = TypeVar("T")
Rng = np.random.Generator

DURATION_S, DRAIN_S = 4.0, 600.0
GRID_S = tuple(0.25 * i for i in range(17))
BAD_REWARDS = (nan, inf, -inf, 1e9, 0.5)
DISPATCH = ("random", "round-robin", "least-loaded", "power-of-two")


@dataclass(frozen=True, slots=True)
class Run:
    """What one integer stands for; `policy` None: `model: none`."""

    seed: int
    world: World
    policy: PolicySpec | None


def pick(rng: Rng, items: Sequence[T]) -> T:
    """Draw one of several."""
    return items[int(rng.integers(len(items)))]


def chance(rng: Rng, probability: float) -> bool:
    """Draw whether something is so."""
    return bool(rng.random() < probability)


def draw(seed: int) -> Run:
    """Draw a run; every fourth has a model."""
    rng = np.random.default_rng([2024, seed])
    make = minded if seed % 4 == 3 else plain
    over = chance(rng, 0.6)  # all faults end before the arrivals do, so that queues must drain
    world, policy = make(rng, DRAIN_S if over else pick(rng, (0.0, 0.5, 20.0)))
    found = faults(rng, world, over=over)
    return Run(seed, replace(world, seed=int(rng.integers(1000)), faults=found), policy)


# --- topology and links


def wires(
    rng: Rng, count: int, speeds: Sequence[float] = (1e5, 1e6, inf)
) -> tuple[str, tuple[LinkSpec, ...]]:
    """Draw how nodes hang together, and links both ways."""
    ids = list(range(count))
    shapes: dict[str, Callable[[], list[tuple[int, int]]]] = {
        "line": lambda: [(i, i + 1) for i in ids[:-1]],
        "star": lambda: star(0, ids[1:]),
        "tree": lambda: tree(0, ids[1:], 2),
    }
    if count > 2:
        shapes |= {"ring": lambda: ring(ids), "ba": lambda: barabasi_albert(ids, 1, rng)}
    if count == 1:
        return "alone", ()
    name = pick(rng, sorted(shapes))
    style = pick(rng, ("fifo", "fair", "none", "mixed"))
    links: list[LinkSpec] = []
    for a, b in shapes[name]():
        for src, dst in ((a, b), (b, a)):
            made = link(rng, len(links), (src, dst), style)
            if min(speeds) > 1e6:  # experts come this way, try after try
                made = replace(made, loss=min(made.loss, 0.1))
            links.append(replace(made, bytes_per_s=pick(rng, speeds)))
    return name, tuple(links)


def link(rng: Rng, number: int, ends: tuple[int, int], style: str) -> LinkSpec:
    sharing: Sharing = pick(rng, get_args(Sharing)) if style == "mixed" else style  # type: ignore[assignment]
    return LinkSpec(
        number, *ends, pick(rng, (0.0, 0.01, 0.2)), inf, sharing,
        loss=pick(rng, (0.0, 0.0, 0.0, 0.1, 0.4)),
    )  # fmt: skip


def transport(rng: Rng) -> TransportSpec:
    return TransportSpec(pick(rng, (1, 1, 2, 5)), pick(rng, (0.0, 0.05, 0.25)))


# --- nodes


def discipline(rng: Rng) -> dict[str, Any]:
    """Draw how a node of `model: none` serves."""
    kind: Discipline = pick(rng, get_args(Discipline))
    if kind == "sharing":
        return {"discipline": kind, "job_share": pick(rng, (1.0, 0.5))}
    return {"discipline": kind, "batching": batching(rng), "setup": setup(rng)}


def batching(rng: Rng) -> Batching:
    return pick(rng, (Batching(), Batching(), Batching(3, 0.05), Batching(2), Batching(30, 0.1)))


def setup(rng: Rng) -> Setup | None:
    return pick(rng, (None, None, Setup(0.05), Setup(0.25, 0.25), Setup(0.1, inf)))


def capacity(rng: Rng, servers: int) -> float:
    return pick(rng, (inf, float(servers), servers + 2.0, servers + 10.0))


def plain_node(rng: Rng, number: int) -> NodeSpec:
    servers = int(rng.integers(0 if number else 1, 4))
    if servers == 0:
        return worlds.node(number, servers=0)
    return worlds.node(number, servers=servers, capacity=capacity(rng, servers), **discipline(rng))


def minded_node(rng: Rng, number: int, count: int) -> NodeSpec:
    """Draw a node with a model, often with little memory."""
    cache, swap = pick(rng, sorted(CACHES)), pick(rng, get_args(SwapMode))
    speeds = [1e8, 1e9]
    plan: Plan | None = pick(rng, (None, None, None, Single(1), minds.SKEW))
    if cache != "all":  # small memories hold no whole gated plan
        plan = pick(rng, (plan, TopK(1), TopK(2)))
    elif swap == "double-buffer":
        speeds += [1e6] * 4  # so slow that others ask for memory while a merge holds it
    hardware = minds.chip(
        minds.BACKBONE + minds.MERGED + pick(rng, (2, 4, 12)) * minds.MB,
        flop_per_s=1e12, bytes_per_s=1e12, kernel_s=0.001, storage_bytes_per_s=pick(rng, speeds),
    )  # fmt: skip
    return minds.node(
        number, hardware=hardware, servers=int(rng.integers(1, 4)), cache=cache, swap=swap,
        capacity=pick(rng, (20.0, inf)), batching=batching(rng), plan=plan, setup=setup(rng),
        discipline=pick(rng, ("fifo", "priority")), experts_from=experts_from(rng, number, count),
    )  # fmt: skip


def experts_from(rng: Rng, number: int, count: int) -> int | None:
    """Draw whose copies a node fetches: its own storage's, or node 0's."""
    return 0 if number and count > 1 and chance(rng, 0.3) else None


# --- streams


def arrivals(rng: Rng) -> ArrivalSpec:
    """Draw when a stream emits."""
    rate = pick(rng, (4.0, 20.0))
    return pick(rng, (
        ArrivalSpec("poisson", rate),
        ArrivalSpec("deterministic", 10.0),
        ArrivalSpec("trace", times_s=tuple(sorted(rng.choice(GRID_S[:-1], 30).tolist()))),
        ArrivalSpec("profile", rate, profile=((0.0, rate), (1.0, 5 * rate), (1.5, rate / 2))),
        ArrivalSpec("mmpp", 10.0, rates_per_s=(2.0, 18.0), stays_s=(0.5, 0.5)),
        ArrivalSpec("diurnal", rate, amplitude=0.9, period_s=2.0),
        ArrivalSpec("hawkes", rate, branching=0.6, decay_s=0.1),
    ))  # fmt: skip


def stream(rng: Rng, number: int, at: int, *, own_service: bool) -> StreamSpec:
    deadline_s = pick(rng, (inf, inf, 0.25, 1.0))
    law = ServiceSpec(pick(rng, ("exponential", "deterministic")), 0.25)
    return StreamSpec(
        number, f"stream-{number}", at, arrivals(rng), MixSpec("uniform"),
        deadline_s=deadline_s, late=pick(rng, ("serve", "drop")) if deadline_s < inf else "serve",
        up_bytes=pick(rng, (0.0, 2e3, 2e4)), down_bytes=pick(rng, (0.0, 1e3)),
        size_law=pick(rng, ("fixed", "exponential", "lognormal")),
        priority=int(rng.integers(0, 3)), patience=law if chance(rng, 0.3) else None,
        service=service(rng) if own_service and chance(rng, 0.3) else None,
    )  # fmt: skip


def streams(rng: Rng, count: int, *, own_service: bool = False) -> tuple[StreamSpec, ...]:
    """Draw one stream per node, and one more at the first."""
    places = [*range(count), 0]
    made = [stream(rng, i, at, own_service=own_service) for i, at in enumerate(places)]
    return tuple(made)


def service(rng: Rng) -> ServiceSpec:
    kind = pick(rng, ("exponential", "deterministic", "lognormal", "hyperexponential", "erlang"))
    cv = {"hyperexponential": 2.0, "erlang": 0.5, "deterministic": 0.0}.get(kind, 1.0)
    return ServiceSpec(kind, pick(rng, (0.02, 0.1)), cv, pick(rng, (0.0, 0.01)))  # type: ignore[arg-type]


def dispatch(rng: Rng) -> DispatchSpec:
    return DispatchSpec(pick(rng, DISPATCH), pick(rng, (0.0, 0.0, 0.25, 0.3)))


# --- worlds


def plain(rng: Rng, drain_s: float) -> tuple[World, None]:
    """Draw a world of `model: none`."""
    count = int(rng.integers(1, 6))
    shape, links = wires(rng, count)
    return World(
        name=shape, seed=0, duration_s=DURATION_S, drain_s=drain_s,
        slot_s=pick(rng, (0.25, 0.7, 1.0)), nodes=tuple(plain_node(rng, i) for i in range(count)),
        links=links, streams=streams(rng, count, own_service=True), service=service(rng),
        dispatch=dispatch(rng), transport=transport(rng),
    ), None  # fmt: skip


def minded(rng: Rng, drain_s: float) -> tuple[World, PolicySpec]:
    """Draw a world whose nodes run the tiny model, and who steers them."""
    count = int(rng.integers(1, 5))
    shape, links = wires(rng, count, (1e8, 1e9, inf))  # experts of 1 MB may come over them
    nodes = [minded_node(rng, i, count) for i in range(count)]
    via = 0 if links and chance(rng, 0.5) else None
    feedback = FeedbackSpec(
        pick(rng, (0.0, 0.3)), pick(rng, (0.5, 1.0)), via, 1e4, 1e2, pooled=chance(rng, 0.3)
    )
    return minds.world(
        nodes, streams(rng, count), duration_s=DURATION_S, name=shape,
        drain_s=drain_s, slot_s=pick(rng, (0.25, 1.0)), links=links,
        feedback=feedback, decision_delay_slots=int(rng.integers(0, 3)), dispatch=dispatch(rng),
        transport=transport(rng),
    ), policy(rng)  # fmt: skip


def policy(rng: Rng) -> PolicySpec:
    """Draw who decides: a router that does all sorts of things, a quiet one, or a script."""
    kind = pick(rng, ("listener", "still", "scripted", "scripted"))
    if kind != "scripted":
        return PolicySpec(kind, kind)
    choices = (minds.SKEW, minds.OTHER, Single(2), TopK(1), TopK(2), None)
    plans = {slot: pick(rng, choices) for slot in range(16)}
    # a state that comes and goes, in a memory that a merge may fill meanwhile
    state = {slot: pick(rng, (0.0, 1.5 * minds.MB)) for slot in range(1, 16)}
    return minds.script(plans, flop=pick(rng, (0.0, 1e10)), state_from=state)


# --- faults


def faults(rng: Rng, world: World, *, over: bool) -> tuple[FaultSpec, ...]:
    """Draw up to five faults of any kind that the world can have."""
    servers = [n.id for n in world.nodes if n.servers]
    kinds = [k for k in get_args(FaultKind) if world.links or k not in LINK_KINDS]
    kinds = [k for k in kinds if world.model is not None or k not in MODEL_KINDS]
    if not donors(world):
        kinds = [k for k in kinds if k not in EXPERT_KINDS]
    made = []
    for _ in range(int(rng.integers(0, 6))):
        kind: FaultKind = pick(rng, kinds)
        places = list(range(len(world.links))) if kind in LINK_KINDS else servers
        places = donors(world) if kind in EXPERT_KINDS else places
        hit = rng.permutation(places)[: pick(rng, (1, 1, 1, 2, len(places)))].tolist()
        numbers = severity(rng, kind, modelled=world.model is not None)
        made.append(FaultSpec(kind, hit[0], also=tuple(hit[1:]), **when(rng, over=over), **numbers))
    return tuple(made)


def donors(world: World) -> list[int]:
    """Return the nodes that can fetch a lost expert from another one; the rest are refused."""
    own = [n.id for n in world.nodes if n.servers and n.experts_from is None]
    return [
        n.id for n in world.nodes
        if n.servers and (n.experts_from is not None or any(i != n.id for i in own))
    ]  # fmt: skip


def when(rng: Rng, *, over: bool) -> dict[str, Any]:
    """Draw when a fault holds: once, again and again, flapping, or as the seed says."""
    style = pick(rng, ("once", "often", "flapping", "drawn", "wild"))
    if style == "drawn" and not over:
        return {"mtbf_s": 1.5, "mttr_s": pick(rng, (0.3, 1.0))}
    if style == "wild" and not over:
        return {"mtbf_s": 0.02, "mttr_s": 0.02}
    at_s = pick(rng, GRID_S[:8])
    if style == "often":
        return {"at_s": at_s, "for_s": 0.25, "every_s": 0.5, "until_s": 3.5}
    if style == "flapping":
        return {
            "at_s": at_s,
            "for_s": pick(rng, (0.01, 0.02, 0.05)),
            "every_s": 0.02,
            "until_s": 3.0,
        }
    return {"at_s": at_s, "for_s": pick(rng, (0.25, 1.0, 2.0) if over else (0.5, 2.0, inf))}


def severity(rng: Rng, kind: FaultKind, *, modelled: bool) -> dict[str, Any]:
    """Draw what a fault of a kind does."""
    works: tuple[Work, ...] = ("drop", "keep", "migrate")
    pairs = [(layer, expert) for layer in range(L) for expert in range(E)]
    order = rng.permutation(len(pairs))[: pick(rng, (1, 3, len(pairs)))]
    experts = {"experts": tuple(pairs[i] for i in order)}
    said: dict[FaultKind, dict[str, Any]] = {
        "node-crash": {"work": pick(rng, works if modelled else (*works, "resume"))},
        "link-slow": {"factor": pick(rng, (1.0, 4.0, 100.0)), "delay_s": pick(rng, (0.0, 0.1))},
        "link-lossy": {"loss": pick(rng, (0.2, 0.9))},
        "storage-slow": {"factor": pick(rng, (2.0, 50.0))},
        "expert-lost": experts,
        "expert-corrupt": experts,
        "feedback-spoiled": {"value": pick(rng, BAD_REWARDS)},
    }
    return said.get(kind, {})
