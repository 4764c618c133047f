"""Where results came from: code version, machine, command, seeds, and the clock on the wall.

The code version is the release plus a hash of the sources that decide results, so that an edited
working tree and
its commit are told apart, and an edited figure does not make finished trials stale.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scenarios.files import now, read_json, write_json
from sim.errors import InputError, SimError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from scenarios.results import RunFolder

ROOMS = ("sim", "agents", "scenarios", "analysis")
SCHEMA_VERSION = 2  # of the tables on disk; part of every trial id
_ROOT = Path(__file__).resolve().parent.parent
_DECIDING = ("sim", "agents", "scenarios")  # rooms whose code decides what a trial writes
_LIBRARIES = ("simpy", "torch", "numpy", "networkx", "ray", "pyyaml", "plotly", "pydantic")
_MORE_LIBRARIES = ("typer", "duckdb", "scipy", "safetensors", "numba")


class NameTakenError(SimError):
    """Another installed distribution claims the name of one of our packages."""


def release() -> str:
    """Return the version of moedge: of the installed package, else of this checkout."""
    try:
        return version("moedge")
    except PackageNotFoundError:
        import tomllib

        with (_ROOT / "pyproject.toml").open("rb") as file:
            return str(tomllib.load(file)["project"]["version"])


@cache
def code_version() -> str:
    """Return the release and 8 hex digits of the deciding sources, such as `0.1.0+3fa9c2d1`."""
    state = sha256()
    files = [path for room in _DECIDING for path in (_ROOT / room).rglob("*.py")]
    files += [_ROOT / "analysis" / f"{name}.py" for name in ("summary", "quality", "drift")]
    for path in sorted(files):
        if path.exists():
            state.update(
                path.relative_to(_ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0"
            )
    return f"{release()}+{state.hexdigest()[:8]}"


def distribution_version(name: str) -> str | None:
    """Return an installed distribution's version without importing it, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def check_names() -> None:
    """Refuse to run beside a distribution that installs a package named like one of ours.

    Raises:
        NameTakenError: It names the package, the distribution and the cure.
    """
    owners = packages_distributions()
    for room in ROOMS:
        strangers = sorted({owner for owner in owners.get(room, ()) if owner.lower() != "moedge"})
        if strangers:
            raise NameTakenError(
                f"the installed distribution {strangers[0]!r} also has a top-level package "
                f"{room!r}, which moedge uses; "
                f"use a separate virtual environment, or: pip uninstall {strangers[0]}"
            )


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(_ROOT), *words],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def git_state() -> dict[str, Any]:
    """Return the commit of the checkout and whether it is edited; empty outside a checkout."""
    if not (_ROOT / ".git").exists():
        return {}
    changes = _git("status", "--porcelain", "--untracked-files=no")
    return {"sha": _git("rev-parse", "HEAD"), "dirty": None if changes is None else bool(changes)}


def cpu_model() -> str:
    """Return the processor's name, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def machine() -> dict[str, Any]:
    """Return what may change bits or speed: interpreter, system, processor, libraries, threads."""
    return {
        "python": sys.version.split()[0],
        "os": platform.platform(),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "threads": 1,  # of every process that hosts a model: more would change the last bits
        "libraries": {name: distribution_version(name) for name in _LIBRARIES + _MORE_LIBRARIES},
    }


def sha_text(text: str) -> str:
    """Return the sha256 of a text."""
    return sha256(text.encode()).hexdigest()


class Provenance:
    """The provenance.json of a run folder; every command that adds trials adds a session.

    Args:
        folder: The run folder.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._path = folder.root / "provenance.json"
        self._folder = folder
        self.facts: dict[str, Any] = read_json(self._path) or {}

    def check(self, checkpoint: str | None, redone: Collection[str] = ()) -> None:
        """Refuse to mix results of two code versions or two checkpoints.

        Args:
            checkpoint: sha256 of the checkpoint's weights, None without a model.
            redone: Ids of trials that are about to be overwritten anyway.

        Raises:
            InputError: It names both versions.
        """
        finished = len(set(self._folder.finished()).difference(redone))
        if not self.facts or not finished:
            return
        here = {"code": code_version(), "schema": SCHEMA_VERSION, "checkpoint_sha256": checkpoint}
        for name, found in here.items():
            before = self.facts.get(name)
            if before != found:
                raise InputError(
                    f"{self._folder.root}: its {finished} finished trials were made with "
                    f"{name} {before}, "
                    f"this is {found}; --fresh rewrites them, --out keeps them apart"
                )

    def start(
        self, scenario: str, checkpoint: str | None, seeds: Sequence[int], argv: Sequence[str]
    ) -> None:
        """Open a session: what is about to run, on what.

        Raises:
            StorageError: The disk refused.
        """
        sessions = self.facts.get("sessions", [])
        session = {
            "argv": list(argv),
            "seeds": list(seeds),
            "started": now(),
            "stopped": None,
            **machine(),
        }
        self.facts = {
            "moedge": release(),
            "code": code_version(),
            "schema": SCHEMA_VERSION,
            "git": git_state(),
            "scenario_sha256": sha_text(scenario),
            "checkpoint_sha256": checkpoint,
            "sessions": [*sessions, session],
        }
        write_json(self._path, self.facts)

    def stop(self, facts: Mapping[str, Any]) -> None:
        """Close the session with how it ended.

        Raises:
            StorageError: The disk refused.
        """
        self.facts["sessions"][-1].update(stopped=now(), **facts)
        write_json(self._path, self.facts)
