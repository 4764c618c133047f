"""Who serves whom, and how much: routes, judges, amounts and loads."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scenarios.schema_arrivals import Mmpp, Profile, Trace
from scenarios.schema_checks import Check, Finding, dispatches
from scenarios.schema_fleet import CLOUD, RouterPlan
from scenarios.schema_names import Names, connections, members
from scenarios.schema_network import GraphML

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scenarios.schema import Scenario
    from scenarios.schema_fleet import Group
    from scenarios.schema_policy import Dispatch
    from scenarios.schema_traffic import Stream

MANY_REQUESTS = 2e7


# --- who serves whom -------------------------------------------------------------------------


def candidates(dispatch: Dispatch, names: Names) -> list[int]:
    """Return the ids of the nodes that a dispatcher may choose."""
    to = dispatch.to or (CLOUD if dispatch.kind == CLOUD else None)
    ids = range(len(names)) if to is None else names.ids(to)
    return [node for node in ids if names.group_of[node].servers > 0]


def islands(scenario: Scenario, names: Names) -> list[int]:
    """Return for each node the smallest id that it is connected with, links or shape."""
    parent = list(range(len(names)))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = node = parent[parent[node]]
        return node

    def join(ids: list[int]) -> None:
        for node in ids[1:]:
            a, b = root(ids[0]), root(node)
            parent[max(a, b)] = min(a, b)

    join(members(scenario.topology, names))
    if isinstance(scenario.topology, GraphML):
        from scenarios.build_graphml import edges

        for a, b, _ in edges(scenario, names):
            join([a, b])
    for _, connection in connections(scenario.topology):
        first, second = (list(names.ids(reference)) for reference in connection.between)
        join(first[:1] + second)
        join(second[:1] + first)
    return [root(node) for node in range(len(names))]


def check_routes(scenario: Scenario, names: Names) -> Iterator[Finding]:
    """Every stream's requests find a server."""
    island = islands(scenario, names)
    for path, dispatch in dispatches(scenario):
        if dispatch.kind == CLOUD and dispatch.to is None and CLOUD not in names.groups:
            said = f"'{CLOUD}' needs 'to', or a group named '{CLOUD}'"
            yield Finding((*path, "kind"), said)
            continue
        servers = candidates(dispatch, names)
        if not servers:
            yield Finding((*path, "to") if dispatch.to else path, "no node there has servers")
            continue
        for i, stream in enumerate(scenario.streams):
            yield from _check_route(stream, i, dispatch, servers, island, names)


def _check_route(
    stream: Stream,
    index: int,
    dispatch: Dispatch,
    servers: list[int],
    island: list[int],
    names: Names,
) -> Iterator[Finding]:
    sources, path = names.ids(stream.at), ("streams", index, "at")
    if dispatch.kind == "local":
        if not all(names.group_of[node].servers for node in sources):
            yield Finding(path, f"dispatch is local, but {stream.at!r} has no servers")
        return
    reached = {island[node] for node in servers}
    lost = [node for node in sources if island[node] not in reached]
    if lost:
        yield Finding(path, f"no links lead from {names.name(lost[0])!r} to any server of dispatch")
    elif any(len({island[node] for node in servers} - {island[s]}) for s in sources[:1]):
        yield Finding(
            path, f"some servers of dispatch cannot be reached from {stream.at!r}", warning=True
        )


def check_judge(scenario: Scenario, names: Names) -> Iterator[Finding]:
    """Audited requests are judged by one node, and routed nodes have a way to it."""
    feedback = scenario.feedback
    if feedback.via is None:
        for key in ("up", "down"):
            if getattr(feedback, f"{key}_bytes"):
                said = "only with 'via': users' reports take no bytes"
                yield Finding(("feedback", key), said)
        return
    ids, path = names.ids(feedback.via), ("feedback", "via")
    if len(ids) > 1:
        yield Finding(path, f"expected one node, found {len(ids)} in {feedback.via!r}")
        return
    if scenario.model is None:
        yield Finding(path, "nobody is judged: no router learns with `model: none`", warning=True)
        return
    island = islands(scenario, names)
    for node, group in enumerate(names.group_of):
        routed = group.servers > 0 and isinstance(group.plan, RouterPlan)
        if routed and island[node] != island[ids[0]]:
            said = f"no links lead from {names.name(node)!r} to {feedback.via!r}"
            yield Finding(path, said)
            return


# --- how much --------------------------------------------------------------------------------


