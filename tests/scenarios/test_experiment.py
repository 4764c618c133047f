"""Experiments: the grid, resuming, failures, unequal worlds; in this process, on plain queues."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents.hosting.recovery import Recovery
from scenarios.experiment import UnequalWorldsError, check_worlds, execute
from scenarios.files import StorageError
from scenarios.planning import Grid, Order, divide, parse_seeds, plan, single
from scenarios.progress import Silent
from scenarios.results import DONE, FAILED, RunFolder, Status, read_table
from scenarios.trial import INLINE, TrialJob, TrialResult, _Happened, read_progress, run_trial
from sim.errors import InputError, UnknownName
from sim.records import Record
from tests.scenarios import tiny


class Ears(Silent):
    """Remembers which trials ended."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, int, str]] = []

    def ended(self, job: TrialJob, status: Status) -> None:
        self.heard.append((job.label, job.seed, status.state))


@pytest.fixture
def order(tmp_path: Path) -> Order:
    return Order(str(tiny.write(tmp_path)), seeds=(1, 2), out=tmp_path / "runs")


def run(grid: Grid, **options: Any) -> tuple[Any, list[tuple[str, int, str]]]:
    ears = Ears()
    return execute(grid, ears, jobs=1, **options), ears.heard


def snapshot(root: Path) -> dict[str, bytes]:
    """Return all files but those that hold the clock on the wall."""
    timed = {"provenance.json", "log.jsonl", ".lock", "status.json", "progress"}
    files = (path for path in root.rglob("*") if path.is_file() and path.name not in timed)
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


# --- planning ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("3", (3,)), ("0:4", (0, 1, 2, 3)), ("1,5, 9", (1, 5, 9)), ("2,0:3", (2, 0, 1))],
)
def test_seeds_are_read(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "x", "-1", "1:", ":3", "1.5", "3:3", "0:99999999", "1:2:3"])
def test_bad_seeds_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="--seeds"):
        parse_seeds(text)


def test_the_grid_is_policies_by_seeds_by_axis_values(order: Order) -> None:
    grid = plan(replace(order, settings=("load=0.5,1", "drain=5 s")))
    assert grid.policies == ["local", "random", "least"]
    assert grid.axes == ("load",)
    cells = [(job.label, job.seed, job.axes["load"]) for job in grid.jobs]
    assert len(cells) == len(set(cells)) == 3 * 2 * 2
    assert len({job.id for job in grid.jobs}) == 12


def test_the_default_is_five_seeds_from_the_scenarios_own(order: Order) -> None:
    assert plan(replace(order, seeds=())).seeds == [1, 2, 3, 4, 5]


def test_trial_ids_say_what_decides_results_and_nothing_else(order: Order) -> None:
    job = plan(order).jobs[0]
    again = plan(order).jobs[0]
    assert job.id == again.id
    assert job.id == replace(job, folder="elsewhere").id
    assert job.id == replace(job, hosting=replace(INLINE, shards=3, ray=True)).id
    assert job.policy is not None
    other_policy = replace(job.policy, params={"x": 1})
    changed = [
        replace(job, seed=9),
        replace(job, policy=other_policy),
        replace(job, axes={"load": "2"}),
        replace(job, scenario_hash="12345678"),
        replace(job, hosting=replace(INLINE, block_size=4)),
    ]
    assert len({job.id, *(c.id for c in changed)}) == 6


def test_a_job_travels_between_processes(order: Order) -> None:
    job = plan(order).jobs[0]
    copy = pickle.loads(pickle.dumps(job))
    assert copy.id == job.id
    assert copy.words() == "local, seed 1"


def test_the_run_folder_depends_on_the_scenario_not_on_seeds_policies_axes(order: Order) -> None:
    root = plan(order).folder.root
    assert plan(replace(order, seeds=(7,))).folder.root == root
    assert plan(replace(order, policies=("local",))).folder.root == root
    assert plan(replace(order, settings=("load=0.5,1",))).folder.root == root
    assert plan(replace(order, settings=("duration=21 s",))).folder.root != root


def test_an_unknown_policy_is_refused_with_the_nearest(order: Order) -> None:
    with pytest.raises(UnknownName, match="did you mean 'local'"):
        plan(replace(order, policies=("locl",)))


