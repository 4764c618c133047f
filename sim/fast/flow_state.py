"""What the kernels of the flow pass read and write: records, which lie together in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from sim.arrays import AnyArray, FloatArray, IntArray

COMES, WAITS, RUNS, GONE = range(4)  # states of a request at its station


def _record(**fields: str) -> np.dtype[Any]:
    """Return a record type; ends of names give units as everywhere."""
    return np.dtype(list(fields.items()), align=True)


# One direction of a pair of source and server. A link belongs to one pair at most, so what is known
# of a link is known of a pair.
WAY = _record(
    bytes_per_s="f8",
    delay_s="f8",
    free_s="f8",  # when a FIFO link runs dry
    choice_s="f8",  # how long the source chooses
    fifo="i1",
    here="i1",  # the source serves itself: there is no link
)

# A request at its station, or on its way there: one cache line.
LANE = _record(
    due_s="f8",  # at the station
    service_s="f8",
    start_s="f8",
    leave_s="f8",  # when it leaves the queue by itself, inf: never, -inf: comes too late
    down_bytes="f8",
    id="i8",
    pair="i4",
    row="i4",  # place among those carried over and new ones
    state="i1",
    late="i1",  # set out in the very instant of its arrival
    reason="i1",  # for which it leaves the queue
)

# A station: its rules, its state, its meters (sim.compute.floor.Meters); two cache lines.
DESK = _record(
    servers="i4",
    capacity="i4",
    top="i4",  # where its heap lies in TOP
    running="i4",
    number="i4",  # requests in the system
    head="i4",  # place of the request that is served next, or of one before it
    turns="i4",  # requests that may leave by themselves
    kept="i4",  # requests that are there at the end of a step
    queue_max="i4",
    most_running="i4",
    dropped="i4",  # in the slot
    late="i4",  # answers that return after the end of the run
    area="f8",
    area_s="f8",
    stays_s="f8",
    busy_area="f8",
    busy_s="f8",
    last_s="f8",  # of drops and returns
    arrived="i8",
    finished="i8",
    lost="i8",
    checked="i8",  # arrivals up to the last check of the laws
)

# A service that runs; those of a station are a heap by (end, request).
TOP = _record(end_s="f8", place="i8")

# What a station says at a slot boundary.
MARK = _record(
    busy_area="f8",
    area="f8",
    stays_s="f8",
    open_s="f8",  # stays so far of those present; NaN: not due for a check
    queue_max="i8",
    dropped="i8",
    number="i8",
    arrived="i8",
    finished="i8",
    lost="i8",
)

# A request that came to its end.
DONE = _record(
    enqueue_s="f8",
    start_s="f8",
    finish_s="f8",
    return_s="f8",
    row="i4",
    pair="i4",
    drop="i2",
)


class Sent(NamedTuple):
    """Requests on their way up, or about to set out, in the order of ids, (n,) each."""

    first: int  # id of the first one, where
    id: IntArray  # is (0,)
    pair: AnyArray  # int32
    emit_s: FloatArray
    service_s: FloatArray
    up_bytes: FloatArray
    down_bytes: FloatArray
    patience_s: FloatArray  # (0,) where nobody ever leaves a queue by itself
    expires_s: FloatArray
    due_s: FloatArray  # at the server; NaN: not sent yet
    late: AnyArray  # int8, sets out in the very instant of its arrival


class Grid(NamedTuple):
    """Slot boundaries within a step, (K,), and what is counted between them."""

    bound_s: FloatArray
    last_s: float  # the last instant of the step
    limit_s: float  # the last instant of the run
    marks: AnyArray  # MARK, (K, M)
    up_bytes: FloatArray  # put on links, (K + 1, P); the last row is after the last boundary
    down_bytes: FloatArray

    def part(self, begin: int, stop: int) -> Grid:
        """Return some of the boundaries."""
        return self._replace(
            bound_s=self.bound_s[begin:stop], marks=self.marks[begin:stop],
            up_bytes=self.up_bytes[begin : stop + 1], down_bytes=self.down_bytes[begin : stop + 1],
        )  # fmt: skip


class Job(NamedTuple):
    """All that the kernel of stations needs.

    `lanes` goes station by station: first those that run, then those that wait, then those that
    come, each in the order of joining. A place more, at the end, is scratch.
    """

    lanes: AnyArray  # LANE, (S + 1,)
    span: IntArray  # (M + 1,) where a station's lanes begin
    turn: IntArray  # (S,) scratch: heaps of those that may leave; (0,) where nobody ever does
    desks: AnyArray  # DESK, (M,)
    tops: AnyArray  # TOP
    downs: AnyArray  # WAY, (P,)
    grid: Grid
    landed_bytes: FloatArray  # (P,) answers that returned over a link
    late_bytes: FloatArray  # (P,) answers that return after the end of the run
    done: AnyArray  # DONE, (S,)
    kept: AnyArray  # LANE, (S,)