def stream_rate_per_s(stream: Stream, duration_s: float) -> float:
    """Return the mean rate of one node of a stream before `load`; NaN for a trace."""
    arrivals = stream.arrivals
    if isinstance(arrivals, Trace):
        return math.nan
    if isinstance(arrivals, Mmpp):
        return mmpp_rate_per_s(arrivals)
    if not isinstance(arrivals, Profile):
        return arrivals.rate_per_s
    ends_s = [step.at_s for step in arrivals.steps[1:]] + [math.inf]
    spans_s = [
        max(0.0, min(e, duration_s) - s.at_s) for s, e in zip(arrivals.steps, ends_s, strict=True)
    ]
    total = sum(
        step.rate_per_s * span_s for step, span_s in zip(arrivals.steps, spans_s, strict=True)
    )
    return total / duration_s


def mmpp_rate_per_s(arrivals: Mmpp) -> float:
    """Return the mean rate over the stationary states, which jumps must all connect.

    NaN where jumps are no square matrix (`schema_checks_physics` says so).

    Source: the embedded chain's stationary law, weighted by mean stays. Deviation: none.
    """
    import numpy as np

    n = len(arrivals.states)
    if arrivals.jumps and [len(row) for row in arrivals.jumps] != [n] * n:
        return math.nan
    jumps = np.array(arrivals.jumps or np.roll(np.eye(n), 1, axis=1), dtype=np.float64)
    system = np.vstack((jumps.T - np.eye(n), np.ones(n)))
    visits = np.linalg.lstsq(system, np.append(np.zeros(n), 1.0), rcond=None)[0]
    stays_s = visits * [state.stay_s for state in arrivals.states]
    rates_per_s = [state.rate_per_s for state in arrivals.states]
    return float(stays_s @ rates_per_s / stays_s.sum())


def expected_requests(scenario: Scenario, names: Names | None = None) -> float:
    """Return the number of requests that a run emits on average, traces left out."""
    nodes = names or Names(scenario.nodes)
    rates = [
        (len(nodes.ids(s.at)), stream_rate_per_s(s, scenario.duration_s)) for s in scenario.streams
    ]
    known = math.fsum(count * rate for count, rate in rates if not math.isnan(rate))
    return known * scenario.load * scenario.duration_s


def check_amount(scenario: Scenario, names: Names) -> Iterator[Finding]:
    """The run ends within a human's patience."""
    requests = expected_requests(scenario, names)
    if requests > MANY_REQUESTS:
        said = f"about {requests:.2g} requests; at some 30 us each this takes long"
        yield Finding(("duration",), said, warning=True)


def check_utilisation(scenario: Scenario, names: Names) -> Iterator[Finding]:
    """Plain queues are not loaded beyond what their servers can do, batches as full as they get."""
    if scenario.service is None or scenario.model is not None:
        return
    rate_per_s = expected_requests(scenario, names) / scenario.duration_s
    if rate_per_s == 0:
        return
    mean_s = _mean_service_s(scenario, names, rate_per_s)
    groups = [names.group_of[node] for node in candidates(scenario.dispatch, names)]
    servers = sum(group.servers for group in groups)
    each_s = scenario.service.each_s
    most_per_s = sum(_most_per_s(group, mean_s, each_s) for group in groups)
    if servers and rate_per_s > most_per_s:
        offered = rate_per_s * servers / most_per_s
        said = f"offered load {offered:.3g} is more than {servers} servers can do: queues will grow"
        yield Finding(("load",), said, warning=True)


def _mean_service_s(scenario: Scenario, names: Names, rate_per_s: float) -> float:
    """Return the mean service time over requests, whose streams may have their own."""
    assert scenario.service is not None
    shares = [
        (stream_rate_per_s(s, scenario.duration_s) * len(names.ids(s.at)), s.service)
        for s in scenario.streams
    ]
    known = [
        (rate * scenario.load / rate_per_s, (law or scenario.service).mean_s)
        for rate, law in shares
        if not math.isnan(rate)
    ]
    return math.fsum(share * mean_s for share, mean_s in known)


def _most_per_s(group: Group, mean_s: float, each_s: float) -> float:
    """Return an upper bound of what a node serves: a full batch takes its mean at the least."""
    n = group.batch.max_size
    return group.servers * n / (mean_s + (n - 1) * each_s)


CHECKS: tuple[tuple[frozenset[str], Check], ...] = (
    (frozenset({"nodes", "topology", "streams", "dispatch", "policies"}), check_routes),
    (frozenset({"nodes", "topology", "feedback", "model"}), check_judge),
    (frozenset({"nodes", "streams", "duration", "load"}), check_amount),
    (
        frozenset({"nodes", "streams", "dispatch", "duration", "load", "model", "service"}),
        check_utilisation,
    ),
)
