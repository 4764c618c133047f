"""Trace files: three containers, four formats, one meaning."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest

from scenarios.traces import FORMATS, TraceRows, read
from sim.arrivals.workload import draw_workload
from sim.compute.hardware import HARDWARE
from sim.config import ArrivalSpec, MixSpec, NodeSpec, ServiceSpec, StreamSpec, World
from tests.scenarios.trace_files import (
    AZURE,
    AZURE_2024,
    BURSTGPT,
    BURSTGPT_2,
    MOONCAKE,
    parquet,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CANONICAL = [
    {"t_s": 0.5, "task": "topic", "node": "a", "up_bytes": 10, "priority": 1, "deadline_s": 0.2},
    {"t_s": 0.5, "task": "3", "node": "", "down_bytes": 0, "service_s": 1.5},
    {"t_s": 2, "node": "b", "up_bytes": 7.25, "priority": -2},
]


def csv_of(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> str:
    lines = [",".join(str(row.get(name, "")) for name in names) for row in rows]
    return "\n".join([",".join(names), *lines]) + "\n"


def canonical(ending: str, folder: Path) -> Path:
    """Write the same three rows in each container."""
    path, names = folder / f"t{ending}", FORMATS["canonical"].names
    if ending == ".csv":
        return text(path, csv_of(CANONICAL, names))
    if ending == ".jsonl":
        return text(path, "\n".join(json.dumps(row) for row in CANONICAL))
    shown = [
        ", ".join(f"{json.dumps(row[n])}".replace('"', "'") if n in row else "NULL" for n in names)
        for row in CANONICAL
    ]
    values = ", ".join(f"({row})" for row in shown)
    return parquet(path, f"SELECT * FROM (VALUES {values}) AS t({', '.join(names)})")


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_every_container_holds_every_canonical_column(ending: str, tmp_path: Path) -> None:
    rows = read(canonical(ending, tmp_path))
    assert rows.times_s == (0.5, 0.5, 2.0)
    assert rows.tasks == ("topic", "3", "")
    assert rows.nodes == ("a", "", "b")
    assert str(rows.up_bytes) == "(10.0, nan, 7.25)"
    assert str(rows.down_bytes) == "(nan, 0.0, nan)"
    assert str(rows.services_s) == "(nan, 1.5, nan)"
    assert rows.priorities == (1, None, -2)
    assert str(rows.deadlines_s) == "(0.2, nan, nan)"


def test_rows_of_a_node_keep_all_columns(tmp_path: Path) -> None:
    rows = read(canonical(".csv", tmp_path)).of("b")
    assert rows.times_s == (0.5, 2.0)
    assert rows.tasks == ("3", "")
    assert rows.priorities == (None, -2)
    assert str(rows.up_bytes) == "(nan, 7.25)"
    assert read(canonical(".csv", tmp_path)).of("c").times_s == (0.5,)


def test_columns_that_say_nothing_are_empty(tmp_path: Path) -> None:
    rows = read(text(tmp_path / "t.csv", "t_s,up_bytes,priority\n1,,\n2,,\n"))
    assert rows == TraceRows((1.0, 2.0), ("", ""), ("", ""))
    assert read(text(tmp_path / "e.csv", "t_s\n")) == TraceRows((), (), ())
    assert read(text(tmp_path / "e.jsonl", "")) == TraceRows((), (), ())


def test_a_mark_of_byte_order_and_windows_lines_are_read(tmp_path: Path) -> None:
    rows = read(text(tmp_path / "t.csv", '\ufefft_s,task\r\n1,a\r\n\r\n2,"b"\r\n'))
    assert (rows.times_s, rows.tasks) == ((1.0, 2.0), ("a", "b"))


def test_azure_keeps_seven_digits_sorts_and_starts_at_zero(tmp_path: Path) -> None:
    rows = read(text(tmp_path / "t.csv", AZURE), "azure-llm")
    assert rows.times_s == (0.0, 0.0520001, 5 * 3600 + 42 * 60 + 56.02004)
    assert rows.up_bytes == (4 * 4808.0, 4 * 3180.0, 4 * 110.0)
    assert rows.down_bytes == (40.0, 32.0, 0.0)
    assert rows.tasks == rows.nodes == ("", "", "")
    later = read(text(tmp_path / "u.csv", AZURE_2024), "azure-llm", 2.0)
    assert later.times_s == (0.0, 9.99007, 11.49007)
    assert later.up_bytes == (4324.0, 4798.0, 152.0)


def test_azure_stamps_come_from_parquet_too(tmp_path: Path) -> None:
    select = "SELECT TIMESTAMP_NS '2024-05-10 00:00:0{}' AS TIMESTAMP, 7 AS ContextTokens, 1 AS {}"
    parts = [select.format(second, "GeneratedTokens") for second in ("1.0000005", "0.5")]
    rows = read(parquet(tmp_path / "t.parquet", " UNION ALL ".join(parts)), "azure-llm")
    assert rows.times_s == (0.0, 0.5000005)


def test_burstgpt_keeps_failures_and_ties_in_order(tmp_path: Path) -> None:
    rows = read(text(tmp_path / "t.csv", BURSTGPT), "burstgpt", 1.0)
    assert rows.times_s == (0.0, 40.0, 40.0)
    assert rows.up_bytes == (472.0, 1087.0, 417.0)
    assert rows.down_bytes == (18.0, 0.0, 276.0)
    newer = read(text(tmp_path / "u.csv", BURSTGPT_2), "burstgpt")
    assert newer.times_s == (0.0, 51.0)
    assert newer.down_bytes == (4 * 446.0, 4 * 29.0)


def test_mooncake_counts_milliseconds(tmp_path: Path) -> None:
    rows = read(text(tmp_path / "t.jsonl", MOONCAKE), "mooncake")
    assert rows.times_s == (0.0, 3.053)
    assert rows.up_bytes == (4 * 6955.0, 4 * 6472.0)
    assert rows.down_bytes == (208.0, 104.0)


def test_declared_mean_rate_counts_gaps(tmp_path: Path) -> None:
    assert read(text(tmp_path / "t.csv", "t_s\n10\n11\n14\n")).mean_rate_per_s == 0.5
    assert math.isnan(TraceRows((), (), ()).mean_rate_per_s)
    assert math.isnan(read(text(tmp_path / "u.csv", "t_s\n3\n3\n")).mean_rate_per_s)


def test_rows_reach_the_workload(tmp_path: Path) -> None:
    rows = read(canonical(".jsonl", tmp_path))
    arrivals = ArrivalSpec(
        "trace",
        times_s=rows.times_s,
        up_bytes=rows.up_bytes,
        down_bytes=rows.down_bytes,
        services_s=rows.services_s,
        priorities=rows.priorities,
        deadlines_s=rows.deadlines_s,
    )
    node = NodeSpec(0, "n", "edge", HARDWARE["jetson-orin-nano"])
    spec = StreamSpec(0, "s", 0, arrivals, MixSpec("uniform"), (), 9.0, 100.0, 50.0, 5)
    law = ServiceSpec("deterministic", 0.25)
    drawn = draw_workload(World("w", 1, 9.0, 1.0, 1.0, (node,), (), (spec,), service=law), None)
    assert drawn.up_bytes.tolist() == [10.0, 100.0, 7.25]
    assert drawn.down_bytes.tolist() == [50.0, 0.0, 50.0]
    assert drawn.service_s.tolist() == [0.25, 1.5, 0.25]
    assert drawn.priority.tolist() == [1, 5, -2]
    assert drawn.deadline_s.tolist() == [0.2, 9.0, 9.0]


def test_a_file_is_read_once_and_again_when_it_changes(tmp_path: Path) -> None:
    path = text(tmp_path / "t.csv", "t_s\n1\n")
    assert read(path) is read(path)
    assert read(path, "canonical", 2.0) is not None
    text(path, "t_s\n1\n25\n")
    assert read(path).times_s == (1.0, 25.0)


def test_names_like_patterns_are_names(tmp_path: Path) -> None:
    """DuckDB takes stars and brackets for patterns; the file next door must not be read."""
    parquet(tmp_path / "t1x.parquet", "SELECT 1 AS t_s")
    own = parquet(tmp_path / "t[1]*.parquet", "SELECT 2 AS t_s")
    folder = tmp_path / "task=7"
    folder.mkdir()
    assert read(own).times_s == (2.0,)
    assert read(parquet(folder / "o'clock.parquet", "SELECT 3 AS t_s")) == TraceRows(
        (3.0,), ("",), ("",)
    )
