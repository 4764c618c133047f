"""The verbs as functions, and what surrounds them: doctor, train, the report of plain queues."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

import moedge
from agents.moe.cards import BUILTIN, read_card
from agents.moe.recipe import RECIPES, recipe_hash
from scenarios.doctor import examine
from scenarios.training import train_checkpoint
from sim.errors import InputError, SimError
from tests.scenarios import tiny

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    tiny.write(tmp_path)
    return tmp_path


def test_run_returns_the_trial_and_prints_nothing(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = moedge.run("tiny.yaml", policy="least", seed=4, settings={"drain": "20 s"})
    again = moedge.run("tiny.yaml", policy="least", seed=4, settings={"drain": "20 s"}, out="other")
    assert (first.policy, first.seed, first.digest) == ("least", 4, again.digest)
    assert first.summary["requests"] > 400
    assert capsys.readouterr() == ("", "")


def test_compare_gives_a_table_and_axes_come_from_lists(here: Path) -> None:
    done = moedge.compare("tiny.yaml", seeds=range(1, 4), jobs=1, progress=False)
    assert done.table.baseline == "local"
    assert {row.policy for row in done.table.rows} == {"local", "random", "least"}
    assert not done.failures
    swept = moedge.compare(
        "tiny.yaml",
        policies=["local"],
        seeds=[1],
        settings={"load": [0.5, 1]},
        jobs=1,
        progress=False,
    )
    assert [row["load"] for row in swept.rows] == ["0.5", "1"]


def test_report_and_load_open_what_compare_left(here: Path) -> None:
    done = moedge.compare("tiny.yaml", seeds=[1, 2], jobs=1, progress=False)
    page = moedge.report(done.run_dir)
    assert page == done.run_dir / "report" / "index.html"
    assert page.stat().st_size > 1000
    opened = moedge.load(done.run_dir)
    assert len(opened.done) == 6
    rows = {(row["policy"], row["seed"]): row["latency_p99_s"] for row in opened.summaries()}
    assert rows == {(row["policy"], row["seed"]): row["latency_p99_s"] for row in done.rows}


def test_check_lists_mistakes(here: Path) -> None:
    assert moedge.check("tiny.yaml") == []
    tiny.write(here, tiny.TEXT.replace("capacity", "capcity").replace("30 /s", "30"))
    assert any("streams.0.arrivals.rate" in text for text in moedge.check("tiny.yaml"))


def test_mistakes_raise(here: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'local'"):
        moedge.run("tiny.yaml", policy="locl")
    with pytest.raises(SimError, match=r"no such folder"):
        moedge.load("nowhere")


def test_a_failed_trial_raises_with_its_stage(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise SimError("the sky fell")

    monkeypatch.setattr("sim.simulation.simulate", broken)
    with pytest.raises(SimError, match="failed in simulate: SimError: the sky fell"):
        moedge.run("tiny.yaml")


def test_doctor_finds_this_machine_well_and_names_fixes(tmp_path: Path) -> None:
    rows = {row.name: row for row in examine(tmp_path / "runs")}
    assert all(rows[name].well for name in ("Python", "torch", "ray", "duckdb", "package names"))
    assert all(row.fix for row in rows.values() if not row.well)
    if os.geteuid() != 0:
        tmp_path.chmod(0o500)
        locked = {row.name: row for row in examine(tmp_path / "runs")}["disk"]
        assert not locked.well
        assert "--out" in locked.fix


def test_train_leaves_a_checkpoint_of_the_same_recipe_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in BUILTIN.glob("stream.*"):
        shutil.copy(path, tmp_path)
    file = tmp_path / "stream.safetensors"
    card = read_card(str(file))
    assert card.trained["hash"] == recipe_hash(RECIPES["stream"]), "the shipped checkpoint is stale"
    before = file.stat().st_mtime_ns
    facts = train_checkpoint("stream", tmp_path)
    assert file.stat().st_mtime_ns == before
    assert facts["digest"] == card.digest
    assert "there already" in capsys.readouterr().err
