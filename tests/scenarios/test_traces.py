"""Trace files: three containers, four formats, and every way in which they can be broken."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios.traces import FORMATS, TraceRows, read, tables
from sim.arrivals.workload import draw_workload
from sim.compute.hardware import HARDWARE
from sim.config import ArrivalSpec, MixSpec, NodeSpec, ServiceSpec, StreamSpec, World
from sim.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CANONICAL = [
    {"t_s": 0.5, "task": "topic", "node": "a", "up_bytes": 10, "priority": 1, "deadline_s": 0.2},
    {"t_s": 0.5, "task": "3", "node": "", "down_bytes": 0, "service_s": 1.5},
    {"t_s": 2, "node": "b", "up_bytes": 7.25, "priority": -2},
]
AZURE = """\
TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:17:04.0319601,3180,8
2023-11-16 18:17:03.9799600,4808,10
2023-11-17 00:00:00.0000000,110,0
"""
AZURE_2024 = """\
TIMESTAMP,ContextTokens,GeneratedTokens
2024-05-10 00:00:00.009930+00:00,2162,5
2024-05-10 00:00:10+00:00,2399,6
2024-05-10 02:00:11.5+02:00,76,15
"""
BURSTGPT = """\
Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45,ChatGPT,1087,0,1087,Conversation log
45,GPT-4,417,276,693,API log
"""
BURSTGPT_2 = """\
Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type
19440110.0,1722ac82,43,GPT-4,906,446,1352,Conversation log
19440161.0,,2,ChatGPT,36,29,65,API log
"""
MOONCAKE = """\
{"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [46, 47]}
{"timestamp": 30535, "input_length": 6472, "output_length": 26, "hash_ids": [46]}

"""


def text(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def parquet(path: Path, select: str) -> Path:
    target = str(path).replace("'", "''")
    duckdb.sql(f"COPY ({select}) TO '{target}' (FORMAT parquet)")
    return path


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


def test_a_file_is_read_once_and_again_when_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


# --- what is refused --------------------------------------------------------------------------

BAD_TEXTS: list[tuple[str, str, str | bytes, str]] = [
    (
        "t.csv",
        "canonical",
        "t_s\n1\ninf\n",
        "t.csv:3: t_s: expected finite seconds >= 0, found 'inf'",
    ),
    ("t.csv", "canonical", "t_s\n1e400\n", "t.csv:2: t_s: expected finite seconds"),
    ("t.csv", "canonical", "t_s\n1e300\n", "t.csv:2: t_s: expected seconds up to 1e+15"),
    ("t.csv", "canonical", "t_s\n1_0\n", "t.csv:2: t_s: expected seconds, found '1_0'"),
    ("t.csv", "canonical", "t_s\n\n\n\n\n\nx\n", "t.csv:7: t_s: expected seconds, found 'x'"),
    ("t.csv", "canonical", 't_s,task\n1,"a\nb"\n', "t.csv:3: task: expected printable"),
    (
        "t.csv",
        "canonical",
        "t_s,up_bytes\n1,-1\n",
        "up_bytes: expected finite bytes >= 0, found '-1'",
    ),
    ("t.csv", "canonical", "t_s,up_bytes\n1,nan\n", "up_bytes: expected finite bytes >= 0"),
    (
        "t.csv",
        "canonical",
        "t_s,service_s\n1,0\n",
        "service_s: expected finite seconds > 0, found '0'",
    ),
    ("t.csv", "canonical", "t_s,deadline_s\n1,0\n", "deadline_s: expected finite seconds > 0"),
    ("t.csv", "canonical", "t_s,priority\n1,40000\n", "a whole number from -32768 to 32767"),
    ("t.csv", "canonical", "t_s,priority\n1,0.5\n", "a whole number from -32768 to 32767"),
    ("t.csv", "canonical", "t_s,t_s\n1,2\n", "t.csv:1: column 't_s' comes twice"),
    ("t.csv", "canonical", "t_s,nod\n", "unknown column 'nod'; did you mean 'node'?"),
    ("t.csv", "canonical", "t_s\n\0\n", "t.csv:2: expected text, found a NUL byte"),
    ("t.csv", "canonical", b"t_s\n1\n\xff\n", "t.csv:3: expected UTF-8 text, found byte 0xff"),
    ("t.csv", "canonical", 't_s\n"1"2\n', "t.csv:2: not CSV: "),
    ("t.csv", "canonical", 't_s,task\n1,"a\n', "not CSV: unexpected end of data"),
    ("t.csv", "canonical", "t_s,task\n1," + "a" * 200_000, "t.csv:2: not CSV: field larger"),
    ("t.csv", "canonical", AZURE, "(its columns are those of format 'azure-llm')"),
    ("t.csv", "azure-llm", BURSTGPT, "no 'TIMESTAMP', nearest is 'Timestamp' (its columns"),
    ("t.csv", "azure-llm", AZURE.replace("ContextT", "Context_t"), "nearest is 'Context_tokens'"),
    (
        "t.csv",
        "azure-llm",
        AZURE.replace("3180", "31.5"),
        "t.csv:2: ContextTokens: expected a whole",
    ),
    ("t.csv", "azure-llm", AZURE.replace("3180", "-3"), "expected finite tokens >= 0, found '-3'"),
    ("t.csv", "azure-llm", AZURE.replace("3180", ""), "ContextTokens: expected tokens, found ''"),
    (
        "t.csv",
        "azure-llm",
        AZURE.replace("-11-17", "-11-31"),
        "t.csv:4: TIMESTAMP: expected a time",
    ),
    (
        "t.csv",
        "azure-llm",
        AZURE.replace(" 00:00:", " 24:00:"),
        "t.csv:4: TIMESTAMP: expected a time",
    ),
    ("t.csv", "azure-llm", AZURE.replace("2023-11-17", "17/11/2023"), "TIMESTAMP: expected a time"),
    ("t.csv", "azure-llm", AZURE_2024.replace("+02:00", "+25:00"), "t.csv:4: TIMESTAMP: expected"),
    (
        "t.csv",
        "burstgpt",
        BURSTGPT.replace("\n45", "\nsoon", 1),
        "t.csv:3: Timestamp: expected sec",
    ),
    (
        "t.jsonl",
        "mooncake",
        MOONCAKE.replace("30535", "NaN"),
        "t.jsonl:2: not JSON: NaN is no number",
    ),
    ("t.jsonl", "mooncake", MOONCAKE.replace("30535", "1e999"), "timestamp: expected finite milli"),
    ("t.jsonl", "mooncake", MOONCAKE.replace("30535", "true"), "expected milliseconds, found True"),
    ("t.jsonl", "mooncake", MOONCAKE.replace("30535", "[]"), "expected milliseconds, found a list"),
    ("t.jsonl", "mooncake", MOONCAKE.replace("30535", "1" * 400), "t.jsonl:2: timestamp: expected"),
    ("t.jsonl", "mooncake", MOONCAKE.replace("30535", "1" * 5000), "t.jsonl:2: not JSON: Exceeds"),
    ("t.jsonl", "mooncake", MOONCAKE.replace("input_l", "input_L"), "nearest is 'input_Length'"),
    ("t.jsonl", "mooncake", MOONCAKE + "{", "t.jsonl:4: not JSON: "),
    (
        "t.jsonl",
        "mooncake",
        MOONCAKE + "[1]",
        "t.jsonl:4: expected an object of columns, found a list",
    ),
    ("t.jsonl", "mooncake", "[" * 100_000, "t.jsonl:1: not JSON: "),
    (
        "t.jsonl",
        "canonical",
        '{"t_s": 1}\n{"t_s": 2, "t_s": 3}',
        "t.jsonl:2: not JSON: a key comes",
    ),
    ("t.jsonl", "canonical", '{"t_s": 1}\n{"t_s": 0.5}', "t.jsonl:2: t_s: 0.5 is before the row"),
    ("t.jsonl", "canonical", '{"t_s": 1}\n{"task": 0}', "t.jsonl:2: expected columns t_s,"),
    ("t.jsonl", "canonical", '{"t_s": null}', "t.jsonl:1: t_s: expected seconds, found None"),
    (
        "t.jsonl",
        "canonical",
        '{"t_s": 1, "task": {}}',
        "expected a name or an index, found an object",
    ),
    ("t.parquet", "canonical", b"", "t.parquet: cannot be read as Parquet: "),
    ("t.parquet", "canonical", "t_s\n1\n" * 99, "t.parquet: cannot be read as Parquet: "),
    ("t.parquet", "canonical", b"PAR1" + bytes(99) + b"PAR1", "t.parquet: cannot be read as Parq"),
    ("t.csv.gz", "canonical", b"", "ends in .csv, .jsonl, .parquet, found '.gz'"),
    ("t", "canonical", b"", "ends in .csv, .jsonl, .parquet, found ''"),
    ("t.csv", "azure", AZURE, "unknown trace format 'azure'; did you mean 'azure-llm'?"),
]


@pytest.mark.parametrize(("name", "fmt", "content", "said"), BAD_TEXTS)
def test_a_broken_file_is_one_clear_error(
    name: str, fmt: str, content: str | bytes, said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        read(text(tmp_path / name, content), fmt)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(
    ("select", "said"),
    [
        ("SELECT 'nan'::DOUBLE AS t_s", "t.parquet: row 1: t_s: expected finite seconds"),
        (
            "SELECT unnest([1, 3, NULL]) AS t_s",
            "t.parquet: row 3: t_s: expected seconds, found None",
        ),
        (
            "SELECT unnest([2.5, 1.5]) AS t_s",
            "t.parquet: row 2: t_s: 1.5 is before the row above (2.5)",
        ),
        ("SELECT [1] AS t_s", "t.parquet: row 1: t_s: expected seconds, found '[1]'"),
        ("SELECT 1 AS t_s, 2 AS tsk", "t.parquet: unknown column 'tsk'; did you mean 'task'?"),
        ("SELECT 1 AS T_S", "t.parquet: unknown column 'T_S'; did you mean 't_s'?"),
        ("SELECT 1 AS task", "t.parquet: expected columns t_s, "),
        ("SELECT 1 AS t_s, chr(0) AS task", "t.parquet: row 1: task: expected printable"),
    ],
)
def test_a_broken_parquet_file_is_one_clear_error(select: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        read(parquet(tmp_path / "t.parquet", select))


def test_limits_hold_before_and_while_parsing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "MAX_ROWS", 10)
    long = text(tmp_path / "t.csv", "t_s\n" + "1\n" * 11)
    with pytest.raises(InputError, match=r"t.csv: more than 10 rows: cut it"):
        read(long)
    with pytest.raises(
        InputError, match=r"expected at most 10 rows and 512 MiB unpacked, found 11 r"
    ):
        read(parquet(tmp_path / "t.parquet", "SELECT 1 AS t_s FROM range(11)"))
    assert len(read(text(tmp_path / "u.csv", "t_s\n" + "1\n" * 10)).times_s) == 10
    with long.open("r+b") as stream:
        stream.truncate(tables.MAX_BYTES + 1)  # sparse: takes no room
    with pytest.raises(InputError, match=r"t.csv: larger than 64 MiB: cut it"):
        read(long)


def test_a_parquet_bomb_is_refused_by_its_footer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small on disk, much larger once unpacked."""
    monkeypatch.setattr(tables, "MAX_UNPACKED_BYTES", 3 << 20)
    texts = "SELECT i AS t_s, repeat(chr(97 + i::INT), 1000000) AS task FROM range(4) t(i)"
    bomb = parquet(tmp_path / "t.parquet", texts)
    assert bomb.stat().st_size < 1 << 19
    with pytest.raises(InputError, match="and 3 MiB unpacked, found 4 rows and 3 MiB: cut it"):
        read(bomb)


@pytest.mark.parametrize("factor", [0.0, -1.0, math.nan, math.inf])
def test_a_token_weighs_something(factor: float, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="bytes_per_token: expected > 0"):
        read(text(tmp_path / "t.csv", AZURE), "azure-llm", factor)


@pytest.mark.parametrize("name", ["none.csv", "a\0b.csv", "folder.csv"])
def test_what_is_no_file_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match="no such file"):
        read(tmp_path / name)


@settings(max_examples=150, deadline=None)
@given(
    data=st.binary(max_size=60) | st.text('{}[]",:\n\r0123456789.e-ntsrue_\0é', max_size=60),
    ending=st.sampled_from([".csv", ".jsonl"]),
    fmt=st.sampled_from(list(FORMATS)),
)
def test_noise_is_a_trace_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes | str, ending: str, fmt: str
) -> None:
    path = tmp_path_factory.getbasetemp() / f"noise{ending}"
    head = ",".join(FORMATS[fmt].needed) + "\n" if ending == ".csv" else ""
    body = data if isinstance(data, bytes) else data.encode()
    found = outcome(text(path, head.encode() + body), fmt)
    if isinstance(found, str):
        assert found.startswith("noise")
    else:
        assert np.all(np.diff(found.times_s) >= 0.0)


def outcome(path: Path, fmt: str) -> TraceRows | str:
    try:
        return read(path, fmt)
    except InputError as error:
        return str(error)
