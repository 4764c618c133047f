"""Small worlds for the tests of the physics: `model: none` unless said otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from agents.caches import CACHES
from agents.dispatchers import DISPATCHERS
from sim.compute.hardware import HARDWARE
from sim.config import (
    ArrivalSpec,
    Batching,
    DispatchSpec,
    LinkSpec,
    MixSpec,
    NodeSpec,
    ServiceSpec,
    StreamSpec,
    World,
)
from sim.parts import Parts
from sim.records import Record, Table
from sim.simulation import simulate

EDGE = HARDWARE["jetson-orin-nano"]


def parts() -> Parts:
    return Parts(DISPATCHERS.load, CACHES.load)


def node(number: int, **fields: Any) -> NodeSpec:
    return NodeSpec(id=number, name=f"edge-{number}", group="edge", hardware=EDGE, **fields)


def stream(number: int, at: int, arrivals: ArrivalSpec, **fields: Any) -> StreamSpec:
    return StreamSpec(number, f"stream-{number}", at, arrivals, MixSpec("uniform"), **fields)


def queue(
    rate: float, mean_s: float, duration_s: float, seed: int = 1, kind: str = "exponential",
    cv: float = 1.0, **node_fields: Any,
) -> World:  # fmt: skip
    """Return one node that serves its own Poisson stream."""
    return World(
        name="queue",
        seed=seed,
        duration_s=duration_s,
        drain_s=duration_s,
        slot_s=duration_s / 10,
        nodes=(node(0, **node_fields),),
        links=(),
        streams=(stream(0, 0, ArrivalSpec("poisson", rate)),),
        service=ServiceSpec(kind, mean_s, cv),  # type: ignore[arg-type]
    )


def scripted(times_s: Sequence[float], duration_s: float, **node_fields: Any) -> World:
    """Return one node with emissions at given times and a deterministic service of 1 s."""
    world = queue(1.0, 1.0, duration_s, kind="deterministic", **node_fields)
    arrivals = ArrivalSpec("trace", times_s=tuple(times_s))
    return replace(world, streams=(stream(0, 0, arrivals),))


def both_ways(src: int, dst: int, first_id: int, **fields: Any) -> tuple[LinkSpec, LinkSpec]:
    settings = {"delay_s": 0.01, "bytes_per_s": 1e6, **fields}
    return (
        LinkSpec(first_id, src, dst, **settings),
        LinkSpec(first_id + 1, dst, src, **settings),
    )


def fleet(
    nodes: int = 3, seed: int = 1, duration_s: float = 20.0, dispatch: str = "random", **fields: Any
) -> World:
    """Return a ring of nodes that send their requests to each other."""
    links: list[LinkSpec] = []
    for i in range(nodes):
        links += both_ways(i, (i + 1) % nodes, len(links))
    streams = tuple(
        stream(i, i, ArrivalSpec("poisson", 20.0), up_bytes=2e4, down_bytes=5e3)
        for i in range(nodes)
    )
    settings: dict[str, Any] = {
        "service": ServiceSpec("exponential", 0.02),
        "drain_s": 10.0,
        **fields,
    }
    return World(
        name="fleet",
        seed=seed,
        duration_s=duration_s,
        slot_s=1.0,
        nodes=tuple(node(i, capacity=20, batching=Batching(2, 0.01)) for i in range(nodes)),
        links=tuple(links),
        streams=streams,
        dispatch=DispatchSpec(dispatch),
        **settings,
    )


def run(world: World) -> Record:
    return simulate(world, None, parts())


def requests(world: World) -> Table:
    return run(world).tables["requests"]
