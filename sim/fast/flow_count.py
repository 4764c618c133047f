"""Counts what came to its end in a step of the flow pass, and keeps the rows of a sample.

One pass over the records fills the columns that counting needs; whole rows are made for the sample
only. The twin is `sim.fast.sinks.Sample`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sim.fast.jit import lean
from sim.fast.sinks import Sample

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sim.arrays import AnyArray, FloatArray, IntArray
    from sim.config import World
    from sim.fast.flow_step import Closing, Retired
    from sim.records import Table

# columns of the workload that are asked for; `group` is added by `Some.group`
ASKED = (
    "t_emit_s", "stream", "source", "priority", "deadline_s", "up_bytes", "down_bytes", "service_s",
)  # fmt: skip


class _Counted(NamedTuple):
    """Columns that counting needs, (n,) each."""

    id: IntArray
    group: IntArray
    server: AnyArray
    t_emit_s: FloatArray
    t_enqueue_s: FloatArray
    t_finish_s: FloatArray
    t_return_s: FloatArray
    deadline_s: FloatArray
    drop: AnyArray


class _Known(NamedTuple):
    """What is known of requests by place: those carried over, and behind them new ones."""

    old_id: IntArray
    first: int
    old_group: AnyArray
    new_group: AnyArray
    old_emit_s: FloatArray
    new_emit_s: FloatArray
    old_deadline_s: FloatArray
    new_deadline_s: FloatArray
    server: AnyArray  # by pair
    choice_s: FloatArray  # by pair
    limit_s: float
    nan: float


@lean
def unpack(done: AnyArray, known: _Known, out: _Counted) -> tuple[int, int]:
    """Fill the columns; return how many requests returned, and a row whose stamps go back, or -1.

    Args:
        done: DONE, (n,).
        known: Of all requests in the step.
        out: Written.
    """
    olds, returned, wrong = len(known.old_id), 0, -1
    for i in range(len(done)):
        row, pair = done[i]["row"], done[i]["pair"]
        if row < olds:
            out.id[i], out.group[i] = known.old_id[row], known.old_group[row]
            emit_s, out.deadline_s[i] = known.old_emit_s[row], known.old_deadline_s[row]
        else:
            new = row - olds
            out.id[i], out.group[i] = known.first + new, known.new_group[new]
            emit_s, out.deadline_s[i] = known.new_emit_s[new], known.new_deadline_s[new]
        back_s = done[i]["return_s"]
        if back_s <= known.limit_s:
            returned += 1
        else:
            back_s = known.nan
        out.server[i], out.t_emit_s[i] = known.server[pair], emit_s
        out.t_enqueue_s[i], out.t_finish_s[i] = done[i]["enqueue_s"], done[i]["finish_s"]
        out.t_return_s[i], out.drop[i] = back_s, done[i]["drop"]
        sent_s = emit_s + known.choice_s[pair]
        if sent_s < emit_s or _goes_back(done[i], sent_s, back_s):
            wrong = i
    return returned, wrong


@lean
def _goes_back(done: AnyArray, sent_s: float, back_s: float) -> bool:
    """Tell whether a stamp lies before one that must come first (what did not happen is NaN)."""
    before_s, wrong = sent_s, False
    for after_s in (done["enqueue_s"], done["start_s"], done["finish_s"], back_s):
        if after_s < before_s:
            wrong = True
        elif after_s > before_s:
            before_s = float(after_s)
    return wrong


class Some(Sample):
    """Keeps the rows of a sample and counts all.

    Args:
        world: The run.
        choice_s: Time that a choice takes, by source.
    """

    def __init__(self, world: World, choice_s: Sequence[float]) -> None:
        super().__init__(world, choice_s)
        self._correct = np.empty(0, np.int8)

    def group(self, columns: Mapping[str, AnyArray]) -> AnyArray:
        """Return the group in which each request of a window is counted."""
        groups = self._retired.totals.numbers(columns["stream"], columns["priority"])
        return groups.astype(np.int32)

    def take(self, retired: Retired, closing: Closing | None = None) -> None:
        """Take requests that came to their end; at the end also those that did not."""
        if closing is not None:
            self.add(rows_of(retired), closing.choosing)
            return
        counted = _counted(len(retired))
        returned, wrong = unpack(retired.done, self._known(retired), counted)
        if wrong >= 0:
            self.add(rows_of(retired))  # says what is wrong
        self._tell(counted, returned)
        kept = np.flatnonzero(self._retired.sample.keeps(counted.id))
        if len(kept):
            self._retired.keep(self.complete(rows_of(replace(retired, done=retired.done[kept]))))

    def _known(self, retired: Retired) -> _Known:
        def both(name: str) -> tuple[AnyArray, AnyArray]:
            new = retired.new[name]
            return retired.old.get(name, new[:0]), new

        return _Known(
            retired.old_id, retired.first, *both("group"), *both("t_emit_s"), *both("deadline_s"),
            retired.pairs.server, retired.choice_s, self._limit_s, np.nan,
        )  # fmt: skip

    def _tell(self, counted: _Counted, returned: int) -> None:
        count = len(counted.id)
        if len(self._correct) < count:
            self._correct = np.full(count, -1, np.int8)
        rows = {**counted._asdict(), "correct": self._correct[:count]}
        self.note(count, returned, counted.drop)
        self._retired.totals.add_numbered(counted.group, rows)


def _counted(count: int) -> _Counted:
    types = {"id": "i8", "group": "i8", "server": "i4", "drop": "i2"}
    return _Counted(*(np.empty(count, types.get(name, "f8")) for name in _Counted._fields))


def rows_of(retired: Retired) -> Table:
    """Return the rows of requests; a batch of one has its request's number."""
    done, ids = retired.done, retired.id
    rows = {name: retired.drawn(name) for name in ASKED}
    began, ended = ~np.isnan(done["start_s"]), ~np.isnan(done["finish_s"])
    for name in ("enqueue", "start", "finish", "return"):
        rows[f"t_{name}_s"] = done[f"{name}_s"].copy()
    return rows | {
        "id": ids,
        "server": retired.server.astype(np.int32),
        "drop": done["drop"].copy(),
        "service_s": np.where(ended, rows["service_s"], np.nan),
        "stall_s": np.where(ended, 0.0, np.nan),
        "batch": np.where(began, ids, -1),
        "batch_size": began.astype(np.int32),
    }
