"""Lays out the state of the fused kernel for a world."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim.compute.stations import check, is_plain
from sim.fast.layout import (
    BATCH,
    FIFO,
    FORWARDS,
    FREE,
    LINK,
    NODE,
    PLAIN,
    RUN,
    SHARING,
    SLOWED,
    STATION,
    Choice,
    Heap,
    Lines,
    Routes,
    State,
    Weathers,
)
from sim.fast.pick import MOST_DRAWS
from sim.network.links import weathers_of
from sim.ports import DISPATCH_RULES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.arrays import AnyArray, FloatArray
    from sim.config import NodeSpec, World
    from sim.fast.layout import Asked, Marks, Ties
    from sim.faults import Outage
    from sim.ports import DispatchRule

_HEAP = 1024


def heap(size: int) -> Heap:
    """Return a heap with room for so many events."""
    return Heap(np.zeros(size), *(np.zeros(size, np.int64) for _ in range(3)))


def routes(size: int) -> Routes:
    """Return an empty table of routes, `size` a power of two."""
    return Routes(
        np.full(size, -1, np.int64), np.full(size, -1, np.int64), np.zeros(size, np.int64)
    )


def nodes_of(world: World, outages: Sequence[Outage], choice_s: Sequence[float]) -> AnyArray:
    """Return the records of all nodes, idle at time 0."""
    spared = {o.target: None for o in outages if o.kind == "node-crash" and o.spec.work != "drop"}
    nodes = np.zeros(len(world.nodes), NODE)
    first = 0
    for spec in world.nodes:
        node = nodes[spec.id]
        node["kind"] = _kind(world, spec, spec.id in spared)
        node["first_batch"], first = first, first + spec.servers
        node["free"] = node["servers"] = node["all_servers"] = spec.servers
        node["up"] = node["open"] = node["heard"] = 1
        node["capacity"], node["max_size"] = spec.capacity, spec.batching.max_size
        node["max_wait_s"], node["job_share"] = spec.batching.max_wait_s, spec.job_share
        node["ranked"], node["cold"] = spec.discipline == "priority", spec.setup is not None
        if spec.setup is not None:
            node["setup_s"], node["keep_s"] = spec.setup.time_s, spec.setup.keep_s
        node["each_s"] = world.service.each_s if world.service is not None else 0.0
        node["turn"], node["choice_s"] = spec.id, choice_s[spec.id]
        node["root"] = node["inside_head"] = node["inside_tail"] = -1
    nodes["check_s"] = nodes["timer_s"] = nodes["down_s"] = np.nan
    return nodes


def _kind(world: World, spec: NodeSpec, comes_back: bool) -> int:
    if not spec.servers:
        return FORWARDS
    check(world, spec)
    if is_plain(world, spec) and not comes_back:
        return PLAIN
    return SHARING if spec.discipline == "sharing" else STATION


def links_of(world: World, outages: Sequence[Outage]) -> tuple[AnyArray, Weathers]:
    """Return the records of all links, and what faults make of their speeds and delays."""
    links = np.zeros(len(world.links), LINK)
    pace_cuts, paces, late_cuts, lates = (list[float]() for _ in range(4))
    for spec, weather in zip(world.links, weathers_of(world.links, outages), strict=True):
        link = links[spec.id]
        link["bytes_per_s"], link["delay_s"] = spec.bytes_per_s, spec.delay_s
        link["dst"], link["fifo"] = spec.dst, spec.sharing == "fifo"
        link["kind"] = SLOWED if weather.slow else FREE if spec.sharing == "none" else FIFO
        if not weather.slow:
            continue
        link["pace_from"], link["late_from"] = len(paces), len(lates)
        link["pace_to"] = len(paces) + len(weather.pace.cuts_s)
        link["late_to"] = len(lates) + len(weather.delay_s.cuts_s)
        pace_cuts += [*weather.pace.cuts_s, np.inf]
        paces += weather.pace.speeds
        late_cuts += [*weather.delay_s.cuts_s, np.inf]
        lates += weather.delay_s.values
    return links, Weathers(*(np.array(v, dtype=np.float64) for v in (
        pace_cuts, paces, late_cuts, lates
    )))  # fmt: skip


def batches_of(nodes: AnyArray) -> AnyArray:
    """Return the places of running batches: as many as servers, node after node."""
    batches = np.zeros(max(1, int(nodes["all_servers"].sum())), BATCH)
    owner = np.repeat(np.arange(len(nodes)), nodes["all_servers"])
    batches["node"][: len(owner)] = owner
    return batches


def run_of(world: World, rule: DispatchRule) -> AnyArray:
    """Return the record of the run."""
    run = np.zeros(1, RUN)
    run["duration_s"] = world.duration_s
    run["limit_s"] = run["stop_s"] = world.duration_s + world.drain_s
    run["rule"] = DISPATCH_RULES.index(rule.name)
    run["tries"], run["backoff_s"] = world.transport.tries, world.transport.backoff_s
    run["unrouted"] = run["broken"] = -1
    run["nan"], run["last_s"] = np.nan, -np.inf
    widest = max((n.servers for n in world.nodes), default=0)
    longest = max((n.batching.max_size for n in world.nodes), default=1)
    run["room"] = 16 + 2 * widest + longest
    return run


def choice_of(world: World, rule: DispatchRule) -> Choice:
    """Return what the dispatch rule needs; draws are still to come."""
    count = len(world.nodes)
    member = np.zeros(count, np.int64)
    needed = 0 if rule.name in {"random", "power-of-two"} else MOST_DRAWS
    candidates = np.array(rule.nodes or (0,), dtype=np.int64)
    member[list(rule.nodes)] = 1
    return Choice(
        candidates, member, np.zeros(len(candidates), np.int64), np.zeros(needed),
        np.zeros(count, np.int64), np.ones(count, np.int64),
    )  # fmt: skip


def state_of(
    world: World,
    outages: Sequence[Outage],
    choice_s: Sequence[float],
    rule: DispatchRule,
    *,
    classes: int,
    columns: tuple[Asked, Marks, Ties],
) -> State:
    """Return the state at time 0.

    Args:
        world: The run.
        outages: Its faults.
        choice_s: Time that a choice takes, by source.
        rule: Who serves.
        classes: Different priorities.
        columns: Of the first requests.
    """
    nodes = nodes_of(world, outages, choice_s)
    links, weathers = links_of(world, outages)
    ends = (np.full((len(nodes), classes), -1, np.int64) for _ in range(2))
    warm_s: FloatArray = np.zeros(max(1, int(nodes["all_servers"].sum())))
    return State(
        run_of(world, rule), nodes, links, batches_of(nodes), warm_s, heap(_HEAP), *columns,
        Lines(*ends), choice_of(world, rule), routes(64), weathers,
    )  # fmt: skip
