"""`moedge bench-routers` from outside: the table, the numbers, and what is wrong in its options."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from agents.routers.bench import FIXED, Contender
from scenarios.cli import app
from scenarios.cli_bench import parse_routers
from sim.errors import InputError
from tests.scenarios import tiny

SHORT = ("--landscapes", "quad-4,bump-4", "--horizon", "16", "--seeds", "0:2")


def call(*words):
    return CliRunner().invoke(app, ["bench-routers", *words])


def test_the_table_ranks_by_regret_and_progress_stays_on_stderr():
    done = call("--routers", f"uniform,hct{{nu: 1.0}},{FIXED}", *SHORT)
    assert done.exit_code == 0, done.output
    assert "6/6 bump-4" in done.stderr
    quad, bump, legend = done.stdout.split("\n\n")
    assert quad.startswith("quad-4 (4 clusters)\nrouter")
    assert bump.startswith("bump-4")
    assert legend.startswith("regret: cumulative")
    cells = [re.split(r"\s{2,}", line) for line in quad.splitlines()[2:]]
    assert {row[0] for row in cells} == {"uniform", "hct{nu: 1.0}", FIXED}
    regrets = [float(row[1]) for row in cells]
    assert regrets == sorted(regrets)


def test_json_is_all_numbers_by_seed():
    done = call("--routers", "uniform,random", "--json", *SHORT)
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert facts["rules"]["slots"] == 16
    assert [(s["landscape"], s["router"]) for s in facts["scores"]] == [
        ("quad-4", "uniform"),
        ("quad-4", "random"),
        ("bump-4", "uniform"),
        ("bump-4", "random"),
    ]
    for score in facts["scores"]:
        assert score["regret_mean"] == pytest.approx(sum(score["regret"]) / 2)
        assert score["slope_low"] <= score["slope_mean"] <= score["slope_high"]
        assert score["decision_ratio"] > 0.0


def test_one_seed_has_no_spread():
    done = call("--routers", "uniform", "--json", "--seeds", "3", *SHORT[:4])
    score = json.loads(done.stdout)["scores"][0]
    assert score["regret_sd"] is None
    assert score["slope_low"] is None


def test_one_seed_has_no_interval():
    done = call("--routers", "uniform", "--seeds", "3", *SHORT[:4])
    assert "one seed" in done.stdout


def test_the_same_numbers_come_from_several_processes():
    one, two = (
        json.loads(call("--routers", "hct,reinforce", "--json", "--jobs", jobs, *SHORT).stdout)
        for jobs in ("1", "2")
    )
    assert [score["regret"] for score in one["scores"]] == [s["regret"] for s in two["scores"]]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--routers", "tanbrr"), "did you mean 'tanbr'"),
        (("--routers", "hct{delt: 1}"), "did you mean 'delta'"),
        (("--routers", "hct{delta: 0.1"), "not valid YAML"),
        (("--routers", "hct{delta: 2}"), "expected a number in"),
        (("--routers", "hct{delta:2}"), "a blank after the colon"),
        (("--routers", "hct,hct"), "'hct' is given twice"),
        (("--routers", ","), "expected names"),
        (("--routers", "uniform", "--landscapes", "bumb-4"), "did you mean 'bump'"),
        (("--routers", "uniform", "--landscapes", ","), "at least one"),
        (("--routers", "uniform", "--seeds", "x"), "--seeds: expected"),
        (("--routers", "uniform", "--horizon", "2"), "horizon"),
        (("--routers", "top2"), "landscapes know merges and single experts only"),
    ],
)
def test_what_is_wrong_is_exit_2_with_a_hint(words, said):
    done = call(*words)
    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.output


def test_parameters_are_read_like_a_scenario():
    found = parse_routers("hct, hct{nu: 1.0, context: false}")
    assert found == [
        Contender("hct", "hct"),
        Contender("hct{nu: 1.0, context: false}", "hct", {"nu": 1.0, "context": False}),
    ]
    with pytest.raises(InputError, match="not valid YAML"):
        parse_routers("hct{nu: 1.0}}")


def test_help_loads_nothing_heavy(tmp_path):
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom scenarios.cli import app\n"
        "done = CliRunner().invoke(app, ['bench-routers', '--help'])\n"
        "print(done.exit_code, [m for m in ('torch', 'scipy', 'PyXAB') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=tiny.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "0 []"
