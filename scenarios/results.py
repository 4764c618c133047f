"""The run folder: tables as Parquet, facts as JSON, a status written last: done means done.

    runs/<experiment>/<hash8>/
      scenario.yaml resolved.yaml provenance.json trials.parquet summary.csv log.jsonl
      trials/<id>/status.json  trials/<id>/meta.json
      requests/trial=<id>/part.parquet      and likewise every other table

Every file is written beside its place as `.tmp` and renamed. Category columns are text on disk; a
NaN and a category
-1 are NULL there, so that SQL aggregates skip what does not apply.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from scenarios import files
from scenarios.files import StorageError, csv_text, plain, read_json, replacing, write_json
from sim.errors import InputError
from sim.records import Record, Table, columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from sim.arrays import AnyArray

DONE, FAILED = "done", "failed"
_LOCK = ".lock"
_ROW_GROUP = 122_880  # rows packed at once: memory does not grow with the table
_EMPTY: dict[tuple[str, ...], bytes] = {}  # files of tables without rows, by columns and types


# --- tables -------------------------------------------------------------------------------------


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _selected(name: str, values: tuple[str, ...] | None) -> str:
    """Return the SQL of one column; a code -1 falls outside the list of words, which is NULL."""
    if values is None:
        return _quoted(name)
    words = ", ".join(map(_literal, values))
    return f"([{words}])[{_quoted(name)} + 1]::ENUM({words}) AS {_quoted(name)}"


@cache
def _engine() -> Any:
    """Return this process's one DuckDB: to start one takes longer than to write a small table."""
    import duckdb

    return duckdb.connect(config={"threads": 1})


def write_table(
    path: Path, table: Mapping[str, AnyArray], words: Mapping[str, tuple[str, ...]] | None = None
) -> None:
    """Write columns of equal length as one zstd Parquet file, without pyarrow or pandas.

    Args:
        path: The file.
        table: Column name -> values.
        words: Column name -> category values, where values are codes of them.

    Raises:
        StorageError: The disk refused.
    """
    import duckdb

    named = words or {}
    selected = ", ".join(_selected(name, named.get(name)) for name in table)
    empty = (selected, *(v.dtype.str for v in table.values())) if not _length(table) else ()
    if empty in _EMPTY:  # most tables of a small run; DuckDB takes milliseconds for each
        with replacing(path) as temporary:
            temporary.write_bytes(_EMPTY[empty])
        return
    with replacing(path) as temporary, _engine().cursor() as connection:
        connection.register("rows", dict(table))
        target = _literal(str(temporary))
        try:
            connection.execute(
                f"COPY (SELECT {selected} FROM rows) TO {target} "
                f"(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {_ROW_GROUP})"
            )
        except duckdb.IOException as error:
            raise OSError(_reason(str(error))) from error
        if empty:
            _EMPTY[empty] = temporary.read_bytes()


def _length(table: Mapping[str, AnyArray]) -> int:
    return len(next(iter(table.values()), ()))


def _reason(message: str) -> str:
    """Shorten DuckDB's account of a failed write to the words of the operating system."""
    for known in (
        "No space left on device",
        "Permission denied",
        "Read-only file system",
        "Disk quota exceeded",
    ):
        if known in message:
            return known
    return message.splitlines()[0]


def read_table(path: Path) -> Table:
    """Read a Parquet file back: texts as objects (None where NULL), floats with NaN where NULL."""
    with _engine().cursor() as connection:
        found = connection.execute(
            "SELECT * FROM read_parquet(?, hive_partitioning=false)", [str(path)]
        ).fetchnumpy()
    return {name: _filled(values) for name, values in found.items()}


def _filled(values: Any) -> AnyArray:
    if not np.ma.isMaskedArray(values):
        return np.asarray(values)
    if values.dtype.kind == "f":
        return np.asarray(values.filled(np.nan))
    texts = values.data.astype(object)
    texts[np.ma.getmaskarray(values)] = None
    return np.asarray(texts)


