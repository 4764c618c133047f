"""A command that does not listen to Ctrl-C ends in five seconds, and says how to resume."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.scenarios import tiny

LIMIT_S = 5.0

# what compiled code looks like to a signal: the interpreter is released, and nothing is heard
DEAF = """
import ctypes, sys, time
import typer
from scenarios.cli_common import guarded
def work():
    with guarded(resumes=True):
        print("go", flush=True)
        end = time.perf_counter() + 60.0
        while time.perf_counter() < end:
            try:
                ctypes.CDLL(None).usleep(10_000_000)
            except KeyboardInterrupt:
                pass
try:
    work()
except typer.Exit as left:
    sys.exit(left.exit_code)
"""
LATE = DEAF.replace("10_000_000", "1_000_000").replace("pass", "time.sleep(1.0); raise")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("text", [DEAF, LATE], ids=["deaf", "late"])
def test_it_ends_in_time_and_says_how_to_resume(
    tmp_path: Path, text: str, number: signal.Signals, code: int
) -> None:
    script = tmp_path / "deaf.py"
    script.write_text(text)
    process = subprocess.Popen(
        [sys.executable, str(script), "compare", "x.yaml", "--fresh"],
        env=tiny.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "go\n"
    time.sleep(0.2)
    started_s = time.perf_counter()
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert time.perf_counter() - started_s < LIMIT_S
    assert process.returncode == code
    assert said == "stopped; finished trials are kept. Resume with: moedge compare x.yaml\n"


def test_without_a_signal_nothing_is_left_behind() -> None:
    code = (
        "import os, signal, threading\n"
        "from scenarios.stopping import stopping\n"
        "files = len(os.listdir('/proc/self/fd')) if os.path.isdir('/proc/self/fd') else 0\n"
        "for _ in range(3):\n"
        "    with stopping(lambda: 'no'):\n"
        "        assert threading.active_count() == 2\n"
        "assert threading.active_count() == 1\n"
        "assert signal.set_wakeup_fd(-1) == -1\n"
        "assert not files or len(os.listdir('/proc/self/fd')) == files\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=tiny.environment(), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_other_threads_cannot_watch_and_are_left_alone() -> None:
    code = (
        "import threading\n"
        "from scenarios.stopping import stopping\n"
        "def run():\n"
        "    with stopping(lambda: 'no'):\n"
        "        print('ran')\n"
        "thread = threading.Thread(target=run); thread.start(); thread.join()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=tiny.environment(), capture_output=True, check=False
    )
    assert done.stdout == b"ran\n"


SLOW = tiny.TEXT.replace("duration: 20 s", "duration: 30000 s")


def test_a_grid_does_not_wait_for_its_workers(tmp_path: Path) -> None:
    tiny.write(tmp_path, SLOW)
    process = subprocess.Popen(
        tiny.command("compare", "tiny.yaml", "--seeds", "0:2", "--jobs", "2"),
        cwd=tmp_path, env=tiny.environment(), stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until_s = time.perf_counter() + 60.0
    while len(list(tmp_path.glob("runs/tiny/*/trials/*/progress"))) < 2:
        assert time.perf_counter() < until_s
        time.sleep(0.05)
    started_s = time.perf_counter()
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert time.perf_counter() - started_s < LIMIT_S
    assert process.returncode == 130
    assert "Resume with: moedge compare tiny.yaml --seeds 0:2 --jobs 2" in said
