"""The tables of a checkpoint: what routers may know beforehand, and what only an oracle may."""

from __future__ import annotations

import math
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
_MOVED_ACTIVE, _MOVED_OTHER = 0.6, 0.1  # chance that a coordinate is disturbed, own or other


def vertices(experts: int) -> FloatArray:
    """Return the single experts, (E, E)."""
    return np.eye(experts)


def task_experts(tasks: int, experts: int) -> FloatArray:
    """Return which experts each task's items trained, rows even and of sum 1, (M, E).

    Task t trained t, t + M, t + 2M and so on; with one expert per task this is the identity.
    """
    parts = experts // tasks
    return np.tile(vertices(tasks), (1, parts)) / parts


def calibration_weights(teams: FloatArray) -> FloatArray:
    """Return the warm start: vertices, uniform, and averages of pairs of teams, (C, E).

    Whoever trained the experts knows which were trained together, on what was never told apart in
    the inputs. All pairs of many experts would be too many to measure; with one expert per task
    teams are experts, and C is 1 + E + E(E-1)/2. Larger teams' own averages come before the pairs.

    Args:
        teams: `task_experts`, (M, E).
    """
    tasks, experts = teams.shape
    own = [] if tasks == experts else list(teams)
    pairs = [(teams[a] + teams[b]) / 2.0 for a, b in combinations(range(tasks), 2)]
    return np.stack([*vertices(experts), np.full(experts, 1.0 / experts), *own, *pairs])


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
    count: Count, teams: FloatArray, rows: int, streams: Streams, progress: Progress
) -> tuple[FloatArray, IntArray]:
    """Count right answers of many merges.

    Vertices, uniform, pairs and triples of teams, Dirichlet draws, then local search for random
    mixes in the whole simplex.

    Args:
        count: Exact number of right answers per task of one merge, on the service split.
        teams: `task_experts`, (M, E).
        rows: Rows in the table, at least those of `calibration_weights`.
        streams: Seeds the draws.
        progress: Called with ("oracle", done, rows).

    Returns:
        Weights (rows, E), rounded to float32 as stored, and counts (rows, M).

    Raises:
        InputError: Too few rows are asked for.
    """
    fixed = _fixed(teams)
    least = len(calibration_weights(teams))
    if rows < least:
        raise InputError(f"oracle: expected at least {least} candidates, found {rows}")
    table = _Table(count, rows, progress)
    drawn = int(max(0, rows - len(fixed)) * _DRAWN_SHARE)
    for weights in (*fixed, *_draws(teams, drawn, streams)):
        table.add(weights)
    _search(table, rows, teams, streams.stream("oracle", "search"))
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


def _fixed(teams: FloatArray) -> list[FloatArray]:
    """Return the calibration rows, pairs at eighths, triples even and with one team doubled."""
    tasks, rows = len(teams), list(calibration_weights(teams))
    for a, b in combinations(range(tasks), 2):
        steps = [s / _PAIR_STEPS for s in range(1, _PAIR_STEPS) if 2 * s != _PAIR_STEPS]
        rows += [(1.0 - u) * teams[a] + u * teams[b] for u in steps]
    for members in combinations(range(tasks), 3):
        even = teams[list(members)].sum(0)
        rows += [even / 3.0, *((even + teams[t]) / 4.0 for t in members)]
    return rows


def _draws(teams: FloatArray, n: int, streams: Streams) -> list[FloatArray]:
    """Draw n points of the simplex, sparse and even ones in turn; teams as if of one expert."""
    rng, (tasks, experts) = streams.stream("oracle", "draws"), teams.shape
    alphas = [alpha * tasks / experts for alpha in _ALPHAS]
    return [rng.dirichlet(np.full(experts, alphas[i % len(alphas)])) for i in range(n)]


def _search(table: _Table, rows: int, teams: FloatArray, rng: np.random.Generator) -> None:
    """Fill the table with proposals near the best merges so far, each for a fresh random mix.

    A row serves all mixes near its own: fresh mixes cover the simplex and refine each other. In
    larger teams an expert's share is smaller, so steps are smaller and fewer outsiders move.
    """
    first, thin = len(table.weights), len(teams) / teams.shape[1]
    while not table.full:
        mix = _mix(len(teams), rng)
        done = (len(table.weights) - first) / (rows - first)
        moving = np.where(mix @ teams > 0.0, _MOVED_ACTIVE, _MOVED_OTHER * thin)
        width = _width(done) * math.sqrt(thin)
        table.add(_propose(table.best(mix, _PARENTS), moving, width, rng))


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
    parents: list[FloatArray], moving: FloatArray, width: float, rng: np.random.Generator
) -> FloatArray:
    """Blend two good merges and disturb each coordinate with the chance `moving`, (E,)."""
    a, b = (parents[int(i)] for i in rng.integers(len(parents), size=2))
    u = rng.random()
    moved = rng.random(len(a)) < moving
    # Cut at zero: good merges are sparse, and folding noise back would fill every coordinate.
    point = np.maximum(u * a + (1.0 - u) * b + rng.normal(0.0, width, len(a)) * moved, 0.0)
    blended: FloatArray = point / point.sum() if point.sum() > 0.0 else a
    return blended
