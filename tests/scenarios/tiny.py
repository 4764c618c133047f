"""A scenario that takes a fraction of a second: three queues, three ways to choose one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

TEXT = """\
# Which of three equal queues should a request join?
name: tiny
seed: 1
duration: 20 s
drain: 10 s
slot: 5 s
model: none
service: {kind: exponential, mean: 20 ms}
topology: {kind: ring, link: {delay: 1 ms}}
nodes: [{group: edge, count: 3, servers: 1}]
streams:
  - {at: edge-0, arrivals: {kind: poisson, rate: 30 /s}, deadline: 200 ms}
policies:
  - {kind: none, label: local, dispatch: local}
  - {kind: none, label: random, dispatch: random}
  - {kind: none, label: least, dispatch: least-loaded}
"""


def write(folder: Path, text: str = TEXT) -> Path:
    """Write the scenario and return its file."""
    path = folder / "tiny.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def command(*words: str | Path) -> list[str]:
    """Return the words that run the command line in a process of its own."""
    return [sys.executable, "-m", "scenarios", *map(str, words)]


def environment(**more: str) -> dict[str, str]:
    """Return an environment in which the rooms are importable from anywhere."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", **more}


def moedge(
    *words: str | Path, cwd: Path, timeout_s: float = 120.0, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run the command line and return what it said."""
    return subprocess.run(
        command(*words),
        cwd=cwd,
        env=environment(**more),
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )
