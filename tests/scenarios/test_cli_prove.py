"""`moedge prove` from outside: the table, the JSON, exit codes, wrong options."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import moedge
from scenarios.cli import app
from sim.errors import InputError
from sim.proofs import table
from sim.proofs.proof import Proof
from sim.proofs.verdict import exact, judge, skipped

SHARP = np.tile([0.999, 1.001], 8)


def proof(name: str, *rows: Any, group: str = "queues", quick: bool = False) -> Proof:
    return Proof(name, group, f"about {name}", lambda _: rows, quick)


def crash(_: Any) -> Any:
    raise ZeroDivisionError("division by zero")


GOOD = (
    proof("sharp", judge("a mean", 1.0, SHARP, note="16 requests"), quick=True),
    proof("twin", exact("departures", 0.0, 7, "requests"), group="twins"),
    proof("peer", skipped("another library", "ciw is not installed"), group="peers"),
)
WRONG = proof("wrong", judge("a mean", 1.5, SHARP))
BLUNT = proof("blunt", judge("a mean", 1.0, 1.0 + 50 * (SHARP - 1.0)))


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Any:
    def put(*proofs: Proof) -> None:
        monkeypatch.setattr(table, "PROOFS", {p.name: p for p in proofs})

    return put


def call(*words: str) -> Any:
    return CliRunner().invoke(app, ["prove", *words])


def test_the_table_shows_every_check_and_ends_well(only: Any) -> None:
    only(*GOOD)
    done = call()
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "queues"
    assert lines[1].split() == ["check", "expected", "measured", "interval", "power", "verdict"]
    assert lines[2] == "  sharp: 16 requests; 0.0 s"
    assert lines[3].split() == ["a", "mean", "1", "1", "0.9986", "..", "1.001", "1.0000", "pass"]
    assert "  twin: 7 requests; 0.0 s" in lines
    assert ["departures", "0", "0", "±", "1e-09", "-", "pass"] in [line.split() for line in lines]
    assert "  peer: skipped: ciw is not installed; 0.0 s" in lines
    assert "3 proofs, 3 checks: 2 pass, 1 skipped; 0 s" in lines
    assert "1/3 sharp: pass" in done.stderr


@pytest.mark.parametrize("bad", [WRONG, BLUNT, Proof("crash", "queues", "about crash", crash)])
def test_a_failed_blunt_or_crashed_check_fails_the_whole(only: Any, bad: Proof) -> None:
    only(*GOOD, bad)
    done = call()
    assert done.exit_code == 1
    assert ("no power" if bad is BLUNT else "FAIL") in done.stdout
    if bad.name == "crash":
        assert "division by zero" in done.stdout


def test_json_has_the_rows_and_totals(only: Any) -> None:
    only(*GOOD)
    done = call("--json", "--only", "sharp,twins")
    told = json.loads(done.stdout)
    assert [row["proof"] for row in told["rows"]] == ["sharp", "twin"]
    assert told["pass"] == told["checks"] == 2
    assert told["rows"][0]["power"] > 0.9
    assert told["rows"][1]["power"] is None
    assert told["seconds"] >= 0.0


def test_quick_takes_the_quick_ones_only(only: Any) -> None:
    only(*GOOD)
    assert "1 proofs, 1 checks: 1 pass" in call("--quick").stdout
    assert "1 proofs, 1 checks: 1 pass" in call("--quick", "--only", "sharp,twin").stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--quick", "--only", "twin,peer"), "--quick: none of twin, peer is in the quick set"),
        (("--only", " , "), "--only: expected names of proofs or groups, found ' , '"),
    ],
)
def test_nothing_to_prove_is_no_success(only: Any, words: tuple[str, ...], told: str) -> None:
    only(*GOOD)
    done = call(*words)
    assert done.exit_code == 2
    assert told in done.stderr


def test_a_table_fits_a_terminal(only: Any) -> None:
    long = exact("distinct experts, E=60 k=4 n=32, rel", 1e-16, 10**9, "requests " * 12)
    wide = judge("M/M/1 breakdowns, resumed: stay [s]", 1e-5, 1e-5 * SHARP, note="x")
    only(*GOOD, proof("long", long, wide))
    assert max(len(line) for line in call().stdout.splitlines()) <= 105


def test_a_wrong_name_names_the_nearest_and_exits_with_2() -> None:
    done = call("--only", "mm2")
    assert done.exit_code == 2
    assert "unknown proof 'mm2'; did you mean 'mm" in done.stderr


def test_notebooks_can_prove_too(only: Any) -> None:
    only(*GOOD)
    assert [row.verdict for row in moedge.prove(["twins"])] == ["pass"]
    with pytest.raises(InputError, match="unknown proof 'sharpp'; did you mean 'sharp'"):
        moedge.prove(["sharpp"])


def test_help_loads_no_proof() -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom scenarios.cli import app\n"
        "done = CliRunner().invoke(app, ['prove', '--help'])\n"
        "assert done.exit_code == 0, done.output\n"
        "print([m for m in ('sim.proofs', 'scipy', 'torch', 'ray', 'ciw') if m in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
