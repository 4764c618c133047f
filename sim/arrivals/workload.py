"""The workload: everything about all requests that is fixed at emission, as sorted columns."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Literal

import numpy as np

from sim.arrivals.emission import emit
from sim.arrivals.mix import MixSchedule
from sim.arrivals.service import draw_service
from sim.arrivals.sizes import draw_sizes
from sim.arrivals.trace import trace
from sim.errors import InputError
from sim.records import digest
from sim.rng import Streams

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.arrays import AnyArray, FloatArray, IntArray
    from sim.config import ServiceSpec, StreamSpec, World

_ROWS = 65536  # requests whose mixes are held at once


@dataclass(frozen=True, slots=True, eq=False)
class Workload:
    """Columns of all requests, (R,) each, by emission time, stream id, order in the stream.

    A request's id is its row. `task` and `input` are -1 without a model, `service_s` is NaN with
    one. A request is audited if its `audit`, uniform on [0, 1), is below the feedback fraction.
    """

    stream: AnyArray  # int32
    source: AnyArray  # int32
    task: AnyArray  # int16
    input: AnyArray  # int32, global id in the service pool
    t_emit_s: FloatArray
    service_s: FloatArray
    deadline_s: FloatArray
    priority: AnyArray  # int16
    up_bytes: FloatArray
    down_bytes: FloatArray
    audit: FloatArray
    patience_s: FloatArray  # longest wait in a queue, inf: patient
    expires_s: FloatArray  # absolute time at which it leaves a queue as late, inf: never
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        table = {f.name: getattr(self, f.name) for f in fields(self) if f.init}
        object.__setattr__(self, "digest", digest({"workload": table}))

    def __len__(self) -> int:
        return len(self.t_emit_s)


def draw_workload(world: World, pool_sizes: Sequence[int] | None) -> Workload:
    """Draw the requests of a world.

    Each purpose (arrivals, tasks, inputs, service, patience, sizes up and down, audit) of each
    stream has a generator of its own, and takes one draw per request where it can, so that streams
    and purposes never disturb each other. What a trace says of a request stands in place of what
    its stream says.

    Args:
        world: Streams, duration, seed and, without a model, the service law.
        pool_sizes: Service inputs per task, (M,); None: no model.

    Raises:
        InputError: A stream makes no sense, stream ids repeat, or there is neither model nor
            service law.
    """
    if pool_sizes is None and world.service is None:
        raise InputError("service: expected a service law, because the world has no model")
    ordered = sorted(world.streams, key=lambda stream: stream.id)
    if len({stream.id for stream in ordered}) != len(ordered):
        raise InputError("streams: ids must be distinct")
    parts = [_draw_stream(world, stream, pool_sizes) for stream in ordered]
    columns = {name: np.concatenate([part[name] for part in [_NONE, *parts]]) for name in _NONE}
    # streams come in id order, so a stable sort breaks ties by stream, then by order in the stream
    order = np.argsort(columns["t_emit_s"], kind="stable")
    return Workload(**{name: values[order] for name, values in columns.items()})


def _draw_stream(
    world: World, stream: StreamSpec, pool_sizes: Sequence[int] | None
) -> dict[str, AnyArray]:
    streams = Streams(world.seed)
    times, given = emit(stream.arrivals, world.duration_s, streams.stream("arrivals", stream.id))
    n = len(times)
    if pool_sizes is None:
        tasks = inputs = np.full(n, -1, dtype=np.int64)
    else:
        schedule = MixSchedule(stream, len(pool_sizes), streams.stream("mix", stream.id))
        tasks = _tasks(schedule, times, given, streams.stream("tasks", stream.id))
        inputs = _inputs(tasks, pool_sizes, streams.stream("inputs", stream.id))
    asked = _asked(world, stream, n)
    late = stream.late == "drop"
    return {
        "stream": np.full(n, stream.id, dtype=np.int32),
        "source": np.full(n, stream.node, dtype=np.int32),
        "task": tasks.astype(np.int16),
        "input": inputs.astype(np.int32),
        "t_emit_s": times,
        **asked,
        "audit": streams.stream("audit", stream.id).random(n),
        "patience_s": _patience(world, stream, n),
        "expires_s": times + asked["deadline_s"] if late else np.full(n, np.inf),
    }


def _asked(world: World, stream: StreamSpec, n: int) -> dict[str, AnyArray]:
    """Return what n requests ask for, by their stream's laws or, where it says so, its trace."""
    columns = {
        "service_s": _service(world, stream, n),
        "deadline_s": np.full(n, stream.deadline_s),
        "priority": np.full(n, stream.priority, dtype=np.int16),
        "up_bytes": _sizes(world, stream, "up", n),
        "down_bytes": _sizes(world, stream, "down", n),
    }
    if stream.arrivals.kind == "trace":
        _overrule(columns, world, stream)
    return columns


