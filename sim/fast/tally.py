"""Counts requests as `sim.totals` does, in one compiled loop over the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sim.fast.jit import jit
from sim.totals import BINS, COARSE, FINE, FIRST, SHIFT, Tally

if TYPE_CHECKING:
    from sim.arrays import AnyArray, FloatArray, IntArray
    from sim.records import Table
    from sim.stability import Levels


class _Rows(NamedTuple):
    """Columns of the table `requests`, (n,) each."""

    server: AnyArray
    t_emit_s: FloatArray
    t_enqueue_s: FloatArray
    t_finish_s: FloatArray
    t_return_s: FloatArray
    deadline_s: FloatArray
    drop: AnyArray
    correct: AnyArray


class _Levels(NamedTuple):
    """What `sim.stability.Levels` counts, and where."""

    at_s: FloatArray  # (100,)
    changes: IntArray  # (nodes, 101)
    arrivals: IntArray  # (nodes,)
    duration_s: float


def tally(group: IntArray, rows: Table, into: Tally, levels: Levels) -> None:
    """Count rows of the table `requests`.

    Args:
        group: Each row's group, (n,).
        rows: Columns of the schema, (n,) each.
        into: Counts by group.
        levels: Counts by node.
    """
    columns = _Rows(*(np.ascontiguousarray(rows[name]) for name in _Rows._fields))
    _count(group, columns, into)
    _level(columns, _Levels(levels.at, levels.changes, levels.arrivals, levels.duration_s))


@jit
def _count(group: IntArray, rows: _Rows, into: Tally) -> None:
    bits = rows.t_return_s - rows.t_emit_s
    numbers = bits.view(np.int64)
    for i in range(len(group)):
        counts, took_s = into.counts[group[i]], bits[i]
        back = np.isfinite(took_s)
        bound = np.isfinite(rows.deadline_s[i])
        timely = back and (not bound or took_s <= rows.deadline_s[i])
        right = rows.correct[i] == 1
        counts[0] += 1
        counts[1] += back
        counts[2] += timely
        counts[3] += rows.drop[i] >= 0 or (bound and not timely)
        counts[4] += rows.correct[i] >= 0
        counts[5] += right
        counts[6] += timely and right
        if rows.drop[i] >= 0:
            into.drops[group[i], rows.drop[i]] += 1
        if back:
            place = min(max((numbers[i] >> SHIFT) - FIRST, 0), BINS - 1)
            _time(group[i], place, took_s, into)


@jit
def _time(group: int, place: int, took_s: float, into: Tally) -> None:
    into.bins[group, place] += 1
    coarse = np.floor(took_s * COARSE)
    into.sums[group, 0] += int(coarse)
    into.sums[group, 1] += int(np.floor((took_s * COARSE - coarse) * FINE + 0.5))
    extremes = into.extremes[group]
    extremes[0] = min(extremes[0], took_s)
    extremes[1] = max(extremes[1], took_s)


@jit
def _level(rows: _Rows, levels: _Levels) -> None:
    at_s = levels.at_s
    for i in range(len(rows.drop)):
        enter_s = rows.t_enqueue_s[i]
        if rows.drop[i] >= 0 or not np.isfinite(enter_s):
            continue
        node = rows.server[i]
        levels.changes[node, _place(at_s, enter_s)] += 1
        levels.changes[node, _place(at_s, rows.t_finish_s[i])] -= 1
        levels.arrivals[node] += enter_s <= levels.duration_s


@jit
def _place(at_s: FloatArray, t_s: float) -> int:
    """Return the first of equally spaced instants that is not before a time; NaN: behind all."""
    last = len(at_s)
    if not t_s <= at_s[-1]:
        return last
    place = min(int(t_s / at_s[-1] * last), last - 1)
    while at_s[place] < t_s:
        place += 1
    while place > 0 and at_s[place - 1] >= t_s:
        place -= 1
    return place
