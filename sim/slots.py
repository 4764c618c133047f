"""Slot bookkeeping.

What every station did in a slot, and reward and regret once the run is over.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from sim.ports import AssessInput, AssessReply

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sim.arrays import AnyArray, FloatArray, IntArray
    from sim.compute.station import Station
    from sim.coupling import Shards
    from sim.records import Table


class SlotMeter:
    """Turns a station's running integrals into one row per slot."""

    def __init__(self, station: Station) -> None:
        self.station = station
        self.dropped = 0
        self._busy_area = self._up_s = 0.0

    def row(self, slot: int, plan_id: int, now_s: float) -> tuple[float, ...]:
        """Close a slot: return its row of the table `slots`, reward columns still NaN."""
        station = self.station
        meters, hardware = station.settle(now_s), station.spec.hardware
        busy_s = meters.busy_area - self._busy_area
        up_s = meters.up_area_s - self._up_s
        share_s = busy_s / station.spec.servers
        energy_j = hardware.idle_w * up_s + (hardware.busy_w - hardware.idle_w) * share_s
        row = (
            slot, station.node, plan_id, 0, self.dropped, np.nan, np.nan, np.nan, np.nan,
            np.nan, -1, busy_s, meters.queue_max, energy_j,
        )  # fmt: skip
        self._busy_area, self._up_s = meters.busy_area, meters.up_area_s
        self.dropped = 0
        meters.queue_max = station.in_system[station.node]
        return row


@dataclass(frozen=True, slots=True)
class Groups:
    """Served requests grouped by node-slot (rows of `slots`) and, within, by plan and task."""

    row: IntArray  # (R,), row of `slots` of each served request
    served: IntArray  # (rows,)
    entry_row: IntArray
    entry_plan: IntArray
    entry_task: IntArray
    entry_count: IntArray


def slot_of(t_s: FloatArray, slot_s: float, slots: int) -> IntArray:
    """Return the slot [k * slot_s, (k + 1) * slot_s) of each time.

    Boundaries are products, never sums.
    """
    bounds = np.arange(1, slots, dtype=np.float64) * slot_s
    return np.searchsorted(bounds, t_s, side="right").astype(np.int64)


def group(requests: Table, slots: Table, slot_s: float) -> Groups:
    """Group the requests that finished by the slot in which their service started."""
    rows, nodes = len(slots["slot"]), int(slots["node"].max(initial=0)) + 1
    number = int(slots["slot"].max(initial=-1)) + 1
    row_of = np.full(number * nodes, -1, dtype=np.int64)
    row_of[slots["slot"].astype(np.int64) * nodes + slots["node"]] = np.arange(rows)
    done = np.flatnonzero(~np.isnan(requests["t_finish_s"]))
    start = slot_of(requests["t_start_s"][done], slot_s, number)
    row = row_of[start * nodes + requests["server"][done]]
    plan, task = (requests[name][done].astype(np.int64) + 1 for name in ("plan", "task"))  # >= 0
    plans, tasks = int(plan.max(initial=0)) + 1, int(task.max(initial=0)) + 1
    entries, count = np.unique((row * plans + plan) * tasks + task, return_counts=True)
    at, of = np.divmod(entries, tasks)
    served = np.bincount(row, minlength=rows).astype(np.int64)
    return Groups(row, served, at // plans, at % plans - 1, of - 1, count.astype(np.int64))


def realised(requests: Table, groups: Groups, rows: int) -> FloatArray:
    """Return the mean correctness of each node-slot, NaN without service."""
    done = np.flatnonzero(~np.isnan(requests["t_finish_s"]))
    right = np.bincount(groups.row, weights=requests["correct"][done] == 1, minlength=rows)
    empty = np.full(rows, np.nan)
    share: FloatArray = np.divide(right, groups.served, out=empty, where=groups.served > 0)
    return share


def served_mix(groups: Groups, rows: int, tasks: int) -> FloatArray:
    """Return the mix served in each node-slot, (rows, M), zeros without service."""
    mix = np.zeros((rows, tasks))
    np.add.at(mix, (groups.entry_row, groups.entry_task), groups.entry_count)
    shares: FloatArray = mix / np.maximum(groups.served, 1)[:, None]
    return shares


def context_error(
    slots: Table,
    mix: FloatArray,
    served: IntArray,
    estimates: Mapping[tuple[int, int], Sequence[float]],
) -> FloatArray:
    """Return the total variation between estimated and served mix, NaN where either is missing."""
    error = np.full(len(served), np.nan)
    pairs = zip(slots["slot"].tolist(), slots["node"].tolist(), strict=True)
    for row, pair in enumerate(pairs):
        guess = estimates.get(pair)
        if guess is not None and served[row]:
            error[row] = 0.5 * float(np.abs(mix[row] - np.asarray(guess)).sum())
    return error


def dominant(mix: FloatArray, served: IntArray) -> IntArray:
    """Return the most frequent task of each node-slot, the first of equals, -1 without service."""
    if not mix.shape[1]:
        return np.full(len(served), -1, dtype=np.int64)
    return np.where(served > 0, mix.argmax(axis=1), -1)


def assess(shards: Shards, slots: Table, groups: Groups) -> AssessReply:
    """Ask every shard to measure its node-slots with service; NaN in all others."""
    rows = len(slots["slot"])
    total = AssessReply(*(np.full(rows, np.nan) for _ in fields(AssessReply)))
    shard = np.asarray(shards.shard_of, dtype=np.int64)[slots["node"]]
    asked = []
    for index, host in enumerate(shards.hosts):
        mine = np.flatnonzero((shard == index) & (groups.served > 0))
        asked.append((mine, host.call("assess", _query(mine, rows, slots, groups))))
    for mine, future in asked:
        reply: AssessReply = future.result()
        for field in fields(AssessReply):
            getattr(total, field.name)[mine] = getattr(reply, field.name)
    return total


def _query(mine: IntArray, rows: int, slots: Table, groups: Groups) -> AssessInput:
    new_row = np.full(rows, -1, dtype=np.int64)
    new_row[mine] = np.arange(len(mine))
    keep = new_row[groups.entry_row] >= 0
    return AssessInput(
        row_slot=slots["slot"][mine].astype(np.int64),
        row_node=slots["node"][mine].astype(np.int64),
        entry_row=new_row[groups.entry_row[keep]],
        entry_plan=groups.entry_plan[keep],
        entry_task=groups.entry_task[keep],
        entry_count=groups.entry_count[keep],
    )


def reward_columns(
    requests: Table,
    slots: Table,
    slot_s: float,
    tasks: int,
    shards: Shards,
    estimates: Mapping[tuple[int, int], Sequence[float]],
) -> dict[str, AnyArray]:
    """Return the columns of `slots` that are known only after the run."""
    groups = group(requests, slots, slot_s)
    rows = len(slots["slot"])
    found = assess(shards, slots, groups)
    mix = served_mix(groups, rows, tasks)
    return {
        "served": groups.served,
        "reward": realised(requests, groups, rows),
        "reward_best": found.reward_best,
        "reward_expected": found.reward_expected,
        "reward_fixed": found.reward_fixed,
        "task": dominant(mix, groups.served).astype(np.int16),
        "context_tv": context_error(slots, mix, groups.served, estimates),
    }
