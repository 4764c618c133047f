"""Opens a run folder and answers queries about it; the only module of this room that opens DuckDB.

Answers are dicts of numpy arrays. What is missing is an InputError that says what to run.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.summary import summarise
from sim.errors import InputError
from sim.records import SCHEMA, Table, Tables, columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sim.arrays import AnyArray

IDENTITY = ("id", "policy", "policy_hash", "seed", "status")  # the other columns are axes


@dataclass(frozen=True, slots=True)
class Trial:
    """One row of trials.parquet with how it ended."""

    id: str
    policy: str
    seed: int
    axes: Mapping[str, Any]
    status: Mapping[str, Any]
    meta: Mapping[str, Any] = field(repr=False)

    @property
    def done(self) -> bool:
        """Tell whether the trial finished well."""
        return self.status.get("state") == "done"


class Run:
    """An opened run folder, read only.

    Args:
        root: `runs/<experiment>/<hash8>`.

    Raises:
        InputError: Not a run folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        if not (root / "trials.parquet").is_file():
            raise InputError(
                f"{root}: not a run folder (no trials.parquet); `moedge compare` makes one, "
                f"and prints its path"
            )
        self._connection: Any = None

    @property
    def experiment(self) -> str:
        """Return the experiment's name."""
        metas = [trial.meta for trial in self.done]
        return str(metas[0].get("name", self.root.parent.name)) if metas else self.root.parent.name

    # --- small files ------------------------------------------------------------------------------

    @cached_property
    def trials(self) -> tuple[Trial, ...]:
        """Return all trials, in the order of trials.parquet."""
        rows = self.query("SELECT * FROM read_parquet(?)", [str(self.root / "trials.parquet")])
        length = len(rows.get("id", ()))
        return tuple(self._trial({k: _plain(v[i]) for k, v in rows.items()}) for i in range(length))

    def _trial(self, row: Mapping[str, Any]) -> Trial:
        folder = self.root / "trials" / str(row["id"])
        axes = {name: value for name, value in row.items() if name not in IDENTITY}
        status, meta = read_json(folder / "status.json"), read_json(folder / "meta.json")
        return Trial(str(row["id"]), str(row["policy"]), int(row["seed"]), axes, status, meta)

    @cached_property
    def done(self) -> tuple[Trial, ...]:
        """Return the trials that finished well."""
        return tuple(trial for trial in self.trials if trial.done)

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Return provenance.json, empty when there is none."""
        return read_json(self.root / "provenance.json")

    @cached_property
    def asserts(self) -> list[dict[str, Any]]:
        """Return what came of the scenario's `assert:` block (asserts.json), empty without one.

        Each has `text` (the limit), `policy`, `cell` (axis values), `found` (text) and `kept`.
        """
        found = read_json(self.root / "asserts.json").get("asserts", [])
        return [item for item in found if isinstance(item, dict)]

    def text(self, name: str) -> str:
        """Return a text file of the folder, empty when there is none."""
        path = self.root / name
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""

    def summaries(self) -> list[dict[str, Any]]:
        """Return one summary row per finished trial, with policy, seed and axes.

        The row that the trial left in its status is taken; where there is none it is computed
        again.
        """
        rows = []
        for trial in self.done:
            kept = trial.status.get("summary") or summarise(self.tables(trial.id), trial.meta)
            digest = trial.status.get("workload_digest") or trial.meta.get("workload_digest", "")
            head = {"id": trial.id, "policy": trial.policy, "seed": trial.seed, **trial.axes}
            rows.append({**kept, **head, "workload_digest": digest})
        return rows

    # --- tables -----------------------------------------------------------------------------------

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> Table:
        """Run a query and return its columns as arrays: NULL is NaN in floats, None in texts."""
        import duckdb

        if self._connection is None:
            self._connection = duckdb.connect(config={"threads": 2})
        found = self._connection.execute(sql, list(parameters)).fetchnumpy()
        return {name: _filled(values) for name, values in found.items()}

    def files(self, table: str, trials: Sequence[str]) -> list[str]:
        """Return the Parquet files of a table for some trials; those that lack it are left out."""
        paths = [self.root / table / f"trial={trial}" / "part.parquet" for trial in trials]
        return [str(path) for path in paths if path.is_file()]

    def select(
        self, table: str, trials: Sequence[str], sql: str, parameters: Sequence[Any] = ()
    ) -> Table:
        """Run `sql` over the rows of a table, named `t`, of some trials (column `trial` is text).

        Raises:
            InputError: None of the trials has the table.
        """
        files = self.files(table, trials)
        if not files:
            raise InputError(
                f"{self.root / table}: no table of these trials; run `moedge compare` again with "
                "--fresh"
            )
        source = "read_parquet(?, hive_partitioning=true, hive_types={'trial': VARCHAR})"
        return self.query(f"WITH t AS (SELECT * FROM {source}) {sql}", [files, *parameters])

    def has(self, table: str, trials: Sequence[str]) -> bool:
        """Tell whether some trial has rows in a table."""
        if not self.files(table, trials):
            return False
        return int(self.select(table, trials, "SELECT count(*) AS n FROM t")["n"][0]) > 0

    def tables(self, trial: str) -> Tables:
        """Read one trial's tables back as they stood in its Record (category columns as codes)."""
        names = [name for name in SCHEMA if self.files(name, [trial])]
        return {name: self.table(name, trial) for name in names}

    def table(self, name: str, trial: str) -> Table:
        """Read one table of one trial as it stood in its Record.

        Raises:
            InputError: The trial has no such table.
        """
        rows = self.select(name, [trial], "SELECT * EXCLUDE (trial) FROM t")
        experts = sum(column.startswith("w_") for column in rows)
        known = {c.name: c for c in columns(name, experts)}
        return {
            column: coded(values, known[column].values, known[column].dtype)
            for column, values in rows.items()
            if column in known
        }


def coded(values: AnyArray, words: Sequence[str] | None, dtype: str) -> AnyArray:
    """Turn texts back into codes (-1 for none) and give a column the type of the schema."""
    if words is None:
        return values.astype(dtype, copy=False)
    out = np.full(len(values), -1, dtype=dtype)
    for code, word in enumerate(words):
        out[values == word] = code
    return out


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object, empty when there is none or only a part (a killed writer)."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def open_run(path: Path) -> Run:
    """Open a run folder, or the only one below an experiment's folder.

    Raises:
        InputError: No run folder, or more than one to choose from.
    """
    if not path.is_dir():
        raise InputError(f"{path}: no such folder; `moedge compare` prints where it writes")
    if (path / "trials.parquet").is_file():
        return Run(path)
    inside = sorted(p.parent for p in path.glob("*/trials.parquet"))
    if len(inside) > 1:
        names = ", ".join(p.name for p in inside)
        raise InputError(f"{path}: holds {len(inside)} runs, name one of: {names}")
    return Run(inside[0] if inside else path)


def natural(text: str) -> list[tuple[int, int, str]]:
    """Return a sort key that puts edge-2 before edge-10."""
    parts = re.split(r"(\d+)", text)
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts]


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and math.isnan(value) else value


def _filled(values: Any) -> AnyArray:
    if not isinstance(values, np.ma.MaskedArray):
        return np.asarray(values)
    if values.dtype.kind == "f":
        return np.asarray(np.ma.filled(values, np.nan))
    if not np.ma.getmaskarray(values).any():
        return np.asarray(np.ma.getdata(values))
    if values.dtype.kind in "iu":
        return np.asarray(np.ma.filled(values, -1))
    texts = np.ma.getdata(values).astype(object)
    texts[np.ma.getmaskarray(values)] = None
    return np.asarray(texts)
