"""From a file to `TraceRows`: converts cells, checks order, turns tokens into bytes."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from scenarios.traces import tables
from scenarios.traces.formats import FORMATS
from scenarios.traces.rows import TraceRows
from sim.errors import InputError, UnknownName

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from scenarios.traces.cells import Cell
    from scenarios.traces.formats import Column, Format

BYTES_PER_TOKEN = 4.0
NEEDED = {name: form.needed for name, form in FORMATS.items()}


def read(path: Path, fmt: str = "canonical", bytes_per_token: float = BYTES_PER_TOKEN) -> TraceRows:
    """Read a trace from a .csv, .jsonl or .parquet file.

    The last file is kept in memory until it changes, because every node of a stream asks for it.

    Args:
        path: The file; at most 64 MiB and two million rows.
        fmt: What its columns mean: a name in `FORMATS`.
        bytes_per_token: What one token of a published trace weighs on a link, in both directions.
            4 is an assumption (English text has about four characters per token).

    Raises:
        InputError: Too large, not of that format, or a cell that makes no sense; names file and
            line (or row), what was found and what is allowed.
    """
    if fmt not in FORMATS:
        raise UnknownName("trace format", fmt, FORMATS)
    if not 0.0 < bytes_per_token <= 1e6:
        raise InputError(f"bytes_per_token: expected > 0 and <= 1e6, found {bytes_per_token}")
    try:
        facts = path.stat()
    except (OSError, ValueError):
        raise InputError(f"{path.name}: no such file") from None
    return _read(path, (facts.st_mtime_ns, facts.st_size, facts.st_ino), fmt, bytes_per_token)


@lru_cache(maxsize=1)
def _read(path: Path, state: tuple[int, ...], fmt: str, bytes_per_token: float) -> TraceRows:
    """Read a file whose `state` tells one content from another."""
    form = FORMATS[fmt]
    try:
        columns = _columns(path, form)
    except OSError as error:
        raise InputError(f"{path.name}: cannot be read: {error.strerror or error}") from error
    if form.canonical:
        rows = len(columns["times_s"])
        for name in ("tasks", "nodes"):
            columns[name] = columns.get(name) or [""] * rows
        return TraceRows(**{name: tuple(values) for name, values in columns.items()})
    return _shifted(columns, form.ticks_per_s, bytes_per_token)


def _columns(path: Path, form: Format) -> dict[str, list[Any]]:
    """Return the columns that the file fills, converted; an optional one that says nothing is not.

    Raises:
        InputError: A cell makes no sense, or canonical times do not ascend.
    """
    wanted = tables.Wanted(form.names, form.needed, form.canonical, NEEDED)
    rows, place = tables.rows(path, wanted)
    converters = [column.convert for column in form.columns]
    kept: list[list[Any]] = [[] for _ in form.columns]
    before = 0.0
    for number, cells in rows:
        try:
            values = [convert(cell) for convert, cell in zip(converters, cells, strict=True)]
            if form.canonical:
                before = _ascending(values[0], before)
        except ValueError as error:
            raise InputError(f"{place(number)}: {_blame(form.columns, cells)}{error}") from None
        for column, value in zip(kept, values, strict=True):
            column.append(value)
    named = zip((column.fills for column in form.columns), kept, strict=True)
    return {name: values for name, values in named if name == "times_s" or _says(values)}


def _blame(columns: Sequence[Column], cells: Sequence[Cell]) -> str:
    """Return the name of the first column whose cell makes no sense, "" when all do."""
    for column, cell in zip(columns, cells, strict=True):
        try:
            column.convert(cell)
        except ValueError:
            return f"{column.name}: "
    return ""


def _ascending(time_s: float, before_s: float) -> float:
    if time_s < before_s:
        raise ValueError(f"t_s: {time_s} is before the row above ({before_s})")
    return time_s


def _says(values: list[Any]) -> bool:
    """Tell whether any value is there: not "", None or NaN."""
    return any(
        value not in {"", None} and not (isinstance(value, float) and math.isnan(value))
        for value in values
    )


def _shifted(
    columns: dict[str, list[Any]], ticks_per_s: float, bytes_per_token: float
) -> TraceRows:
    """Sort a published trace by time, start it at 0, and weigh its tokens."""
    ticks = columns["times_s"]
    order = sorted(range(len(ticks)), key=ticks.__getitem__)
    first = ticks[order[0]] if ticks else 0
    sizes = {
        name: tuple(bytes_per_token * columns[name][i] for i in order)
        for name in ("up_bytes", "down_bytes")
        if name in columns
    }
    silent = ("",) * len(ticks)
    return TraceRows(
        tuple((ticks[i] - first) / ticks_per_s for i in order), silent, silent, **sizes
    )
