"""The comparison for the terminal: a row per metric, a column per policy, the baseline first.

Each cell is mean ± half of the 95 % interval over seeds; below it the difference to the baseline,
paired by seed.
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
    "decision_share",
)
_COLUMNS = 5  # policies beside each other
_MOST_DECIMALS = 3
_PLAIN_WIDTH = 160  # where there is no terminal to ask
_VERDICT_STYLES = {"better": "green", "worse": "red"}


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
    others = [row for row in table.rows if row.policy != table.baseline]
    for start in range(0, max(1, len(others)), _COLUMNS - 1):
        shown = [table.row(table.baseline), *others[start : start + _COLUMNS - 1]]
        console.print(_grid(table, shown, oracles))
    for note in table.notes:
        console.print(note, style="dim", markup=False)
    if any(row.policy in oracles for row in table.rows):
        console.print("* oracle: it sees what no real router can.", style="dim", markup=False)


def _grid(table: CompareTable, shown: Sequence[CompareRow], oracles: set[str]) -> RichTable:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=SIMPLE_HEAD, pad_edge=False)
    grid.add_column("mean ± 95 %")
    for row in shown:
        mark = "*" if row.policy in oracles else ""
        grid.add_column(Text(visible(row.policy) + mark), justify="right")
    by_key = {metric.key: metric for metric in table.metrics}
    for key in SHOWN:
        if key in by_key:
            grid.add_row(
                Text(by_key[key].title), *(_cell(by_key[key], row.cells[key]) for row in shown)
            )
    grid.add_row(Text("Stable"), *(Text(_stability(row)) for row in shown))
    grid.add_row(Text("Seeds"), *(Text(str(len(row.seeds))) for row in shown))
    return grid


def _cell(metric: Metric, cell: Cell) -> Text:
    from rich.text import Text

    text = Text(cell.text)
    if cell.paired is not None:
        style = _VERDICT_STYLES.get(cell.paired.verdict, "dim")
        text.append("\n" + difference(metric, cell), style=style)
    return text


def difference(metric: Metric, cell: Cell) -> str:
    """Write a paired difference: in points for shares, else relative to the baseline."""
    from analysis.metrics import decimals

    if cell.paired is None:
        return ""
    if metric.unit in {"share", "points"}:
        interval, unit = cell.paired.difference, "pt"
    else:
        interval, unit = cell.paired.ratio, "%"
    if not math.isfinite(interval.mean):
        return ""
    mean, half = 100.0 * interval.mean, 100.0 * interval.half_width
    if not math.isfinite(half):
        return f"{mean:+.1f} {unit}"
    places = min(decimals(half, mean), _MOST_DECIMALS)
    return f"{mean:+.{places}f} ± {half:.{places}f} {unit} {cell.paired.verdict}"


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
