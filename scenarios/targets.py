"""The `assert:` block: each limit against the mean over seeds, with a tick or a cross."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scenarios.table import by_cell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scenarios.schema_policy import Assertion

# the file's word for a metric -> its key in a summary
KEYS: Mapping[str, str] = {
    "accuracy": "accuracy",
    "deadline_miss": "deadline_miss",
    "drops": "drop_share",
    "energy": "energy_j",
    "latency_mean": "latency_mean_s",
    "mean_memory": "memory_mean_bytes",
    "p50_latency": "latency_p50_s",
    "p95_latency": "latency_p95_s",
    "p99_latency": "latency_p99_s",
    "peak_memory": "memory_peak_bytes",
    "regret": "regret_mean",
    "stable": "stable",
    "useful_per_s": "useful_per_s",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One limit held against one policy (and one combination of axis values)."""

    policy: str
    assertion: Assertion
    value: float  # in the limit's SI unit; NaN when nothing was measured
    cell: str = ""

    @property
    def kept(self) -> bool:
        """Tell whether the limit holds; what was not measured does not hold."""
        return self.assertion.holds(self.value)

    def facts(self) -> dict[str, Any]:
        """Return what the report shows of it (a row of asserts.json)."""
        return {
            "text": self._limit(),
            "policy": self.policy,
            "cell": self.cell,
            "found": self._found(),
            "kept": self.kept,
        }

    def __str__(self) -> str:
        where = f" ({self.cell})" if self.cell else ""
        mark = "✓" if self.kept else "✗"
        return f"{mark} {self.policy}{where}: {self._limit()}, found {self._found()}"

    def _limit(self) -> str:
        from analysis.metrics import BY_KEY

        held = self.assertion
        metric = BY_KEY.get(KEYS[held.metric])
        if metric is None:
            return str(held)
        return f"{held.subject} {held.op} {metric.text(held.limit)}"

    def _found(self) -> str:
        from analysis.metrics import BY_KEY

        metric = BY_KEY.get(KEYS[self.assertion.metric])
        if metric is None:
            return "yes" if self.kept else "no"
        return metric.text(self.value)


def measure(
    assertions: Sequence[Assertion], rows: Sequence[Mapping[str, Any]], axes: Sequence[str] = ()
) -> list[Finding]:
    """Hold every limit against every policy that ran.

    Args:
        assertions: The scenario's limits.
        rows: Rows of finished trials; the mean over seeds counts, for `stable` the worst seed.
        axes: Keys of the axes.
    """
    return [
        Finding(policy, assertion, _value(assertion, members), _words(axes, cell))
        for cell, cell_rows in by_cell(rows, axes).items()
        for policy, members in _by_policy(cell_rows).items()
        for assertion in assertions
    ]


def _by_policy(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(str(row["policy"]), []).append(row)
    return groups


def _words(axes: Sequence[str], cell: tuple[str, ...]) -> str:
    return ", ".join(f"{axis} = {value}" for axis, value in zip(axes, cell, strict=True))


def _value(assertion: Assertion, rows: Sequence[Mapping[str, Any]]) -> float:
    values = [_of_row(row, KEYS[assertion.metric], assertion.stream) for row in rows]
    if assertion.metric == "stable":
        return min(values)
    return math.fsum(values) / len(values)


def _of_row(row: Mapping[str, Any], key: str, stream: str) -> float:
    """Return a trial's number; its only stream's is that of all requests."""
    from analysis.outcomes import keyed

    only = stream and not any(name.startswith(f"{key}[") for name in row)
    return float(row.get(key if only else keyed(key, stream), math.nan))
