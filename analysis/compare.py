"""Policies beside each other: means with intervals over seeds, and differences paired by seed.

Plain data only; the command line and the report render it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.metrics import METRICS, Metric, number
from analysis.stats import Interval, Paired, paired, t_interval
from sim.errors import InputError, UnknownName

Row = Mapping[str, Any]
UNSTABLE = "unstable"


@dataclass(frozen=True, slots=True)
class Cell:
    """One metric of one policy; `unstable` counts seeds whose latency describes no system."""

    metric: Metric
    interval: Interval | None  # None: no value, or some seed unstable
    values: Mapping[int, float]  # seed -> value, of the stable seeds where that matters
    unstable: int
    paired: Paired | None  # None for the baseline itself and where a side is missing

    @property
    def text(self) -> str:
        """Write the cell for people: `182 ± 4 ms`, `unstable`, or a dash."""
        if self.unstable:
            return UNSTABLE
        if self.interval is None:
            return self.metric.text(None)
        return self.metric.pair(self.interval.mean, self.interval.half_width)

    @property
    def few(self) -> bool:
        """Tell whether the interval rests on fewer seeds than it deserves."""
        return self.interval is not None and self.interval.few


@dataclass(frozen=True, slots=True)
class CompareRow:
    """One policy with its cells, by metric key."""

    policy: str
    seeds: tuple[int, ...]
    unstable: int  # seeds with a queue that grows over the whole run
    cells: Mapping[str, Cell]


@dataclass(frozen=True, slots=True)
class CompareTable:
    """Policies, best first by `ranked_by`; metrics that no policy has are left out."""

    baseline: str
    ranked_by: Metric | None
    metrics: tuple[Metric, ...]
    rows: tuple[CompareRow, ...]
    notes: tuple[str, ...]

    def row(self, policy: str) -> CompareRow:
        """Return a policy's row."""
        return next(row for row in self.rows if row.policy == policy)


def compare_table(rows: Sequence[Row], baseline: str | None = None) -> CompareTable:
    """Compare policies over the seeds that they share.

    Rows need `policy` and `seed` beside the keys of a summary; a `workload_digest` is checked where
    rows have one. Intervals are Student's, 95 %, per comparison: they are not corrected for their
    number.

    Args:
        rows: One summary per trial, all of one case (no other axis may vary).
        baseline: Policy that differences are taken against; the first row's by default.

    Raises:
        InputError: No rows, one policy and seed twice, or two worlds under one seed.
        UnknownName: The baseline is not among the policies.
    """
    if not rows:
        raise InputError("nothing to compare: no finished trial")
    grouped = _by_policy(rows)
    _same_worlds(rows)
    base = baseline if baseline is not None else str(rows[0]["policy"])
    if base not in grouped:
        raise UnknownName("baseline", base, grouped)
    metrics = tuple(m for m in METRICS if any(math.isfinite(number(row, m.key)) for row in rows))
    made = [
        _row(policy, grouped[policy], grouped[base], policy == base, metrics) for policy in grouped
    ]
    ranked_by = next((m for m in metrics if m.direction != "none"), None)
    return CompareTable(base, ranked_by, metrics, tuple(_ranked(made, ranked_by)), _notes(made))


def _by_policy(rows: Sequence[Row]) -> dict[str, dict[int, Row]]:
    grouped: dict[str, dict[int, Row]] = {}
    for row in rows:
        seeds = grouped.setdefault(str(row["policy"]), {})
        if int(row["seed"]) in seeds:
            raise InputError(
                f"policy {row['policy']!r} has seed {row['seed']} twice; compare one case at a time"
            )
        seeds[int(row["seed"])] = row
    return grouped


def _same_worlds(rows: Sequence[Row]) -> None:
    worlds: dict[int, tuple[str, str]] = {}
    for row in rows:
        found = str(row.get("workload_digest") or "")
        if not found:
            continue
        first, who = worlds.setdefault(int(row["seed"]), (found, str(row["policy"])))
        if first != found:
            raise InputError(
                f"seed {row['seed']}: {row['policy']!r} ran on another world than {who!r} "
                f"(workload {found[:8]} and {first[:8]}); their differences would mean nothing"
            )


def _row(
    policy: str,
    rows: Mapping[int, Row],
    base: Mapping[int, Row],
    is_base: bool,
    metrics: tuple[Metric, ...],
) -> CompareRow:
    cells = {m.key: _cell(m, rows, None if is_base else base) for m in metrics}
    unstable = sum(not is_stable(row) for row in rows.values())
    return CompareRow(policy, tuple(sorted(rows)), unstable, cells)


def _cell(metric: Metric, rows: Mapping[int, Row], base: Mapping[int, Row] | None) -> Cell:
    mine = values(metric, rows)
    unstable = sum(not is_stable(row) for row in rows.values()) if metric.latency else 0
    interval = t_interval(list(mine.values())) if mine and not unstable else None
    versus = None
    if base is not None and interval is not None:
        versus = paired(mine, values(metric, base), metric.direction)
    return Cell(metric, interval, mine, unstable, versus)


def values(metric: Metric, rows: Mapping[int, Row]) -> dict[int, float]:
    """Return seed -> value; latencies of unstable runs are left out."""
    kept = {
        s: number(rows[s], metric.key)
        for s in sorted(rows)
        if is_stable(rows[s]) or not metric.latency
    }
    return {seed: value for seed, value in kept.items() if math.isfinite(value)}


def is_stable(row: Row) -> bool:
    """Tell whether no queue of the run grew over its whole length (texts of a CSV file too)."""
    return str(row.get("stable", True)) not in {"False", "false", "0"}


def _ranked(rows: list[CompareRow], metric: Metric | None) -> list[CompareRow]:
    if metric is None:
        return sorted(rows, key=lambda row: row.policy)
    sign = -1.0 if metric.direction == "higher" else 1.0

    def key(row: CompareRow) -> tuple[float, str]:
        interval = row.cells[metric.key].interval
        return (math.inf if interval is None else sign * interval.mean, row.policy)

    return sorted(rows, key=key)


def _notes(rows: list[CompareRow]) -> tuple[str, ...]:
    notes = []
    counts = sorted({len(row.seeds) for row in rows})
    if counts[0] < 2:
        notes.append("One seed: no interval and no verdict; --seeds 0:5 gives both.")
    elif counts[0] < 5:
        notes.append(f"Only {counts[0]} seeds: intervals are wide and rest on normality.")
    shaky = [row.policy for row in rows if row.unstable]
    if shaky:
        named = ", ".join(sorted(shaky))
        notes.append(f"A queue grows over the whole run: no latency is reported for {named}.")
    if len(rows) > 2:
        notes.append("Verdicts are per comparison at 95 %, not corrected for their number.")
    return tuple(notes)
