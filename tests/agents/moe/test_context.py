"""Clusters on demand: the shipped ones, or others fitted when the checkpoint is loaded."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from agents.moe.cards import BUILTIN, FORMAT_BARE, Header, read_header, write_header
from agents.moe.checkpoint import Checkpoint, load
from agents.moe.context import context
from agents.moe.runtime import Runtime
from agents.moe.suites import load as load_suite
from sim.config import ClusterSpec
from sim.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from agents.moe.build import Built
    from agents.moe.recipe import Recipe
    from agents.moe.train import Trained

KNOWN = (0, 1, 2, 3, 4, 5)


@pytest.fixture(scope="module")
def shipped() -> Checkpoint:
    return load(BUILTIN / "stream.safetensors")


@pytest.fixture(scope="module")
def partial(shipped: Checkpoint) -> Runtime:
    return Runtime(shipped, ClusterSpec(count=6, fitted_on=KNOWN))


def test_by_default_everything_is_as_shipped(shipped: Checkpoint, stream: Runtime) -> None:
    tables = shipped.tables
    assert (stream.cluster_of == tables.cluster_of).all()
    assert (stream.centroids == tables.centroids).all()
    count = tables.cluster_task_count.sum(1)
    assert (stream.calibration.reward == tables.calibration_correct / count).all()
    assert stream.card == shipped.card


def test_the_same_number_of_clusters_gives_the_shipped_ones(built: Built) -> None:
    checkpoint = load(built.path)
    ours, theirs = (context(checkpoint, ClusterSpec(count=n)) for n in (None, 8))
    for name in ("embeddings", "centroids", "cluster_of", "cluster_to_task"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    for name in ("weights", "reward", "count", "prior"):
        known = getattr(ours.calibration, name)
        np.testing.assert_array_equal(known, getattr(theirs.calibration, name))


def test_every_input_is_in_its_nearest_cluster(partial: Runtime) -> None:
    assert partial.embeddings.shape == (partial.card.pool_size, partial.card.d_model)
    assert partial.centroids.shape == (6, partial.card.d_model)
    gap = ((partial.embeddings[:, None] - partial.centroids) ** 2).sum(-1)
    assert (gap.argmin(1) == partial.cluster_of).all()


def test_clusters_fitted_on_some_tasks_know_only_those(partial: Runtime) -> None:
    assert partial.card.clusters == 6
    assert (partial.cluster_to_task[:, 6:] == 0.0).all()
    np.testing.assert_allclose(partial.cluster_to_task.sum(1), 1.0)
    assert partial.calibration.count.sum() == 6 * 512
    assert partial.calibration.prior.shape == (6,)


def test_calibration_covers_the_chosen_inputs_only(built: Built, trained: Trained) -> None:
    """Against single answers, one merge after the other."""
    from agents.moe.model import Mixed

    spec = ClusterSpec(count=3, fitted_on=(2, 5))
    found = context(load(built.path), spec)
    import torch

    inputs = torch.from_numpy(trained.suite.calibration.inputs[[2, 5]].reshape(-1, 16))
    labels = torch.from_numpy(trained.suite.calibration.labels[[2, 5]].reshape(-1)).long()
    assert found.calibration.count.sum() == len(labels)
    for row in (0, 8, 20):
        weights = torch.tensor(found.calibration.weights[row], dtype=torch.float32)
        with torch.inference_mode():
            right = trained.model(inputs, Mixed(weights)).logits.argmax(-1) == labels
        mean = found.calibration.reward[row] @ found.calibration.prior
        assert mean == pytest.approx(float(right.float().mean()), abs=1e-6)


def test_a_task_left_out_changes_nothing_that_is_known(built: Built) -> None:
    """Other inputs of a hidden task must leave no trace in what routers see."""
    checkpoint = load(built.path)
    tables = checkpoint.tables
    assert tables.item_inputs is not None
    other = tables.item_inputs.copy()
    other[tables.item_task == 7] = other[0]
    changed = replace(checkpoint, tables=replace(tables, item_inputs=other))
    spec = ClusterSpec(count=5, fitted_on=KNOWN)
    first, second = context(checkpoint, spec), context(changed, spec)
    assert (first.centroids == second.centroids).all()
    assert (first.calibration.reward == second.calibration.reward).all()
    assert (first.cluster_of == second.cluster_of).all()


def test_clusters_fitted_twice_are_equal(built: Built) -> None:
    spec = ClusterSpec(count=4, fitted_on=(1, 2, 3))
    first, second = (Runtime.load(str(built.path), spec) for _ in range(2))
    assert (first.centroids == second.centroids).all()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (ClusterSpec(count=0), r"clusters\.count: expected 1 to 255, found 0"),
        (ClusterSpec(count=256), r"clusters\.count: expected 1 to 255, found 256"),
        (ClusterSpec(count=41, fitted_on=(3,)), "expected 1 to 40, found 41"),
        (
            ClusterSpec(fitted_on=(8,)),
            r"fitted_on: expected distinct tasks of 0\.\.7, found \(8,\)",
        ),
        (ClusterSpec(fitted_on=(1, 1)), "fitted_on: expected distinct tasks"),
    ],
)
def test_wishes_out_of_range_are_refused(built: Built, spec: ClusterSpec, message: str) -> None:
    with pytest.raises(InputError, match=message):
        context(load(built.path), spec)


def test_a_file_of_the_first_format_has_its_own_clusters_only(built: Built, tmp_path: Path) -> None:
    path = _bare(built.path, tmp_path)
    old = Runtime.load(str(path))
    new = Runtime.load(str(built.path))
    assert (old.calibration.reward == new.calibration.reward).all()
    assert Runtime.load(str(path), ClusterSpec(refit=True)).card == old.card
    with pytest.raises(InputError, match=r"without calibration items.*train it again"):
        Runtime.load(str(path), ClusterSpec(count=8))


def _bare(source: Path, folder: Path) -> Path:
    """Write a checkpoint as the first format had it."""
    from hashlib import sha256

    from safetensors.numpy import load as parse
    from safetensors.numpy import save as serialise

    arrays = {n: a for n, a in parse(source.read_bytes()).items() if not n.startswith("item_")}
    data, header = serialise(arrays), read_header(source)
    path = folder / source.name
    path.write_bytes(data)
    digest = sha256(data).hexdigest()
    write_header(path, Header(header.card, header.shape, len(data), digest, FORMAT_BARE))
    return path


def test_items_are_the_calibration_split(built: Built, recipe: Recipe) -> None:
    tables = load(built.path).tables
    inputs, _, task = load_suite(recipe).calibration.flat()
    np.testing.assert_array_equal(tables.item_inputs, inputs)
    np.testing.assert_array_equal(tables.item_task, task)
