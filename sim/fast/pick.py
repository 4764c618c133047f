"""Dispatch rules of the fused kernel; the twins are the dispatchers of the same names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.fast.jit import jit
from sim.fast.layout import FIRST_UP, LEAST_LOADED, LOCAL, RANDOM, ROUND_ROBIN

if TYPE_CHECKING:
    from sim.fast.layout import State

MOST_DRAWS = 4  # uniform numbers that one choice may take


@jit
def pick(s: State, source: int) -> int:
    """Choose a server for a request of a source."""
    rule = s.run[0]["rule"]
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
def _up(s: State, node: int) -> bool:
    n = s.nodes[node]
    return bool(n["up"] if s.run[0]["live"] and n["heard"] else s.choice.seen_up[node])


@jit
def _load(s: State, node: int) -> int:
    n = s.nodes[node]
    return int(n["in_system"] if s.run[0]["live"] and n["heard"] else s.choice.seen_load[node])


@jit
def _below(s: State, number: int) -> int:
    run = s.run[0]
    run["draw"] += 1
    return int(s.choice.draws[run["draw"] - 1] * number)


@jit
def _alive(s: State) -> int:
    """List the candidates that are seen up; return how many."""
    found = 0
    for i in range(s.choice.nodes.shape[0]):
        node = s.choice.nodes[i]
        if _up(s, node):
            s.choice.alive[found] = node
            found += 1
    return found


@jit
def _first_up(s: State) -> int:
    for i in range(s.choice.nodes.shape[0]):
        if _up(s, s.choice.nodes[i]):
            return s.choice.nodes[i]
    return s.choice.nodes[0]


@jit
def _random(s: State) -> int:
    node = s.choice.nodes[_below(s, s.choice.nodes.shape[0])]
    if _up(s, node):
        return node
    alive = _alive(s)
    return s.choice.alive[_below(s, alive)] if alive > 0 else s.choice.nodes[0]


@jit
def _in_turn(s: State, source: int) -> int:
    number = s.choice.nodes.shape[0]
    start = s.nodes[source]["turn"] % number
    for step in range(number):
        place = (start + step) % number
        if _up(s, s.choice.nodes[place]):
            s.nodes[source]["turn"] = place + 1
            return s.choice.nodes[place]
    return s.choice.nodes[0]


@jit
def _least_loaded(s: State, source: int) -> int:
    best, least = -1, float("inf")
    if s.choice.member[source] and _up(s, source):
        best, least = source, _load(s, source) / s.nodes[source]["all_servers"]
        if least == 0.0:
            return source
    for i in range(s.choice.nodes.shape[0]):
        node = s.choice.nodes[i]
        if _up(s, node):
            load = _load(s, node) / s.nodes[node]["all_servers"]
            if load < least:
                best, least = node, load
                if load == 0.0:
                    break
    return best if best >= 0 else s.choice.nodes[0]


@jit
def _two(s: State) -> int:
    nodes, alive = s.choice.nodes, s.choice.alive
    first = _below(s, nodes.shape[0])
    second = _other(s, nodes.shape[0], first)
    one, two = nodes[first], nodes[second]
    if not (_up(s, one) and _up(s, two)):
        number = _alive(s)
        if number == 0:
            return nodes[0]
        first = _below(s, number)
        second = _other(s, number, first)
        one, two = alive[first], alive[second]
    if _load(s, two) * s.nodes[one]["all_servers"] < _load(s, one) * s.nodes[two]["all_servers"]:
        return two
    return one


@jit
def _other(s: State, number: int, first: int) -> int:
    """Draw a second place, different from the first if there is another."""
    if number == 1:
        return first
    second = _below(s, number - 1)
    return second + 1 if second >= first else second
