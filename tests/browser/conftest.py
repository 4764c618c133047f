from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from analysis.report import write_report
from tests.analysis.folder import Shape, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BROWSERS = ("chromium", "google-chrome", "chromium-browser")
SHAPE = Shape(
    policies=("tanbr", "top2", "<b>evil</b>"), seeds=(1, 2, 3, 4, 5), edges=3, slots=20,
    axes=({"load": "0.4"}, {"load": "0.7"}),
)  # fmt: skip


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(write(tmp_path_factory.mktemp("browser") / "run", SHAPE)).parent


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fleet of more nodes than fit a figure."""
    shape = Shape(
        policies=("local", "least"), seeds=(1,), edges=1100, slots=3, rate_per_s=0.5, model=False,
        drift=False,
    )  # fmt: skip
    return write_report(write(tmp_path_factory.mktemp("large") / "run", shape)).parent


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium of the system; no second browser is downloaded for the tests."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("no Chromium found: apt-get install chromium")
    with api.sync_playwright() as play:
        opened = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()
