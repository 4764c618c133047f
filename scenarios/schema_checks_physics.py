"""Whether queues, links and arrivals are such as can be, and whether every word has an effect."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scenarios.schema_arrivals import Mmpp, Trace
from scenarios.schema_checks import Check, Finding, dispatches
from scenarios.schema_checks_load import candidates, islands
from scenarios.schema_faults import CloudOutage, LinkLossy, NodeCrash
from scenarios.schema_names import Names, connections
from scenarios.schema_network import Explicit, TwoWayLink

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scenarios.problems import Path
    from scenarios.schema import Scenario
    from scenarios.schema_network import Link, Topology

_ROW_SUM = 1e-9  # what rows of probabilities may miss 1 by

# --- stations --------------------------------------------------------------------------------


def check_disciplines(scenario: Scenario, names: Names) -> Iterator[Finding]:
    """Servers that share their speed have neither batches nor set-up, and run no model."""
    for i, group in enumerate(scenario.nodes):
        path: Path = ("nodes", i)
        if group.discipline != "sharing":
            if group.job_share != 1:
                yield Finding((*path, "job_share"), "only with `discipline: sharing`")
            continue
        if scenario.model is not None:
            said = "'sharing' needs `model: none`: a model's batches do not share servers"
            yield Finding((*path, "discipline"), said)
        if group.batch.max_size > 1:
            said = f"sharing knows no batches: expected 1, found {group.batch.max_size}"
            yield Finding((*path, "batch", "max_size"), said)
        if group.setup is not None:
            yield Finding((*path, "setup"), "sharing knows no set-up: its servers are always warm")


def check_priorities(scenario: Scenario, names: Names) -> Iterator[Finding]:
    """Priorities that differ meet a station that looks at them."""
    levels = [stream.priority for stream in scenario.streams]
    if len(set(levels)) < 2 or any(g.discipline == "priority" for g in scenario.nodes):
        return
    index = next(i for i, level in enumerate(levels) if level)
    said = "priorities have no effect: no group has `discipline: priority`"
    yield Finding(("streams", index, "priority"), said, warning=True)


def check_waiting(scenario: Scenario, names: Names) -> Iterator[Finding]:
    """Requests that give up have a deadline or a patience, and a queue to leave."""
    nobody = _nobody_waits(scenario, names)
    for i, stream in enumerate(scenario.streams):
        path: Path = ("streams", i)
        traced = isinstance(stream.arrivals, Trace)  # it may have deadlines of its own
        if stream.late == "drop" and math.isinf(stream.deadline_s) and not traced:
            yield Finding((*path, "late"), "'drop' needs a 'deadline'")
        if stream.patience and nobody:
            said = "has no effect: where discipline is sharing nobody waits"
            yield Finding((*path, "patience"), said, warning=True)
        if stream.size.cv is not None and stream.size.law != "lognormal":
            said = f"only with `law: lognormal`, found {stream.size.law!r}"
            yield Finding((*path, "size", "cv"), said)


def _nobody_waits(scenario: Scenario, names: Names) -> bool:
    """Tell whether all servers are shared, and no queue is kept at a node that is down."""
    crashes = (f for f in scenario.faults if isinstance(f, NodeCrash | CloudOutage))
    if any(fault.work in {"keep", "resume"} for fault in crashes):
        return False
    chosen = [node for _, d in dispatches(scenario) for node in candidates(d, names)]
    return bool(chosen) and all(names.group_of[n].discipline == "sharing" for n in chosen)


def check_each(scenario: Scenario, names: Names) -> Iterator[Finding]:
    """What other requests of a batch add needs batches."""
    if scenario.service is None or scenario.service.each_s == 0:
        return
    if all(group.batch.max_size == 1 for group in scenario.nodes):
        said = "has no effect: every group's batches hold one request"
        yield Finding(("service", "each"), said, warning=True)


def check_sources(scenario: Scenario, names: Names) -> Iterator[Finding]:
    """Experts come from one other node that has them, over links that lead there."""
    island = islands(scenario, names)
    for i, group in enumerate(scenario.nodes):
        if group.experts_from is None:
            continue
        path: Path = ("nodes", i, "experts_from")
        ids, mine = names.ids(group.experts_from), names.groups[group.group]
        if len(ids) > 1:
            yield Finding(path, f"expected one node, found {len(ids)} in {group.experts_from!r}")
        elif ids[0] in mine:
            yield Finding(path, f"{names.name(ids[0])!r} cannot be its own source")
        elif scenario.model is None:
            yield Finding(path, "has no effect: no experts with `model: none`", warning=True)
        elif group.servers and any(island[node] != island[ids[0]] for node in mine):
            yield Finding(path, f"no links lead from {group.group!r} to {group.experts_from!r}")
        elif names.group_of[ids[0]].experts_from is not None:
            said = f"{names.name(ids[0])!r} keeps no experts itself, it has 'experts_from'"
            yield Finding(path, said)


# --- links -----------------------------------------------------------------------------------


def check_transport(scenario: Scenario, names: Names) -> Iterator[Finding]:
    """What is lost is tried again, or it is said that it is not."""
    if scenario.transport.tries > 1:
        return
    if scenario.transport.backoff_s:
        said = "has no effect: expected tries > 1"
        yield Finding(("transport", "backoff"), said, warning=True)
    place = next(_losses(scenario), None)
    if place is not None:
        said = "what is lost is not sent again: `transport: {tries: 1}`"
        yield Finding(place, said, warning=True)


def _losses(scenario: Scenario) -> Iterator[Path]:
    """Return the places where transfers get lost."""
    for path, link in _links(scenario.topology):
        if link.loss:
            yield (*path, "loss")
        for key in ("up", "down") if isinstance(link, TwoWayLink) else ():
            way = getattr(link, key)
            if way is not None and way.loss:
                yield (*path, key, "loss")
    for i, fault in enumerate(scenario.faults):
        if isinstance(fault, LinkLossy):
            yield ("faults", i, "loss")


def _links(topology: Topology) -> Iterator[tuple[Path, Link]]:
    if not isinstance(topology, Explicit):
        yield ("topology", "link"), topology.link
    yield from connections(topology)


# --- arrivals --------------------------------------------------------------------------------


def check_states(scenario: Scenario, names: Names) -> Iterator[Finding]:
    """States of modulated streams are all reached, by probabilities that are some."""
    for i, stream in enumerate(scenario.streams):
        if isinstance(stream.arrivals, Mmpp):
            yield from _check_mmpp(stream.arrivals, ("streams", i, "arrivals"))


def _check_mmpp(arrivals: Mmpp, path: Path) -> Iterator[Finding]:
    n, jumps = len(arrivals.states), arrivals.jumps
    if all(state.rate_per_s == 0 for state in arrivals.states):
        yield Finding((*path, "states"), "every rate is 0: the stream never emits")
    if not jumps:
        return
    if len(jumps) != n:
        yield Finding((*path, "jumps"), f"expected {n} rows, one per state, found {len(jumps)}")
        return
    wrong = [_wrong_row(row, place, n) for place, row in enumerate(jumps)]
    for place, said in enumerate(wrong):
        if said:
            yield Finding((*path, "jumps", place), said)
    if not any(wrong):
        lost = [place for place in range(n) if len(_reached(jumps, place)) < n]
        if lost:
            said = f"from state {lost[0]} not every other state is ever reached"
            yield Finding((*path, "jumps"), said)


def _wrong_row(row: tuple[float, ...], place: int, n: int) -> str:
    if len(row) != n:
        return f"expected {n} probabilities, found {len(row)}"
    if row[place] != 0:
        return f"expected 0 on the diagonal, found {row[place]:g}"
    total = math.fsum(row)
    return "" if abs(total - 1) <= _ROW_SUM else f"expected a sum of 1, found {total:g}"


def _reached(jumps: tuple[tuple[float, ...], ...], start: int) -> list[int]:
    found = [start]
    for state in found:
        found += [to for to, p in enumerate(jumps[state]) if p > 0 and to not in found]
    return found


CHECKS: tuple[tuple[frozenset[str], Check], ...] = (
    (frozenset({"nodes", "model"}), check_disciplines),
    (frozenset({"nodes", "streams"}), check_priorities),
    (frozenset({"nodes", "streams", "dispatch", "policies", "faults"}), check_waiting),
    (frozenset({"nodes", "service"}), check_each),
    (frozenset({"nodes", "topology", "model"}), check_sources),
    (frozenset({"topology", "transport", "faults"}), check_transport),
    (frozenset({"streams"}), check_states),
)