def _overrule(columns: dict[str, AnyArray], world: World, stream: StreamSpec) -> None:
    """Put what the trace says of a request in the place of what its stream says."""
    rows = trace(stream.arrivals, world.duration_s)
    if world.service is None and not np.isnan(rows.services_s).all():
        raise InputError(
            f"streams.{stream.name}.arrivals.services_s: expected none with a model, which decides"
            " how long a request takes"
        )
    said = {
        "service_s": rows.services_s,
        "deadline_s": rows.deadlines_s,
        "priority": rows.priorities,
        "up_bytes": rows.up_bytes,
        "down_bytes": rows.down_bytes,
    }
    for name, values in said.items():
        column = columns[name]
        columns[name] = np.where(np.isnan(values), column, values).astype(column.dtype)


def _sizes(world: World, stream: StreamSpec, way: Literal["up", "down"], n: int) -> FloatArray:
    rng = Streams(world.seed).stream(f"size-{way}", stream.id)
    mean_bytes = stream.up_bytes if way == "up" else stream.down_bytes
    return draw_sizes(stream.size_law, mean_bytes, stream.size_cv, n, rng)


def _service(world: World, stream: StreamSpec, n: int) -> FloatArray:
    if world.service is None:
        return np.full(n, np.nan)
    return _draw(stream.service or world.service, "service", world.seed, stream.id, n)


def _patience(world: World, stream: StreamSpec, n: int) -> FloatArray:
    if stream.patience is None:
        return np.full(n, np.inf)
    return _draw(stream.patience, "patience", world.seed, stream.id, n)


def _draw(law: ServiceSpec, purpose: str, seed: int, stream: int, n: int) -> FloatArray:
    streams = Streams(seed)
    times, branches = (streams.stream(name, stream) for name in (purpose, f"{purpose}-branch"))
    return draw_service(law, n, times, branches)


def _tasks(
    schedule: MixSchedule, times: FloatArray, given: IntArray, rng: np.random.Generator
) -> IntArray:
    """Draw each request's task from the mix at its emission, unless a trace has named it."""
    if len(given) and given.max() >= schedule.tasks:
        raise InputError(
            f"streams.{schedule.stream.name}.arrivals.tasks: expected tasks below {schedule.tasks},"
            f" found {given.max()}"
        )
    uniform = rng.random(len(times))
    drawn = np.empty(len(times), dtype=np.int64)
    for first in range(0, len(times), _ROWS):
        rows = slice(first, first + _ROWS)
        drawn[rows] = _invert(schedule.at(times[rows]), uniform[rows])
    return np.where(given >= 0, given, drawn)


def _invert(mixes: FloatArray, uniform: FloatArray) -> IntArray:
    """Return the first task whose cumulated share exceeds the uniform."""
    below = (np.cumsum(mixes, axis=1) <= uniform[:, None]).sum(axis=1)
    # sums may end a rounding error below one: stop at the last task that has a share
    last = mixes.shape[1] - 1 - np.argmax(mixes[:, ::-1] > 0.0, axis=1)
    found: IntArray = np.minimum(below, last)
    return found


def _inputs(tasks: IntArray, pool_sizes: Sequence[int], rng: np.random.Generator) -> IntArray:
    sizes = np.array(pool_sizes, dtype=np.int64)
    if len(sizes) == 0 or sizes.min() < 1:
        raise InputError(f"service pool: expected inputs for each task, found {list(pool_sizes)}")
    offsets = np.cumsum(sizes) - sizes
    uniform = rng.random(len(tasks))
    return offsets[tasks] + np.minimum((uniform * sizes[tasks]).astype(np.int64), sizes[tasks] - 1)


_NONE: dict[str, AnyArray] = {
    "stream": np.empty(0, np.int32),
    "source": np.empty(0, np.int32),
    "task": np.empty(0, np.int16),
    "input": np.empty(0, np.int32),
    "t_emit_s": np.empty(0),
    "service_s": np.empty(0),
    "deadline_s": np.empty(0),
    "priority": np.empty(0, np.int16),
    "up_bytes": np.empty(0),
    "down_bytes": np.empty(0),
    "audit": np.empty(0),
    "patience_s": np.empty(0),
    "expires_s": np.empty(0),
}
