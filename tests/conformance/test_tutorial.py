"""The tutorial in docs runs, keeps the contract and learns."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

TUTORIAL = Path(__file__).resolve().parents[2] / "docs" / "your_router.py"


def test_the_tutorial_router_keeps_the_contract_and_learns(capsys):
    runpy.run_path(str(TUTORIAL), run_name="__main__")
    said = capsys.readouterr().out
    assert "contract: kept" in said
    late = {name: float(value) for name, value in re.findall(r"(\w+) .* quarter ([\d.]+)", said)}
    assert late["Bold"] < 0.5 * late["Uniform"]
