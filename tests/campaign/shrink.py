"""Making a failing run smaller: fewer faults, streams, nodes and features that still fail alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import inf
from typing import Any

from sim.config import Batching, ServiceSpec, TransportSpec, World
from sim.errors import InputError
from sim.faults import LINK_KINDS

Fails = Callable[[World, Any], str]  # the kind of failure, "" for none


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


def smaller(world: World, policy: Any, fails: Fails) -> World:
    """Take away what the failure does not need, one thing at a time, until nothing can go."""
    kind = fails(world, policy)
    changed = bool(kind)
    while changed:
        changed = False
        for candidate in _candidates(world):
            if candidate != world and fails(candidate, policy) == kind:
                world, changed = candidate, True
                break
    return world


def _candidates(world: World) -> Iterator[World]:
    yield from (replace(world, faults=rest) for rest in _without(world.faults))
    yield from (replace(world, streams=_numbered(rest)) for rest in _without(world.streams))
    yield from _without_last_node(world)
    yield replace(world, duration_s=world.duration_s / 2)
    yield replace(world, transport=TransportSpec())
    for index in range(len(world.faults)):
        for simple in ({"also": ()}, {"every_s": None, "until_s": inf}, {"work": "drop"}):
            yield replace(world, faults=_put(world.faults, index, simple))
    for index in range(len(world.nodes)):
        for simple in (
            {"discipline": "fifo", "job_share": 1.0}, {"batching": Batching()}, {"setup": None},
            {"capacity": inf}, {"servers": 1}, {"experts_from": None}, {"swap": "double-buffer"},
        ):  # fmt: skip
            yield replace(world, nodes=_put(world.nodes, index, simple))
    for index in range(len(world.links)):
        for simple in ({"sharing": "none"}, {"sharing": "fifo"}, {"loss": 0.0}, {"delay_s": 0.0}):
            yield replace(world, links=_put(world.links, index, simple))
    for index in range(len(world.streams)):
        for simple in (
            {"patience": None}, {"late": "serve", "deadline_s": inf}, {"size_law": "fixed"},
            {"service": None}, {"priority": 0}, {"up_bytes": 0.0}, {"down_bytes": 0.0},
        ):  # fmt: skip
            yield replace(world, streams=_put(world.streams, index, simple))
    if world.service is not None:
        yield replace(world, service=ServiceSpec("deterministic", world.service.mean_s, 0.0))


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