@dataclass(frozen=True, slots=True)
class Shape:
    """What a Parquet file says of itself: top-level columns, rows, and bytes once unpacked."""

    names: tuple[str, ...]
    rows: int
    unpacked_bytes: int


def parquet_shape(path: Path) -> Shape:
    """Read the footer of a foreign Parquet file.

    Raises:
        InputError: It is none.
    """
    source = [_literal_path(path)]
    with _foreign(path) as connection:
        described = connection.execute(f"DESCRIBE SELECT * FROM {_FOREIGN}", source).fetchall()
        (rows,) = connection.execute(
            "SELECT sum(num_rows) FROM parquet_file_metadata(?)", source
        ).fetchone()
        (unpacked,) = connection.execute(
            "SELECT sum(total_uncompressed_size) FROM parquet_metadata(?)", source
        ).fetchone()
    return Shape(tuple(row[0] for row in described), int(rows or 0), int(unpacked or 0))


def parquet_texts(path: Path, names: Sequence[str]) -> Iterator[tuple[str | None, ...]]:
    """Yield the rows of a foreign Parquet file in order, cells as text, None where NULL.

    Args:
        path: The file.
        names: Columns that it has, one or more.

    Raises:
        InputError: It cannot be read.
    """
    selected = ", ".join(f"CAST({_quoted(name)} AS VARCHAR)" for name in names)
    with _foreign(path) as connection:
        found = connection.execute(f"SELECT {selected} FROM {_FOREIGN}", [_literal_path(path)])
        while part := found.fetchmany(_FOREIGN_ROWS):
            yield from part


_FOREIGN = "read_parquet(?, hive_partitioning=false)"
_FOREIGN_ROWS = 65536


