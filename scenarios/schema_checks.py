"""What a schema cannot say: references, times, routes and loads, each complaint with its place."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from scenarios.schema_arrivals import Profile
from scenarios.schema_faults import AtLink, AtNode, CloudOutage, Partition
from scenarios.schema_fleet import MOST_NODES
from scenarios.schema_names import Names, center, connections, members, pairs
from scenarios.schema_network import (
    BarabasiAlbert,
    Explicit,
    GraphML,
    Grid,
    Ring,
    Star,
    Tree,
    Waxman,
)
from sim.errors import InputError, UnknownName
from sim.units import format_s

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scenarios.problems import Path
    from scenarios.schema import Scenario
    from scenarios.schema_policy import Dispatch

MOST_LINKS = 1_000_000
MOST_SLOTS = 1_000_000
MOST_WAXMAN = 2000  # every pair is looked at


@dataclass(frozen=True, slots=True)
class Finding:
    """One complaint: where, what, and whether it only warns."""

    path: Path
    text: str
    warning: bool = False


Check: TypeAlias = "Callable[[Scenario, Names], Iterator[Finding]]"


def repeated(names: list[str], place: Callable[[int], Path], what: str) -> Iterator[Finding]:
    """Complain of every name that stood before."""
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        if first.setdefault(name, index) != index:
            before = ".".join(str(part) for part in place(first[name]))
            yield Finding(place(index), f"{what} {name!r} exists already ({before})")


# --- names and references --------------------------------------------------------------------


def check_names(scenario: Scenario, names: Names) -> Iterator[Finding]:
    """Groups have names of their own, which are not those of nodes."""
    groups = [group.group for group in scenario.nodes]
    yield from repeated(groups, lambda i: ("nodes", i, "group"), "group")
    for index, group in enumerate(groups):
        if group in names.nodes:
            yield Finding(("nodes", index, "group"), f"{group!r} is also the name of a node")
    if len(names) > MOST_NODES:
        yield Finding(("nodes",), f"expected at most {MOST_NODES} nodes, found {len(names)}")


def check_stream_names(scenario: Scenario, names: Names) -> Iterator[Finding]:
    """Streams have names of their own, and assertions name streams that exist."""
    labels = stream_labels(scenario)
    yield from repeated(labels, lambda i: ("streams", i), "stream")
    for i, assertion in enumerate(scenario.assertions):
        if assertion.stream and assertion.stream not in labels:
            yield Finding(("assert", i), str(UnknownName("stream", assertion.stream, labels)))


def stream_labels(scenario: Scenario) -> list[str]:
    """Return the names of the streams, in file order."""
    return [stream.name or f"stream-{i}" for i, stream in enumerate(scenario.streams)]


def _references(scenario: Scenario) -> Iterator[tuple[Path, str]]:
    """Return every reference to nodes that stands outside the topology, with its place."""
    for i, stream in enumerate(scenario.streams):
        yield ("streams", i, "at"), stream.at
    for path, dispatch in dispatches(scenario):
        if dispatch.to is not None:
            yield (*path, "to"), dispatch.to
    if scenario.feedback.via is not None:
        yield ("feedback", "via"), scenario.feedback.via
    for i, group in enumerate(scenario.nodes):
        if group.experts_from is not None:
            yield ("nodes", i, "experts_from"), group.experts_from
    for i, fault in enumerate(scenario.faults):
        if isinstance(fault, AtNode):
            yield ("faults", i, "node"), fault.node
        elif isinstance(fault, AtLink):
            yield from ((("faults", i, "link", j), end) for j, end in enumerate(fault.link))
        elif isinstance(fault, Partition):
            yield from ((("faults", i, "nodes", j), name) for j, name in enumerate(fault.nodes))


def dispatches(scenario: Scenario) -> Iterator[tuple[Path, Dispatch]]:
    """Return the scenario's dispatch and those of its policies, with their places."""
    yield ("dispatch",), scenario.dispatch
    for i, policy in enumerate(scenario.policies):
        if policy.dispatch is not None:
            yield ("policies", i, "dispatch"), policy.dispatch


def _known(names: Names, path: Path, reference: str) -> Iterator[Finding]:
    if not names.known(reference):
        yield Finding(path, str(UnknownName("node or group", reference, names.allowed())))


def check_references(scenario: Scenario, names: Names) -> Iterator[Finding]:
    """Streams, dispatch, feedback, groups and faults name nodes that exist."""
    for path, reference in _references(scenario):
        yield from _known(names, path, reference)
    for i, fault in enumerate(scenario.faults):
        if isinstance(fault, CloudOutage) and fault.group not in names.groups:
            said = str(UnknownName("group", fault.group, names.groups))
            yield Finding(("faults", i, "group"), said)


def check_topology(scenario: Scenario, names: Names) -> Iterator[Finding]:
    """The shape has the nodes it needs, and listed links join different nodes once."""
    topology = scenario.topology
    unknown = list(_unknown_in_topology(scenario, names))
    yield from unknown
    if unknown:
        return
    if isinstance(topology, Star | Tree) and len(names.ids(center(topology))) > 1:
        key = "hub" if isinstance(topology, Star) else "root"
        said = (
            f"expected one node, found {len(names.ids(center(topology)))} in {center(topology)!r}"
        )
        yield Finding(("topology", key), said)
        return
    joined = len(members(topology, names))
    least = 3 if isinstance(topology, Ring) else 2
    if not isinstance(topology, Explicit | GraphML) and joined < least:
        said = f"{topology.kind}: expected at least {least} nodes, found {joined}"
        yield Finding(("topology",), said)
    if isinstance(topology, BarabasiAlbert) and topology.m >= joined:
        said = f"expected m < number of nodes ({joined}), found {topology.m}"
        yield Finding(("topology", "m"), said)
    if isinstance(topology, Grid) and topology.width > joined:
        said = f"expected at most the number of nodes ({joined}), found {topology.width}"
        yield Finding(("topology", "width"), said)
    if isinstance(topology, Waxman) and joined > MOST_WAXMAN:
        yield Finding(
            ("topology",), f"waxman: expected at most {MOST_WAXMAN} nodes, found {joined}"
        )
    if isinstance(topology, GraphML):
        yield from _check_file(scenario, names)
    yield from _check_listed(scenario, names)


