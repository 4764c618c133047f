"""Which served requests were answered right, block by block.

Rows of one forward pass may depend on their neighbours in the last bit, so what is scored together
is part of the result. It is decided by a block's own history only: never by the shard that the
block lives in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim.plans import Plan, Single, TopK, is_gated, limited, merge_weights

if TYPE_CHECKING:
    from agents.hosting.model import HostedModel, Weights
    from sim.arrays import BoolArray, FloatArray, IntArray
    from sim.ports import NewPlan, PlanProfile


class PoolScores:
    """Plans scored once over the whole service pool in pool order; one cache per shard.

    A cache may be shared by blocks, because what it holds depends on the plan alone.
    """

    def __init__(self, model: HostedModel) -> None:
        self._model = model
        self._profiles: dict[Plan, PlanProfile] = {}
        self._merged: dict[Weights, BoolArray] = {}
        self._accuracy: dict[Plan | Weights, FloatArray] = {}
        self._pool = np.arange(model.card.pool_size, dtype=np.int64)

    def profile(self, plan: Plan) -> PlanProfile:
        """Return the profile of a gated plan."""
        if plan not in self._profiles:
            self._profiles[plan] = self._model.profile(plan)
        return self._profiles[plan]

    def correct(self, plan: Plan) -> BoolArray:
        """Return which inputs of the pool a plan answers right, (P,)."""
        weights = merge_weights(plan, self._model.card.experts)
        if weights is None:
            return self.profile(plan).correct
        if weights not in self._merged:
            self._merged[weights] = self._model.score_merged(weights, self._pool)[0]
        return self._merged[weights]

    def accuracy(self, plan: Plan) -> FloatArray:
        """Return a plan's accuracy by hidden task, exact over the pool, (M,)."""
        key = merge_weights(plan, self._model.card.experts) or plan
        if key not in self._accuracy:
            sizes = np.asarray(self._model.card.pool_sizes)
            right = np.bincount(self._model.task_of[self.correct(plan)], minlength=len(sizes))
            self._accuracy[key] = right / np.maximum(sizes, 1)
        return self._accuracy[key]


class BlockScorer:
    """Scores the requests of one block and remembers which plans it has scored over the whole pool.

    Gated plans, start and fixed plans, single experts and the uniform merge are looked up in the
    pool's scores. Any other merge is scored request by request until it has paid for a whole pool,
    and is looked up from then on. A plan whose experts take only so many tokens is scored batch by
    batch, since what it answers depends on who is in the batch.
    """

    def __init__(self, model: HostedModel, pool: PoolScores) -> None:
        self._model, self._pool = model, pool
        self._asked: dict[Weights, int] = {}
        self._pooled: set[Weights] = set()
        self._realised: dict[TopK, IntArray] = {}  # (2, M), wrong and right answers

    def score(self, new: NewPlan, inputs: IntArray, batch: IntArray) -> BoolArray:
        """Return the correctness of one node's requests under one plan, (R,).

        Args:
            new: The plan.
            inputs: What was asked, by request id.
            batch: Ids of the batches; a batch is here as a whole.
        """
        if isinstance(new.plan, TopK) and limited(new.plan):
            return self._by_batch(new.plan, inputs, batch)
        weights = merge_weights(new.plan, self._model.card.experts)
        if weights is None or self._look_up(new, weights, len(inputs)):
            return self._pool.correct(new.plan)[inputs]
        return self._model.score_merged(weights, inputs)[0]

    def _by_batch(self, plan: TopK, inputs: IntArray, batch: IntArray) -> BoolArray:
        correct = np.zeros(len(inputs), np.bool_)
        for each in np.unique(batch).tolist():
            rows = np.flatnonzero(batch == each)
            correct[rows] = self._model.score_batch(plan, inputs[rows])
        tasks = len(self._model.card.tasks)
        seen = self._realised.setdefault(plan, np.zeros((2, tasks), np.int64))
        np.add.at(seen, (correct.astype(np.int64), self._model.task_of[inputs]), 1)
        return correct

    def realised(self, plan: TopK) -> FloatArray:
        """Return the accuracy by task that a plan has had in this block so far, (M,).

        NaN for tasks that it has not served.
        """
        wrong, right = self._realised.get(plan, np.zeros((2, len(self._model.card.tasks))))
        asked = wrong + right
        rate: FloatArray = np.full(len(asked), np.nan)
        return np.divide(right, asked, out=rate, where=asked > 0)

    def knows(self, plan: Plan) -> bool:
        """Tell whether this block looks a plan up, so that its accuracy costs nothing more."""
        if is_gated(plan):
            return True
        return merge_weights(plan, self._model.card.experts) in self._pooled

    def _look_up(self, new: NewPlan, weights: Weights, requests: int) -> bool:
        if weights in self._pooled:
            return True
        asked = self._asked.get(weights, 0)
        self._asked[weights] = asked + requests
        paid = asked >= self._model.card.pool_size
        if paid or new.decided < 0 or isinstance(new.plan, Single) or len(set(weights)) == 1:
            self._pooled.add(weights)
            return True
        return False
