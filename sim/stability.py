"""Does a queue grow over the whole run? Number in system at 100 instants, and what it says.

A station is unstable when its number in system both keeps rising and rises by more than chance can
explain. The values were calibrated on M/M/1 queues (tests/analysis/test_stability.py has the rates
of both errors).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sim.arrays import AnyArray, BoolArray, FloatArray, IntArray
    from sim.records import Table

_SEGMENTS = 20
_SAMPLES_PER_SEGMENT = 5
SAMPLES = _SEGMENTS * _SAMPLES_PER_SEGMENT
_LEAST_ARRIVALS = 100
_LEAST_TAU = 0.6
_LEAST_SHARE = 0.01
_QUARTER = _SEGMENTS // 4


class Levels:
    """Counts who is in which node at 100 equally spaced instants up to the end of arrivals.

    Args:
        nodes: How many nodes there are; ids count from 0.
        duration_s: End of arrivals.
    """

    def __init__(self, nodes: int, duration_s: float) -> None:
        self.duration_s = duration_s
        self.at = duration_s * np.arange(1, SAMPLES + 1) / SAMPLES
        # change of a node's level from one instant to the next; the last column is after all
        self.changes = np.zeros((nodes, SAMPLES + 1), np.int64)
        self.arrivals = np.zeros(nodes, np.int64)

    def add(self, requests: Table) -> None:
        """Count rows of the table `requests`, in any order.

        Dropped requests are left out, since the tables do not say when they left.
        """
        kept = np.flatnonzero(np.isfinite(requests["t_enqueue_s"]) & (requests["drop"] < 0))
        node = requests["server"][kept].astype(np.int64)
        enter_s, leave_s = requests["t_enqueue_s"][kept], requests["t_finish_s"][kept]
        flat, width = self.changes.reshape(-1), SAMPLES + 1
        np.add.at(flat, node * width + self.at.searchsorted(enter_s), 1)
        # NaN sorts behind everything: who never left leaves after the last instant
        np.subtract.at(flat, node * width + self.at.searchsorted(leave_s), 1)
        np.add.at(self.arrivals, node[enter_s <= self.duration_s], 1)

    def growing(self) -> IntArray:
        """Return the nodes whose number in system keeps growing, sorted."""
        level = np.cumsum(self.changes[:, :-1], axis=1).astype(np.float64)
        return np.flatnonzero(grows(level, self.arrivals))


def grows(level: FloatArray, arrivals: AnyArray) -> BoolArray:
    """Tell which rows of levels grow all over the run, (n, 100) -> (n,).

    A row grows when Kendall's tau of the means of 20 segments is at least 0.6 (it keeps rising) and
    the last quarter exceeds the first by at least 1 % of the arrivals, (n,), and by their square
    root (a critically loaded station wanders that far by chance). Fewer than 100 arrivals prove
    nothing.

    Source: Kendall 1938 (tau). Deviation: none; the combination is calibrated, see the tests.
    """
    means = level.reshape(len(level), _SEGMENTS, _SAMPLES_PER_SEGMENT).mean(axis=2)
    rise = means[:, -_QUARTER:].mean(axis=1) - means[:, :_QUARTER].mean(axis=1)
    enough = np.maximum(_LEAST_SHARE * arrivals, np.sqrt(arrivals))
    found: BoolArray = (arrivals >= _LEAST_ARRIVALS) & (rise >= enough)
    for row in np.flatnonzero(found):
        found[row] = kendall_tau(means[row]) >= _LEAST_TAU
    return found


def kendall_tau(series: FloatArray) -> float:
    """Return Kendall's tau between a series and its order; ties count nothing."""
    early, late = np.triu_indices(len(series), 1)
    return float(np.sign(series[late] - series[early]).mean())
