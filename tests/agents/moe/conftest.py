from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from agents.moe.build import Built, build_checkpoint
from agents.moe.recipe import Recipe
from agents.moe.runtime import Runtime
from agents.moe.train import Trained, train

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TINY = Recipe(
    suite="stream",
    name="tiny",
    d_model=16,
    d_ff=24,
    heads=2,
    layers=3,
    dense_steps=6,
    branch_steps=14,
    router_steps=4,
    batch=4,
    aware=0.5,
    train_items=60,
    calibration_items=40,
    service_items=70,
)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    return TINY


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOEDGE_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def trained(cache: Path, recipe: Recipe) -> Trained:
    return train(recipe)


@pytest.fixture(scope="session")
def built(cache: Path, recipe: Recipe) -> Built:
    return build_checkpoint(recipe, oracle=60, refuse=False)


@pytest.fixture(scope="session")
def stream() -> Runtime:
    return Runtime.load("builtin:stream")
