"""The comparison for the terminal: mean ± half of the 95 % interval over seeds, the baseline first.

A few policies are a column each, a row per metric; below each value stands the difference to the
baseline, paired by seed. Many policies are a row each, so that all of them stand in one screen, and
a mark says which side of the baseline they are on.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

from scenarios.progress import say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.table import Table as RichTable
    from rich.text import Text

    from analysis.compare import Cell, CompareRow, CompareTable
    from analysis.metrics import Metric

# what people ask about first; every other metric is in summary.csv, --json and the report
SHOWN = (
    "latency_mean_s",
    "latency_p50_s",
    "latency_p95_s",
    "latency_p99_s",
    "deadline_miss",
    "accuracy",
    "useful_per_s",
    "goodput_per_s",
    "regret_mean",
    "regret_late",
    "drift_delay_slots",
    "drift_missed",
    "drift_false_per_1000",
    "drift_recovery_slots",
    "memory_peak_bytes",
    "memory_mean_bytes",
    "drop_share",
    "energy_j",
    "audit_bytes",
    "audit_lost",
    "decision_share",
)
_COLUMNS = 5  # policies that stand beside each other; more stand below each other
_GAP = 3  # columns of the terminal between two columns of a table
_MOST_DECIMALS = 3
_PLAIN_WIDTH = 160  # where there is no terminal to ask
_VERDICT_STYLES = {"better": "green", "worse": "red"}
_MARKS = {"better": "+", "worse": "-", "same": "="}


def show_comparison(
    rows: Sequence[Mapping[str, Any]],
    baseline: str,
    axes: Sequence[str] = (),
    oracles: Sequence[str] = (),
) -> None:
    """Print one table per combination of axis values, to stderr.

    Args:
        rows: Rows of finished trials.
        baseline: The policy that differences are against.
        axes: Keys of the axes.
        oracles: Labels of policies that see what no real router can; they are marked.
    """
    from analysis.compare import compare_table

    for cell, members in by_cell(rows, axes).items():
        labels = {str(row["policy"]) for row in members}
        table = compare_table(members, baseline if baseline in labels else None)
        heading = ", ".join(f"{axis} = {value}" for axis, value in zip(axes, cell, strict=True))
        _print(table, heading, set(oracles))


def by_cell(
    rows: Sequence[Mapping[str, Any]], axes: Sequence[str]
) -> dict[tuple[str, ...], list[Mapping[str, Any]]]:
    """Group rows by their axis values, in order of appearance."""
    cells: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        cells.setdefault(tuple(str(row[axis]) for axis in axes), []).append(row)
    return cells


def _print(table: CompareTable, heading: str, oracles: set[str]) -> None:
    from rich.console import Console

    console = Console(
        stderr=True, width=None if sys.stderr.isatty() else _PLAIN_WIDTH, highlight=False
    )
    if heading:
        console.print(heading, style="bold", markup=False)
    base = table.row(table.baseline)
    rows = [base, *(row for row in table.rows if row is not base)]
    names = [visible(row.policy) + ("*" if row.policy in oracles else "") for row in rows]
    metrics, zero = _told(table)
    if len(rows) <= _COLUMNS:
        console.print(_grid(rows, names, metrics))
    else:
        for part in _parts(rows, names, metrics, console.width):
            console.print(_list(rows, names, part))
        said = (
            f"{visible(table.baseline)} is the baseline; + better, - worse, = no difference shown"
        )
        console.print(f"{said}, paired by seed.", style="dim", markup=False)
    if zero:
        console.print(f"Zero under every policy: {zero}.", style="dim", markup=False)
    for note in table.notes:
        console.print(note, style="dim", markup=False)
    if any(row.policy in oracles for row in table.rows):
        console.print("* oracle: it sees what no real router can.", style="dim", markup=False)


def _told(table: CompareTable) -> tuple[list[Metric], str]:
    """Return the metrics to show, and the titles of those that are zero under every policy."""
    by_key = {metric.key: metric for metric in table.metrics}
    known = [by_key[key] for key in SHOWN if key in by_key]
    told = [m for m in known if any(any(r.cells[m.key].values.values()) for r in table.rows)]
    return told, ", ".join(metric.title.lower() for metric in known if metric not in told)


def _grid(rows: Sequence[CompareRow], names: Sequence[str], metrics: Sequence[Metric]) -> RichTable:
    """Return a table with a column per policy."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=SIMPLE_HEAD, pad_edge=False)
    grid.add_column("mean ± 95 %")
    for name in names:
        grid.add_column(Text(name), justify="right")
    for metric in metrics:
        grid.add_row(Text(metric.title), *(_cell(metric, row.cells[metric.key]) for row in rows))
    grid.add_row(Text("Stable"), *(Text(_stability(row)) for row in rows))
    grid.add_row(Text("Seeds"), *(Text(str(len(row.seeds))) for row in rows))
    return grid


