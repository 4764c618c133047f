"""From a recipe to a checkpoint: train, check the landscape, cluster, tabulate, write.

Splits never mix: routers may know what was measured on calibration; the service split feeds
requests and the oracle table only.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from agents.moe.cards import checkpoint_dir
from agents.moe.check import Landscape, check, require
from agents.moe.checkpoint import Checkpoint, Tables, save, weights_digest
from agents.moe.clusters import assign, fit, pool_embeddings
from agents.moe.model import Encoder, backbone_params, expert_params
from agents.moe.recipe import Recipe, recipe_from, recipe_hash
from agents.moe.scoring import MergedScorer
from agents.moe.suites import load as load_suite
from agents.moe.tables import Count, calibration_weights, count_by_group, oracle_table, task_experts
from agents.moe.train import Progress, Trained, silent, train
from sim.errors import InputError
from sim.ports import ModelCard
from sim.rng import Streams

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from agents.moe.suites import Split, Suite
    from sim.arrays import BoolArray, FloatArray, IntArray

_ORACLE_ROWS = 3900  # with them the shipped `stream` stays at 1 MB
_ORACLE_ROWS_TEAMS = 6000  # several experts per task: a larger simplex to cover


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
    oracle: int | None = None,
    progress: Progress = silent,
    refuse: bool = True,
) -> Built:
    """Train a recipe and write its checkpoint.

    The same recipe gives the same file on the same machine and wheels.

    Args:
        recipe: What to build.
        out_dir: Folder for `<name>.safetensors` and `<name>.json`; None: the recipe's cache folder.
        oracle: Rows of the oracle table, None: as many as shipped checkpoints have; 0 builds none
            (then there is no regret).
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
    rows = _oracle_rows(trained) if oracle is None else oracle
    table = _oracle(trained.model, trained.suite, rows, Streams(recipe.seed), progress)
    tables = _tables(trained, table, progress)
    card = _card(trained, {"check": landscape.summary(), "oracle_rows": rows})
    path = save(out_dir or checkpoint_dir(recipe), card, trained.model, tables)
    return Built(path, card, landscape, trained.cpu_s)


def retabulate(checkpoint: Checkpoint, folder: Path) -> Path:
    """Write a checkpoint again with tables as this version makes them; nothing is trained.

    Weights and oracle table are kept as they are, all else is computed from the recipe's data.

    Args:
        checkpoint: A checkpoint whose card carries its recipe.
        folder: Where the files go; may be where they came from.

    Returns:
        The path of the new `.safetensors` file.

    Raises:
        InputError: The recipe's data are not those that the checkpoint was made with.
    """
    card, old = checkpoint.card, checkpoint.tables
    recipe = recipe_from(card.trained["recipe"])
    trained = Trained(recipe, load_suite(recipe), checkpoint.model, True, 0.0)
    tables = _tables(trained, (old.oracle_weights, old.oracle_correct))
    if not np.array_equal(tables.inputs, old.inputs) or not np.array_equal(
        tables.labels, old.labels
    ):
        raise InputError(f"checkpoint {card.name}: this version draws other data for its recipe")
    about = {**card.trained, "recipe": asdict(recipe), "hash": recipe_hash(recipe)}
    return save(folder, replace(card, trained=about), checkpoint.model, tables)


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


def _tables(
    trained: Trained, oracle: tuple[FloatArray, IntArray], progress: Progress = silent
) -> Tables:
    """Compute everything that ships beside the weights; `oracle` has merges and right answers."""
    model, suite, recipe = trained.model, trained.suite, trained.recipe
    inputs, labels, _ = suite.service.flat()
    known, _, task = suite.calibration.flat()
    found = fit(model, known, recipe.clusters, Streams(recipe.seed).stream("clusters"))
    weights, hits = _calibrate(model, suite.calibration, progress)
    correct = count_by_group(hits, found.cluster, recipe.clusters)
    counts = np.zeros((recipe.clusters, len(suite.tasks)), np.int32)
    np.add.at(counts, (found.cluster, task), 1)
    embeddings = pool_embeddings(model, inputs, found.token_weights)
    return Tables(
        inputs=inputs,
        labels=labels.astype(np.uint8),
        token_weights=found.token_weights.astype(np.float32),
        centroids=found.centroids.astype(np.float32),
        cluster_of=assign(embeddings, found.centroids).astype(np.uint8),
        cluster_task_count=counts,
        calibration_weights=weights.astype(np.float32),
        calibration_correct=correct.astype(np.int32),
        task_to_expert=task_experts(len(suite.tasks), model.shape.experts).astype(np.float32),
        oracle_weights=oracle[0].astype(np.float32),
        oracle_correct=oracle[1].astype(np.uint16),
        item_inputs=known,
        item_task=task.astype(np.uint8),
        item_hits=np.packbits(hits, axis=1),
    )


def _calibrate(model: Encoder, split: Split, progress: Progress) -> tuple[FloatArray, BoolArray]:
    """Return the warm-start merges (C, E) and which items each answers right, (C, N)."""
    inputs, labels, _ = split.flat()
    scorer, truth = MergedScorer(model, torch.from_numpy(inputs)), torch.from_numpy(labels)
    weights = calibration_weights(task_experts(split.tasks, model.shape.experts))
    hits = []
    for i, row in enumerate(weights):
        hits.append(scorer.correct(scorer.merge(row.tolist()), truth, range(len(truth))))
        progress("calibration", i + 1, len(weights))
    return weights, np.stack(hits)


def _oracle_rows(trained: Trained) -> int:
    """Return how many merges are measured unless somebody says otherwise."""
    alone = trained.model.shape.experts == len(trained.suite.tasks)
    return _ORACLE_ROWS if alone else _ORACLE_ROWS_TEAMS


def _oracle(
    model: Encoder, suite: Suite, rows: int, streams: Streams, progress: Progress
) -> tuple[FloatArray, IntArray]:
    """Tabulate merges on the service split, or return empty tables for no rows."""
    teams = task_experts(len(suite.tasks), model.shape.experts)
    if rows == 0:
        return np.zeros((0, teams.shape[1])), np.zeros((0, len(teams)), np.int64)
    return oracle_table(_service_counter(model, suite.service), teams, rows, streams, progress)


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
