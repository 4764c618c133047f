"""Append-only rows of one run, turned into numpy columns at its end. Writes no file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sim.compute.swap import DecisionRow, weights_row
from sim.plans import Plan, Single, is_gated
from sim.records import DECISIONS, Table, Tables, columns, dtype

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sim.ports import ExpertKey
    from sim.request import Columns

Row = tuple[float, ...]


class Recorder:
    """Collects what the physics reports.

    Args:
        experts: Experts of the small model, 0 without one.
    """

    def __init__(self, experts: int) -> None:
        self.experts = experts
        self.decisions: list[DecisionRow] = []
        self._blocks: dict[str, list[Table]] = {}
        self._rows: dict[str, list[Row]] = {
            name: []
            for name in ("slots", "memory", "residency", "links", "faults", "drift", "tree")
        }

    def memory(self, node: int, t_s: float, category: int, size_bytes: float) -> None:
        """Append one change of the memory ledger."""
        self._rows["memory"].append((node, t_s, category, size_bytes))

    def residency(
        self, node: int, key: ExpertKey, t_s: float, event: int, size_bytes: float, cause: int
    ) -> None:
        """Append one fetch or eviction."""
        self._rows["residency"].append((node, *key, t_s, event, size_bytes, cause))

    def rows(self, table: str, rows: Iterable[Row]) -> None:
        """Append rows to a table, values in schema order."""
        self._rows[table].extend(rows)

    def block(self, table: str, values: Table) -> None:
        """Append rows to a table as equally long columns, all of the schema's.

        A table gets either rows or blocks, since blocks come first.
        """
        self._blocks.setdefault(table, []).append(values)

    def named(self, row: Mapping[str, float | int | str]) -> None:
        """Append a row of telemetry that names its table and columns.

        Raises:
            KeyError: A column is missing.
        """
        table = str(row["table"])
        values = []
        for column in columns(table):
            value = row[column.name]
            code = column.values.index(str(value)) if column.values else value
            values.append(float(code))
        self._rows[table].append(tuple(values))

    def decide(self, row: DecisionRow) -> int:
        """Append a decision and return its id."""
        self.decisions.append(row)
        return len(self.decisions) - 1

    def slots(self) -> list[Row]:
        """Return the rows of the table `slots` so far."""
        return self._rows["slots"]

    def tables(self, requests: Columns) -> Tables:
        """Return all tables; the reward columns of `slots` are filled in after the run."""
        return self.tables_with(self.requests(requests))

    def tables_with(self, requests: Table) -> Tables:
        """Return all tables.

        Args:
            requests: The table `requests`.
        """
        tables = {name: self._table(name, rows) for name, rows in self._rows.items()}
        tables["decisions"] = table_of(
            "decisions", map(self._decision, range(len(self.decisions))), self.experts
        )
        tables["requests"] = requests
        return tables

    def _table(self, name: str, rows: list[Row]) -> Table:
        table = table_of(name, rows, self.experts)
        blocks = self._blocks.get(name)
        if not blocks:
            return table
        return {
            c.name: np.concatenate([*(b[c.name] for b in blocks), table[c.name]]).astype(dtype(c))
            for c in columns(name, self.experts)
        }

    def requests(self, requests: Columns) -> Table:
        """Return the table `requests`."""
        return requests_of(requests)

    def _decision(self, plan_id: int) -> Row:
        row = self.decisions[plan_id]
        plan = row.plan
        fixed = (
            plan_id, row.slot, row.node, _kind(row), _k(plan), row.t_force_s, row.work_flop,
            row.read_bytes, row.moved_bytes, row.state_bytes, float(row.explored),
        )  # fmt: skip
        return fixed + weights_row(row, self.experts)


def _k(plan: Plan | None) -> int:
    """Return the column `k`: of a gated plan its k, of a single expert the expert."""
    if plan is not None and is_gated(plan):
        return plan.k
    return plan.expert if isinstance(plan, Single) else -1


def _kind(row: DecisionRow) -> int:
    if row.plan is None:
        return DECISIONS.index("keep")
    if row.start and row.plan.kind == "merged":
        return DECISIONS.index("start")
    return DECISIONS.index(row.plan.kind)


def requests_of(requests: Columns) -> Table:
    """Return the table `requests`, stamps not copied."""
    drawn = requests.columns()
    return {c.name: drawn[c.name].astype(dtype(c), copy=False) for c in columns("requests")}


def table_of(name: str, rows: Iterable[Row], experts: int) -> Table:
    """Turn rows in schema order into typed columns."""
    matrix: Any = list(rows)
    schema = columns(name, experts)
    if not matrix:
        return {c.name: np.empty(0, dtype(c)) for c in schema}
    by_column = list(zip(*matrix, strict=True))
    return {c.name: np.array(by_column[i], dtype=dtype(c)) for i, c in enumerate(schema)}