def test_a_single_trial_takes_the_first_policy_and_no_axes(order: Order) -> None:
    made = single(order.source, (), None, None, order.out, INLINE)
    assert (made.policies, made.seeds) == (("local",), (1,))
    assert single(order.source, (), "least", 4, order.out, INLINE).seeds == (4,)
    with pytest.raises(InputError, match=r"--set load: .*moedge compare"):
        single(order.source, ("load=1,2",), None, None, order.out, INLINE)


# --- running and resuming ------------------------------------------------------------------------


def test_an_experiment_leaves_the_whole_folder(order: Order) -> None:
    outcome, heard = run(plan(order))
    root = outcome.run_dir
    assert len(heard) == outcome.ran == 6
    assert not outcome.failures
    names = {path.name for path in root.iterdir()}
    texts = {"scenario.yaml", "resolved.yaml", "provenance.json", "summary.csv", "log.jsonl"}
    assert texts | {"trials.parquet", "trials", "requests", "slots"} <= names
    assert (root / "scenario.yaml").read_text(encoding="utf-8") == tiny.TEXT
    for row in outcome.rows:
        requests = read_table(root / "requests" / f"trial={row['id']}" / "part.parquet")
        assert len(requests["id"]) == row["requests"] > 400
        meta = json.loads((root / "trials" / row["id"] / "meta.json").read_text(encoding="utf-8"))
        assert meta["policy"] == row["policy"]
        assert meta["seed"] == row["seed"]
    assert not list(root.rglob("*.tmp"))
    assert not list(root.rglob("progress"))
    log = [json.loads(line)["event"] for line in (root / "log.jsonl").open(encoding="utf-8")]
    assert log == ["start", *["trial"] * 6, "end"]


def test_repeating_runs_nothing_and_changes_nothing(order: Order) -> None:
    first, _ = run(plan(order))
    before = snapshot(first.run_dir)
    second, heard = run(plan(order))
    assert heard == []
    assert second.ran == 0
    assert second.rows == first.rows
    assert snapshot(second.run_dir) == before


def test_a_killed_trial_is_redone_and_the_rest_is_kept(order: Order) -> None:
    grid = plan(order)
    undisturbed, _ = run(grid)
    before = snapshot(undisturbed.run_dir)
    for job in grid.jobs[2:4]:  # what a kill leaves: tables perhaps, no status
        grid.folder.forget(job.id)
    grid.folder.table("requests", grid.jobs[3].id).unlink()
    division = divide(grid)
    assert division.todo == grid.jobs[2:4]
    resumed, heard = run(grid)
    assert [(label, seed) for label, seed, _ in heard] == [("random", 1), ("random", 2)]
    assert resumed.rows == undisturbed.rows
    assert snapshot(resumed.run_dir) == before


def test_more_seeds_add_to_the_folder(order: Order) -> None:
    run(plan(replace(order, policies=("local",))))
    wider, heard = run(plan(replace(order, policies=("local", "least"), seeds=(2, 3))))
    assert [h[:2] for h in heard] == [("local", 3), ("least", 2), ("least", 3)]
    summary = (wider.run_dir / "summary.csv").read_text(encoding="utf-8").splitlines()
    assert len(summary) == 1 + 5
    assert len(wider.rows) == 4


def test_a_label_that_means_another_policy_now_is_not_mixed_with_the_old_one(order: Order) -> None:
    first, _ = run(plan(replace(order, seeds=(1, 2, 3))))
    path = Path(order.source)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("dispatch: random}", "dispatch: round-robin}"), encoding="utf-8")
    second, heard = run(plan(order))
    assert [h[:2] for h in heard] == [("random", 1), ("random", 2)]
    assert second.run_dir == first.run_dir
    rows = [(row["policy"], row["seed"]) for row in RunFolder(first.run_dir).trials()]
    assert sorted(rows) == sorted(
        [("random", 1), ("random", 2), *((p, s) for p in ("local", "least") for s in (1, 2, 3))]
    )
    path.write_text(text, encoding="utf-8")
    third, heard = run(plan(replace(order, seeds=(1, 2, 3))))
    assert heard == []  # the old results were kept all the while
    assert third.rows == first.rows


