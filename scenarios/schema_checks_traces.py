"""Whether trace files can be read, and whether all that they say is heard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios import paths
from scenarios.schema_arrivals import Trace
from scenarios.schema_checks import Check, Finding
from scenarios.schema_checks_model import task_index
from sim.errors import InputError, nearest
from sim.units import format_s

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scenarios.problems import Path
    from scenarios.schema import Scenario
    from scenarios.schema_names import Names
    from scenarios.traces import TraceRows


def check_rows(scenario: Scenario, names: Names) -> Iterator[Finding]:
    """Rows of traces are such as can be emitted (that the files are there is another check)."""
    for i, stream in enumerate(scenario.streams):
        if not isinstance(stream.arrivals, Trace):
            continue
        path: Path = ("streams", i, "arrivals")
        try:
            rows = _read(scenario, stream.arrivals)
        except InputError as error:
            yield Finding((*path, "file"), str(error))
            continue
        if rows is not None:
            yield from _check_columns(scenario, stream.arrivals, rows, path)
            yield from _check_emitted(scenario, names, stream.at, rows, path)


def _read(scenario: Scenario, arrivals: Trace) -> TraceRows | None:
    from scenarios import traces

    try:
        file = paths.inside(scenario.origin.folder, arrivals.file)
    except InputError:
        return None
    if not file.is_file():
        return None
    return traces.read(file, arrivals.format, arrivals.bytes_per_token)


def _check_columns(
    scenario: Scenario, arrivals: Trace, rows: TraceRows, path: Path
) -> Iterator[Finding]:
    from scenarios import traces

    if arrivals.format == "canonical" and arrivals.bytes_per_token != traces.BYTES_PER_TOKEN:
        said = "has no effect: sizes in a canonical trace are bytes"
        yield Finding((*path, "bytes_per_token"), said, warning=True)
    if scenario.model is not None and rows.services_s:
        said = "its service_s has no effect: with a model, times follow from hardware"
        yield Finding((*path, "file"), said, warning=True)
    try:
        card = paths.card(scenario)
    except InputError:
        return  # told by its own check
    for word in dict.fromkeys(rows.tasks):
        try:
            task_index(word, card)
        except InputError as error:
            yield Finding((*path, "file"), f"{arrivals.file}: {error}")
            return


def _check_emitted(
    scenario: Scenario, names: Names, at: str, rows: TraceRows, path: Path
) -> Iterator[Finding]:
    strange = [name for name in rows.nodes if name and name not in names.nodes]
    if strange:
        near = nearest(strange[0], names.nodes)
        said = f"{len(strange)} row(s) left out: no node is named {strange[0][:64]!r}"
        yield Finding((*path, "file"), said + (f"; nearest is {near!r}" if near else ""), True)
    mine = {"", *(names.name(node) for node in names.ids(at))}
    end_s = scenario.duration_s * scenario.load  # a higher load plays the trace faster
    pairs = zip(rows.times_s, rows.nodes, strict=True)
    if not any(t_s < end_s and node in mine for t_s, node in pairs):
        said = f"never emits: no row of {at!r} before {format_s(end_s)}"
        yield Finding((*path, "file"), said, warning=True)


CHECKS: tuple[tuple[frozenset[str], Check], ...] = (
    (frozenset({"streams", "nodes", "duration", "load", "model"}), check_rows),
)
