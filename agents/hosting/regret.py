"""Best and expected reward of node-slots, measured after the run and never seen by a router.

Source: ours: max over merges w of A[w] . m minus A[plan that served] . m, m the mix served. A is
linear in m, so the maximum over a dense table of merges is the best merge for any mix. Deviation:
the table holds finitely many merges, so a plan may beat it by the table's spacing (measured: less
than a point of accuracy); a router's own cap on active experts is not applied to the best, so that
every policy has the same zero line and a capped one sees what its cap costs. A plan whose answers
depend on the batch (top-k with a capacity) has no accuracy per request; for it the expectation is
the rate of right answers by task that it has had in the block over the whole run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from sim.plans import Plan, TopK, limited, merge_weights
from sim.ports import AssessInput, AssessReply, NewPlan
from sim.rng import spawn_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from agents.hosting.block import Block
    from agents.hosting.model import HostedModel, Weights
    from agents.hosting.scoring import PoolScores
    from sim.arrays import BoolArray, FloatArray, IntArray

CHEAP = 64  # pairs (merge, task) that a block evaluates without sampling
_MANTISSA_BITS = 53
_ROWS = 32  # rows that are held against the table at once: more leave the cache


def sample_uniform(seed: int, slot: int, node: int) -> float:
    """Return the uniform in [0, 1) that decides whether a node-slot is in the regret sample.

    It depends on (seed, slot, node) only, so that every policy and every sharding samples the same
    node-slots.
    """
    high, low, *_ = spawn_key(seed, "regret", slot, node)
    word = (high << 32) | low
    return float((word >> (64 - _MANTISSA_BITS)) / (1 << _MANTISSA_BITS))


def table_rewards(table: FloatArray, mix: FloatArray) -> FloatArray:
    """Return the reward of every merge of a table in some rows, (rows, C).

    Added task by task in fixed pairs: a matrix product may round differently when other rows join,
    and how many there are depends on the shard.

    Args:
        table: Accuracies, (C, M).
        mix: Shares of the tasks, (rows, M).
    """
    columns = np.ascontiguousarray(table.T)
    parts: list[FloatArray] = [
        share[:, None] * column for share, column in zip(mix.T, columns, strict=True)
    ]
    while len(parts) > 1:
        pairs = [a + b for a, b in zip(parts[::2], parts[1::2], strict=False)]
        parts = pairs + parts[2 * len(pairs) :]
    return parts[0]


def _by_node(node: IntArray, wanted: BoolArray) -> Iterator[IntArray]:
    """Yield the wanted rows of each node, nodes and rows ascending."""
    rows = np.flatnonzero(wanted)
    order = rows[np.argsort(node[rows], kind="stable")]
    if len(order):
        yield from np.split(order, np.flatnonzero(np.diff(node[order])) + 1)


@dataclass(slots=True)
class Assessor:
    """Measures node-slots with the model itself; memoises accuracies by (merge, task)."""

    model: HostedModel
    pool: PoolScores
    seed: int
    sample: float
    _memo: dict[tuple[Weights, int], float] = field(default_factory=dict)

    def assess(
        self, query: AssessInput, blocks: Sequence[Block], plans: Mapping[int, NewPlan]
    ) -> AssessReply:
        """Measure the rows of all blocks of a shard."""
        rows = len(query.row_slot)
        expected = np.full(rows, np.nan)
        for block in blocks:
            entries = np.flatnonzero(np.isin(query.row_node[query.entry_row], block.nodes))
            self._expect(_Part.of(query, entries, plans), query, block, expected)
        return AssessReply(*self._against_table(query, expected))

    def _against_table(
        self, query: AssessInput, expected: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return, per row, the best reward, the expected, and that of the best fixed merge.

        The last is the one merge that is best for all rows of the node, in hindsight.
        """
        best, fixed = np.full((2, len(query.row_slot)), np.nan)
        if self.model.oracle is None:
            return best, expected, fixed
        mix, table = self._mixes(query), self.model.oracle.accuracy
        for rows in _by_node(query.row_node, np.isfinite(mix[:, 0])):
            total = np.zeros(len(table))
            for part in np.split(rows, range(_ROWS, len(rows), _ROWS)):
                reward = table_rewards(table, mix[part])
                best[part] = reward.max(axis=1)
                for each in reward:
                    total += each
            fixed[rows] = (table[int(total.argmax())] * mix[rows]).sum(axis=1)
        return best, expected, fixed

    def _mixes(self, query: AssessInput) -> FloatArray:
        """Return the mix served in each row, (rows, M), NaN without service."""
        mix = np.zeros((len(query.row_slot), len(self.model.card.tasks)))
        np.add.at(mix, (query.entry_row, query.entry_task), query.entry_count)
        total = mix.sum(axis=1, keepdims=True)
        shares: FloatArray = np.divide(mix, total, out=np.full_like(mix, np.nan), where=total > 0)
        return shares

    def _expect(self, part: _Part, query: AssessInput, block: Block, expected: FloatArray) -> None:
        known = np.array([block.scorer.knows(plan) for plan in part.plan], np.bool_)
        chosen = self._chosen(part, query, known)
        for row in np.unique(part.row[chosen]).tolist():
            first, last = np.searchsorted(part.row, (row, row + 1)).tolist()
            entries = range(first, last)
            value = np.array([self._accuracy(part, e, block, bool(known[e])) for e in entries])
            count = part.count[first:last]
            expected[row] = (value * count).sum() / count.sum()

    def _chosen(self, part: _Part, query: AssessInput, known: BoolArray) -> BoolArray:
        """Choose entries: all of a block or node that costs little, else those of sampled rows.

        A node is chosen as a whole or sampled as a whole; choosing its cheap slots only would bias
        its mean.
        """
        experts = self.model.card.experts
        costly = np.flatnonzero(~known).tolist()
        pairs = {(merge_weights(part.plan[e], experts), int(part.task[e])) for e in costly}
        if len(pairs) <= CHEAP:
            return np.ones(len(known), np.bool_)
        node = query.row_node[part.row]
        drawn = {row: self._drawn(query, row) for row in np.unique(part.row).tolist()}
        sampled = np.array([drawn[row] for row in part.row.tolist()], np.bool_)
        return sampled | ~np.isin(node, node[~known])

    def _drawn(self, query: AssessInput, row: int) -> bool:
        slot, node = int(query.row_slot[row]), int(query.row_node[row])
        return sample_uniform(self.seed, slot, node) < self.sample

    def _accuracy(self, part: _Part, entry: int, block: Block, known: bool) -> float:
        plan, task = part.plan[entry], int(part.task[entry])
        if isinstance(plan, TopK) and limited(plan):
            return float(block.scorer.realised(plan)[task])
        weights = merge_weights(plan, self.model.card.experts)
        if known or weights is None:
            return float(self.pool.accuracy(plan)[task])
        if (weights, task) not in self._memo:
            self._memo[weights, task] = float(self.model.task_accuracy(weights, task))
        return self._memo[weights, task]


@dataclass(frozen=True, slots=True)
class _Part:
    """The entries of one block, in the query's order: sorted by row."""

    row: IntArray
    plan: Sequence[Plan]
    task: IntArray
    count: IntArray

    @classmethod
    def of(cls, query: AssessInput, entries: IntArray, plans: Mapping[int, NewPlan]) -> _Part:
        return cls(
            query.entry_row[entries],
            [plans[plan].plan for plan in query.entry_plan[entries].tolist()],
            query.entry_task[entries],
            query.entry_count[entries],
        )
