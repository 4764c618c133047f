"""Dispatch rules of the fused kernel; the twins are the dispatchers of the same names."""

from __future__ import annotations

from sim.fast.access import Run, candidate_at, draw_at, node_at
from sim.fast.jit import jit
from sim.fast.layout import FIRST_UP, LEAST_LOADED, LOCAL, RANDOM, ROUND_ROBIN

MOST_DRAWS = 4  # uniform numbers that one choice may take


@jit
def pick(s: Run, source: int) -> int:
    """Choose a server for a request of a source."""
    rule = s["rule"]
    if rule == LOCAL:
        return source
    if rule == RANDOM:
        return _random(s)
    if rule == ROUND_ROBIN:
        return _in_turn(s, source)
    if rule == LEAST_LOADED:
        return _least_loaded(s, source)
    if rule == FIRST_UP:
        return _first_up(s)
    return _two(s)


@jit
def _up(s: Run, node: int) -> bool:
    n = node_at(s, node)
    return bool(n["up"] if s["live"] and n["heard"] else node_at(s, node)["seen_up"])


@jit
def _load(s: Run, node: int) -> int:
    n = node_at(s, node)
    return int(n["in_system"] if s["live"] and n["heard"] else node_at(s, node)["seen_load"])


@jit
def _below(s: Run, number: int) -> int:
    s["draw"] += 1
    return int(draw_at(s, s["draw"] - 1)["u"] * number)


@jit
def _alive(s: Run) -> int:
    """List the candidates that are seen up, unless the list still holds; return how many."""
    if s["alive"] >= 0:
        return int(s["alive"])
    found = 0
    for i in range(s["candidates_count"]):
        node = candidate_at(s, i)["node"]
        if _up(s, node):
            candidate_at(s, found)["alive"] = node
            found += 1
    s["alive"] = found
    return found


@jit
def _first_up(s: Run) -> int:
    for i in range(s["candidates_count"]):
        if _up(s, candidate_at(s, i)["node"]):
            return candidate_at(s, i)["node"]
    return candidate_at(s, 0)["node"]


@jit
def _random(s: Run) -> int:
    node = candidate_at(s, _below(s, s["candidates_count"]))["node"]
    if _up(s, node):
        return node
    alive = _alive(s)
    return candidate_at(s, _below(s, alive))["alive"] if alive > 0 else candidate_at(s, 0)["node"]


@jit
def _in_turn(s: Run, source: int) -> int:
    number = s["candidates_count"]
    start = node_at(s, source)["turn"] % number
    for step in range(number):
        place = (start + step) % number
        if _up(s, candidate_at(s, place)["node"]):
            node_at(s, source)["turn"] = place + 1
            return candidate_at(s, place)["node"]
    return candidate_at(s, 0)["node"]


@jit
def _least_loaded(s: Run, source: int) -> int:
    best, least = -1, float("inf")
    if node_at(s, source)["member"] and _up(s, source):
        best, least = source, _load(s, source) / node_at(s, source)["all_servers"]
        if least == 0.0:
            return source
    for i in range(s["candidates_count"]):
        node = candidate_at(s, i)["node"]
        if _up(s, node):
            load = _load(s, node) / node_at(s, node)["all_servers"]
            if load < least:
                best, least = node, load
                if load == 0.0:
                    break
    return best if best >= 0 else candidate_at(s, 0)["node"]


@jit
def _two(s: Run) -> int:
    first = _below(s, s["candidates_count"])
    second = _other(s, s["candidates_count"], first)
    one, two = candidate_at(s, first)["node"], candidate_at(s, second)["node"]
    if not (_up(s, one) and _up(s, two)):
        number = _alive(s)
        if number == 0:
            return candidate_at(s, 0)["node"]
        first = _below(s, number)
        second = _other(s, number, first)
        one, two = candidate_at(s, first)["alive"], candidate_at(s, second)["alive"]
    wide, other_wide = node_at(s, one)["all_servers"], node_at(s, two)["all_servers"]
    if _load(s, two) * wide < _load(s, one) * other_wide:
        return two
    return one


@jit
def _other(s: Run, number: int, first: int) -> int:
    """Draw a second place, different from the first if there is another."""
    if number == 1:
        return first
    second = _below(s, number - 1)
    return second + 1 if second >= first else second