def _check_file(scenario: Scenario, names: Names) -> Iterator[Finding]:
    from scenarios.build_graphml import edges

    try:
        edges(scenario, names)
    except InputError as error:
        yield Finding(("topology", "file"), str(error))


def _unknown_in_topology(scenario: Scenario, names: Names) -> Iterator[Finding]:
    topology = scenario.topology
    if isinstance(topology, Star | Tree):
        key = "hub" if isinstance(topology, Star) else "root"
        yield from _known(names, ("topology", key), center(topology))
    if not isinstance(topology, Explicit | GraphML):
        for i, group in enumerate(topology.over):
            yield from _known(names, ("topology", "over", i), group)
    for path, connection in connections(topology):
        for i, reference in enumerate(connection.between):
            yield from _known(names, (*path, "between", i), reference)


def _check_listed(scenario: Scenario, names: Names) -> Iterator[Finding]:
    seen: dict[tuple[int, int], Path] = {}
    for path, connection in connections(scenario.topology):
        first, second = (names.ids(reference) for reference in connection.between)
        if len(seen) + len(first) * len(second) > MOST_LINKS:
            yield Finding(path, f"more than {MOST_LINKS} links")
            return
        if len(first) == 1 and first == second:
            yield Finding((*path, "between"), f"joins {names.name(first[0])!r} to itself")
        for a, b in pairs(connection, names):
            before = seen.setdefault((min(a, b), max(a, b)), path)
            if before != path:
                where = ".".join(str(part) for part in before)
                said = f"{names.name(a)!r} and {names.name(b)!r} are joined already ({where})"
                yield Finding((*path, "between"), said)
                break


# --- times -----------------------------------------------------------------------------------


def check_times(scenario: Scenario, names: Names) -> Iterator[Finding]:
    """Slots fit into the run, and nothing is planned for after its end."""
    end_s = scenario.duration_s + scenario.drain_s
    if scenario.slot_s > scenario.duration_s:
        said = f"expected at most the duration ({format_s(scenario.duration_s)})"
        yield Finding(("slot",), f"{said}, found {format_s(scenario.slot_s)}")
    elif math.ceil(end_s / scenario.slot_s) > MOST_SLOTS:
        yield Finding(("slot",), f"more than {MOST_SLOTS} slots; use longer ones or a shorter run")
    elif scenario.decision_delay_slots >= math.ceil(end_s / scenario.slot_s):
        yield Finding(("decision_delay_slots",), "no decision would ever take effect")
    if scenario.feedback.delay_s >= end_s:
        yield Finding(("feedback", "delay"), "no feedback arrives before the end", warning=True)


def check_drift(scenario: Scenario, names: Names) -> Iterator[Finding]:
    """Drifts begin before arrivals stop; profiles start at 0 and rise."""
    for i, stream in enumerate(scenario.streams):
        for j, drift in enumerate(stream.drift):
            if drift.at_s >= scenario.duration_s:
                said = f"never happens: arrivals stop at {format_s(scenario.duration_s)}"
                yield Finding(("streams", i, "drift", j, "at"), said, warning=True)
        if isinstance(stream.arrivals, Profile):
            yield from _check_profile(stream.arrivals, ("streams", i, "arrivals", "steps"))


def _check_profile(profile: Profile, path: Path) -> Iterator[Finding]:
    times_s = [step.at_s for step in profile.steps]
    if times_s[0] != 0:
        said = f"the first step must start at 0 s, found {format_s(times_s[0])}"
        yield Finding((*path, 0, "at"), said)
    for i in range(1, len(times_s)):
        if times_s[i] <= times_s[i - 1]:
            yield Finding(
                (*path, i, "at"), "steps must rise in time; this one is not after the last"
            )
    if all(step.rate_per_s == 0 for step in profile.steps):
        yield Finding(path, "every rate is 0: the stream never emits")


def check_queues(scenario: Scenario, names: Names) -> Iterator[Finding]:
    """Batches fit into queues."""
    for i, group in enumerate(scenario.nodes):
        most, room = group.batch.max_size, group.capacity
        if most > room:
            said = f"expected at most the capacity ({room:g}), found {most}"
            yield Finding(("nodes", i, "batch", "max_size"), said)
        if room < group.servers:
            said = f"{group.servers} servers, but room for {room:g} requests"
            yield Finding(("nodes", i, "capacity"), said, warning=True)


# Without errors of these, names have a meaning, and `schema_checks_load` may ask for it.
REFERENCES: tuple[tuple[frozenset[str], Check], ...] = (
    (frozenset({"nodes"}), check_names),
    (
        frozenset({"nodes", "streams", "dispatch", "policies", "feedback", "faults"}),
        check_references,
    ),
    (frozenset({"nodes", "topology"}), check_topology),
)
CHECKS: tuple[tuple[frozenset[str], Check], ...] = (
    (frozenset({"nodes"}), check_queues),
    (frozenset({"streams", "assert"}), check_stream_names),
    (frozenset({"duration", "drain", "slot", "feedback"}), check_times),
    (frozenset({"duration", "streams"}), check_drift),
)
