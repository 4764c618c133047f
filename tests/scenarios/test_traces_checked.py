"""What `check` says of the rows of a trace."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from scenarios import loader

if TYPE_CHECKING:
    from pathlib import Path

HEAD = """name: rows
duration: 10 s
load: 2
nodes: [{group: edge, count: 2}, {group: cloud}]
topology: {kind: star, hub: cloud, link: {delay: 1 ms}}
streams: [{at: edge, arrivals: {kind: trace, file: t.csv}}]
"""
PLAIN = "model: none\nservice: {kind: exponential, mean: 1 ms}\n"
STREAM = "model: {checkpoint: 'builtin:stream', cost_as: switch-base-8}\npolicies: [uniform]\n"
AT = "x.yaml:6:52: warning: streams.0.arrivals.file: "


def told(tmp_path: Path, rows: str, text: str = HEAD + PLAIN) -> list[str]:
    (tmp_path / "t.csv").write_text(rows, encoding="utf-8")
    path = tmp_path / "x.yaml"
    path.write_text(text, encoding="utf-8")
    found = loader.diagnose(str(path))
    lines = [str(problem).splitlines()[0] for problem in (*found.errors, *found.warnings)]
    return [line.replace(str(tmp_path) + "/", "") for line in lines]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("t_s\n1\n30\n", []),
        ("t_s\n19.9\n", []),  # at 9.95 s, because the trace is played at double speed
        ("t_s\n20\n", [AT + "never emits: no row of 'edge' before 20.0 s"]),
        ("t_s\n", [AT + "never emits: no row of 'edge' before 20.0 s"]),
        ("t_s,node\n1,cloud-0\n", [AT + "never emits: no row of 'edge' before 20.0 s"]),
        (
            "t_s,node\n1,edge-0\n1,edge\n2,edge-3\n",
            [AT + "2 row(s) left out: no node is named 'edge'; nearest is 'edge-1'"],
        ),
        (
            "t_s,up_bytes\n1,-5\n",
            ["x.yaml:6:52: streams.0.arrivals.file: t.csv:2: up_bytes: expected finite bytes >= 0, "
             "found '-5'"],
        ),
    ],
)  # fmt: skip
def test_rows_that_nobody_emits_are_told(rows: str, said: list[str], tmp_path: Path) -> None:
    assert told(tmp_path, rows) == said


def test_the_weight_of_a_token_needs_tokens(tmp_path: Path) -> None:
    text = (HEAD + PLAIN).replace("t.csv", "t.csv, bytes_per_token: 8")
    said = "streams.0.arrivals.bytes_per_token: has no effect: sizes in a canonical trace are bytes"
    assert told(tmp_path, "t_s\n1\n", text) == [f"x.yaml:6:76: warning: {said}"]


def test_a_model_knows_its_tasks_and_its_times(tmp_path: Path) -> None:
    text = HEAD.replace("count: 2", "count: 2, hardware: t4").replace(
        "{group: cloud}", "{group: cloud, hardware: t4}"
    )
    rows = "t_s,task,service_s\n1,nonsense,0.5\n"
    error, warning = told(tmp_path, rows, text + STREAM)
    assert error.startswith("x.yaml:6:52: streams.0.arrivals.file: t.csv: unknown task 'nonsense'")
    assert warning == AT + "its service_s has no effect: with a model, times follow from hardware"


def test_faults_without_effect_are_left_out() -> None:
    from scenarios.build import build_world

    text = HEAD.replace("kind: trace, file: t.csv", "kind: poisson, rate: 1 /s") + PLAIN
    text += "faults: [{kind: storage-slow, node: edge, at: 1 s, factor: 2},"
    text += " {kind: feedback-spoiled, node: edge, at: 1 s}]\n"
    assert build_world(loader.loads(text), 1, None).faults == ()