def test_fresh_starts_over(order: Order) -> None:
    first, _ = run(plan(order))
    (first.run_dir / "trials" / "old").mkdir()
    _, heard = run(plan(order), fresh=True)
    assert len(heard) == 6
    assert not (first.run_dir / "trials" / "old").exists()


def test_same_digest_twice_and_two_policies_meet_one_world(order: Order) -> None:
    first, _ = run(plan(order))
    again, _ = run(plan(order), again=True)
    assert [r["digest"] for r in again.rows] == [r["digest"] for r in first.rows]
    worlds = {(r["seed"], r["workload_digest"]) for r in first.rows}
    assert len(worlds) == 2
    assert len({r["digest"] for r in first.rows}) == 6


def test_axis_values_reach_the_simulation(order: Order) -> None:
    outcome, _ = run(plan(replace(order, policies=("local",), settings=("load=0.5,1",))))
    half, whole = outcome.rows[0], outcome.rows[2]
    assert (half["load"], whole["load"]) == ("0.5", "1")
    assert half["requests"] < 0.7 * whole["requests"]
    assert outcome.facts(half)["load"] == "0.5"
    assert "load" not in outcome.facts(half)["summary"]


# --- what goes wrong -----------------------------------------------------------------------------


def test_a_failed_trial_is_a_row_and_is_retried_only_when_asked(order: Order) -> None:
    grid = plan(order)
    run(grid)
    broken = grid.jobs[0]
    failure = Status(FAILED, stage="simulate", message="LawViolation: L1")
    grid.folder.write_status(broken.id, failure)
    outcome, heard = run(grid)
    assert heard == []
    assert [(r["id"], r["stage"], r["message"]) for r in outcome.failures] == [
        (broken.id, "simulate", "LawViolation: L1")
    ]
    assert len(outcome.good()) == 5
    assert divide(grid).failed == (broken,)
    outcome, heard = run(grid, retry_failed=True)
    assert heard == [("local", 1, DONE)]
    assert not outcome.failures


