from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agents.hosting.attempt import TrialFailure
from agents.hosting.launcher import run_all
from sim.errors import InputError
from tests.agents.hosting.jobs import Trap, Unwilling, double, misbehave

_WAIT_S = 20.0  # generous: the machine may be busy


def launch(function: Any, items: Sequence[Any], jobs: int) -> dict[int, Any]:
    done: dict[int, Any] = {}

    def on_done(index: int, result: Any) -> None:
        assert index not in done
        done[index] = result

    run_all(function, items, jobs=jobs, on_done=on_done)
    return done


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_item_comes_back_once_with_its_index(jobs: int) -> None:
    assert launch(double, range(7), jobs) == {i: 2 * i for i in range(7)}


def test_no_items_is_no_work() -> None:
    assert launch(double, [], 4) == {}


def test_jobs_below_one_are_refused() -> None:
    with pytest.raises(InputError, match="jobs: expected >= 1, found 0"):
        launch(double, [1], 0)


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_exception_is_a_result_of_its_item_alone(jobs: int) -> None:
    done = launch(misbehave, ["a", "raise", "b", "exit"], jobs)
    assert (done[0], done[2]) == ("a", "b")
    assert (done[1].stage, done[1].message) == ("run", "ValueError: no such luck")
    assert "misbehave" in done[1].traceback
    assert (done[3].stage, done[3].message) == ("run", "SystemExit: 3")


def test_a_dead_worker_costs_its_own_item_only() -> None:
    done = launch(misbehave, ["a", "os-exit", "b", "killed", "c", "d"], 2)
    assert [done[i] for i in (0, 2, 4, 5)] == ["a", "b", "c", "d"]
    assert done[1] == TrialFailure("worker", "the worker process died (exit code 7)")
    assert done[3] == TrialFailure("worker", "the worker process died (signal SIGKILL)")


def test_what_cannot_travel_is_a_failure_of_its_item_alone() -> None:
    done = launch(misbehave, ["a", Unwilling(), "lambda", Trap(), "b"], 2)
    assert (done[0], done[4]) == ("a", "b")
    assert [done[i].stage for i in (1, 2, 3)] == ["transfer"] * 3
    assert "sprung" in done[3].message


def test_workers_are_reused_single_threaded_and_not_this_process() -> None:
    before = os.environ.get("OMP_NUM_THREADS")
    done = launch(misbehave, ["pid"] * 6 + ["threads"], 2)
    pids = {done[i] for i in range(6)}
    assert 1 <= len(pids) <= 2
    assert os.getpid() not in pids
    assert done[6] == "1"
    assert os.environ.get("OMP_NUM_THREADS") == before


def test_workers_leave_interrupts_to_this_process() -> None:
    assert launch(misbehave, ["interrupt", "a"], 2) == {0: "interrupt", 1: "a"}


def test_an_error_in_on_done_ends_the_workers_and_comes_out(tmp_path: Path) -> None:
    def on_done(index: int, result: Any) -> None:
        raise RuntimeError("disk full")

    from tests.agents.hosting.jobs import sleep_and_tell

    items = [(str(tmp_path), 0.0), (str(tmp_path), 600.0)]
    with pytest.raises(RuntimeError, match="disk full"):
        run_all(sleep_and_tell, items, jobs=2, on_done=on_done)
    assert gone(tmp_path)


_SCRIPT = """
import sys
from agents.hosting.launcher import run_all
from tests.agents.hosting import jobs
if __name__ == "__main__":
    try:
        job, items = getattr(jobs, sys.argv[2]), [(sys.argv[1], 600.0)] * 3
        run_all(job, items, jobs=2, on_done=lambda *_: None)
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.mark.parametrize("job", ["sleep_and_tell", "tell_and_hold"])
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_an_interrupt_or_a_kill_leaves_no_worker_behind(
    tmp_path: Path, job: str, sent: signal.Signals, code: int
) -> None:
    script, folder = tmp_path / "go.py", tmp_path / "pids"
    script.write_text(_SCRIPT)
    folder.mkdir()
    env = {**os.environ, "PYTHONPATH": os.getcwd()}
    command = [sys.executable, str(script), str(folder), job]
    parent = subprocess.Popen(command, env=env, start_new_session=True)
    assert eventually(lambda: len(list(folder.iterdir())) == 2)
    if sent == signal.SIGINT:
        os.killpg(parent.pid, sent)  # as a terminal does: to the workers too
    else:
        parent.send_signal(sent)
    assert parent.wait(_WAIT_S) == code
    assert gone(folder)


def gone(folder: Path) -> bool:
    """Wait until no process that signed the folder runs."""
    pids = [int(path.name) for path in folder.iterdir()]
    return eventually(lambda: not any(alive(pid) for pid in pids))


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def eventually(holds: Any) -> bool:
    end = time.perf_counter() + _WAIT_S
    while time.perf_counter() < end:
        if holds():
            return True
        time.sleep(0.02)
    return False
