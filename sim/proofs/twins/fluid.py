"""Fair links, slow and exact: rational numbers, and all rates solved anew at every event."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import inf, isfinite
from typing import TYPE_CHECKING, NamedTuple

from sim.errors import LawViolation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_Rates = dict[int, Fraction]


class FlowSpec(NamedTuple):
    """One flow: when it starts, which links it occupies, and how much there is of it."""

    start_s: float
    links: tuple[int, ...]
    size_bytes: float


@dataclass(frozen=True, slots=True)
class FluidInstance:
    """Flows over links whose capacities change and which are cut at given times."""

    bytes_per_s: tuple[float, ...]
    flows: tuple[FlowSpec, ...]
    changes: tuple[tuple[float, int, float], ...] = ()  # t_s, link, bytes/s from then on
    cuts: tuple[tuple[float, int], ...] = ()  # t_s, link: what crosses it then ends


def fluid_twin(instance: FluidInstance) -> list[float]:
    """Return when each flow ends, walking from event to event in exact arithmetic.

    At one instant links change first, then flows are cut, then flows start.

    Raises:
        LawViolation: Rates are not max-min fair by the definition.
    """
    capacity = list(instance.bytes_per_s)
    left: _Rates = {}
    ended = [0.0] * len(instance.flows)
    instants = sorted(
        {Fraction(f.start_s) for f in instance.flows}
        | {Fraction(t_s) for t_s, *_ in (*instance.changes, *instance.cuts)}
    )
    now = Fraction(0)
    while instants or left:
        rates = water_fill(capacity, {i: instance.flows[i].links for i in left})
        check_fair(capacity, {i: instance.flows[i].links for i in left}, rates)
        ends = [now + left[i] / rates[i] for i in left]
        following = min([*instants[:1], *ends])
        for i in list(left):
            left[i] -= rates[i] * (following - now)
            if left[i] == 0:
                del left[i]
                ended[i] = float(following)
        now = following
        if instants and instants[0] == now:
            instants.pop(0)
            _happen(instance, now, capacity, left, ended)
    return ended


def _happen(
    instance: FluidInstance, now: Fraction, capacity: list[float], left: _Rates, ended: list[float]
) -> None:
    """Let what is given for an instant happen."""
    for t_s, link, bytes_per_s in instance.changes:
        if t_s == now:
            capacity[link] = bytes_per_s
    for t_s, link in instance.cuts:
        for i in [i for i in left if t_s == now and link in instance.flows[i].links]:
            del left[i]
            ended[i] = t_s
    for i, flow in enumerate(instance.flows):
        if flow.start_s == now:
            if flow.size_bytes == 0.0 or all(capacity[link] == inf for link in flow.links):
                ended[i] = flow.start_s
            else:
                left[i] = Fraction(flow.size_bytes)


def water_fill(capacity: Sequence[float], routes: Mapping[int, Sequence[int]]) -> _Rates:
    """Raise all rates together; a full link stops the flows on it. Exact.

    Source: the definition of max-min fairness (Bertsekas and Gallager 1992, 6.5.2). Deviation:
    none.
    """
    rates = dict.fromkeys(routes, Fraction(0))
    rising = list(routes)
    finite = [link for link, c in enumerate(capacity) if isfinite(c)]
    while rising:
        room = {
            link: (Fraction(capacity[link]) - _load(link, routes, rates)) / count
            for link in finite
            if (count := sum(link in routes[i] for i in rising))
        }
        step = min(room.values())
        for i in rising:
            rates[i] += step
        full = [link for link in room if room[link] == step]
        rising = [i for i in rising if not any(link in routes[i] for link in full)]
    return rates


def check_fair(
    capacity: Sequence[float], routes: Mapping[int, Sequence[int]], rates: Mapping[int, Fraction]
) -> None:
    """Check that no link is overloaded, and that every flow has a bottleneck.

    A bottleneck of a flow is a full link on its way on which no other flow is faster.

    Raises:
        LawViolation: It is not so.

    Source: Bertsekas and Gallager 1992, 6.5.2: rates are max-min fair if and only if each flow has
    a bottleneck. Deviation: none.
    """
    loads = [_load(link, routes, rates) for link in range(len(capacity))]
    for link, load in enumerate(loads):
        if load > capacity[link]:
            raise LawViolation(f"L3: link {link} carries {float(load)} of {capacity[link]} bytes/s")
    for i, route in routes.items():
        if not any(
            loads[link] == capacity[link]
            and all(rates[j] <= rates[i] for j, other in routes.items() if link in other)
            for link in route
        ):
            raise LawViolation(f"max-min: flow {i} at {float(rates[i])} bytes/s has no bottleneck")


def _load(
    link: int, routes: Mapping[int, Sequence[int]], rates: Mapping[int, Fraction]
) -> Fraction:
    return sum((rates[i] for i, route in routes.items() if link in route), Fraction(0))
