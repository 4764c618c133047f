"""What the kernels of the flow pass read and write: bundles of numpy arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from sim.arrays import AnyArray, FloatArray, IntArray


class Ways(NamedTuple):
    """By pair of source and server, (P,): the one link up and the one link down.

    In a fleet that feeds forward a link belongs to one pair at most, so whatever is known of a link
    is known of a pair.
    """

    station: AnyArray  # int32, place of the server among the nodes that serve
    here: AnyArray  # bool, the source serves itself: no links
    up_bytes_per_s: FloatArray
    up_delay_s: FloatArray
    up_fifo: AnyArray  # bool
    up_free_s: FloatArray  # when a FIFO link runs dry
    down_bytes_per_s: FloatArray
    down_delay_s: FloatArray
    down_fifo: AnyArray  # bool
    down_free_s: FloatArray
    landed_up_bytes: FloatArray
    landed_down_bytes: FloatArray
    late_down_bytes: FloatArray  # of answers that arrive after the end


class Rows(NamedTuple):
    """The requests of a step, (R,): those carried over from the steps before, then new ones."""

    pair: AnyArray  # int32
    sent_s: FloatArray  # server chosen
    due_s: FloatArray  # at the server; NaN: not sent yet
    service_s: FloatArray
    up_bytes: FloatArray
    down_bytes: FloatArray
    patience_s: FloatArray  # (0,) where nobody ever leaves a queue by itself
    expires_s: FloatArray
    old_id: IntArray  # ids of those carried over
    first: int  # id of the first new one


class Lanes(NamedTuple):
    """The requests that stand at, or come to, a station: (S,), station after station.

    Within a station first those that run, then those that wait, then those that come; each group in
    the order of joining. What lies before `place` of a station's span in `span` is not used.
    """

    span: IntArray  # (M + 1,)
    fresh: IntArray  # (M,) first of those that come
    due_s: FloatArray
    service_s: FloatArray
    start_s: FloatArray
    leave_s: FloatArray  # when it leaves the queue by itself
    state: AnyArray  # int8, see flow_kernel
    row: AnyArray  # int32, place in Rows
    turn: IntArray  # scratch: a heap of those that may leave


class Desks(NamedTuple):
    """Every station's meters (see sim.compute.floor.Meters) and state, (M,)."""

    servers: IntArray
    capacity: FloatArray
    number: IntArray  # requests in the system
    head: IntArray  # in Lanes: who is served next
    turns: IntArray  # size of the heap of those that may leave
    kept: IntArray  # requests still here at the end of the step
    area: FloatArray
    area_s: FloatArray
    stays_s: FloatArray
    busy_area: FloatArray
    busy_s: FloatArray
    queue_max: IntArray
    most_running: IntArray
    arrived: IntArray
    finished: IntArray
    lost: IntArray
    dropped: IntArray  # in the slot
    checked: IntArray  # arrivals up to the last check of the laws
    last_s: FloatArray  # of drops and returns
    late: IntArray  # answers that return after the end


class Tops(NamedTuple):
    """Services that run, a heap by (end, request id) for every station."""

    first: IntArray  # (M,) where a station's heap lies
    size: IntArray  # (M,)
    end_s: FloatArray
    place: IntArray  # in Lanes


class Grid(NamedTuple):
    """Slot boundaries within a step, (K,), and what every station said there, (K, M)."""

    bound_s: FloatArray
    last_s: float  # the last instant of the step
    limit_s: float  # the last instant of the run
    busy_area: FloatArray
    queue_max: IntArray
    dropped: IntArray
    number: IntArray
    area: FloatArray
    stays_s: FloatArray
    open_s: FloatArray  # stays so far of those present; NaN: not checked here
    arrived: IntArray
    finished: IntArray
    lost: IntArray
    sent_up_bytes: FloatArray  # (K + 1, P), the last row after the last boundary
    sent_down_bytes: FloatArray


def grid_part(grid: Grid, begin: int, stop: int) -> Grid:
    """Return some of the boundaries."""
    values = grid._asdict()
    cut = {
        name: column[begin : stop + (name in {"sent_up_bytes", "sent_down_bytes"})]
        for name, column in values.items()
        if name not in {"last_s", "limit_s"}
    }
    return grid._replace(**cut)


class Out(NamedTuple):
    """Requests that came to their end, (S,), station after station, in the order of their ends."""

    row: AnyArray  # int32
    enqueue_s: FloatArray
    start_s: FloatArray
    finish_s: FloatArray
    return_s: FloatArray
    drop: AnyArray  # int16


class Kept(NamedTuple):
    """Requests still at stations, (S,), station after station: running, then waiting."""

    due_s: FloatArray
    service_s: FloatArray
    start_s: FloatArray
    row: AnyArray  # int32


class Job(NamedTuple):
    """All that a station's kernel needs."""

    lanes: Lanes
    rows: Rows
    desks: Desks
    tops: Tops
    ways: Ways
    grid: Grid
    out: Out
    kept: Kept