def test_too_many_failures_start_no_more_and_nothing_is_lost(order: Order) -> None:
    grid = plan(order)
    jobs = list(grid.jobs)
    for i in (1, 2, 4):
        policy = jobs[i].policy
        assert policy is not None
        nowhere = replace(policy, dispatch=replace(policy.dispatch, to="mars"))  # type: ignore[type-var]
        jobs[i] = replace(jobs[i], policy=nowhere)
    broken = replace(grid, jobs=tuple(jobs))
    outcome, heard = run(broken, max_failures=2)
    assert [state for _, _, state in heard] == [DONE, FAILED, FAILED]
    assert (outcome.ran, len(outcome.failures), outcome.todo) == (3, 2, 3)
    assert [row["state"] for row in outcome.rows] == [DONE, FAILED, FAILED, "todo", "todo", "todo"]
    log = (outcome.run_dir / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(log[-1])["todo"] == 3
    outcome, heard = run(broken, max_failures=2)  # a resumed grid counts anew
    assert [state for _, _, state in heard] == [DONE, FAILED, DONE]
    assert (len(outcome.failures), outcome.todo) == (3, 0)
    outcome, heard = run(broken, retry_failed=True, max_failures=None)
    assert [state for _, _, state in heard] == [FAILED] * 3


def test_a_trial_that_raises_becomes_a_status_with_its_stage(order: Order, tmp_path: Path) -> None:
    job = plan(order).jobs[0]
    assert job.policy is not None
    nowhere = replace(job.policy, dispatch=replace(job.policy.dispatch, to="mars"))  # type: ignore[type-var]
    found = run_trial(replace(job, policy=nowhere))
    assert found.status.state == FAILED
    assert found.status.stage == "simulate"
    assert "mars" in found.status.message
    assert RunFolder(Path(job.folder)).status(found.id) is not None


def test_a_trial_without_memory_is_a_failure_of_that_stage(
    order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hungry(*_: Any) -> Any:
        raise MemoryError("Unable to allocate 3 PiB")

    monkeypatch.setattr("scenarios.trial._simulate", hungry)
    status = run_trial(plan(order).jobs[0]).status
    assert (status.state, status.stage) == (FAILED, "memory")
    assert status.message == "MemoryError in simulate: Unable to allocate 3 PiB"


def test_what_happens_to_hosts_is_logged_at_once_and_noted_beside_the_digest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder(tmp_path)
    happened = _Happened(folder, "t1")
    record = Record({}, {"notes": ["an assumption"]}, "digest", "world")
    happened.note(record)
    assert record.meta["notes"] == ["an assumption"]
    event = Recovery(1, "shard 1, step of slot 12", "it died", 9, 3, 1, 4.2)
    happened(event)
    assert event.words() in capsys.readouterr().err
    (line,) = (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()
    facts = json.loads(line)
    assert (facts["event"], facts["trial"]) == ("host-recovery", "t1")
    assert (facts["shard"], facts["snapshot_slot"], facts["replayed"]) == (1, 9, 3)
    happened.note(record)
    assert record.meta["notes"] == ["an assumption", event.words()]


def test_unequal_worlds_are_not_paired() -> None:
    def row(policy: str, seed: int, digest: str, state: str = DONE) -> dict[str, Any]:
        facts = {"id": policy, "policy": policy, "seed": seed, "workload_digest": digest}
        return {**facts, "state": state}

    equal = [row("a", 1, "x"), row("b", 1, "x"), row("a", 2, "y"), row("b", 2, "", FAILED)]
    check_worlds(equal, ())
    with pytest.raises(UnequalWorldsError, match=r"seed 1: a .* and c .* different workloads"):
        check_worlds([*equal, row("c", 1, "z")], ())
    apart = [{**r, "load": load} for r, load in zip(equal, "1234", strict=True)]
    check_worlds([*apart, {**row("c", 1, "z"), "load": "9"}], ("load",))


def test_a_disk_that_refuses_stops_the_grid_and_says_what_is_intact(order: Order) -> None:
    grid = plan(replace(order, policies=("local", "least")))
    run(plan(replace(order, policies=("local",))))
    blocked = grid.folder.root / "requests" / f"trial={grid.jobs[2].id}"
    blocked.write_text("a file where a folder must go", encoding="utf-8")
    with pytest.raises(StorageError, match=r"cannot write .*; 2 finished trials are intact"):
        run(grid)
    assert grid.folder.status(grid.jobs[2].id) is None  # to be done again, not failed
    assert len(grid.folder.finished()) == 2
    blocked.unlink()
    outcome, heard = run(grid)
    assert len(heard) == 2
    assert not outcome.failures


def test_results_of_another_code_version_are_refused_and_fresh_helps(order: Order) -> None:
    grid = plan(order)
    first, _ = run(grid)
    path = first.run_dir / "provenance.json"
    facts = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**facts, "code": "0.0.1+deadbeef"}), encoding="utf-8")
    before = snapshot(first.run_dir)
    with pytest.raises(InputError, match=r"code 0\.0\.1\+deadbeef, this is .*--fresh"):
        run(grid)
    assert snapshot(first.run_dir) == before
    with pytest.raises(InputError, match="its 5 finished trials"):  # one is redone, five are not
        run(replace(grid, jobs=grid.jobs[:1]), again=True)
    _, heard = run(grid, again=True)  # nothing old is left, so nothing is mixed
    assert len(heard) == 6
    path.write_text(json.dumps({**facts, "code": "0.0.1+deadbeef"}), encoding="utf-8")
    _, heard = run(grid, fresh=True)
    assert len(heard) == 6


def test_a_folder_in_use_is_refused(order: Order) -> None:
    grid = plan(order)
    with grid.folder.locked(), pytest.raises(InputError, match="in use: pid"):
        run(grid)


def test_progress_notes_come_back(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert read_progress(folder, "t") is None
    (folder.trial("t")).mkdir(parents=True)
    (folder.trial("t") / "progress").write_text("3 40", encoding="ascii")
    assert read_progress(folder, "t") == (3, 40)


def test_results_of_workers_can_travel() -> None:
    result = TrialResult("t", Status(DONE, summary={"x": 1.0}))
    assert pickle.loads(pickle.dumps(result)) == result
