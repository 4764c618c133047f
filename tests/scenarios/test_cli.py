"""The command line from outside: exit codes, messages, pure JSON, light verbs, kills."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import typer
from typer.testing import CliRunner

from scenarios.cli import app
from scenarios.cli_common import guarded
from scenarios.planning import Order, plan
from tests.scenarios import tiny

if TYPE_CHECKING:
    from pathlib import Path

HEAVY = ("torch", "ray", "numba", "scipy", "plotly")


def call(*words: str | Path) -> Any:
    """Run a verb in this process."""
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    tiny.write(tmp_path)
    return tmp_path


# --- messages and exit codes ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("compar", "x"), "compare"),
        (("compare",), "SCENARIO"),
        (("compare", "tiny.yaml", "--sed", "1"), "--seeds"),
        (("compare", "tiny.yaml", "--jobs", "0"), "jobs"),
        (("compare", "tiny.yaml", "--seeds", "a"), "--seeds: expected '3', '1,5,9' or '0:10'"),
        (("compare", "tiny.yaml", "--timeout", "10"), "--timeout: expected a time"),
        (("compare", "tiny.yaml", "--timeout", "0 s"), "--timeout: expected more than 0"),
        (("compare", "tiny.yaml", "--memory", "2 Gb"), "--memory: unknown unit 'Gb' in '2 Gb'"),
        (("compare", "tiny.yaml", "--memory", "9000 TB"), "of this machine"),
        (("compare", "tiny.yaml", "--policies", "locl"), "did you mean 'local'"),
        (("compare", "tiny.yaml", "--baseline", "loca"), "did you mean 'local'"),
        (("compare", "nowhere.yaml"), "nowhere.yaml"),
        (("run", "tiny.yaml", "--set", "load=1,2"), "moedge compare"),
        (("run", "tiny.yaml", "--set", "lod=1"), "did you mean 'load'"),
        (("report", "nowhere"), "no run folder"),
        (("train", "streem"), "did you mean 'stream'"),
    ],
)
def test_what_the_user_wrote_wrong_is_exit_2_with_a_hint(
    here: Path, words: tuple[str, ...], said: str
) -> None:
    done = call(*words)
    assert done.exit_code == 2, done.output
    assert said.lower() in done.stderr.lower()
    assert done.stdout == ""
    assert "Traceback" not in done.output
    assert not (here / "runs").exists()


def test_run_ends_well_and_shows_numbers(here: Path) -> None:
    done = call("run", "tiny.yaml", "--inline")
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    assert "p99 latency" in done.stderr
    assert "results: runs/tiny/" in done.stderr


def test_a_breached_assert_is_exit_3_and_ticked(here: Path) -> None:
    limits = "assert: [p99_latency <= 1 us, deadline_miss <= 100 %]\n"
    tiny.write(here, tiny.TEXT + limits)
    done = call("compare", "tiny.yaml", "--seeds", "1:3", "--policies", "local", "--jobs", "1")
    assert done.exit_code == 3, done.output
    assert "✗ local: p99_latency <= 1.00 µs, found" in done.stderr
    assert "✓ local: deadline_miss <= 100 %, found" in done.stderr


def test_a_failed_trial_is_exit_1_with_one_line(here: Path) -> None:
    assert call("run", "tiny.yaml", "--inline").exit_code == 0
    status = next(here.glob("runs/tiny/*/trials/*/status.json"))
    facts = {"state": "failed", "stage": "worker", "message": "the worker died\nsomewhere"}
    status.write_text(json.dumps(facts), encoding="utf-8")
    done = call("compare", "tiny.yaml", "--seeds", "1", "--policies", "local", "--jobs", "1")
    assert done.exit_code == 1, done.output
    assert "FAILED local, seed 1" in done.stderr
    assert "in worker: the worker died\n" in done.stderr
    assert "--retry-failed" in done.stderr


def test_trials_over_their_time_are_failed_rows_and_a_cap_ends_the_grid(here: Path) -> None:
    tiny.write(here, tiny.TEXT.replace("duration: 20 s", "duration: 30000 s"))
    words = ("compare", "tiny.yaml", "--seeds", "0:2", "--jobs", "2")
    done = tiny.moedge(*words, "--timeout", "2 s", "--max-failures", "2", cwd=here)
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("in timeout: stopped after 2.00 s (--timeout)") >= 2
    assert "trials were not started (--max-failures)" in done.stderr
    assert not list((here / "runs").rglob("*.tmp"))
    statuses = [json.loads(p.read_text()) for p in (here / "runs").rglob("status.json")]
    assert {(s["state"], s["stage"]) for s in statuses} == {("failed", "timeout")}


def test_a_disk_that_refuses_is_exit_1_with_one_line(here: Path) -> None:
    (here / "runs").write_text("not a folder", encoding="utf-8")
    done = call("run", "tiny.yaml", "--inline")
    assert done.exit_code == 1, done.output
    assert done.stderr.startswith("error: cannot write runs/tiny/")
    assert len(done.stderr.splitlines()) == 1


# --- JSON ----------------------------------------------------------------------------------------


def test_run_json_is_pure_and_has_digest_run_dir_summary(here: Path) -> None:
    done = tiny.moedge("run", "tiny.yaml", "--inline", "--json", "--seed", "3", cwd=here)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert len(facts["digest"]) == 64
    assert (here / facts["run_dir"] / "provenance.json").is_file()
    assert facts["summary"]["requests"] > 400
    assert (facts["policy"], facts["seed"], facts["state"]) == ("local", 3, "done")
    again = json.loads(
        tiny.moedge(
            "run", "tiny.yaml", "--json", "--seed", "3", cwd=here, PYTHONHASHSEED="7"
        ).stdout
    )
    assert again["digest"] == facts["digest"]


def test_compare_json_lists_every_trial(here: Path) -> None:
    words = ("compare", "tiny.yaml", "--seeds", "1:3", "--jobs", "1", "--json")
    done = call(*words, "--set", "load=0.5,1", "--policies", "local,least")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)["experiments"][0]
    assert facts["baseline"] == "local"
    assert facts["ran"] == len(facts["trials"]) == 8
    assert {t["load"] for t in facts["trials"]} == {"0.5", "1"}


def test_the_number_of_jobs_changes_no_byte_of_the_summary(here: Path) -> None:
    words = ("compare", "tiny.yaml", "--seeds", "1:3", "--policies", "local,least")
    found = []
    for jobs in ("1", "2"):
        done = call(*words, "--jobs", jobs, "--out", f"jobs{jobs}")
        assert done.exit_code == 0, done.output
        found.append(next(here.glob(f"jobs{jobs}/tiny/*/summary.csv")).read_bytes())
    assert found[0] == found[1]


def test_an_engine_that_cannot_do_the_world_is_refused_before_anything_runs(here: Path) -> None:
    tiny.write(here, tiny.TEXT.replace("{delay: 1 ms}", "{delay: 1 ms, sharing: fair}"))
    for verb in ("run", "compare", "check"):
        done = call(verb, "tiny.yaml", *(() if verb == "check" else ("--set", "engine=slots")))
        if verb == "check":
            assert "only events can do fair links (links.0.sharing)" in done.output
        else:
            assert done.exit_code == 2, done.output
            assert "engine: slots cannot do fair links (links.0.sharing)" in done.output
    assert not (here / "runs").exists()


def test_both_engines_are_one_trial_in_words_and_results(here: Path) -> None:
    found = {}
    for engine in ("events", "slots"):
        done = call("run", "tiny.yaml", "--set", f"engine={engine}", "--json")
        assert done.exit_code == 0, done.output
        assert f"engine: {engine} (asked for)" in done.stderr
        found[engine] = json.loads(done.stdout)["digest"]
    assert found["events"] == found["slots"]


def test_dry_run_shows_the_grid_and_writes_nothing(here: Path) -> None:
    done = call(
        "compare", "tiny.yaml", "--seeds", "0:7", "--set", "load=0.5,1", "--dry-run", "--json"
    )
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)["experiments"][0]
    assert facts["trials"] == facts["todo"] == 3 * 7 * 2
    assert facts["axes"] == {"load": ["0.5", "1"]}
    assert not (here / "runs").exists()


def test_check_json_lists_mistakes_of_every_file(here: Path) -> None:
    (here / "bad.yaml").write_text(
        tiny.TEXT.replace("servers", "servrs").replace("20 ms", "20"), encoding="utf-8"
    )
    done = call("check", "tiny.yaml", "bad.yaml", "--json")
    assert done.exit_code == 2, done.output
    good, bad = json.loads(done.stdout)["scenarios"]
    assert (good["ok"], good["errors"]) == (True, [])
    assert "name: tiny" in good["resolved"]
    assert any("did you mean 'servers'" in error for error in bad["errors"])
    assert any("service.mean" in error for error in bad["errors"])


# --- light verbs ---------------------------------------------------------------------------------


LIGHT = (
    ["--version"],
    ["--help"],
    ["compare", "--help"],
    ["scenarios"],
    ["policies"],
    ["schema"],
    ["check", "tiny.yaml"],
    ["check", "quickstart"],
    ["compare", "tiny.yaml", "--dry-run"],
    ["compare", "quickstart", "--policies", "tanbr,top2", "--dry-run"],
    ["doctor"],
)
WATCH = """
import sys
import typer
from typer.testing import CliRunner
from scenarios.cli import app
from scenarios.cli_common import guarded
for words in {verbs!r}:
    code = CliRunner().invoke(app, words).exit_code
    print(words, code, [name for name in {heavy!r} if name in sys.modules])
