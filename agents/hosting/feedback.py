"""Outcomes on their way back to the router that caused them: delayed, partial, grouped."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np

from sim.ports import FeedbackBlock
from sim.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sim.arrays import BoolArray, FloatArray, IntArray
    from sim.plans import Plan

NOBODY = (
    -1
)  # row of an outcome that no router will ever hear of: a fixed plan's, or from before a restart


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Audited requests of one block, as parallel arrays."""

    id: IntArray
    row: IntArray  # index into the block's routed nodes, or NOBODY
    decided: IntArray  # slot of the decision that served it, -1: the start plan
    cluster: IntArray
    reward: FloatArray  # 1 right, 0 wrong; anything that a fault or a broken model makes of it

    @classmethod
    def none(cls) -> Outcomes:
        """Return no outcomes."""
        empty = np.zeros(0, np.int64)
        return cls(empty, empty, empty, empty, np.zeros(0))

    def __len__(self) -> int:
        return len(self.id)

    def pick(self, rows: IntArray | BoolArray) -> Outcomes:
        """Return some of the outcomes (copies, never views of what the engine sent)."""
        return Outcomes(*(getattr(self, field.name)[rows] for field in fields(self)))

    def join(self, other: Outcomes) -> Outcomes:
        """Return these outcomes followed by others."""
        names = [field.name for field in fields(self)]
        return Outcomes(*(np.concatenate((getattr(self, n), getattr(other, n))) for n in names))


class Pending:
    """The audited outcomes of one block whose feedback is not due yet."""

    def __init__(self, rows: int) -> None:
        self._held = Outcomes.none()
        # slot of a row's last reset; one entry more, which NOBODY finds
        self._restarted = np.zeros(rows + 1, np.int64)

    def add(self, outcomes: Outcomes) -> None:
        """Hold outcomes; those of decisions from before their node's restart will reach nobody."""
        # the start plan (-1) is what a cold node runs again after a restart, so it is never stale
        stale = (outcomes.decided >= 0) & (outcomes.decided < self._restarted[outcomes.row])
        row = np.where(stale, NOBODY, outcomes.row)
        self._held = self._held.join(replace(outcomes, row=row))

    def reset(self, row: int, slot: int) -> None:
        """Drop what a router that restarted at a boundary was still to hear."""
        self._restarted[row] = slot
        kept = np.where(self._held.row == row, NOBODY, self._held.row)
        self._held = replace(self._held, row=kept)

    def void(self, row: int, clusters: BoolArray) -> None:
        """Drop what a router was still to hear of clusters that mean something else now.

        An outcome keeps the cluster that its request was assigned to; one of a cluster's old
        meaning must not teach the new one.

        Args:
            row: Of the router.
            clusters: Which ones, (V,).
        """
        gone = (self._held.row == row) & clusters[self._held.cluster]
        self._held = replace(self._held, row=np.where(gone, NOBODY, self._held.row))

    def forget(self, lost: IntArray) -> None:
        """Stop holding outcomes that will never be due."""
        if len(lost):
            self._held = self._held.pick(~np.isin(self._held.id, lost))

    def take(self, due: IntArray) -> Outcomes:
        """Remove and return the held outcomes among the ids due, by ascending id."""
        ready = np.isin(self._held.id, due)
        taken = self._held.pick(ready)
        self._held = self._held.pick(~ready)
        return taken.pick(np.argsort(taken.id, kind="stable"))


def sound(reward: FloatArray) -> BoolArray:
    """Tell which numbers are rewards: finite and in [0, 1] (NaN compares as false)."""
    good: BoolArray = (reward >= 0.0) & (reward <= 1.0)
    return good


def refuse(due: Outcomes, nodes: IntArray) -> tuple[Outcomes, list[Refusal]]:
    """Take out outcomes whose reward is none; the others reach their routers all the same.

    Args:
        due: Feedback due in this slot, by ascending id.
        nodes: Routed nodes of the block by row.

    Returns:
        The rest, and by ascending row what a router would have been told.
    """
    good = sound(due.reward)
    if good.all():
        return due, []
    bad = due.pick(~good)
    told = np.unique(bad.row[bad.row != NOBODY]).tolist()
    refused = [
        Refusal(int(nodes[row]), int((bad.row == row).sum()), float(bad.reward[bad.row == row][-1]))
        for row in told
    ]
    return due.pick(good), refused


def screen(
    feedback: FeedbackBlock | None, nodes: IntArray
) -> tuple[FeedbackBlock | None, list[Refusal]]:
    """Take out rows that no router may be told, whatever made them.

    Args:
        feedback: What `group` returned.
        nodes: Routed nodes of the block by row.

    Returns:
        The rest, None if nothing is left; and what was taken out, by ascending node row.
    """
    if feedback is None:
        return None, []
    entries = sound(feedback.reward) & (feedback.count >= 0.0) & np.isfinite(feedback.count)
    good = entries.all(axis=1)
    if good.all():
        return feedback, []
    refused = [
        Refusal(int(nodes[feedback.row[i]]), 1, float(feedback.reward[i][~entries[i]][-1]))
        for i in np.flatnonzero(~good).tolist()
    ]
    if not good.any():
        return None, refused
    kept = replace(
        feedback,
        row=feedback.row[good],
        decided=feedback.decided[good],
        plans=tuple(feedback.plans[i] for i in np.flatnonzero(good).tolist()),
        reward=feedback.reward[good],
        count=feedback.count[good],
    )
    return kept, refused


def group(
    outcomes: Outcomes,
    slot: int,
    clusters: int,
    plans: Mapping[tuple[int, int], Plan],
    *,
    pooled: bool = False,
) -> FeedbackBlock | None:
    """Average outcomes per (row, decision) and estimated cluster.

    Args:
        outcomes: Feedback due in this slot.
        slot: Boundary at which it is handed over.
        clusters: V.
        plans: The plan behind each (row, slot of the decision).
        pooled: Tell a row's overall mean in every column with a count (scalar feedback).

    Returns:
        Rows sorted by node row, then decision; None when no router is to hear anything.
    """
    heard = outcomes.pick(outcomes.row != NOBODY)
    if not len(heard):
        return None
    pairs = np.stack((heard.row, heard.decided), axis=1)
    keys, inverse = np.unique(pairs, axis=0, return_inverse=True)
    where = (inverse.ravel(), heard.cluster)
    count: FloatArray = np.zeros((len(keys), clusters))
    right: FloatArray = np.zeros((len(keys), clusters))
    np.add.at(count, where, 1.0)
    np.add.at(right, where, heard.reward)
    row, decided = keys[:, 0].copy(), keys[:, 1].copy()
    return FeedbackBlock(
        slot=slot,
        row=row,
        decided=decided,
        plans=tuple(plans[r, d] for r, d in zip(row.tolist(), decided.tolist(), strict=True)),
        reward=_means(right, count, pooled),
        count=count,
    )


def _means(right: FloatArray, count: FloatArray, pooled: bool) -> FloatArray:
    if pooled:
        mean = right.sum(axis=1, keepdims=True) / count.sum(axis=1, keepdims=True)
        return np.where(count > 0, mean, 0.0)
    means: FloatArray = np.divide(right, count, out=np.zeros_like(right), where=count > 0)
    return means
