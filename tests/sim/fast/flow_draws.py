"""Random fleets that feed forward, one from each integer, with many ties."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Any

import numpy as np

from sim.config import (
    ArrivalSpec,
    DispatchSpec,
    LinkSpec,
    MixSpec,
    NodeSpec,
    ServiceSpec,
    StreamSpec,
    World,
)
from tests.campaign.draws import GRID_S, Rng, chance, pick
from tests.sim.worlds import EDGE, node

DURATION_S = 4.0


def draw(seed: int) -> World:
    """Draw a world."""
    rng = np.random.default_rng([77, seed])
    shape = pick(rng, ("alone", "hub", "cloud", "mesh"))
    count = 1 if shape == "alone" else int(rng.integers(2, 6))
    hub = shape == "hub"  # a gateway sends to the others
    nodes = tuple(_node(rng, i, serves=not (hub and i == 0)) for i in range(count))
    at = [0] * int(rng.integers(1, 4)) if hub else [*range(count), 0]
    kind = _kind(rng, shape)
    world = World(
        name=shape, seed=int(rng.integers(1000)), duration_s=DURATION_S,
        drain_s=pick(rng, (0.0, 0.25, 0.4, 600.0)), slot_s=pick(rng, (0.25, 0.7, 1.0, 5.0)),
        nodes=nodes, links=_links(rng, shape, count), service=_service(rng),
        streams=tuple(_stream(rng, i, source) for i, source in enumerate(at)),
        dispatch=DispatchSpec(kind, to="edge-0" if kind == "cloud" else None),
    )  # fmt: skip
    return _patient(world) if chance(rng, 0.5) else world


def _patient(world: World) -> World:
    streams = tuple(replace(s, patience=None, late="serve") for s in world.streams)
    return replace(world, streams=streams)


def _kind(rng: Rng, shape: str) -> str:
    if shape == "cloud":
        return "cloud"
    kinds = ("random", "round-robin") if shape == "hub" else ("random", "round-robin", "local")
    return pick(rng, kinds)


def _node(rng: Rng, number: int, *, serves: bool) -> NodeSpec:
    # so slow a thinker that choices take a while, or one whose choices take no time
    hardware = replace(EDGE, flop_per_s=pick(rng, (EDGE.flop_per_s, 2.0, 4.0, 20.0, inf)))
    if not serves:
        return replace(node(number, servers=0), hardware=hardware)
    servers = pick(rng, (1, 1, 2, 3))
    made = node(number, servers=servers, capacity=pick(rng, (inf, inf, servers, servers + 2.0)))
    return replace(made, hardware=hardware)


def _links(rng: Rng, shape: str, count: int) -> tuple[LinkSpec, ...]:
    pairs = {
        "alone": [],
        "hub": [(0, i) for i in range(1, count)],
        "cloud": [(i, 0) for i in range(1, count)],
        "mesh": [(i, j) for i in range(count) for j in range(i)],
    }[shape]
    style = "none" if shape == "mesh" else pick(rng, ("none", "fifo", "mixed"))
    same = {"delay_s": pick(rng, (0.0, 0.25)), "bytes_per_s": pick(rng, (4e3, 16e3, inf))}
    links: list[LinkSpec] = []
    for a, b in pairs:
        for src, dst in ((a, b), (b, a)):
            fields: dict[str, Any] = dict(same)
            if chance(rng, 0.3):
                fields = {"delay_s": 0.26, "bytes_per_s": pick(rng, (1e4, inf))}
            sharing = pick(rng, ("none", "fifo")) if style == "mixed" else style
            links.append(LinkSpec(len(links), src, dst, sharing=sharing, **fields))  # type: ignore[arg-type]
    return tuple(links)


def _service(rng: Rng) -> ServiceSpec:
    kind = pick(rng, ("deterministic", "deterministic", "exponential"))
    # (1e-20: a service that ends in the instant of its start)
    return ServiceSpec(kind, pick(rng, (0.25, 0.125, 0.03, 1e-20)))  # type: ignore[arg-type]


def _stream(rng: Rng, number: int, at: int) -> StreamSpec:
    rate = pick(rng, (4.0, 20.0))
    arrivals = pick(rng, (
        ArrivalSpec("poisson", rate),
        ArrivalSpec("deterministic", 8.0),
        ArrivalSpec("trace", times_s=tuple(sorted(rng.choice(GRID_S[:-1], 40).tolist()))),
        ArrivalSpec("trace", times_s=tuple(sorted(rng.choice(GRID_S[:-1], 40).tolist()))),
        ArrivalSpec("trace", times_s=()),
    ))  # fmt: skip
    deadline_s = pick(rng, (inf, inf, 0.25, 1.0))
    law = ServiceSpec(pick(rng, ("exponential", "deterministic")), 0.25)
    return StreamSpec(
        number, f"stream-{number}", at, arrivals, MixSpec("uniform"),
        deadline_s=deadline_s, late=pick(rng, ("serve", "drop")) if deadline_s < inf else "serve",
        up_bytes=pick(rng, (0.0, 1e3, 2e3)), down_bytes=pick(rng, (0.0, 1e3)),
        size_law=pick(rng, ("fixed", "fixed", "exponential")),
        patience=law if chance(rng, 0.4) else None,
        service=_service(rng) if chance(rng, 0.3) else None,
    )  # fmt: skip
