"""Where results came from, and that two versions are never mixed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scenarios import provenance
from scenarios.provenance import Provenance, code_version
from scenarios.results import DONE, RunFolder, Status
from sim.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


def test_code_version_is_the_release_and_a_hash_of_deciding_sources() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\+[0-9a-f]{8}", code_version())


def test_sessions_are_kept_and_closed(folder: RunFolder) -> None:
    for seeds in ([1, 2], [3]):
        session = Provenance(folder)
        session.check("c0ffee")
        session.start("name: x\n", "c0ffee", seeds, ["moedge", "compare", "x"])
        session.stop({"ran": len(seeds)})
    facts = Provenance(folder).facts
    assert [s["seeds"] for s in facts["sessions"]] == [[1, 2], [3]]
    last = facts["sessions"][1]
    assert last["argv"] == ["moedge", "compare", "x"]
    assert last["started"] <= last["stopped"]
    assert last["libraries"]["duckdb"]
    assert facts["code"] == code_version()
    assert re.fullmatch(r"[0-9a-f]{64}", facts["scenario_sha256"])


@pytest.mark.parametrize(
    ("name", "value"), [("code", "0.0.1+00000000"), ("schema", 0), ("checkpoint_sha256", "beef")]
)
def test_results_of_another_version_are_refused(
    folder: RunFolder, name: str, value: object
) -> None:
    made = Provenance(folder)
    made.start("x", "c0ffee", [1], [])
    made.facts[name] = value
    made.stop({})
    Provenance(folder).check("c0ffee")  # nothing is finished, so nothing can be mixed
    folder.write_status("t", Status(DONE))
    with pytest.raises(
        InputError, match=rf"1 finished .* {name} {re.escape(str(value))}, .*--fresh"
    ):
        Provenance(folder).check("c0ffee")


def install(site: Path, name: str, package: str) -> None:
    """Leave what an installer leaves of a distribution that owns one top-level package."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "top_level.txt").write_text(f"{package}\n")
    (info / "RECORD").write_text(f"{package}/__init__.py,,\n")


@pytest.mark.parametrize("package", provenance.ROOMS)
def test_a_stranger_with_our_package_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    install(tmp_path, "openai-agents", package)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(
        provenance.NameTakenError, match=rf"'openai-agents' .*'{package}'.*pip uninstall"
    ):
        provenance.check_names()


def test_our_own_distribution_is_no_stranger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "moedge", "sim")
    monkeypatch.syspath_prepend(str(tmp_path))
    provenance.check_names()


def test_the_command_line_refuses_to_start_beside_a_stranger(tmp_path: Path) -> None:
    install(tmp_path, "openai-agents", "agents")
    path = os.pathsep.join([str(tmp_path), str(Path(provenance.__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, "-m", "scenarios", "policies"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: the installed distribution 'openai-agents'")
    assert "Traceback" not in done.stderr
