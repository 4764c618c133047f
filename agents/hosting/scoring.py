"""Which served requests were answered right, block by block.

Rows of one forward pass may depend on their neighbours in the last bit, so what is scored together
is part of the result. It is decided by a block's own history only: never by the shard that the
block lives in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from agents.hosting.model import ManyPlans
from sim.plans import Plan, Single, TopK, is_gated, limited, merge_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

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


class Asked(NamedTuple):
    """What one node was asked under one plan."""

    new: NewPlan
    inputs: IntArray  # (R,), by request id
    batch: IntArray  # (R,), ids of the batches; a batch is here as a whole


class Answers:
    """Answers of merges that were given before, so that no merge answers an input twice.

    Only merges asked at the last boundary are kept: one out of force seldom comes back. Keys are
    (place of the merge) * P + input.
    """

    def __init__(self, model: HostedModel) -> None:
        self._model, self._size = model, model.card.pool_size
        self._place: dict[Weights, int] = {}
        self._key: IntArray = np.zeros(0, np.int64)  # ascending
        self._reward: FloatArray = np.zeros(0)

    def ask(self, merges: Sequence[Weights], inputs: IntArray, counts: Sequence[int]) -> FloatArray:
        """Return the correctness of requests, (R,); each distinct input is answered once.

        Args:
            merges: Distinct merges, (G,).
            inputs: Sorted by merge, (R,).
            counts: Requests per merge, (G,).
        """
        self._keep({weights: place for place, weights in enumerate(merges)})
        asked = np.repeat(np.arange(len(merges)) * self._size, counts) + inputs
        keys, inverse = np.unique(asked, return_inverse=True)
        fresh = keys[~np.isin(keys, self._key, assume_unique=True)]
        if len(fresh):
            self._learn(merges, fresh)
        at = np.asarray(np.searchsorted(self._key, keys))
        reward: FloatArray = self._reward[at[inverse.ravel()]]
        return reward

    def _keep(self, place: dict[Weights, int]) -> None:
        """Forget merges that are not asked now, and rename the others."""
        moved = np.array([place.get(weights, -1) for weights in self._place], np.int64)
        old: IntArray = moved[self._key // self._size] if len(moved) else self._key
        key, reward = (old * self._size + self._key % self._size)[old >= 0], self._reward[old >= 0]
        order = np.argsort(key)
        self._place, self._key, self._reward = place, key[order], reward[order]

    def _learn(self, merges: Sequence[Weights], keys: IntArray) -> None:
        """Let the model answer what is not known, by merge and input, both ascending."""
        counts = np.bincount(keys // self._size, minlength=len(merges)).tolist()
        reward = score_plans(self._model, merges, keys % self._size, counts)
        key, told = np.append(self._key, keys), np.append(self._reward, reward)
        order = np.argsort(key)
        self._key, self._reward = key[order], told[order]


def score_plans(
    model: HostedModel, merges: Sequence[Weights], inputs: IntArray, counts: Sequence[int]
) -> FloatArray:
    """Return the correctness of requests sorted by merge, (R,).

    A model that offers `score_plans` answers all merges of a block at once, others one by one.
    """
    if isinstance(model, ManyPlans):
        return np.asarray(model.score_plans(merges, inputs, counts), np.float64)
    ends = np.cumsum(counts).tolist()
    parts = [
        model.score_merged(weights, inputs[end - count : end])[0]
        for weights, count, end in zip(merges, counts, ends, strict=True)
        if count
    ]
    return np.concatenate([np.zeros(0), *parts])


class BlockScorer:
    """Scores the requests of one block and remembers which plans it has scored over the whole pool.

    Gated plans, start and fixed plans, single experts and the uniform merge are looked up in the
    pool's scores. Any other merge is scored input by input until it has paid for a whole pool, and
    is looked up from then on; all such merges of a block are scored together, an input once. A
    plan whose experts take only so many tokens is scored batch by batch, since what it answers
    depends on who is in the batch.
    """

    def __init__(self, model: HostedModel, pool: PoolScores) -> None:
        self._model, self._pool = model, pool
        self._asked: dict[Weights, int] = {}
        self._pooled: set[Weights] = set()
        self._realised: dict[TopK, IntArray] = {}  # (2, M), wrong and right answers
        self._answers = Answers(model)

    def score(self, asked: Sequence[Asked]) -> list[FloatArray]:
        """Return the correctness of what a block was asked since the last boundary.

        Args:
            asked: By node and plan.
        """
        found: list[FloatArray] = [np.zeros(0)] * len(asked)
        merges: dict[Weights, list[int]] = {}
        for i, each in enumerate(asked):
            weights = self._to_ask(each)
            if weights is None:
                found[i] = self._known(each)
            else:
                merges.setdefault(weights, []).append(i)
        reward = self._ask(merges, asked)
        order = [i for places in merges.values() for i in places]
        ends = np.cumsum([len(asked[i].inputs) for i in order]).tolist()
        for i, end in zip(order, ends, strict=True):
            found[i] = reward[end - len(asked[i].inputs) : end]
        return found

    def _ask(self, merges: dict[Weights, list[int]], asked: Sequence[Asked]) -> FloatArray:
        """Ask merges for the inputs of their places in `asked`; return their answers in a row."""
        none = np.zeros(0, np.int64)
        parts = [np.concatenate([none, *(asked[i].inputs for i in m)]) for m in merges.values()]
        inputs = np.concatenate([none, *parts])
        return self._answers.ask(list(merges), inputs, [len(part) for part in parts])

    def _to_ask(self, asked: Asked) -> Weights | None:
        """Return the merge that the model must be asked, None where the answers are known."""
        if isinstance(asked.new.plan, TopK) and limited(asked.new.plan):
            return None
        weights = merge_weights(asked.new.plan, self._model.card.experts)
        if weights is None or self._look_up(asked.new, weights, len(asked.inputs)):
            return None
        return weights

    def _known(self, asked: Asked) -> FloatArray:
        plan = asked.new.plan
        if isinstance(plan, TopK) and limited(plan):
            return self._by_batch(plan, asked.inputs, asked.batch).astype(np.float64)
        return self._pool.correct(plan)[asked.inputs].astype(np.float64)

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
