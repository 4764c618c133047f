"""Lays out the state of the fused kernel for a world."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim.compute.stations import check, is_plain
from sim.fast.layout import (
    BATCH,
    CANDIDATE,
    DRAW,
    FIFO,
    FORWARDS,
    FREE,
    LINE,
    LINK,
    MINDED,
    NODE,
    PLAIN,
    SHARING,
    SLOWED,
    STATION,
    STEP,
)
from sim.fast.pick import MOST_DRAWS
from sim.fast.routes import empty
from sim.fast.state import State
from sim.network.links import weathers_of
from sim.rules import DISPATCH_RULES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.arrays import AnyArray
    from sim.config import NodeSpec, World
    from sim.faults import Outage
    from sim.rules import DispatchRule

_HEAP = 1024


def state_of(
    world: World, outages: Sequence[Outage], choice_s: Sequence[float], rule: DispatchRule
) -> State:
    """Return the state at time 0, without requests.

    Args:
        world: The run.
        outages: Its faults.
        choice_s: Time that a choice takes, by source.
        rule: Who serves.
    """
    state = State()
    state.put("nodes", _nodes(world, outages, choice_s, rule))
    _add_links(state, world, outages)
    state.put("batches", _batches(state.nodes))
    state.put("routes", empty(64))
    candidates = np.zeros(max(1, len(rule.nodes)), CANDIDATE)
    candidates["node"][: len(rule.nodes)] = rule.nodes
    state.put("candidates", candidates)
    draws = 0 if rule.name in {"random", "power-of-two"} else MOST_DRAWS
    state.put("draws", np.zeros(draws, DRAW))
    state.reserve(_HEAP)
    _add_facts(state, world, rule)
    return state


def add_lines(state: State, classes: int) -> None:
    """Give every node an empty queue for each class of priority."""
    lines = np.zeros(len(state.nodes) * classes, LINE)
    lines["head"] = lines["tail"] = -1
    state.put("lines", lines)
    state.facts["classes"] = classes


def _nodes(
    world: World, outages: Sequence[Outage], choice_s: Sequence[float], rule: DispatchRule
) -> AnyArray:
    spared = {o.target: None for o in outages if o.kind == "node-crash" and o.spec.work != "drop"}
    nodes = np.zeros(len(world.nodes), NODE)
    for spec in world.nodes:
        _fill(nodes[spec.id], world, spec, spec.id in spared)
    nodes["first_batch"] = np.cumsum(nodes["servers"]) - nodes["servers"]
    nodes["choice_s"] = choice_s
    nodes["member"][list(rule.nodes)] = 1
    nodes["up"] = nodes["open"] = nodes["heard"] = nodes["seen_up"] = 1
    nodes["root"] = nodes["inside_head"] = nodes["inside_tail"] = -1
    nodes["check_s"] = nodes["timer_s"] = nodes["down_s"] = np.nan
    return nodes


def _fill(node: AnyArray, world: World, spec: NodeSpec, comes_back: bool) -> None:
    node["kind"] = _kind(world, spec, comes_back)
    node["free"] = node["servers"] = node["all_servers"] = spec.servers
    node["capacity"], node["max_size"] = spec.capacity, spec.batching.max_size
    node["max_wait_s"], node["job_share"] = spec.batching.max_wait_s, spec.job_share
    node["ranked"], node["cold"] = spec.discipline == "priority", spec.setup is not None
    if spec.setup is not None:
        node["setup_s"], node["keep_s"] = spec.setup.time_s, spec.setup.keep_s
    node["each_s"] = world.service.each_s if world.service is not None else 0.0
    node["turn"] = spec.id


def _kind(world: World, spec: NodeSpec, comes_back: bool) -> int:
    if not spec.servers:
        return FORWARDS
    check(world, spec)
    if world.model is not None:
        return MINDED
    if is_plain(world, spec) and not comes_back:
        return PLAIN
    return SHARING if spec.discipline == "sharing" else STATION


def _add_links(state: State, world: World, outages: Sequence[Outage]) -> None:
    links = np.zeros(len(world.links), LINK)
    paces, lates = list[tuple[float, float]](), list[tuple[float, float]]()
    for spec, weather in zip(world.links, weathers_of(world.links, outages), strict=True):
        link = links[spec.id]
        link["bytes_per_s"], link["delay_s"] = spec.bytes_per_s, spec.delay_s
        link["dst"], link["fifo"] = spec.dst, spec.sharing == "fifo"
        link["kind"] = SLOWED if weather.slow else FREE if spec.sharing == "none" else FIFO
        if weather.slow:
            pace, delay_s = weather.pace, weather.delay_s
            link["pace_from"], link["pace_to"] = _append(paces, pace.cuts_s, pace.speeds)
            link["late_from"], link["late_to"] = _append(lates, delay_s.cuts_s, delay_s.values)
    state.put("links", links)
    state.put("paces", np.array(paces, STEP))
    state.put("lates", np.array(lates, STEP))


def _append(
    table: list[tuple[float, float]], cuts_s: Sequence[float], values: Sequence[float]
) -> tuple[int, int]:
    """Append steps, each before its cut, the last one without end; return first and last place."""
    first = len(table)
    table += zip([*cuts_s, np.inf], values, strict=True)
    return first, len(table) - 1


def _batches(nodes: AnyArray) -> AnyArray:
    """Return the places of running batches: as many as servers, node after node."""
    batches = np.zeros(int(nodes["servers"].sum()), BATCH)
    batches["node"] = np.repeat(np.arange(len(nodes)), nodes["servers"])
    return batches


def _add_facts(state: State, world: World, rule: DispatchRule) -> None:
    facts = state.facts
    facts["duration_s"] = world.duration_s
    facts["limit_s"] = facts["stop_s"] = world.duration_s + world.drain_s
    facts["rule"] = DISPATCH_RULES.index(rule.name)
    facts["tries"], facts["backoff_s"] = world.transport.tries, world.transport.backoff_s
    facts["unrouted"] = facts["broken"] = facts["alive"] = -1
    facts["nan"], facts["last_s"] = np.nan, -np.inf
