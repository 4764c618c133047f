"""Broken trace files: one clear error each, never a traceback, and limits that hold."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios.traces import FORMATS, TraceRows, read, tables
from sim.errors import InputError
from tests.scenarios.trace_files import AZURE, AZURE_2024, BURSTGPT, MOONCAKE, parquet, text

if TYPE_CHECKING:
    from pathlib import Path

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
