"""The tables of a checkpoint: what routers may know beforehand, and what only an oracle may."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from sim.arrays import AnyArray, FloatArray, IntArray
from sim.errors import InputError
from sim.ports import Calibration

if TYPE_CHECKING:
    from agents.moe.train import Progress
    from sim.rng import Streams

Count = Callable[[FloatArray], IntArray]  # merge weights (E,) -> right answers per task (M,)

_PAIR_STEPS = 8  # pairs are tried at eighths
_DRAWN_SHARE = 0.05  # of the rows after the fixed ones; the rest is local search
_ALPHAS = (0.3, 1.0)
_PARENTS = 8
_WIDE, _FINE = 0.2, 0.03  # spread of the first and the last proposal
_MOVED_ACTIVE, _MOVED_OTHER = 0.6, 0.1  # chance that a coordinate is disturbed


def vertices(experts: int) -> FloatArray:
    """Return the single experts, (E, E)."""
    return np.eye(experts)


def calibration_weights(experts: int) -> FloatArray:
    """Return the warm start: vertices, uniform, all pair averages, (1 + E + E(E-1)/2, E)."""
    eye = vertices(experts)
    pairs = [(eye[a] + eye[b]) / 2.0 for a, b in combinations(range(experts), 2)]
    return np.stack([*eye, np.full(experts, 1.0 / experts), *pairs])


def count_by_group(hits: AnyArray, group: IntArray, groups: int) -> IntArray:
    """Count right answers per group; hits (C, P), group (P,) -> (C, groups)."""
    return np.stack([np.bincount(group, row, groups) for row in hits]).astype(np.int64)


def warm_start(weights: AnyArray, correct: AnyArray, count: AnyArray) -> Calibration:
    """Turn counts into what routers may know beforehand.

    A cluster without items has count 0 and each merge's mean over all items as its reward.

    Args:
        weights: Merges, (C, E).
        correct: Right answers, (C, V).
        count: Items per cluster, (V,), some positive.
    """
    items = count.astype(np.float64)
    mean = correct.sum(1, keepdims=True) / items.sum()
    reward = np.where(items > 0.0, correct / np.maximum(items, 1.0), mean)
    return Calibration(weights.astype(np.float64), reward, items, items / items.sum())


def oracle_table(
    count: Count, experts: int, rows: int, streams: Streams, progress: Progress
) -> tuple[FloatArray, IntArray]:
    """Count right answers of many merges.

    Vertices, uniform, pairs, triples, Dirichlet draws, then local search for random mixes.

    Args:
        count: Exact number of right answers per task of one merge, on the service split.
        experts: E; there are as many tasks.
        rows: Rows in the table, at least those of `calibration_weights`.
        streams: Seeds the draws.
        progress: Called with ("oracle", done, rows).

    Returns:
        Weights (rows, E), rounded to float32 as stored, and counts (rows, M).

    Raises:
        InputError: Too few rows are asked for.
    """
    fixed = _fixed(experts)
    least = len(calibration_weights(experts))
    if rows < least:
        raise InputError(f"oracle: expected at least {least} candidates, found {rows}")
    table = _Table(count, rows, progress)
    drawn = int(max(0, rows - len(fixed)) * _DRAWN_SHARE)
    for weights in (*fixed, *_draws(experts, drawn, streams)):
        table.add(weights)
    _search(table, rows, experts, streams.stream("oracle", "search"))
    return np.stack(table.weights), np.stack(table.counts)


class _Table:
    """Rows evaluated so far, up to a fixed number."""

    def __init__(self, count: Count, rows: int, progress: Progress) -> None:
        self._count, self._rows, self._progress = count, rows, progress
        self.weights: list[FloatArray] = []
        self.counts: list[IntArray] = []

    @property
    def full(self) -> bool:
        """Tell whether the table has all its rows."""
        return len(self.weights) >= self._rows

    def add(self, weights: FloatArray) -> None:
        """Evaluate a merge, unless the table is full."""
        if self.full:
            return
        stored = weights.astype(np.float32).astype(np.float64)
        self.weights.append(stored)
        self.counts.append(self._count(stored))
        self._progress("oracle", len(self.weights), self._rows)

    def best(self, mix: FloatArray, n: int) -> list[FloatArray]:
        """Return the n best merges for a mix, best first."""
        order = np.argsort(-(np.stack(self.counts) @ mix), kind="stable")
        return [self.weights[i] for i in order[:n]]


def _fixed(experts: int) -> list[FloatArray]:
    """Return the calibration rows, pairs at eighths, triples even and with one expert doubled."""
    eye, rows = vertices(experts), list(calibration_weights(experts))
    for a, b in combinations(range(experts), 2):
        steps = [s / _PAIR_STEPS for s in range(1, _PAIR_STEPS) if 2 * s != _PAIR_STEPS]
        rows += [(1.0 - u) * eye[a] + u * eye[b] for u in steps]
    for members in combinations(range(experts), 3):
        even = eye[list(members)].sum(0)
        rows += [even / 3.0, *((even + eye[e]) / 4.0 for e in members)]
    return rows


def _draws(experts: int, n: int, streams: Streams) -> list[FloatArray]:
    """Draw n points of the simplex, sparse and even ones in turn."""
    rng = streams.stream("oracle", "draws")
    return [rng.dirichlet(np.full(experts, _ALPHAS[i % len(_ALPHAS)])) for i in range(n)]


def _search(table: _Table, rows: int, experts: int, rng: np.random.Generator) -> None:
    """Fill the table with proposals near the best merges so far, each for a fresh random mix.

    A row serves all mixes near its own: fresh mixes cover the simplex and refine each other.
    """
    first = len(table.weights)
    while not table.full:
        mix = _mix(experts, rng)
        done = (len(table.weights) - first) / (rows - first)
        table.add(_propose(table.best(mix, _PARENTS), mix, _width(done), rng))


def _width(done: float) -> float:
    """Return the spread of a proposal: wide at first, fine at the end."""
    return float(_WIDE * (_FINE / _WIDE) ** done)


def _mix(tasks: int, rng: np.random.Generator) -> FloatArray:
    """Draw a mix of one to four tasks, as edge nodes see them."""
    active = rng.choice(tasks, int(rng.integers(1, min(4, tasks) + 1)), replace=False)
    mix = np.zeros(tasks)
    mix[active] = rng.dirichlet(np.ones(len(active)))
    return mix


def _propose(
    parents: list[FloatArray], mix: FloatArray, width: float, rng: np.random.Generator
) -> FloatArray:
    """Blend two good merges and disturb some coordinates, mostly those of the mix's own experts."""
    a, b = (parents[int(i)] for i in rng.integers(len(parents), size=2))
    u = rng.random()
    moved = rng.random(len(a)) < np.where(mix > 0.0, _MOVED_ACTIVE, _MOVED_OTHER)
    # Cut at zero: good merges are sparse, and folding noise back would fill every coordinate.
    point = np.maximum(u * a + (1.0 - u) * b + rng.normal(0.0, width, len(a)) * moved, 0.0)
    blended: FloatArray = point / point.sum() if point.sum() > 0.0 else a
    return blended
