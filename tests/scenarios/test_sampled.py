"""A scenario that records a sample of its requests: what every reader says of all of them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from analysis.breakdown import by_stream
from analysis.load import Run
from analysis.queries import interesting, over_time, tails
from analysis.report import write_report
from scenarios import loader
from scenarios.build import build_world
from scenarios.experiment import execute
from scenarios.planning import Order, plan
from scenarios.problems import ScenarioError
from scenarios.progress import Silent
from scenarios.results import parquet_shape
from sim.sampling import row_bytes
from tests.scenarios import tiny

TEXT = tiny.TEXT.replace(
    "policies:",
    "  - {at: edge, name: rush, arrivals: {kind: poisson, rate: 20 /s}, priority: 2}\npolicies:",
)


def run_of(folder: Path, *settings: str) -> Run:
    source = str(tiny.write(folder, TEXT))
    order = Order(source, settings, ("local", "least"), (1, 2), folder / "runs")
    outcome = execute(plan(order), Silent(), in_process=True)
    assert not outcome.failures
    return Run(outcome.run_dir)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    """The same experiment with all rows, and with one in eight."""
    budget = f"record.requests={1800 * row_bytes() // 8} B"
    return (
        run_of(tmp_path_factory.mktemp("all"), "record.requests=unlimited"),
        run_of(tmp_path_factory.mktemp("some"), budget),
    )


def test_the_word_reaches_the_world(tmp_path: Path) -> None:
    file = str(tiny.write(tmp_path))
    for settings, size in (
        ([], 500e6), (["record.requests=2 GB"], 2e9), (["record.requests=unlimited"], math.inf)
    ):  # fmt: skip
        assert build_world(loader.load(file, settings), 1, None).rows_bytes == size
    for wrong in ("all", "0 B", "5 s", "3"):
        with pytest.raises(ScenarioError, match=r"record\.requests"):
            loader.load(file, [f"record.requests={wrong}"])


def test_some_rows_are_on_disk_and_meta_says_how_many(runs: tuple[Run, Run]) -> None:
    for whole, some in zip(runs[0].done, runs[1].done, strict=True):
        n = parquet_shape(Path(runs[0].files("requests", [whole.id])[0])).rows
        kept = parquet_shape(Path(runs[1].files("requests", [some.id])[0])).rows
        assert "rows" not in whole.meta
        assert some.meta["rows"] == {"kept": kept, "of": n, "every": 8}
        assert abs(kept - n / 8) < 5
        assert whole.status["workload_digest"] == some.status["workload_digest"]


def test_the_report_counts_all(runs: tuple[Run, Run]) -> None:
    whole, some = runs
    expected, found = (by_stream(run, run.done) for run in runs)
    assert len(found) == len(expected) == 4
    for mine, all_ in zip(found, expected, strict=True):
        for key, value in all_.items():
            if key in {"p50", "p99"}:
                assert mine[key] == pytest.approx(value, rel=0.005)
            elif isinstance(value, float):
                assert mine[key] == pytest.approx(value, rel=1e-12, nan_ok=True), key
            else:
                assert mine[key] == value, key
    for policy, tail in tails(whole, whole.done).items():
        mine = tails(some, some.done)[policy]
        assert mine.n == tail.n
        assert mine.share.tolist() == tail.share.tolist()
        assert mine.latency_s == pytest.approx(tail.latency_s, rel=0.005)


def test_the_summary_is_that_of_all(runs: tuple[Run, Run]) -> None:
    for expected, found in zip(runs[0].summaries(), runs[1].summaries(), strict=True):
        assert set(found) == set(expected)
        for key in ("requests", "returned", "deadline_miss", "latency_mean_s", "stable"):
            assert found[key] == pytest.approx(expected[key], rel=1e-12)
        assert found["latency_p99_s[rush]"] == pytest.approx(
            expected["latency_p99_s[rush]"], rel=0.005
        )


def test_single_requests_are_among_those_recorded(runs: tuple[Run, Run]) -> None:
    trial = runs[1].done[0]
    kept = set(runs[1].table("requests", trial.id)["id"].tolist())
    assert {request for _, request in interesting(runs[1], trial)} <= kept
    rows = sum(series["n"].sum() for series in over_time(runs[1], [trial]).values())
    assert rows == trial.meta["rows"]["kept"]


def test_pages_say_that_some_are_recorded(runs: tuple[Run, Run]) -> None:
    for run, said in zip(runs, (False, True), strict=True):
        report = write_report(run.root).parent
        for page in ("index", "requests"):
            text = (report / f"{page}.html").read_text(encoding="utf-8")
            assert ("1 in 8 requests is recorded" in text) == said
        assert ("Of the recorded requests" in text) == said


def test_the_command_line_says_so(tmp_path: Path) -> None:
    file = tiny.write(tmp_path)
    done = tiny.moedge("run", file, "--set", "record.requests=20 kB", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "rows: 1 in 5 requests is recorded" in done.stderr
