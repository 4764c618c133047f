"""Whether faults make sense: when they come, and whether what they hit is there."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scenarios.schema_checks import Check, Finding
from scenarios.schema_checks_load import islands
from scenarios.schema_faults import (
    AtLink,
    AtNode,
    CloudOutage,
    ExpertCorrupt,
    ExpertLost,
    FeedbackSpoiled,
    LinkSlow,
    NodeCrash,
    Partition,
    StorageSlow,
)
from scenarios.schema_names import Names, connections, members, pairs
from scenarios.schema_network import Explicit, GraphML, Star
from sim.units import format_s

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scenarios.problems import Path
    from scenarios.schema import Scenario
    from scenarios.schema_faults import When
    from sim.ports import ModelCard

# --- when ------------------------------------------------------------------------------------


def check_times(scenario: Scenario, names: Names) -> Iterator[Finding]:
    """A fault is scheduled or drawn, not both, and within the run; and it does something."""
    end_s = scenario.duration_s + scenario.drain_s
    for i, fault in enumerate(scenario.faults):
        path: Path = ("faults", i)
        yield from _check_when(fault, path)
        yield from _check_again(fault, path)
        yield from _check_count(fault, path, end_s)
        if fault.at_s is not None and fault.at_s >= end_s:
            said = f"never happens: the run ends at {format_s(end_s)}"
            yield Finding((*path, "at"), said, warning=True)
        if isinstance(fault, LinkSlow) and fault.factor == 1 and fault.delay_s == 0:
            yield Finding(path, "does nothing: expected 'factor' > 1 or 'delay' > 0 s")
        if isinstance(fault, StorageSlow) and fault.factor == 1:
            yield Finding((*path, "factor"), "does nothing: expected > 1, found 1")


def _check_when(fault: When, path: Path) -> Iterator[Finding]:
    drawn = (fault.mtbf_s is not None, fault.mttr_s is not None)
    if fault.at_s is None and not any(drawn):
        yield Finding(path, "when? expected 'at' (and 'for'), or 'mtbf' and 'mttr'")
    elif fault.at_s is not None and any(drawn):
        yield Finding(path, "expected 'at' or 'mtbf' and 'mttr', found both")
    elif fault.at_s is None and not all(drawn):
        yield Finding(
            path, f"'{'mtbf' if drawn[0] else 'mttr'}' needs '{'mttr' if drawn[0] else 'mtbf'}' too"
        )
    elif fault.at_s is None and fault.for_s is not None:
        yield Finding((*path, "for"), "only with 'at'; 'mttr' says how long a drawn failure takes")


def _check_count(fault: When, path: Path, end_s: float) -> Iterator[Finding]:
    """Check that there are not more outages than a run takes."""
    from sim.faults import MOST

    if fault.mtbf_s is not None and fault.mttr_s is not None:
        key, count = "mtbf", end_s / (fault.mtbf_s + fault.mttr_s)
    elif fault.every_s is not None and fault.at_s is not None:
        last_s = min(end_s, math.inf if fault.until_s is None else fault.until_s)
        key, count = "every", (last_s - fault.at_s) / fault.every_s
    else:
        return
    if count > MOST:
        yield Finding((*path, key), f"expected at most {MOST} outages in a run, found {count:.3g}")


def _check_again(fault: When, path: Path) -> Iterator[Finding]:
    """Check `every` and `until`."""
    if fault.every_s is None:
        if fault.until_s is not None:
            yield Finding((*path, "until"), "only with 'every'")
        return
    if fault.at_s is None:
        yield Finding((*path, "every"), "only with 'at'; drawn failures come again anyway")
    elif fault.for_s is None:
        yield Finding((*path, "every"), "'every' needs 'for' too")
    elif fault.every_s <= fault.for_s:
        said = f"expected more than 'for' ({format_s(fault.for_s)})"
        yield Finding((*path, "every"), f"{said}, found {format_s(fault.every_s)}")
    if fault.at_s is not None and fault.until_s is not None and fault.until_s <= fault.at_s:
        said = f"expected later than 'at' ({format_s(fault.at_s)})"
        yield Finding((*path, "until"), f"{said}, found {format_s(fault.until_s)}")


# --- what ------------------------------------------------------------------------------------


def check_links(scenario: Scenario, names: Names) -> Iterator[Finding]:
    """A link that is hit joins two single nodes (drawn links are known only later)."""
    for i, fault in enumerate(scenario.faults):
        if not isinstance(fault, AtLink):
            continue
        path: Path = ("faults", i, "link")
        ends = [names.ids(end) for end in fault.link]
        known = isinstance(scenario.topology, Explicit | Star | GraphML)
        if any(len(ids) > 1 for ids in ends):
            yield Finding(path, "expected two single nodes, such as 'edge-3'; found a group")
        elif known and not _joined(scenario, names, ends[0][0], ends[1][0]):
            yield Finding(path, f"no link joins {fault.link[0]!r} and {fault.link[1]!r}")


def _joined(scenario: Scenario, names: Names, a: int, b: int) -> bool:
    topology = scenario.topology
    if isinstance(topology, Star):
        hub = names.ids(topology.hub)[0]
        if a != b and hub in (a, b) and {a, b} <= set(members(topology, names)):
            return True
    if isinstance(topology, GraphML):
        from scenarios.build_graphml import edges

        if any({a, b} == {c, d} for c, d, _ in edges(scenario, names)):
            return True
    return any(
        {a, b} == set(pair)
        for _, connection in connections(topology)
        for pair in pairs(connection, names)
    )


def check_nodes(scenario: Scenario, names: Names) -> Iterator[Finding]:
    """A node that is hit has servers, and a partition leaves somebody on the other side."""
    for i, fault in enumerate(scenario.faults):
        path: Path = ("faults", i)
        if isinstance(fault, Partition):
            cut = {node for name in fault.nodes for node in names.ids(name)}
            if len(cut) == len(names):
                yield Finding((*path, "nodes"), "nobody is left on the other side")
            continue
        if isinstance(fault, AtLink):
            continue
        key, target = ("node", fault.node) if isinstance(fault, AtNode) else ("group", fault.group)
        if any(names.group_of[node].servers == 0 for node in names.ids(target)):
            said = f"{target!r} has no servers and only forwards; take its links down instead"
            yield Finding((*path, key), said)


def check_mode(scenario: Scenario, names: Names) -> Iterator[Finding]:
    """Faults of experts and of what routers hear need a model, resumed work needs none."""
    for i, fault in enumerate(scenario.faults):
        path: Path = ("faults", i)
        if isinstance(fault, NodeCrash | CloudOutage) and fault.work == "resume" and scenario.model:
            said = "'resume' needs `model: none`: a model's batches start again"
            yield Finding((*path, "work"), f"{said}; use 'keep'")
        if isinstance(fault, ExpertLost | ExpertCorrupt):
            yield from _check_copies(scenario, names, fault, path)
        if isinstance(fault, StorageSlow | FeedbackSpoiled) and scenario.model is None:
            what = "no experts are read" if isinstance(fault, StorageSlow) else "no router learns"
            yield Finding(path, f"has no effect: {what} with `model: none`", warning=True)


def _check_copies(
    scenario: Scenario, names: Names, fault: ExpertLost | ExpertCorrupt, path: Path
) -> Iterator[Finding]:
    if scenario.model is None:
        yield Finding(path, f"{fault.kind} needs a model")
        return
    place = (*path, "node")
    if any(names.group_of[node].experts_from for node in names.ids(fault.node)):
        said = f"has no effect: {fault.node!r} stores no experts, they come from 'experts_from'"
        yield Finding(place, said, warning=True)
        return
    island = islands(scenario, names)
    stores = [
        node
        for node, group in enumerate(names.group_of)
        if group.servers and group.experts_from is None
    ]
    for node in names.ids(fault.node):
        if not any(other != node and island[other] == island[node] for other in stores):
            said = "has nowhere to fetch a lost expert from: expected links to another node with"
            yield Finding(place, f"{names.name(node)!r} {said} servers")
            return


def check_expert_faults(scenario: Scenario, card: ModelCard | None) -> Iterator[Finding]:
    """Faults of experts speak of layers and experts that the model has."""
    for i, fault in enumerate(scenario.faults):
        if card is None or not isinstance(fault, ExpertLost | ExpertCorrupt):
            continue
        for key, most in (("experts", card.experts), ("layers", card.layers)):
            for j, found in enumerate(getattr(fault, key)):
                if found >= most:
                    said = f"expected {key} from 0 to {most - 1}, found {found}"
                    yield Finding(("faults", i, key, j), said)


TIMES: tuple[tuple[frozenset[str], Check], ...] = (
    (frozenset({"duration", "drain", "faults"}), check_times),
)
CHECKS: tuple[tuple[frozenset[str], Check], ...] = (
    (frozenset({"nodes", "topology", "faults"}), check_links),
    (frozenset({"nodes", "faults"}), check_nodes),
    (frozenset({"nodes", "topology", "faults", "model"}), check_mode),
)
