"""Trace files: when requests arrived, and where the file says so, of which task at which node."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.errors import InputError, UnknownName

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 64 << 20
COLUMNS = ("t_s", "task", "node")


@dataclass(frozen=True, slots=True)
class TraceRows:
    """A trace, row by row: ascending seconds, task words ("" unknown), node names ("" any)."""

    times_s: tuple[float, ...]
    tasks: tuple[str, ...]
    nodes: tuple[str, ...]

    def of(self, node: str) -> TraceRows:
        """Return the rows of one node."""
        rows = zip(self.times_s, self.tasks, self.nodes, strict=True)
        kept = [row for row in rows if row[2] in {"", node}]
        times_s, tasks, nodes = zip(*kept, strict=True) if kept else ((), (), ())
        return TraceRows(times_s, tasks, nodes)


def read(path: Path) -> TraceRows:
    """Read a CSV file with a header of `t_s` and, where known, `task` and `node`.

    Raises:
        InputError: Too large, another header, or a row whose time is missing, negative or before
            the last; names file and line.
    """
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path.name}: larger than {MAX_BYTES >> 20} MiB")
    with path.open(newline="", encoding="utf-8") as stream:
        rows = csv.reader(stream)
        header = [word.strip() for word in next(rows, [])]
        _check_header(header, path)
        at = {name: header.index(name) if name in header else -1 for name in COLUMNS}
        times_s: list[float] = []
        words: dict[str, list[str]] = {"task": [], "node": []}
        for row in rows:
            if not row:
                continue
            where = f"{path.name}:{rows.line_num}"
            if len(row) != len(header):
                raise InputError(f"{where}: expected {len(header)} columns, found {len(row)}")
            times_s.append(_time(row[at["t_s"]], times_s[-1] if times_s else 0.0, where))
            for name, column in words.items():
                column.append(row[at[name]].strip() if at[name] >= 0 else "")
    return TraceRows(tuple(times_s), tuple(words["task"]), tuple(words["node"]))


def _check_header(header: list[str], path: Path) -> None:
    for name in header:
        if name not in COLUMNS:
            raise InputError(f"{path.name}:1: {UnknownName('column', name[:64], COLUMNS)}")
    if "t_s" not in header or len(set(header)) < len(header):
        raise InputError(f"{path.name}:1: expected columns t_s, task, node (t_s is needed)")


def _time(text: str, before_s: float, where: str) -> float:
    try:
        time_s = float(text)
    except ValueError:
        raise InputError(f"{where}: t_s: expected seconds, found {text[:64]!r}") from None
    if not math.isfinite(time_s) or time_s < 0:
        raise InputError(f"{where}: t_s: expected finite seconds >= 0, found {text[:64]!r}")
    if time_s < before_s:
        raise InputError(f"{where}: t_s: {time_s} is before the row above ({before_s})")
    return time_s
