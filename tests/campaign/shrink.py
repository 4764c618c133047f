"""Making a failing run smaller: fewer faults, streams, nodes and features that still fail alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import inf
from typing import Any

from sim.config import Batching, ServiceSpec, TransportSpec, World
from sim.errors import InputError
from sim.faults import LINK_KINDS

Fails = Callable[[World, Any], str]  # the kind of failure, "" for none
Step = Callable[[World], Iterator[World]]


def failing(trial: Callable[[World, Any], Any]) -> Fails:
    """Return a function that says how a run fails."""

    def fails(world: World, policy: Any) -> str:
        try:
            trial(world, policy)
        except InputError:
            return ""  # a world that is refused shows nothing
        except Exception as error:
            return type(error).__name__
        return ""

    return fails


def smaller(world: World, policy: Any, fails: Fails, limit_s: float = 120.0) -> World:
    """Take away what the failure does not need, one thing at a time, until nothing can go.

    Args:
        world: A run that fails.
        policy: Who steers it.
        fails: Says how a run fails.
        limit_s: Wall time after which what is left must do.
    """
    kind, end_s, before = fails(world, policy), time.perf_counter() + limit_s, None
    while kind and before != world:
        before = world
        for step in STEPS:
            world = _as_small(world, policy, step, lambda *run: fails(*run) == kind, end_s)
    return world


def _as_small(
    world: World, policy: Any, step: Step, still: Callable[[World, Any], bool], end_s: float
) -> World:
    """Take one kind of step again and again, as long as one of its candidates still fails."""
    changed = True
    while changed and time.perf_counter() < end_s:
        tried = (candidate for candidate in step(world) if candidate != world)
        found = next((c for c in tried if time.perf_counter() < end_s and still(c, policy)), None)
        changed = found is not None
        world = found or world
    return world


def _faults(world: World) -> Iterator[World]:
    yield from (replace(world, faults=rest) for rest in _without(world.faults))


def _streams(world: World) -> Iterator[World]:
    yield from (replace(world, streams=_numbered(rest)) for rest in _without(world.streams))


def _times(world: World) -> Iterator[World]:
    if world.duration_s > 0.5:
        yield replace(world, duration_s=world.duration_s / 2)
    yield replace(world, transport=TransportSpec())
    if world.service is not None:
        yield replace(world, service=ServiceSpec("deterministic", world.service.mean_s, 0.0))


def _features(field: str, simple: Sequence[dict[str, Any]]) -> Step:
    """Return the step that makes one feature of one node, link, stream or fault plain."""

    def step(world: World) -> Iterator[World]:
        items = getattr(world, field)
        for index in range(len(items)):
            for fields in simple:
                yield replace(world, **{field: _put(items, index, fields)})

    return step


def _without(items: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Yield the halves, then all but one."""
    if len(items) > 3:
        middle = len(items) // 2
        yield from (items[:middle], items[middle:])
    yield from (items[:i] + items[i + 1 :] for i in range(len(items)))


def _put(items: tuple[Any, ...], index: int, fields: dict[str, Any]) -> tuple[Any, ...]:
    return (*items[:index], replace(items[index], **fields), *items[index + 1 :])


def _numbered(items: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(replace(item, id=index) for index, item in enumerate(items))


def _without_last_node(world: World) -> Iterator[World]:
    """Take the last node away with its streams, links and faults."""
    last = len(world.nodes) - 1
    if last < 1 or world.feedback.via == last:
        return
    links = [link for link in world.links if last not in {link.src, link.dst}]
    new = {link.id: index for index, link in enumerate(links)}
    faults = []
    for fault in world.faults:
        places = new if fault.kind in LINK_KINDS else {i: i for i in range(last)}
        hit = [places[t] for t in (fault.target, *fault.also) if t in places]
        if hit:
            faults.append(replace(fault, target=hit[0], also=tuple(hit[1:])))
    streams = tuple(s for s in world.streams if s.node != last)
    yield replace(
        world, nodes=world.nodes[:-1], links=_numbered(tuple(links)), faults=tuple(faults),
        streams=_numbered(streams),
    )  # fmt: skip


STEPS: tuple[Step, ...] = (
    _faults,
    _streams,
    _without_last_node,
    _times,
    _features("faults", ({"also": ()}, {"every_s": None, "until_s": inf}, {"work": "drop"})),
    _features("nodes", (
        {"discipline": "fifo", "job_share": 1.0}, {"batching": Batching()}, {"setup": None},
        {"capacity": inf}, {"servers": 1}, {"experts_from": None}, {"swap": "double-buffer"},
    )),
    _features("links", ({"sharing": "none"}, {"loss": 0.0}, {"delay_s": 0.0})),
    _features("streams", (
        {"patience": None}, {"late": "serve", "deadline_s": inf}, {"size_law": "fixed"},
        {"service": None}, {"priority": 0}, {"up_bytes": 0.0}, {"down_bytes": 0.0},
    )),
)  # fmt: skip
