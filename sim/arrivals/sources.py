"""One stream's draws, taken bit by bit: every purpose has a generator that is kept and drawn on."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from sim.arrivals.emission import pieces
from sim.arrivals.mix import MixSchedule
from sim.arrivals.service import MIXTURES, check_service, fill_service
from sim.arrivals.sizes import check_sizes, fill_sizes
from sim.arrivals.trace import trace
from sim.errors import InputError
from sim.rng import Family, Streams

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sim.arrays import AnyArray, FloatArray, IntArray
    from sim.config import ArrivalSpec, ServiceSpec, StreamSpec, World

_ROWS = 65536  # requests whose mixes are held at once

# what a column of a stream holds: one value, or what a call writes into the next rows
Law: TypeAlias = "float | Callable[[AnyArray], None]"


class Source:
    """When a stream emits, taken up to one time after another.

    Args:
        spec: The stream's arrivals.
        duration_s: End of arrivals.
        rng: The stream's generator for arrivals.
        most: Longest piece that is drawn ahead.
    """

    def __init__(
        self, spec: ArrivalSpec, duration_s: float, rng: np.random.Generator, most: int
    ) -> None:
        self._pieces = pieces(spec, duration_s, rng, most)
        self._ahead: FloatArray = np.empty(0)
        self._over = False

    def take(self, until_s: float) -> FloatArray:
        """Return the emissions before a time that were not taken yet, (n,)."""
        ahead = self._ahead
        if not self._over and not (len(ahead) and ahead[-1] >= until_s):
            ahead = self._draw(until_s)
        count = int(ahead.searchsorted(until_s))
        self._ahead = ahead[count:]
        return ahead[:count]

    def _draw(self, until_s: float) -> FloatArray:
        parts = [self._ahead]
        for piece in self._pieces:
            parts.append(piece)
            if len(piece) and piece[-1] >= until_s:
                break
        else:
            self._over = True
        return np.concatenate(parts)


def laws(world: World, stream: StreamSpec, seeds: Family) -> dict[str, Law]:
    """Return what a stream's requests ask for, by its own laws or, where it says so, its trace.

    Args:
        world: The run.
        stream: One of its streams.
        seeds: Makes the generators.

    Raises:
        InputError: A law or a trace makes no sense.
    """
    found: dict[str, Law] = {
        "service_s": _service(world, stream, seeds),
        "deadline_s": stream.deadline_s,
        "priority": float(stream.priority),
        "up_bytes": _sizes(stream, "up", seeds),
        "down_bytes": _sizes(stream, "down", seeds),
        "audit": partial(_uniform, seeds.stream("audit", stream.id)),
        "patience_s": _patience(stream, seeds),
    }
    if stream.arrivals.kind == "trace":
        _overrule(found, world, stream)
    return found


def _uniform(rng: np.random.Generator, out: FloatArray) -> None:
    rng.random(out=out)


def _service(world: World, stream: StreamSpec, seeds: Family) -> Law:
    if world.service is None:
        return np.nan
    return _times(stream.service or world.service, "service", seeds, stream.id)


def _patience(stream: StreamSpec, seeds: Family) -> Law:
    if stream.patience is None:
        return np.inf
    return _times(stream.patience, "patience", seeds, stream.id)


def _times(law: ServiceSpec, purpose: str, seeds: Family, stream: int) -> Law:
    check_service(law)
    if law.kind == "deterministic":
        return law.mean_s
    times, branches = seeds.stream(purpose, stream), None
    if law.kind in MIXTURES:
        branches = seeds.stream(f"{purpose}-branch", stream)
    return partial(fill_service, law, rng=times, branches=branches)


def _sizes(stream: StreamSpec, way: Literal["up", "down"], seeds: Family) -> Law:
    mean_bytes = stream.up_bytes if way == "up" else stream.down_bytes
    law, cv = stream.size_law, stream.size_cv
    check_sizes(law, mean_bytes, cv)
    if law == "fixed" or mean_bytes == 0.0:
        return mean_bytes
    rng = seeds.stream(f"size-{way}", stream.id)
    return lambda out: fill_sizes(law, mean_bytes, cv, out, rng)


# --- traces ---------------------------------------------------------------------------------------


class _Told:
    """Puts what a trace says of a request in the place of what its stream says."""

    def __init__(self, law: Law, said: FloatArray) -> None:
        self._law, self._said, self._row = law, said, 0

    def __call__(self, out: AnyArray) -> None:
        """Write the next rows."""
        if callable(self._law):
            self._law(out)
        else:
            out[:] = self._law
        said = self._said[self._row : self._row + len(out)]
        out[:] = np.where(np.isnan(said), out, said)
        self._row += len(out)


def _overrule(found: dict[str, Law], world: World, stream: StreamSpec) -> None:
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
        if not np.isnan(values).all():
            found[name] = _Told(found[name], values)


# --- with a model ---------------------------------------------------------------------------------


class Questions:
    """What a stream asks a model: tasks by its mix or its trace, and inputs of these tasks.

    Raises:
        InputError: The mix, a trace's tasks or the pool make no sense.
    """

    def __init__(self, world: World, stream: StreamSpec, pool_sizes: Sequence[int]) -> None:
        streams = Streams(world.seed)
        self._schedule = MixSchedule(stream, len(pool_sizes), streams.stream("mix", stream.id))
        self._tasks, self._inputs = (streams.stream(n, stream.id) for n in ("tasks", "inputs"))
        self._sizes = np.array(pool_sizes, dtype=np.int64)
        if len(self._sizes) == 0 or self._sizes.min() < 1:
            raise InputError(
                f"service pool: expected inputs for each task, found {list(pool_sizes)}"
            )
        self._given: IntArray | None = None
        self._row = 0
        if stream.arrivals.kind == "trace":
            self._given = trace(stream.arrivals, world.duration_s).tasks
            self._check(self._given)

    def _check(self, given: IntArray) -> None:
        if len(given) and given.max() >= self._schedule.tasks:
            raise InputError(
                f"streams.{self._schedule.stream.name}.arrivals.tasks: expected tasks below"
                f" {self._schedule.tasks}, found {given.max()}"
            )

    def ask(self, times: FloatArray) -> tuple[IntArray, IntArray]:
        """Return tasks and inputs of the next requests, (n,) each, emitted at `times`."""
        tasks = self._draw(times)
        if self._given is not None:
            given = self._given[self._row : self._row + len(times)]
            tasks = np.where(given >= 0, given, tasks)
            self._row += len(times)
        return tasks, self._of(tasks)

    def _draw(self, times: FloatArray) -> IntArray:
        """Draw each request's task from the mix at its emission."""
        uniform = self._tasks.random(len(times))
        drawn = np.empty(len(times), dtype=np.int64)
        for first in range(0, len(times), _ROWS):
            rows = slice(first, first + _ROWS)
            drawn[rows] = _invert(self._schedule.at(times[rows]), uniform[rows])
        return drawn

    def _of(self, tasks: IntArray) -> IntArray:
        """Draw an input of each task, all of its pool alike."""
        sizes = self._sizes
        offsets = np.cumsum(sizes) - sizes
        place = (self._inputs.random(len(tasks)) * sizes[tasks]).astype(np.int64)
        return offsets[tasks] + np.minimum(place, sizes[tasks] - 1)


def _invert(mixes: FloatArray, uniform: FloatArray) -> IntArray:
    """Return the first task whose cumulated share exceeds the uniform."""
    below = (np.cumsum(mixes, axis=1) <= uniform[:, None]).sum(axis=1)
    # sums may end a rounding error below one: stop at the last task that has a share
    last = mixes.shape[1] - 1 - np.argmax(mixes[:, ::-1] > 0.0, axis=1)
    found: IntArray = np.minimum(below, last)
    return found