# --- many policies --------------------------------------------------------------------------------


def _parts(
    rows: Sequence[CompareRow], names: Sequence[str], metrics: Sequence[Metric], width: int
) -> list[list[Metric]]:
    """Split the metrics into tables that fit the terminal."""
    first = max(len("mean ± 95 %"), *map(len, names))
    parts: list[list[Metric]] = []
    left = 0
    for metric in metrics:
        words = max(map(len, metric.title.split()))
        needs = max(words, *(len(_marked(row.cells[metric.key])) for row in rows)) + _GAP
        if not parts or needs > left:
            parts.append([])
            left = width - first - 2 * _GAP
        parts[-1].append(metric)
        left -= needs
    return parts


def _list(rows: Sequence[CompareRow], names: Sequence[str], metrics: Sequence[Metric]) -> RichTable:
    """Return a table with a row per policy."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=SIMPLE_HEAD, pad_edge=False)
    grid.add_column("mean ± 95 %", no_wrap=True)
    for metric in metrics:
        grid.add_column(Text(metric.title), justify="right", vertical="bottom")
    for row, name in zip(rows, names, strict=True):
        cells = (row.cells[metric.key] for metric in metrics)
        grid.add_row(Text(name), *(Text(_marked(c), style=_style(c), no_wrap=True) for c in cells))
    return grid


def _marked(cell: Cell) -> str:
    """Return a value and the sign of its verdict, two characters wide in every cell."""
    return f"{cell.text} {_MARKS.get(cell.paired.verdict, ' ') if cell.paired else ' '}"


def _style(cell: Cell) -> str:
    return _VERDICT_STYLES.get(cell.paired.verdict, "") if cell.paired else ""


# --- few policies ---------------------------------------------------------------------------------


def _cell(metric: Metric, cell: Cell) -> Text:
    from rich.text import Text

    text = Text(cell.text)
    if cell.paired is not None:
        style = _VERDICT_STYLES.get(cell.paired.verdict, "dim")
        text.append("\n" + difference(metric, cell), style=style)
    return text


def difference(metric: Metric, cell: Cell) -> str:
    """Write a paired difference: shares in points, slots and counts as they are, others in %."""
    from analysis.figures.compare import is_relative, signed
    from analysis.metrics import decimals

    if cell.paired is None:
        return ""
    if not any(cell.paired.differences):
        return "identical"
    if metric.unit in {"share", "points"}:
        interval, unit = cell.paired.difference, "pt"
    elif is_relative(metric, cell.paired):
        interval, unit = cell.paired.ratio, "%"
    else:
        return f"{signed(metric, cell.paired)} {cell.paired.verdict}"
    if not math.isfinite(interval.mean):
        return ""
    mean, half = 100.0 * interval.mean, 100.0 * interval.half_width
    if not math.isfinite(half):
        return f"{mean:+.1f} {unit}"
    places = min(decimals(half, mean), _MOST_DECIMALS)
    shown = round(mean, places) + 0.0  # no "-0"
    return f"{shown:+.{places}f} ± {half:.{places}f} {unit} {cell.paired.verdict}"


def _stability(row: CompareRow) -> str:
    return "yes" if not row.unstable else f"NO in {row.unstable} of {len(row.seeds)}"


def visible(text: str) -> str:
    """Show control characters of a name instead of sending them to the terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def show_failures(failures: Sequence[Mapping[str, Any]]) -> None:
    """Print one line per failed trial, to stderr."""
    for row in failures:
        first = str(row["message"]).splitlines()[0] if row["message"] else "no message"
        say(
            f"FAILED {row['policy']}, seed {row['seed']} (trial {row['id']}) "
            f"in {row['stage']}: {first}"
        )
    if failures:
        say("failed trials are kept as such; `moedge compare --retry-failed` runs them again")
