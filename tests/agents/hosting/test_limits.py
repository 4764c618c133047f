"""Trials that take too long or too much are stopped, and nobody else notices."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agents.hosting import limits, memory
from agents.hosting.attempt import Enough, TrialFailure
from agents.hosting.launcher import run_all
from agents.hosting.limits import Limits, Watch
from agents.hosting.memory import Memory, machine_memory, resident_bytes
from sim.errors import InputError
from tests.agents.hosting.jobs import double, misbehave

GIB = 2.0**30


@dataclass
class Process:
    pid: int
    since_s: float = 0.0


def launch(items: list[str], jobs: int = 2, **options: Any) -> tuple[dict[int, Any], float]:
    done: dict[int, Any] = {}
    started_s = time.perf_counter()
    run_all(misbehave, items, jobs=jobs, on_done=done.__setitem__, **options)
    return done, time.perf_counter() - started_s


def test_a_trial_over_its_time_is_stopped_and_the_others_run() -> None:
    done, taken_s = launch(["hang", "a", "b", "c"], limits=Limits(timeout_s=3.0))
    assert done[0] == TrialFailure("timeout", "stopped after 3.00 s (--timeout)")
    assert [done[i] for i in (1, 2, 3)] == ["a", "b", "c"]
    assert taken_s < 20.0  # usleep would take a minute


def test_one_job_with_a_limit_gets_a_process_of_its_own() -> None:
    done, _ = launch(["pid", "hang"], jobs=1, limits=Limits(timeout_s=3.0))
    assert done[0] != os.getpid()
    assert done[1].stage == "timeout"


def test_one_job_runs_here_unless_asked_to_stay_apart() -> None:
    assert launch(["pid"], jobs=1)[0] == {0: os.getpid()}
    assert launch(["pid"], jobs=1, apart=True)[0][0] != os.getpid()


def test_a_trial_over_its_memory_is_stopped_and_the_others_run() -> None:
    done, _ = launch(["a", "memory", "b"], limits=Limits(memory_bytes=0.5 * GIB))
    assert (done[0], done[2]) == ("a", "b")
    assert done[1].stage == "memory"
    assert "declared 512 MiB (--memory)" in done[1].message


def test_a_process_that_kept_much_gets_no_further_trial() -> None:
    kept = launch(["keep", "pid", "pid"], jobs=1, limits=Limits(memory_bytes=0.4 * GIB))[0]
    assert kept[0] != kept[1] == kept[2]
    kept = launch(["keep", "pid"], jobs=1, limits=Limits(memory_bytes=2 * GIB))[0]
    assert kept[0] == kept[1]


def test_enough_starts_no_more_and_lets_the_rest_end() -> None:
    for jobs in (1, 2):
        done: list[int] = []

        def on_done(index: int, _: Any, done: list[int] = done) -> None:
            done.append(index)
            raise Enough

        run_all(double, list(range(50)), jobs=jobs, on_done=on_done)
        assert 1 <= len(done) <= jobs


# --- how many fit, and who is stopped -----------------------------------------------------------


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """A machine whose memory the test sets."""
    facts: dict[str, Any] = {"memory": Memory(16 * GIB, 8 * GIB), "sizes": {}}
    monkeypatch.setattr(limits, "machine_memory", lambda: facts["memory"])
    monkeypatch.setattr(limits, "resident_bytes", lambda pid: facts["sizes"].get(pid, 0.0))
    monkeypatch.setattr(limits, "WATCH_S", 0.0)
    return facts


@pytest.mark.parametrize(("size", "jobs"), [(1.0, 8), (2.0, 8), (3.0, 5), (9.0, 1), (16.0, 1)])
def test_so_many_run_as_fit(machine: dict[str, Any], size: float, jobs: int) -> None:
    assert Limits(memory_bytes=size * GIB).fit(8) == jobs


def test_more_than_the_machine_has_is_refused(machine: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"--memory 17\.0 GiB: more than the 16\.0 GiB of this"):
        Limits(memory_bytes=17 * GIB).fit(8)
    machine["memory"] = None  # nobody knows
    assert Limits(memory_bytes=17 * GIB).fit(8) == 8
    assert Limits().fit(3) == 3


def test_the_largest_is_stopped_before_the_machine_runs_short(machine: dict[str, Any]) -> None:
    watch, running = Watch(Limits()), [Process(1), Process(2), Process(3)]
    machine["sizes"] = {1: 2 * GIB, 2: 9 * GIB, 3: 2 * GIB}
    assert watch.offenders(running) == {}
    machine["memory"] = Memory(16 * GIB, 0.7 * GIB)
    (pid,) = found = watch.offenders(running)
    assert (pid, found[pid].stage) == (2, "memory")
    assert "try fewer --jobs" in found[pid].message
    assert watch.offenders([running[0], running[2]]) == {}  # until its memory is back


def test_trials_are_not_stopped_for_what_others_take(machine: dict[str, Any]) -> None:
    machine["sizes"], machine["memory"] = {1: 3 * GIB}, Memory(16 * GIB, 0.1 * GIB)
    assert Watch(Limits()).offenders([Process(1)]) == {}
    assert Watch(Limits()).offenders([]) == {}


def test_the_own_size_and_the_machines_are_plausible() -> None:
    found = machine_memory()
    assert found is not None
    assert 0.0 < found.free_bytes <= found.total_bytes
    assert 1e6 < resident_bytes(os.getpid()) < found.total_bytes
    assert resident_bytes(2**30) == 0.0


@pytest.mark.parametrize("version", [1, 2])
def test_a_control_group_may_be_tighter(
    version: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path / "cgroup")
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "meminfo").write_text("MemTotal: 16 kB\nMemAvailable: 8 kB\n")
    line, folder, names = {
        1: ("4:memory:/box", "memory/box", ("memory.limit_in_bytes", "memory.usage_in_bytes")),
        2: ("0::/box", "box", ("memory.max", "memory.current")),
    }[version]
    (tmp_path / "proc" / "self" / "cgroup").write_text(f"9:cpu:/\n{line}\n")
    assert machine_memory() == Memory(16 * 1024, 8 * 1024)  # no such folder
    group = tmp_path / "cgroup" / folder
    group.mkdir(parents=True)
    for name, text in zip(names, ("max", "5000"), strict=True):
        (group / name).write_text(text)
    idle = "total_inactive_file" if version == 1 else "inactive_file"
    (group / "memory.stat").write_text(f"cache 1\n{idle} 1000\n")
    assert machine_memory() == Memory(16 * 1024, 8 * 1024)  # no limit
    (group / names[0]).write_text("6000")
    assert machine_memory() == Memory(6000.0, 2000.0)
