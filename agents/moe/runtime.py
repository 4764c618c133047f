"""What hosts call: a checkpoint that answers requests under a plan."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from agents.moe.cards import GATES, resolve
from agents.moe.checkpoint import Checkpoint, load
from agents.moe.context import context
from agents.moe.many import ManyMerges
from agents.moe.scoring import (
    MergedScorer,
    chunks,
    judge,
    score_batch,
    score_blend,
    score_gated,
)
from sim.config import ClusterSpec
from sim.errors import InputError, ShapeError
from sim.plans import Blend, ByTask, Plan, TopK, merge_weights
from sim.ports import Calibration, ModelCard, Oracle, PlanProfile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.arrays import BoolArray, FloatArray, IntArray

_MERGES_KEPT = 64  # premerged layers of the default model take 75 kB per plan
_SHIPPED = ClusterSpec()


class Runtime:
    """A loaded checkpoint with its service pool. Sets torch to one thread.

    Input ids are global: the tasks' service inputs, concatenated in task order. P inputs, V
    clusters, M tasks, D width. `card.clusters` counts the clusters in force.

    Args:
        checkpoint: A checked checkpoint; use `Runtime.load` for a reference.
        clusters: Which pseudo-tasks to tell apart.

    Raises:
        InputError: The checkpoint cannot give such clusters.
    """

    def __init__(self, checkpoint: Checkpoint, clusters: ClusterSpec = _SHIPPED) -> None:
        torch.set_num_threads(1)
        tables, about = checkpoint.tables, context(checkpoint, clusters)
        self.card: ModelCard = replace(checkpoint.card, clusters=len(about.centroids))
        self.calibration: Calibration = about.calibration
        self.oracle: Oracle | None = tables.oracle(self.card.pool_sizes)
        self.cluster_of: IntArray = about.cluster_of
        self.cluster_to_task: FloatArray = about.cluster_to_task
        self.embeddings: FloatArray = about.embeddings  # (P, D), what clusters are told apart by
        self.centroids: FloatArray = about.centroids  # (V, D)
        self.task_of: IntArray = checkpoint.task_of()
        self._model = checkpoint.model
        self._inputs = torch.tensor(tables.inputs)
        self._labels = torch.tensor(tables.labels).long()
        self._pool: IntArray = np.arange(len(self._labels), dtype=np.int64)
        self._scorer = MergedScorer(self._model, self._inputs)
        self._many = ManyMerges(self._scorer)
        self._merge = lru_cache(maxsize=_MERGES_KEPT)(self._scorer.merge)

    @classmethod
    def load(cls, reference: str, clusters: ClusterSpec = _SHIPPED) -> Runtime:
        """Load `builtin:<name>`, a checkpoint folder or a `.safetensors` file.

        Raises:
            InputError: There is no such checkpoint, it is damaged, or it cannot give the clusters.
        """
        return cls(load(resolve(reference)), clusters)

    def score_merged(
        self, weights: Sequence[float], inputs: IntArray
    ) -> tuple[BoolArray, FloatArray]:
        """Answer requests with one merged expert per layer.

        Args:
            weights: Point on the simplex, (E,).
            inputs: Global input ids, (R,). Answers depend on R in the last bits only.

        Returns:
            Correct (R,) and confidence (R,), in the order given.

        Raises:
            ShapeError: There are not E weights, or an id is not in the pool.
        """
        self._check_inputs(inputs)
        merged = self._merge(tuple(map(float, weights)))
        rows = torch.from_numpy(np.ascontiguousarray(inputs, np.int64))
        parts = [
            (self._scorer.logits(merged, rows[p]), self._labels[rows[p]]) for p in chunks(len(rows))
        ]
        if not parts:
            return np.zeros(0, np.bool_), np.zeros(0)
        return judge(torch.cat([a for a, _ in parts]), torch.cat([b for _, b in parts]))

    def _check_inputs(self, inputs: IntArray) -> None:
        if len(inputs) and not 0 <= int(inputs.min()) <= int(inputs.max()) < len(self._labels):
            raise ShapeError(f"input ids: expected 0..{len(self._labels) - 1}")

    def score_plans(
        self, weights: Sequence[Sequence[float]], inputs: IntArray, counts: Sequence[int]
    ) -> BoolArray:
        """Answer requests of many merges in one tensor program.

        Args:
            weights: Points on the simplex, (G, E).
            inputs: Global input ids, sorted by plan, (R,). Answers depend on who is asked together
                in the last bits only.
            counts: Requests per plan, (G,).

        Returns:
            Correct, (R,), in the order given.

        Raises:
            ShapeError: There are not E weights, an id is not in the pool, or counts do not fit.
        """
        self._check_inputs(inputs)
        if len(counts) != len(weights) or sum(counts) != len(inputs):
            raise ShapeError(
                f"{len(weights)} plans with {len(counts)} counts of {sum(counts)} requests, "
                f"found {len(inputs)}"
            )
        if not len(inputs):
            return np.zeros(0, np.bool_)
        merges = torch.from_numpy(np.asarray(weights, np.float32))
        return self._many.correct(merges, inputs, counts, self._labels)

    def profile(self, plan: Plan) -> PlanProfile:
        """Score a plan once over the whole service pool, in pool order, in blocks of 64.

        Returns:
            Experts visited by real tokens per (input, layer), zeros for plans that are not gated;
                correct; confidence.

        Raises:
            InputError: The plan names a gate or an expert that the checkpoint does not have.
        """
        if isinstance(plan, ByTask):
            return self._by_task(plan)
        if isinstance(plan, TopK | Blend):
            score = score_blend if isinstance(plan, Blend) else score_gated
            self._check_gate(plan)
            found = score(self._model, self._inputs, self._labels, plan.k)
            return PlanProfile(found.experts, found.correct, found.confidence)
        weights = merge_weights(plan, self.card.experts)
        if weights is None or len(weights) != self.card.experts or not sum(weights) > 0.0:
            raise InputError(f"plan {plan}: the checkpoint has {self.card.experts} experts")
        correct, confidence = self.score_merged(weights, self._pool)
        masks = np.zeros((len(self._labels), self.card.layers), np.uint64)
        return PlanProfile(masks, correct, confidence)

    def _check_gate(self, plan: TopK | Blend) -> None:
        if isinstance(plan, TopK) and plan.gate not in GATES:
            raise InputError(f"gate {plan.gate!r}: this checkpoint has {', '.join(GATES)}")

    def _by_task(self, plan: ByTask) -> PlanProfile:
        """Answer each input by the expert of its cluster or task, as that expert alone does."""
        tags, kinds = self.task_of, len(self.card.tasks)
        if plan.tags == "cluster":
            tags, kinds = self.cluster_of, self.card.clusters
        if len(plan.experts) != kinds or not all(0 <= e < self.card.experts for e in plan.experts):
            raise InputError(
                f"{plan}: expected one of {self.card.experts} experts for each of {kinds}"
                f" {plan.tags}s"
            )
        expert = np.array(plan.experts)[tags]
        correct, confidence = np.zeros(len(tags), np.bool_), np.zeros(len(tags))
        for e in np.unique(expert).tolist():
            mine = expert == e
            right, sure = self.score_merged(_vertex(e, self.card.experts), self._pool)
            correct[mine], confidence[mine] = right[mine], sure[mine]
        masks = np.left_shift(np.uint64(1), expert.astype(np.uint64))
        return PlanProfile(np.repeat(masks[:, None], self.card.layers, 1), correct, confidence)

    def score_batch(self, plan: TopK, inputs: IntArray) -> BoolArray:
        """Answer the requests of one real batch under a plan whose experts take only so many.

        Args:
            plan: Top-k with a capacity.
            inputs: Global input ids of the whole batch in its order, (R,).

        Raises:
            InputError: The plan has no capacity, or names a gate or experts that are not there.
        """
        self._check_gate(plan)
        if plan.capacity is None:
            raise InputError(f"{plan} answers every request by itself; see `profile`")
        rows = torch.from_numpy(np.ascontiguousarray(inputs, np.int64))
        return score_batch(
            self._model, self._inputs[rows], self._labels[rows], plan.k, plan.capacity
        )

    def task_accuracy(self, weights: Sequence[float], task: int) -> float:
        """Return a merge's exact accuracy over one task's service inputs.

        Raises:
            InputError: There is no such task.
            ShapeError: There are not E weights.
        """
        sizes = self.card.pool_sizes
        if not 0 <= task < len(sizes):
            raise InputError(f"task: expected 0..{len(sizes) - 1}, found {task}")
        start = sum(sizes[:task])
        inputs = self._pool[start : start + sizes[task]]
        return float(self.score_plans([weights], inputs, [len(inputs)]).mean())


def _vertex(expert: int, experts: int) -> tuple[float, ...]:
    return tuple(1.0 if e == expert else 0.0 for e in range(experts))
