"""The run folder: what is written comes back, whole or not at all."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pytest

from analysis.load import coded
from scenarios.files import StorageError, csv_text, plain, write_json, write_text
from scenarios.results import DONE, FAILED, RunFolder, Status, read_table, write_table
from sim.errors import InputError
from sim.records import DROPS, SCHEMA, Record, Table, columns


def filled(name: str, rows: int, experts: int = 0) -> Table:
    """Make a table of the schema with every code of every category, -1 included, and some NaN."""
    table: Table = {}
    for number, column in enumerate(columns(name, experts)):
        ramp = np.arange(rows) + number
        if column.values is not None:
            ramp = ramp % (len(column.values) + 1) - 1
        values = ramp.astype(column.dtype)
        if column.dtype == "float64":
            values[::3] = np.nan
            values[1::5] = np.inf
        table[column.name] = values
    return table


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "runs" / "demo" / "0a1b2c3d")


@pytest.mark.parametrize("name", sorted(SCHEMA))
@pytest.mark.parametrize("rows", [0, 1, 17])
def test_every_table_comes_back(folder: RunFolder, name: str, rows: int) -> None:
    experts = 3 if name == "decisions" else 0
    table = filled(name, rows, experts)
    folder.write_record("t1", Record({name: table}, {"name": "x"}))
    found = read_table(folder.table(name, "t1"))
    assert list(found) == list(table)
    for column in columns(name, experts):
        back = coded(found[column.name], column.values, column.dtype)
        assert back.dtype == table[column.name].dtype, column.name
        np.testing.assert_array_equal(back, table[column.name], err_msg=column.name)


def test_categories_are_text_on_disk_and_minus_one_is_null(folder: RunFolder) -> None:
    table = filled("requests", 1 + len(DROPS))
    table["drop"] = np.arange(-1, len(DROPS), dtype=np.int16)
    folder.write_record("t1", Record({"requests": table}))
    path = str(folder.table("requests", "t1"))
    rows = duckdb.sql(f"SELECT drop FROM '{path}' ORDER BY id").fetchall()
    assert rows == [(None,), *((word,) for word in DROPS)]


def test_nan_is_null_so_that_sql_averages_skip_it(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_table(path, {"x": np.array([1.0, np.nan, 3.0])})
    assert duckdb.sql(f"SELECT avg(x), count(x) FROM '{path}'").fetchall() == [(2.0, 2)]


def test_one_sql_glob_reads_all_trials(folder: RunFolder) -> None:
    for trial in ("a", "b"):
        folder.write_record(trial, Record({"requests": filled("requests", 4)}))
    glob = folder.root / "requests" / "**" / "*.parquet"
    rows = duckdb.sql(f"SELECT trial, count(*) FROM '{glob}' GROUP BY 1 ORDER BY 1").fetchall()
    assert rows == [("a", 4), ("b", 4)]


def test_hostile_column_names_and_words_stay_data(tmp_path: Path) -> None:
    path, name, word = tmp_path / "a'b.parquet", 'x"; DROP', "it's"
    write_table(path, {name: np.array([0, -1], dtype=np.int16)}, {name: (word,)})
    assert read_table(path)[name].tolist() == [word, None]


def test_status_comes_back_and_nan_survives_strict_json(folder: RunFolder) -> None:
    status = Status(DONE, "d" * 64, "w" * 64, {"a": 1.5, "b": math.nan, "c": "x", "d": True}, 2.0)
    folder.write_status("t1", status)
    text = (folder.trial("t1") / "status.json").read_text(encoding="utf-8")
    assert "NaN" not in text
    found = folder.status("t1")
    assert found is not None
    assert found.done
    assert found.summary is not None
    assert math.isnan(found.summary["b"])
    assert {k: v for k, v in found.summary.items() if k != "b"} == {"a": 1.5, "c": "x", "d": True}
    assert (found.digest, found.wall_s) == ("d" * 64, 2.0)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"state": "half"}', '{"digest": "x"}'])
def test_a_damaged_status_is_no_status(folder: RunFolder, text: str) -> None:
    write_text(folder.trial("t1") / "status.json", text)
    assert folder.status("t1") is None
    assert folder.finished() == []


def test_finished_lists_only_trials_that_finished_well(folder: RunFolder) -> None:
    folder.write_status("b", Status(DONE))
    folder.write_status("a", Status(DONE))
    folder.write_status("c", Status(FAILED, stage="simulate", message="no"))
    assert folder.finished() == ["a", "b"]
    folder.forget("a")
    assert folder.finished() == ["b"]


def test_trials_come_back_with_axes_that_only_some_have(folder: RunFolder) -> None:
    rows = [
        {"id": "a", "policy": "tanbr", "seed": 1},
        {"id": "b", "policy": "top2", "seed": 2, "load": "0.5"},
    ]
    folder.write_trials(rows)
    assert folder.trials() == [{**rows[0], "load": None}, rows[1]]


def test_csv_disarms_formulas_and_keeps_numbers() -> None:
    rows = [{"policy": "=cmd()", "x": -1.5}, {"policy": "@a", "y": 0.1 + 0.2}, {"policy": "-b"}]
    assert csv_text(rows) == ("policy,x,y\n'=cmd(),-1.5,\n'@a,,0.30000000000000004\n'-b,,\n")


def test_plain_knows_numpy_and_refuses_nothing_that_json_can_say() -> None:
    found = plain({"a": np.float64("inf"), "b": (np.int16(3), [np.bool_(True)]), "c": np.arange(2)})
    assert json.loads(json.dumps(found, allow_nan=False)) == {
        "a": None,
        "b": [3, [True]],
        "c": [0, 1],
    }


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"x": 1})
    with pytest.raises(TypeError):
        write_json(path, {"x": object()})
    with pytest.raises(StorageError, match=r"cannot write .*a.json/b: "):
        write_text(path / "b", "text")
    assert json.loads(path.read_text(encoding="utf-8")) == {"x": 1}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_a_storage_error_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = tmp_path / f"part.parquet.{os.getpid()}.tmp"
    full.symlink_to("/dev/full")  # what DuckDB writes to is a disk without space
    with pytest.raises(StorageError, match=r"part.parquet: No space left on device"):
        write_table(tmp_path / "part.parquet", {"x": np.arange(100_000)})
    assert list(tmp_path.iterdir()) == []


HOLD = """
import sys
from pathlib import Path
from scenarios.results import RunFolder
with RunFolder(Path(sys.argv[1])).locked():
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_second_driver_is_refused_and_a_dead_one_does_not_block(folder: RunFolder) -> None:
    command = [sys.executable, "-c", HOLD, str(folder.root)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(InputError, match=rf"in use: pid {other.pid}, started 20"):
            folder.locked().__enter__()
        other.kill()
        other.wait()
    with folder.locked():
        pass


def test_a_lock_is_given_back(folder: RunFolder) -> None:
    for _ in range(2):
        with folder.locked():
            assert f"pid {os.getpid()}" in (folder.root / ".lock").read_text(encoding="utf-8")
    assert (folder.root / ".lock").read_text(encoding="utf-8") == ""


def test_fresh_removes_results_and_keeps_the_lock(folder: RunFolder) -> None:
    with folder.locked():
        folder.write_status("a", Status(DONE))
        folder.write_summary([{"x": 1}])
        folder.clear()
        assert [path.name for path in folder.root.iterdir()] == [".lock"]


def test_half_written_files_are_swept_and_nothing_else(folder: RunFolder) -> None:
    folder.write_record("a", Record({"drift": filled("drift", 3)}))
    before = sorted(folder.root.rglob("*"))
    folder.table("drift", "a").with_name("part.parquet.123.tmp").write_bytes(b"half")
    folder.sweep()
    assert sorted(folder.root.rglob("*")) == before


def test_tables_without_rows_are_told_apart_by_columns_types_and_words(tmp_path: Path) -> None:
    none, words = np.zeros(0), {"a": ("x", "y")}
    tables: list[tuple[Table, dict[str, tuple[str, ...]]]] = [
        ({"a": none}, {}), ({"b": none}, {}), ({"a": none, "b": none}, {}),
        ({"a": none.astype(np.int64)}, {}), ({"a": none.astype(np.int8)}, words),
        ({"a": none.astype(np.int8)}, {"a": ("x", "z")}),
    ]  # fmt: skip
    written = []
    for _ in range(2):
        for number, (table, named) in enumerate(tables):
            path = tmp_path / f"{number}.parquet"
            write_table(path, table, named)
            written.append(path.read_bytes())
            described = duckdb.sql(f"DESCRIBE SELECT * FROM '{path}'").fetchall()
            assert [row[0] for row in described] == list(table)
            assert len(read_table(path)[next(iter(table))]) == 0
    assert written[:6] == written[6:]
    assert len(set(written)) >= 4  # a category without rows may keep no word
    write_table(tmp_path / "0.parquet", {"a": np.ones(3)})
    assert read_table(tmp_path / "0.parquet")["a"].tolist() == [1.0] * 3
