"""From recipe to file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from agents.moe.build import build_checkpoint, retabulate
from agents.moe.cards import BUILTIN, read_card
from agents.moe.checkpoint import Tables, load, weights_digest
from agents.moe.clusters import assign, pool_embeddings
from sim.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from agents.moe.build import Built
    from agents.moe.recipe import Recipe
    from agents.moe.train import Trained


def test_the_same_recipe_gives_the_same_file(built: Built, recipe: Recipe, tmp_path: Path) -> None:
    again = build_checkpoint(recipe, tmp_path, oracle=60, refuse=False)
    assert again.path.read_bytes() == built.path.read_bytes()
    assert again.card == built.card


def test_tables_made_again_are_the_same(built: Built, tmp_path: Path) -> None:
    again = retabulate(load(built.path), tmp_path)
    assert again.read_bytes() == built.path.read_bytes()
    assert read_card(str(again)) == built.card


def test_tables_of_other_data_are_refused(built: Built, tmp_path: Path) -> None:
    checkpoint = load(built.path)
    made_with = {**checkpoint.card.trained["recipe"], "data_seed": 5}
    card = replace(checkpoint.card, trained={**checkpoint.card.trained, "recipe": made_with})
    with pytest.raises(InputError, match="this version draws other data for its recipe"):
        retabulate(replace(checkpoint, card=card), tmp_path)


def test_the_shipped_tables_are_those_of_its_recipe(tmp_path: Path) -> None:
    """Weights are exact everywhere; what they answer may differ in the last bits elsewhere."""
    old = load(BUILTIN / "stream.safetensors")
    new = load(retabulate(old, tmp_path))
    assert new.card == old.card
    for name in Tables.__dataclass_fields__:
        ours, theirs = getattr(old.tables, name), getattr(new.tables, name)
        assert ours.shape == theirs.shape
        if name in ("inputs", "labels", "item_inputs", "item_task", "oracle_correct"):
            assert (ours == theirs).all()
    gap = np.abs(old.tables.calibration_correct - new.tables.calibration_correct)
    assert gap.max() <= 4


def test_a_useless_landscape_is_refused(cache: Path, recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="useless landscape"):
        build_checkpoint(recipe, tmp_path, oracle=0)
    assert not list(tmp_path.iterdir())


def test_stages_are_reported(built: Built, recipe: Recipe, tmp_path: Path) -> None:
    stages: dict[str, tuple[int, int]] = {}
    build_checkpoint(
        recipe, tmp_path, 40, lambda s, done, total: stages.update({s: (done, total)}), refuse=False
    )
    assert stages == {"check": (28, 28), "calibration": (37, 37), "oracle": (40, 40)}


def test_the_card_describes_the_checkpoint(built: Built, trained: Trained) -> None:
    card, model = built.card, load(built.path).model
    assert card.digest == weights_digest(trained.model) == weights_digest(model)
    total = sum(p.numel() for p in model.parameters())
    assert card.backbone_params + card.layers * card.experts * card.expert_params == total
    assert card.pool_sizes == (70,) * 8
    assert card.trained["check"] == built.landscape.summary()


def test_tables_agree_with_the_data(built: Built, trained: Trained) -> None:
    tables = load(built.path).tables
    inputs, labels, _ = trained.suite.service.flat()
    assert (tables.inputs == inputs).all()
    assert (tables.labels == labels).all()
    known, _, task = trained.suite.calibration.flat()
    weights, centroids = (a.astype(np.float64) for a in (tables.token_weights, tables.centroids))
    cluster = assign(pool_embeddings(trained.model, known, weights), centroids)
    count = np.zeros_like(tables.cluster_task_count)
    for v, t in zip(cluster, task, strict=True):
        count[v, t] += 1
    assert (tables.cluster_task_count == count).all()
    service = assign(pool_embeddings(trained.model, inputs, weights), centroids)
    assert (tables.cluster_of == service).all()
