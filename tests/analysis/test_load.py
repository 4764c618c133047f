from __future__ import annotations

import shutil

import numpy as np
import pytest

from analysis.load import Run, natural, open_run, read_json
from analysis.summary import summarise
from sim.errors import InputError
from tests.analysis.conftest import SHAPE
from tests.analysis.folder import record


def test_tables_come_back_as_they_stood(run: Run) -> None:
    trial = run.done[0]
    made = record(SHAPE, trial.policy, trial.seed).tables
    found = run.tables(trial.id)
    assert set(found) == set(made)
    for name, table in made.items():
        for column, values in table.items():
            assert found[name][column].dtype == values.dtype, (name, column)
            np.testing.assert_array_equal(found[name][column], values, err_msg=f"{name}.{column}")


def test_trials_know_how_they_ended(run: Run) -> None:
    assert [t.policy for t in run.done] == ["tanbr", "tanbr", "top2", "top2", "uniform", "uniform"]
    failed = [t for t in run.trials if not t.done]
    assert [t.status["stage"] for t in failed] == ["simulate"]


def test_summaries_are_the_trials_own_or_made_again(run: Run) -> None:
    kept = run.summaries()[0]
    made = summarise(run.tables(run.done[0].id), run.done[0].meta)
    assert kept["latency_p99_s"] == pytest.approx(made["latency_p99_s"])
    assert kept["workload_digest"] == "world001"


def test_a_folder_that_is_none_says_what_makes_one(tmp_path) -> None:
    with pytest.raises(InputError, match="moedge compare"):
        open_run(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        open_run(tmp_path / "nothing")


def test_the_only_run_of_an_experiment_is_found(run_dir, tmp_path) -> None:
    assert open_run(run_dir.parent).root == run_dir
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        shutil.copy(run_dir / "trials.parquet", tmp_path / name)
    with pytest.raises(InputError, match="2 runs, name one of: a, b"):
        open_run(tmp_path)


def test_a_missing_table_is_named(run: Run) -> None:
    with pytest.raises(InputError, match="residency"):
        run.select("residency", [run.done[0].id], "SELECT * FROM t")
    assert not run.has("residency", [run.done[0].id])


def test_a_path_with_quotes_and_brackets_is_read(run_dir, tmp_path) -> None:
    odd = tmp_path / "it's [1] *"
    shutil.copytree(run_dir, odd)
    assert len(Run(odd).tables(Run(odd).done[0].id)["requests"]["id"]) > 0


def test_a_damaged_file_is_no_object(tmp_path) -> None:
    (tmp_path / "half.json").write_text('{"a": ')
    assert read_json(tmp_path / "half.json") == {}
    assert read_json(tmp_path / "none.json") == {}


def test_natural_order_counts() -> None:
    assert sorted(["edge-10", "edge-2", "cloud"], key=natural) == ["cloud", "edge-2", "edge-10"]
