"""Compiles every kernel by letting tiny worlds use it; machine code stays on disk."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sim.compute.hardware import HARDWARE
from sim.config import (
    ArrivalSpec,
    Batching,
    DispatchSpec,
    FaultSpec,
    LinkSpec,
    MixSpec,
    NodeSpec,
    ServiceSpec,
    Setup,
    StreamSpec,
    World,
)
from sim.simulation import simulate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sim.parts import Parts

_FEW_BYTES = 1e4  # so that rows are sampled


def warm(parts: Parts) -> int:
    """Run the worlds; return how many there were.

    Args:
        parts: Plug-ins.
    """
    count = 0
    for world in worlds():
        simulate(world, None, parts)
        count += 1
    return count


def worlds() -> Iterator[World]:
    """Yield worlds that use all kernels between them."""
    line = _world()
    yield line
    yield replace(line, rows_bytes=_FEW_BYTES, dispatch=DispatchSpec("power-of-two"))
    plain = tuple(replace(node, discipline="fifo", setup=None, batching=Batching())
                  for node in line.nodes)  # fmt: skip
    for kind in ("random", "round-robin", "local"):
        forward = replace(line, nodes=plain, faults=(), dispatch=DispatchSpec(kind))
        yield forward
        yield replace(forward, rows_bytes=_FEW_BYTES)


def _world() -> World:
    hardware = HARDWARE["jetson-orin-nano"]
    node = NodeSpec(0, "node-0", "node", hardware)
    stream = StreamSpec(
        0, "all", 0, ArrivalSpec("poisson", 100.0), MixSpec("uniform"), up_bytes=1e3,
        down_bytes=1e3, patience=ServiceSpec("exponential", 1.0), deadline_s=5.0, late="drop",
    )  # fmt: skip
    return World(
        name="kernels", seed=1, duration_s=2.0, drain_s=2.0, slot_s=0.5,
        nodes=(
            replace(node, discipline="sharing"),
            replace(node, id=1, name="node-1", discipline="priority", batching=Batching(2, 0.01)),
            replace(node, id=2, name="node-2", setup=Setup(0.01, 0.1)),
            replace(node, id=3, name="node-3", servers=2),
        ),
        links=tuple(
            LinkSpec(2 * i + back, *((i + 1, 0) if back else (0, i + 1)), 0.001, 1e6, "none")
            for i in range(3) for back in (0, 1)
        ),
        streams=(stream, replace(stream, id=1, name="more", node=1, priority=1)),
        dispatch=DispatchSpec("random"), service=ServiceSpec("exponential", 0.01), engine="slots",
        faults=(
            FaultSpec("node-crash", 3, at_s=0.5, for_s=0.2, work="migrate"),
            FaultSpec("node-crash", 1, at_s=0.7, for_s=0.2, work="keep"),
            FaultSpec("link-slow", 0, at_s=0.2, for_s=0.2, factor=2.0, delay_s=0.01),
        ),
    )  # fmt: skip
