"""Golden digests: `pytest tests/golden --regold` writes them anew; say why in the commit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

FILE = Path(__file__).with_name("digests.json")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regold", action="store_true", help="write golden digests anew")


class Golden:
    """Digests by name of the scenario."""

    def __init__(self, regold: bool) -> None:
        self.regold = regold
        self.known: dict[str, dict[str, str]] = json.loads(FILE.read_text(encoding="utf-8"))

    def check(self, name: str, digest: str, workload: str) -> None:
        """Compare with the committed digests, or commit to these."""
        found = {"digest": digest, "workload": workload}
        if self.regold:
            self.known[name] = found
            text = json.dumps(self.known, indent=2, sort_keys=True) + "\n"
            FILE.write_text(text, encoding="utf-8")
        assert self.known.get(name) == found, f"{name}: see {FILE.name} and --regold"


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden(bool(request.config.getoption("--regold", default=False)))