"""


def test_light_verbs_load_nothing_heavy_and_build_no_simulation(here: Path) -> None:
    heavy = (*HEAVY, "sim.simulation", "sim.fleet")
    done = subprocess.run(
        [sys.executable, "-c", WATCH.format(verbs=LIGHT, heavy=heavy)],
        cwd=here,
        env=tiny.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == [f"{words} 0 []" for words in LIGHT], done.stderr


def test_init_writes_a_scenario_that_passes_and_never_overwrites(here: Path) -> None:
    assert call("init", "mine").exit_code == 0
    assert call("check", "mine/scenario.yaml").exit_code == 0
    (here / "mine" / "scenario.yaml").write_text("precious", encoding="utf-8")
    done = call("init", "mine")
    assert done.exit_code == 2
    assert "exists" in done.stderr
    assert (here / "mine" / "scenario.yaml").read_text(encoding="utf-8") == "precious"


def test_scenarios_lists_each_with_a_question() -> None:
    rows = json.loads(call("scenarios", "--json").stdout)
    assert {"quickstart", "metro", "common-job"} <= {row["name"] for row in rows}
    assert all(row["question"].endswith("?") for row in rows)


def test_policies_marks_oracles() -> None:
    text = call("policies").stdout
    assert "(oracle)" in next(line for line in text.splitlines() if "best-oracle" in line)
    assert "(oracle)" not in next(line for line in text.splitlines() if "tanbr" in line)


# --- stopped in the middle -----------------------------------------------------------------------

GRID = ("compare", "tiny.yaml", "--seeds", "0:6", "--jobs", "2", "--set", "duration=150 s")


def start(here: Path, finished: int) -> subprocess.Popen[str]:
    """Start the grid and wait until some trials, but not all, are finished."""
    process = subprocess.Popen(
        tiny.command(*GRID),
        cwd=here,
        env=tiny.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.perf_counter() + 60.0
    while len(list(here.glob("runs/tiny/*/trials/*/status.json"))) < finished:
        assert process.poll() is None, process.communicate()
        assert time.perf_counter() < until
        time.sleep(0.02)
    return process


def root_of(folder: Path) -> Path:
    return next((folder / "runs" / "tiny").iterdir())


def test_kill_9_loses_only_running_trials_and_the_summary_is_the_same(here: Path) -> None:
    process = start(here, finished=3)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    root = root_of(here)
    kept = {path: path.stat().st_mtime_ns for path in root.glob("trials/*/status.json")}
    assert 3 <= len(kept) < 18
    resumed = tiny.moedge(*GRID, cwd=here)
    assert resumed.returncode == 0, resumed.stderr
    assert f"kept {len(kept)}, todo {18 - len(kept)}" in resumed.stderr
    assert all(path.stat().st_mtime_ns == before for path, before in kept.items())
    summary = (root / "summary.csv").read_bytes()
    shutil.rmtree(here / "runs")
    undisturbed = tiny.moedge(*GRID, cwd=here)
    assert undisturbed.returncode == 0, undisturbed.stderr
    assert (root / "summary.csv").read_bytes() == summary


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_it_and_it_says_how_to_resume(
    here: Path, number: signal.Signals, code: int
) -> None:
    process = start(here, finished=1)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert "Resume with: moedge compare tiny.yaml --seeds 0:6" in said
    assert "Traceback" not in said
    assert not list(root_of(here).rglob("*.tmp"))


def test_two_drivers_on_one_folder(here: Path) -> None:
    with plan(Order("tiny.yaml", seeds=(1,))).folder.locked():
        done = call("compare", "tiny.yaml", "--seeds", "1")
    assert done.exit_code == 2
    assert f"in use: pid {os.getpid()}, started 20" in done.stderr


@pytest.mark.parametrize("resumes", [True, False])
def test_only_verbs_that_go_on_say_how_to_resume(
    resumes: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as stopped, guarded(resumes=resumes):
        raise KeyboardInterrupt
    assert stopped.value.exit_code == 130
    assert ("Resume with" in capsys.readouterr().err) == resumes
