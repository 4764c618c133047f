"""Files that a scenario names: inside its own folder, or refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from scenarios.schema_arrivals import Trace
from scenarios.schema_network import GraphML
from sim.errors import InputError

if TYPE_CHECKING:
    from scenarios.schema import Scenario
    from sim.ports import ModelCard

BUILTIN = "builtin:"


def inside(folder: Path, text: str) -> Path:
    """Return the path that a scenario names, relative to its folder.

    Raises:
        InputError: Absolute, outside the folder (symbolic links followed), or not printable.
    """
    if not text.isprintable():
        raise InputError(f"expected a path of printable characters, found {text[:64]!r}")
    root = folder.resolve()
    path = (root / text).resolve()
    if Path(text).is_absolute() or not path.is_relative_to(root):
        raise InputError(f"expected a path inside the scenario's folder, found {text!r}")
    return path


def checkpoint(scenario: Scenario) -> str | None:
    """Return what hosts load: `builtin:<name>` or an absolute path; None for `model: none`.

    Raises:
        InputError: A relative path that leaves the scenario's folder.
    """
    if scenario.model is None:
        return None
    reference = scenario.model.checkpoint
    if reference.startswith(BUILTIN) or (Path(reference).is_absolute() and reference.isprintable()):
        return reference
    return str(inside(scenario.origin.folder, reference))


def card(scenario: Scenario) -> ModelCard | None:
    """Return the card of the scenario's checkpoint (no torch); None for `model: none`.

    Its number of clusters is the one in effect, the scenario's own where it gives one.

    Raises:
        InputError: There is no such checkpoint, or its header is malformed.
    """
    from agents.moe.cards import read_card

    reference = checkpoint(scenario)
    if reference is None or scenario.model is None:
        return None
    shipped = read_card(reference)
    return replace(shipped, clusters=scenario.model.clusters.count or shipped.clusters)


def data_files(scenario: Scenario) -> list[Path]:
    """Return the files that the scenario reads besides: traces in file order, then a topology.

    Raises:
        InputError: One lies outside the scenario's folder.
    """
    named = [s.arrivals.file for s in scenario.streams if isinstance(s.arrivals, Trace)]
    named += [scenario.topology.file] if isinstance(scenario.topology, GraphML) else []
    return [inside(scenario.origin.folder, file) for file in dict.fromkeys(named)]
