from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from scenarios.experiment import execute
from scenarios.planning import Order, plan
from scenarios.progress import view_for
from scenarios.verify import verify
from sim.errors import InputError, UnknownName


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs")
    grid = plan(Order("common-job", ("duration=2 s", "slot=1 s", "load=0.01,0.02"), (), (5,), out))
    return Path(execute(grid, view_for(), jobs=1).run_dir)


def test_the_same_digest_for_every_axis_value(run_dir: Path) -> None:
    trials = sorted((run_dir / "trials").iterdir())
    assert len(trials) == 2
    assert all(verify(str(trial)).same for trial in trials)


def test_trials_without_the_axis_of_others_are_run_as_the_scenario_says(run_dir: Path) -> None:
    order = Order("common-job", ("duration=2 s", "slot=1 s"), (), (5,), run_dir.parent.parent)
    grid = plan(order)
    assert grid.folder.root == run_dir
    try:
        execute(grid, view_for(quiet=True), jobs=1)
        assert verify(str(run_dir / "trials" / grid.jobs[0].id)).same
    finally:
        shutil.rmtree(run_dir / "trials" / grid.jobs[0].id, ignore_errors=True)


def test_a_bare_id_is_found(run_dir: Path) -> None:
    name = min((run_dir / "trials").iterdir()).name
    assert verify(name, run_dir.parent.parent).same


def test_a_changed_digest_is_seen(run_dir: Path, tmp_path: Path) -> None:
    trial = min((run_dir / "trials").iterdir())
    status = trial / "status.json"
    kept = status.read_text()
    facts = json.loads(kept)
    status.write_text(json.dumps({**facts, "digest": "0" * 64}))
    try:
        assert not verify(str(trial)).same
    finally:
        status.write_text(kept)


def test_unknown_trials_are_refused(run_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="unknown trial 'abc'"):
        verify(str(run_dir / "trials" / "abc"))
    with pytest.raises(InputError, match="no run folder there"):
        verify("abc", tmp_path)
