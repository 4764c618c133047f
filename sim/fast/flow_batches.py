"""Batch ids in a flow pass: by start of service, ties by request, as `sim.request` gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sim.arrays import FloatArray, IntArray
    from sim.fast.flow_step import Step


class Batches:
    """Numbers services in the order of their starts, step by step (every request is a batch).

    Attributes:
        running: Ids of batches by request in the fleet, in the order of `Stayed`; -1: it waits.
    """

    def __init__(self) -> None:
        self.running = np.empty(0, np.int64)
        self._first = 0

    def ids(self, step: Step) -> IntArray:
        """Return the batch of each request that came to its end in a step, (n,); -1: none.

        Args:
            step: The next one.
        """
        done, stayed, olds = step.retired.done, step.stayed, len(self.running)
        ended, stays = (self._earlier(row, olds) for row in (done["row"], stayed.row))
        # whoever runs and has no number yet started in this step
        began = np.flatnonzero((ended < 0) & ~np.isnan(done["start_s"]))
        runs = np.flatnonzero((stays < 0) & ~np.isnan(stayed.start_s))
        start_s = np.concatenate([done["start_s"][began], stayed.start_s[runs]])
        request = np.concatenate([step.retired.id[began], stayed.id[runs]])
        number = self._first + _rank(start_s, request)
        ended[began], stays[runs] = number[: len(began)], number[len(began) :]
        self.running, self._first = stays, self._first + len(number)
        return ended

    def _earlier(self, row: IntArray, olds: int) -> IntArray:
        """Return the batches of those whose service started in a step before, -1: it did not."""
        batch = np.full(len(row), -1)
        old = np.flatnonzero(row < olds)
        batch[old] = self.running[row[old]]
        return batch


def _rank(start_s: FloatArray, request: IntArray) -> IntArray:
    """Return everybody's place in the order of (start, request)."""
    order = np.argsort(start_s)
    in_order = start_s[order]
    if (in_order[1:] == in_order[:-1]).any():
        order = np.lexsort([request, start_s])
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank
