"""From the words of faults to what they hit, and when."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from scenarios.schema_faults import (
    AtLink,
    CloudOutage,
    ExpertCorrupt,
    ExpertLost,
    FeedbackSpoiled,
    LinkLossy,
    LinkSlow,
    Partition,
    StorageSlow,
)
from sim.config import FaultSpec
from sim.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scenarios.schema import Scenario
    from scenarios.schema_faults import Fault
    from scenarios.schema_names import Names
    from sim.config import FaultKind, LinkSpec
    from sim.ports import ModelCard


def faults(
    scenario: Scenario, names: Names, wires: Sequence[LinkSpec], card: ModelCard | None
) -> Iterator[FaultSpec]:
    """Yield one fault per draw: targets that are hit together share one.

    A `link-down` and faults at groups are drawn for each way and node on its own unless the file
    says `together`; all others hit both ways of a link at the same moments.

    Raises:
        InputError: No such link in the topology that was drawn, a partition that cuts no link, or
            an expert or layer that the model lacks.
    """
    for index, fault in enumerate(scenario.faults):
        if card is None and isinstance(fault, StorageSlow | FeedbackSpoiled):
            continue  # `check` warns that they have no effect
        path = f"faults.{index}"
        targets = _targets(fault, path, names, wires)
        more = _more(fault, path, card)
        if _apart(fault):
            for target in targets:
                yield _spec(fault, (target,), more)
        else:
            yield _spec(fault, targets, more)


def _apart(fault: Fault) -> bool:
    """Tell whether each target has draws of its own."""
    if isinstance(fault, CloudOutage | Partition):
        return False
    return not (fault.together if not isinstance(fault, LinkSlow | LinkLossy) else True)


def _spec(fault: Fault, targets: Sequence[int], more: dict[str, Any]) -> FaultSpec:
    return FaultSpec(
        _kind(fault),
        targets[0],
        fault.at_s,
        math.inf if fault.for_s is None else fault.for_s,
        fault.mtbf_s,
        fault.mttr_s,
        also=tuple(targets[1:]),
        every_s=fault.every_s,
        until_s=math.inf if fault.until_s is None else fault.until_s,
        **more,
    )


def _kind(fault: Fault) -> FaultKind:
    match fault:
        case CloudOutage():
            return "node-crash"
        case Partition():
            return "link-down"
    return fault.kind


def _targets(fault: Fault, path: str, names: Names, wires: Sequence[LinkSpec]) -> Sequence[int]:
    """Return the ids of what a fault hits: links for faults of links, else nodes."""
    if isinstance(fault, CloudOutage):
        return names.ids(fault.group)
    if isinstance(fault, Partition):
        cut = {node for name in fault.nodes for node in names.ids(name)}
        crossing = [wire.id for wire in wires if (wire.src in cut) != (wire.dst in cut)]
        if not crossing:
            raise InputError(f"{path}.nodes: no link leads from these nodes to any other")
        return crossing
    if not isinstance(fault, AtLink):
        return names.ids(fault.node)
    between = {(wire.src, wire.dst): wire.id for wire in wires}
    a, b = (names.ids(end)[0] for end in fault.link)
    if (a, b) not in between:
        said = f"no link joins {names.name(a)!r} and {names.name(b)!r} in this topology"
        raise InputError(f"{path}.link: {said}")
    return [between[a, b], between[b, a]]


def _more(fault: Fault, path: str, card: ModelCard | None) -> dict[str, Any]:
    """Return what faults of one kind have besides."""
    if isinstance(fault, ExpertLost | ExpertCorrupt):
        return {"experts": _experts(fault, path, card)}
    names = ("work", "factor", "delay_s", "loss", "value")
    return {name: getattr(fault, name) for name in names if hasattr(fault, name)}


def _experts(
    fault: ExpertLost | ExpertCorrupt, path: str, card: ModelCard | None
) -> tuple[tuple[int, int], ...]:
    """Return (layer, expert) pairs, layer by layer."""
    if card is None:
        raise InputError(f"{path}: {fault.kind} needs a model")
    layers = sorted(set(fault.layers)) or range(card.layers)
    return tuple((layer, expert) for layer in layers for expert in sorted(set(fault.experts)))
