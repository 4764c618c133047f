"""From a recipe to a checkpoint: train, check the landscape, cluster, tabulate, write.

Splits never mix: routers may know what was measured on calibration; the service split feeds
requests and the oracle table only.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from agents.moe.cards import checkpoint_dir
from agents.moe.check import Landscape, check, require
from agents.moe.checkpoint import Tables, save, weights_digest
from agents.moe.clusters import assign, kmeans, pool_embeddings, token_weights
from agents.moe.model import Encoder, backbone_params, expert_params
from agents.moe.recipe import Recipe, recipe_hash
from agents.moe.scoring import MergedScorer
from agents.moe.tables import Count, calibration_weights, count_by_group, oracle_table
from agents.moe.train import Progress, Trained, silent, train
from sim.ports import ModelCard
from sim.rng import Streams

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from agents.moe.suites import Split, Suite
    from sim.arrays import AnyArray, FloatArray, IntArray

ORACLE_ROWS = 3900  # with them the shipped `stream` stays below 1 MB


@dataclass(frozen=True, slots=True)
class Built:
    """A finished checkpoint."""

    path: Path
    card: ModelCard
    landscape: Landscape
    train_cpu_s: float


def build_checkpoint(
    recipe: Recipe,
    out_dir: Path | None = None,
    oracle: int = ORACLE_ROWS,
    progress: Progress = silent,
    refuse: bool = True,
) -> Built:
    """Train a recipe and write its checkpoint.

    The same recipe gives the same file on the same machine and wheels.

    Args:
        recipe: What to build.
        out_dir: Folder for `<name>.safetensors` and `<name>.json`; None: the recipe's cache folder.
        oracle: Rows of the oracle table; 0 builds none (then there is no regret).
        progress: Called with (stage, done, total); stages are dense, branch, router, check,
            calibration, oracle.
        refuse: Refuse a useless landscape; False records the broken bounds in the card instead.

    Returns:
        Where the checkpoint is, its card and what the build check saw.

    Raises:
        InputError: The landscape is useless, or `oracle` is too small.
    """
    trained = train(recipe, progress)
    landscape = check(trained.model, trained.suite, progress)
    if refuse:
        require(landscape)
    tables = _tables(trained, oracle, progress)
    card = _card(trained, {"check": landscape.summary(), "oracle_rows": oracle})
    path = save(out_dir or checkpoint_dir(recipe), card, trained.model, tables)
    return Built(path, card, landscape, trained.cpu_s)


def _card(trained: Trained, found: Mapping[str, Any]) -> ModelCard:
    """Describe a trained model."""
    model, suite, recipe = trained.model, trained.suite, trained.recipe
    shape = model.shape
    return ModelCard(
        name=recipe.name,
        suite=suite.name,
        experts=shape.experts,
        layers=shape.layers,
        tasks=suite.tasks,
        clusters=recipe.clusters,
        d_model=shape.d_model,
        d_ff=shape.d_ff,
        tokens=shape.tokens,
        backbone_params=backbone_params(model),
        expert_params=expert_params(shape),
        bytes_per_param=4,
        pool_sizes=(suite.service.items,) * len(suite.tasks),
        digest=weights_digest(model),
        trained={"recipe": asdict(recipe), "hash": recipe_hash(recipe), **found},
    )


def _tables(trained: Trained, oracle: int, progress: Progress) -> Tables:
    """Compute everything that ships beside the weights."""
    model, suite, recipe = trained.model, trained.suite, trained.recipe
    streams = Streams(recipe.seed)
    inputs, labels, _ = suite.service.flat()
    known, _, task = suite.calibration.flat()
    importance, centroids, cluster = _fit_clusters(model, known, recipe.clusters, streams)
    weights, correct = _calibrate(model, suite.calibration, cluster, recipe.clusters, progress)
    best_weights, best_correct = _oracle(model, suite, oracle, streams, progress)
    counts = np.zeros((recipe.clusters, len(suite.tasks)), np.int32)
    np.add.at(counts, (cluster, task), 1)
    service_cluster = assign(pool_embeddings(model, inputs, importance), centroids)
    return Tables(
        inputs=inputs,
        labels=labels.astype(np.uint8),
        token_weights=importance.astype(np.float32),
        centroids=centroids.astype(np.float32),
        cluster_of=service_cluster.astype(np.uint8),
        cluster_task_count=counts,
        calibration_weights=weights.astype(np.float32),
        calibration_correct=correct.astype(np.int32),
        task_to_expert=np.eye(len(suite.tasks), dtype=np.float32),  # branch t trained expert t
        oracle_weights=best_weights.astype(np.float32),
        oracle_correct=best_correct.astype(np.uint16),
    )


def _fit_clusters(
    model: Encoder, inputs: AnyArray, clusters: int, streams: Streams
) -> tuple[FloatArray, FloatArray, IntArray]:
    """Return token weights, centroids as stored, and each input's cluster. No label is read."""
    tokens = model.shape.kind == "tokens"
    weights = token_weights(inputs, model.shape.vocab) if tokens else np.ones(1)
    points = pool_embeddings(model, inputs, weights)
    found = kmeans(points, clusters, streams.stream("clusters"))
    centroids = found.astype(np.float32).astype(np.float64)
    return weights, centroids, assign(points, centroids)


def _calibrate(
    model: Encoder, split: Split, cluster: IntArray, clusters: int, progress: Progress
) -> tuple[FloatArray, IntArray]:
    """Count right answers per cluster for every warm-start merge."""
    inputs, labels, _ = split.flat()
    scorer, truth = MergedScorer(model, torch.from_numpy(inputs)), torch.from_numpy(labels)
    weights = calibration_weights(model.shape.experts)
    hits = []
    for i, row in enumerate(weights):
        hits.append(scorer.correct(scorer.merge(row.tolist()), truth, range(len(truth))))
        progress("calibration", i + 1, len(weights))
    return weights, count_by_group(np.stack(hits), cluster, clusters)


def _oracle(
    model: Encoder, suite: Suite, rows: int, streams: Streams, progress: Progress
) -> tuple[FloatArray, IntArray]:
    """Tabulate merges on the service split, or return empty tables for no rows."""
    experts, tasks = model.shape.experts, len(suite.tasks)
    if rows == 0:
        return np.zeros((0, experts)), np.zeros((0, tasks), np.int64)
    return oracle_table(_service_counter(model, suite.service), experts, rows, streams, progress)


def _service_counter(model: Encoder, split: Split) -> Count:
    """Return a function that counts right answers per task, as `Runtime.task_accuracy` does."""
    inputs, labels, _ = split.flat()
    scorer, truth, n = (
        MergedScorer(model, torch.from_numpy(inputs)),
        torch.from_numpy(labels),
        split.items,
    )

    def count(weights: FloatArray) -> IntArray:
        merged = scorer.merge(weights.tolist())
        stretches = [range(t * n, (t + 1) * n) for t in range(split.tasks)]
        return np.array([scorer.correct(merged, truth, s).sum() for s in stretches], np.int64)

    return count
