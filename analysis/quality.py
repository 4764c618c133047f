"""What a run learnt, in numbers: regret early and late, and how far its context estimate was off.

A *step* of a node is one of its slots with service, so that idle slots stretch nothing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.totals import sampled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sim.arrays import AnyArray, BoolArray, FloatArray, IntArray
    from sim.records import Table, Tables

EARLY_STEPS = 50  # steps of a node that count as its start
_NAMES = (
    "regret_mean", "regret_total", "regret_early", "regret_late", "regret_expected_mean",
    "regret_fixed_mean", "context_tv_mean", "context_floor_mean",
)  # fmt: skip


def mean(values: AnyArray) -> float:
    """Return the mean of the finite values, NaN when there are none."""
    kept = values[np.isfinite(values)]
    return float(kept.mean()) if len(kept) else math.nan


def arrival_slots(meta: Mapping[str, Any]) -> int:
    """Count the slots that arrivals reach into.

    A later slot serves a handful of late ones, whose mix and mean say nothing.
    """
    return math.ceil(float(meta["duration_s"]) / float(meta["slot_s"]) - 1e-9)


def quality(tables: Tables, meta: Mapping[str, Any], routed: list[int]) -> dict[str, float]:
    """Return regret and context error over node-slots of routed nodes with service.

    Every node-slot weighs the same. `regret_early` is over each node's first 50 steps,
    `regret_late` over the last quarter of each node's steps (at least one), `regret_fixed_mean`
    that of the node's best fixed merge in hindsight. `context_floor_mean` is the sampling floor of
    the node-slots that have a context error, so that the two can be subtracted; it needs the rows
    of all requests, and is NaN where the table holds a sample.

    Args:
        tables: The tables of a Record.
        meta: Its meta facts.
        routed: Nodes that count.
    """
    slots = tables.get("slots", {})
    if not slots:
        return dict.fromkeys(_NAMES, math.nan)
    kept = np.isin(slots["node"], routed) & (slots["served"] > 0)
    rows = {name: values[kept] for name, values in slots.items()}
    best = rows["reward_best"]
    realised = best - rows["reward"]
    known = np.isfinite(realised)
    step, last = steps(rows["node"], rows["slot"])
    return {
        "regret_mean": mean(realised),
        "regret_total": float(realised[known].sum()) if known.any() else math.nan,
        "regret_early": mean(realised[step < EARLY_STEPS]),
        "regret_late": mean(realised[step >= last - np.ceil(last / 4.0)]),
        "regret_expected_mean": mean(best - rows["reward_expected"]),
        "regret_fixed_mean": mean(best - rows["reward_fixed"]),
        "context_tv_mean": mean(rows["context_tv"]),
        "context_floor_mean": _floor_mean(tables["requests"], rows, float(meta["slot_s"]))
        if sampled(meta) == 1
        else math.nan,
    }


def steps(node: AnyArray, slot: AnyArray) -> tuple[IntArray, IntArray]:
    """Number the rows of every node by slot, from 0; return that and the node's count, per row."""
    order = np.lexsort((slot, node))
    starts = np.flatnonzero(np.append(True, np.diff(node[order]) != 0)) if len(order) else order
    counts = np.diff(np.append(starts, len(order)))
    step, total = np.empty(len(order), np.int64), np.empty(len(order), np.int64)
    step[order] = np.arange(len(order)) - np.repeat(starts, counts)
    total[order] = np.repeat(counts, counts)
    return step, total


# --- the error that no estimate can avoid ---------------------------------------------------------


def sampling_floor(row: AnyArray, count: AnyArray, rows: int) -> FloatArray:
    """Return the expected total variation between a served mix and the mix that generated it.

    Even a router that knows the generator's mix m exactly is that far from the n requests that a
    slot happens to bring: E TV = 1/2 sum_t E|X_t / n - m_t| ~ 1/2 sum_t sqrt(2 m_t (1 - m_t) /
    (pi n)), the mean absolute deviation of a normal law. m is not recorded, so the served mix
    stands for it, with n / (n - 1) against the bias of m (1 - m).

    Args:
        row: Node-slot of each entry, (entries,); one entry per task that was served there.
        count: Requests of that task, (entries,).
        rows: Number of node-slots.

    Returns:
        (rows,), NaN where fewer than two requests were served.

    Source: de Moivre 1730 (mean absolute deviation of the binomial; Diaconis and Zabell 1991).
    Deviation: normal approximation, and the plug-in mix; tasks that a slot missed by chance add
    nothing, so the floor is a few per cent too low for rare tasks (measured in the tests).
    """
    place = row.astype(np.int64)
    n = np.bincount(place, weights=count, minlength=rows).astype(np.float64)
    of = n[place]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = count / of
        variance = share * (1.0 - share) / (of - 1.0)
        part = np.sqrt(2.0 * variance / math.pi)
    floor = 0.5 * np.bincount(place, weights=np.where(of >= 2.0, part, 0.0), minlength=rows)
    return np.where(n >= 2.0, floor, np.nan)


def task_counts(requests: Table, slot_s: float, counted: BoolArray) -> tuple[IntArray, ...]:
    """Count finished requests by (slot of service start, node, task): four parallel arrays."""
    kept = counted & np.isfinite(requests["t_finish_s"])
    start = requests["t_start_s"][kept]
    bounds = np.arange(1, int(start.max(initial=0.0) / slot_s) + 2) * slot_s
    slot = np.searchsorted(bounds, start, side="right")
    node = requests["server"][kept].astype(np.int64)
    task = requests["task"][kept].astype(np.int64)
    nodes, tasks = int(node.max(initial=0)) + 1, int(task.max(initial=0)) + 1
    key, count = np.unique((slot * nodes + node) * tasks + task, return_counts=True)
    at, task = np.divmod(key, tasks)
    return at // nodes, at % nodes, task, count.astype(np.int64)


def floor_of(rows: Table, counted: tuple[AnyArray, ...]) -> FloatArray:
    """Return the sampling floor of each row of `slots`, (rows,); see `sampling_floor`.

    Args:
        rows: Columns slot and node of the node-slots wanted.
        counted: Parallel (slot, node, task, count), as `task_counts` returns them.
    """
    slot, node, _, count = counted
    nodes = 1 + max(int(rows["node"].max(initial=0)), int(node.max(initial=0)))
    wanted = rows["slot"].astype(np.int64) * nodes + rows["node"]
    order = np.argsort(wanted)
    key = slot.astype(np.int64) * nodes + node
    at = np.searchsorted(wanted[order], key)
    inside = np.append(wanted[order], -1)[at] == key
    return sampling_floor(order[at[inside]], count[inside], len(wanted))


def _floor_mean(requests: Table, rows: Table, slot_s: float) -> float:
    estimated = np.isfinite(rows["context_tv"])
    if not estimated.any():
        return math.nan
    wanted = {name: rows[name][estimated] for name in ("slot", "node")}
    counted = np.isin(requests["server"], np.unique(wanted["node"]))
    return mean(floor_of(wanted, task_counts(requests, slot_s, counted)))
