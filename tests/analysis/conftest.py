from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from analysis.load import Run
from tests.analysis.folder import Shape, write

if TYPE_CHECKING:
    from pathlib import Path

SHAPE = Shape(policies=("tanbr", "top2", "uniform"), seeds=(1, 2), edges=3, slots=16, failed=True)


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("runs") / "synthetic" / "abcd1234", SHAPE)


@pytest.fixture(scope="session")
def run(run_dir: Path) -> Run:
    return Run(run_dir)
