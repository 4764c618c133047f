"""The pseudo-tasks in force: those that a checkpoint ships, or others fitted when it is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from agents.moe.checkpoint import Checkpoint, Tables, task_share
from agents.moe.clusters import assign, fit, pool_embeddings
from agents.moe.recipe import recipe_from
from agents.moe.tables import count_by_group, warm_start
from sim.errors import InputError
from sim.rng import Streams

if TYPE_CHECKING:
    from sim.arrays import AnyArray, FloatArray, IntArray
    from sim.config import ClusterSpec
    from sim.ports import Calibration

_MOST = 255  # as a recipe allows


@dataclass(frozen=True, slots=True)
class Context:
    """Clusters, who is in them, and what is known of them beforehand.

    P inputs of the service pool, V clusters, M tasks, D width.
    """

    embeddings: FloatArray  # (P, D), pooled input embeddings of the service pool
    centroids: FloatArray  # (V, D)
    cluster_of: IntArray  # (P,)
    cluster_to_task: FloatArray  # (V, M), for metrics only
    calibration: Calibration


def context(checkpoint: Checkpoint, spec: ClusterSpec) -> Context:
    """Return the clusters that a scenario asks for.

    Without a wish they are the shipped ones. Otherwise k-means is fitted on the calibration inputs
    of the tasks `fitted_on`: task labels choose those inputs, the fit reads none. Token weights,
    calibration rewards and `cluster_to_task` then cover those inputs only, so that nothing is known
    of a task left out. The same number of clusters on all tasks gives the shipped ones again.

    Raises:
        InputError: The wish is out of range, or the checkpoint cannot fulfil it.
    """
    if spec.count is None and not spec.fitted_on:
        return _shipped(checkpoint)
    return _fitted(checkpoint, spec)


def _shipped(checkpoint: Checkpoint) -> Context:
    """Return the clusters that the checkpoint ships."""
    tables = checkpoint.tables
    weights = tables.token_weights.astype(np.float64)
    return Context(
        embeddings=pool_embeddings(checkpoint.model, tables.inputs, weights),
        centroids=tables.centroids.astype(np.float64),
        cluster_of=tables.cluster_of.astype(np.int64),
        cluster_to_task=tables.cluster_to_task(),
        calibration=tables.calibration(),
    )


def _fitted(checkpoint: Checkpoint, spec: ClusterSpec) -> Context:
    """Fit clusters anew and count what the calibration merges are worth in each."""
    tables, tasks = checkpoint.tables, len(checkpoint.card.tasks)
    inputs, task, hits = _items(tables, spec)
    count = spec.count if spec.count is not None else checkpoint.card.clusters
    if not 1 <= count <= min(_MOST, len(inputs)):
        raise InputError(f"clusters.count: expected 1 to {min(_MOST, len(inputs))}, found {count}")
    found = fit(checkpoint.model, inputs, count, _stream(checkpoint))
    embeddings = pool_embeddings(checkpoint.model, tables.inputs, found.token_weights)
    per_task = np.zeros((count, tasks), np.int64)
    np.add.at(per_task, (found.cluster, task), 1)
    correct = count_by_group(hits, found.cluster, count)
    return Context(
        embeddings=embeddings,
        centroids=found.centroids,
        cluster_of=assign(embeddings, found.centroids),
        cluster_to_task=task_share(per_task),
        calibration=warm_start(tables.calibration_weights, correct, per_task.sum(1)),
    )


def _items(tables: Tables, spec: ClusterSpec) -> tuple[AnyArray, IntArray, AnyArray]:
    """Return inputs, tasks and right answers (C, N) of the calibration items to fit on."""
    if tables.item_inputs is None or tables.item_task is None or tables.item_hits is None:
        raise InputError(
            f"clusters: found {spec}, but this checkpoint was made without calibration items, so "
            "only its own clusters are allowed (no count, no fitted_on); train it again"
        )
    task = tables.item_task.astype(np.int64)
    tasks, wanted = tables.cluster_task_count.shape[1], set(spec.fitted_on)
    if len(wanted) < len(spec.fitted_on) or not wanted <= set(range(tasks)):
        raise InputError(
            f"clusters.fitted_on: expected distinct tasks of 0..{tasks - 1}, found {spec.fitted_on}"
        )
    chosen = np.isin(task, sorted(wanted or range(tasks)))
    hits = np.unpackbits(tables.item_hits, axis=1, count=len(task))[:, chosen].astype(np.bool_)
    return tables.item_inputs[chosen], task[chosen], hits


def _stream(checkpoint: Checkpoint) -> np.random.Generator:
    """Return the stream that fitted the shipped clusters."""
    recipe = recipe_from(checkpoint.card.trained.get("recipe", {}))
    return Streams(recipe.seed).stream("clusters")