@contextmanager
def _foreign(path: Path) -> Iterator[Any]:
    """Hand out a DuckDB for one file of a stranger: little memory, and no extension is fetched."""
    import duckdb

    limits: dict[str, Any] = {"threads": 1, "memory_limit": "512MB"}
    limits |= {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
    with duckdb.connect(config=limits) as connection:
        try:
            yield connection
        except duckdb.Error as error:
            said = str(error).splitlines()[0].replace(str(path), path.name)
            raise InputError(f"{path.name}: cannot be read as Parquet: {said}") from None


def _literal_path(path: Path) -> str:
    """Return a path that DuckDB takes for one file, not for a pattern of names."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in str(path))


# --- the folder ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Status:
    """How one trial ended; wall-clock facts live here and never in a simulated result."""

    state: str  # DONE or FAILED
    digest: str = ""
    workload_digest: str = ""
    summary: Mapping[str, Any] | None = None
    wall_s: float = 0.0
    peak_rss_bytes: float = 0.0
    stage: str = ""  # of a failure: load, build, simulate, summarise, write, worker
    message: str = ""

    @property
    def done(self) -> bool:
        """Tell whether the trial finished well."""
        return self.state == DONE


class RunFolder:
    """Names and keeps the files of one experiment.

    Args:
        root: `runs/<experiment>/<hash8>`; created by the first write.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def trial(self, trial_id: str) -> Path:
        """Return the folder of a trial's small files."""
        return self.root / "trials" / trial_id

    def table(self, name: str, trial_id: str) -> Path:
        """Return the file of a table: `<table>/trial=<id>/part.parquet`, a hive path."""
        return self.root / name / f"trial={trial_id}" / "part.parquet"

    def write_record(self, trial_id: str, record: Record) -> None:
        """Write all tables and the meta facts of a run.

        Raises:
            StorageError: The disk refused.
        """
        for name, table in sorted(record.tables.items()):
            experts = sum(column.startswith("w_") for column in table)
            words = {c.name: c.values for c in columns(name, experts) if c.values is not None}
            write_table(self.table(name, trial_id), table, words)
        write_json(self.trial(trial_id) / "meta.json", record.meta)

    def meta(self, trial_id: str) -> dict[str, Any]:
        """Return the meta facts of a finished trial, {} when there are none."""
        return read_json(self.trial(trial_id) / "meta.json") or {}

    def write_status(self, trial_id: str, status: Status) -> None:
        """Write the status, the last file of a trial.

        Raises:
            StorageError: The disk refused.
        """
        facts = {name: getattr(status, name) for name in Status.__dataclass_fields__}
        write_json(self.trial(trial_id) / "status.json", facts)

    def status(self, trial_id: str) -> Status | None:
        """Return how a trial ended, or None when it has not (a killed trial leaves none)."""
        facts = read_json(self.trial(trial_id) / "status.json")
        if facts is None or facts.get("state") not in {DONE, FAILED}:
            return None
        known = {name: facts[name] for name in Status.__dataclass_fields__ if name in facts}
        summary = known.get("summary") or {}
        known["summary"] = {
            name: math.nan if value is None else value for name, value in summary.items()
        }
        return Status(**known)

    def forget(self, trial_id: str) -> None:
        """Take a trial's status away before it is run again, so that a kill leaves it undone."""
        for name in ("status.json", "progress", "error.txt"):
            (self.trial(trial_id) / name).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove the half-written files of writers that were killed; call it under the lock."""
        for path in sorted(self.root.rglob("*.[0-9]*.tmp")):
            path.unlink(missing_ok=True)

    def finished(self) -> list[str]:
        """Return the ids of the trials that finished well, sorted."""
        found = sorted(path.parent.name for path in self.root.glob("trials/*/status.json"))
        return [trial_id for trial_id in found if (status := self.status(trial_id)) and status.done]

    def write_trials(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write trials.parquet: one row per trial (id, policy, seed, axis values).

        Raises:
            StorageError: The disk refused.
        """
        names = list(dict.fromkeys(name for row in rows for name in row))
        write_table(
            self.root / "trials.parquet",
            {name: _column(row.get(name) for row in rows) for name in names},
        )

    def trials(self) -> list[dict[str, Any]]:
        """Return the rows of trials.parquet, or none."""
        path = self.root / "trials.parquet"
        if not path.exists():
            return []
        table = read_table(path)
        rows = range(_length(table))
        return [{name: plain(values[i]) for name, values in table.items()} for i in rows]

    def write_summary(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write summary.csv, one row per trial.

        Raises:
            StorageError: The disk refused.
        """
        files.write_text(self.root / "summary.csv", csv_text(rows))

    def log(self, event: str, **facts: Any) -> None:
        """Append one line to log.jsonl."""
        line = json.dumps(plain({"at": files.now(), "event": event, **facts}), ensure_ascii=False)
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with (self.root / "log.jsonl").open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise StorageError(
                f"cannot write {self.root / 'log.jsonl'}: {error.strerror or error}"
            ) from error

    def clear(self) -> None:
        """Remove everything in the folder except its lock (`--fresh`)."""
        for path in sorted(self.root.iterdir()):
            if path.name == _LOCK:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second driver out; the operating system frees the lock of a dead one.

        Raises:
            InputError: Another live process writes here.
            StorageError: The disk refused.
        """
        import fcntl

        path = self.root / _LOCK
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            file = path.open("a+", encoding="utf-8")
        except OSError as error:
            raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise InputError(
                    f"{self.root} is in use: {file.read().strip()}; wait for it or stop it"
                ) from None
            file.truncate(0)
            file.write(f"pid {os.getpid()}, started {files.now()}\n")
            file.flush()
            yield
            file.truncate(0)


def _column(values: Iterable[Any]) -> AnyArray:
    """Return a column of numbers or booleans where all rows have one, else of texts."""
    found = list(values)
    if all(isinstance(value, bool) for value in found):
        return np.array(found, dtype=np.bool_)
    if all(isinstance(value, int) for value in found):
        return np.array(found, dtype=np.int64)
    if all(isinstance(value, int | float) for value in found):
        return np.array(found, dtype=np.float64)
    return np.array([None if value is None else str(value) for value in found], dtype=object)
