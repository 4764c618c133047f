"""The workload window by window: the same bits as drawn at once, in memory that does not grow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sim.arrivals.drawn import NONE, Drawn, Fingerprint
from sim.arrivals.emission import cumulative
from sim.arrivals.sources import Law, Questions, Source, laws
from sim.errors import InputError
from sim.rng import Family

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sim.arrays import AnyArray, FloatArray, IntArray
    from sim.config import ArrivalSpec, StreamSpec, World

TARGET = 65536  # requests of a window
# requests of a stream that are drawn together: calls cost as much as some hundred draws
_LEAST_EACH, _EACH = 64, 256
_LARGEST = 2**20  # requests that are drawn together, unless that leaves too few to each stream
_LEAST_PIECE = 256
_CELLS = 16  # places where a batch of draws may end, per batch


@dataclass(frozen=True, slots=True, eq=False)
class Window(Drawn):
    """Requests that follow one another; the first one's id is `first`.

    Columns that hold one value throughout may share memory with those of other windows: read only.
    """

    first: int = 0


@dataclass(frozen=True, slots=True)
class _Cut:
    """The emissions of all streams in one window, stream by stream."""

    times: FloatArray  # (n,)
    counts: IntArray  # (S,)
    ends: list[int]  # (S + 1,), the rows of stream s are ends[s]:ends[s + 1]


class Windows:
    """All requests of a world in order of emission, a window at a time; to be walked once.

    Requests are drawn batch by batch: what all streams emit before an instant that expected counts
    choose, sorted. A batch grows with the streams, not with the run, and where the seed brings a
    burst. Windows are its parts.

    Each purpose (arrivals, tasks, inputs, service, patience, sizes up and down, audit) of each
    stream has a generator of its own, and takes one draw per request where it can, so that streams
    and purposes never disturb each other. What a trace says of a request stands in place of what
    its stream says.

    Args:
        world: Streams, duration, seed and, without a model, the service law.
        pool_sizes: Service inputs per task, (M,); None: no model.
        target: Most requests of a window.
        batch: Requests that are drawn together; 0: as many as suit the target and the streams.

    Raises:
        InputError: A stream makes no sense, stream ids repeat, or there is neither model nor
            service law.
    """

    def __init__(
        self,
        world: World,
        pool_sizes: Sequence[int] | None,
        target: int = TARGET,
        batch: int = 0,
    ) -> None:
        if pool_sizes is None and world.service is None:
            raise InputError("service: expected a service law, because the world has no model")
        self.streams = tuple(sorted(world.streams, key=lambda stream: stream.id))
        if len({stream.id for stream in self.streams}) != len(self.streams):
            raise InputError("streams: ids must be distinct")
        self.target = target
        batch = batch or _batch(len(self.streams), target)
        piece = max(_LEAST_PIECE, 2 * batch // max(len(self.streams), 1))
        self._ends_s = _ends(world, batch)
        seeds = Family(world.seed, [s.id for s in self.streams])
        self._sources = [
            Source(s.arrivals, world.duration_s, seeds.stream("arrivals", s.id), piece)
            for s in self.streams
        ]
        self._columns = _columns(world, self.streams, seeds)
        self._late = np.array([s.late == "drop" for s in self.streams], dtype=np.bool_)
        self._questions = (
            None if pool_sizes is None else [Questions(world, s, pool_sizes) for s in self.streams]
        )
        self._fingerprint = Fingerprint()
        self.drawn = 0

    @property
    def digest(self) -> str:
        """Return the hash of all requests so far; after the last window, `Workload.digest`."""
        if not self.drawn:
            self._fingerprint.feed(NONE)
        return self._fingerprint.hexdigest()

    def __iter__(self) -> Iterator[Window]:
        for end_s in self._ends_s:
            cut = _cut([source.take(end_s) for source in self._sources])
            if not len(cut.times):
                continue
            batch = self._batch(cut)
            self._fingerprint.feed(batch)
            for first in range(0, len(cut.times), self.target):
                rows = slice(first, first + self.target)
                part = {name: values[rows] for name, values in batch.items()}
                window = Window(**part, first=self.drawn)
                self.drawn += len(window)
                yield window

    def _batch(self, cut: _Cut) -> dict[str, AnyArray]:
        """Return the columns of a batch, in order of emission."""
        which = np.repeat(np.arange(len(self.streams)), cut.counts)
        order = _order(cut)
        made: dict[str, AnyArray] = {"t_emit_s": cut.times, **self._asked(cut)}
        made |= {name: column.drawn(cut) for name, column in self._columns.items() if column.fills}
        if order is not None:
            which = which[order]
            made = {name: values[order] for name, values in made.items()}
        for name, column in self._columns.items():
            if name not in made:
                made[name] = column.of(which)
        made["expires_s"] = self._expires(made, which)
        return {name: made[name] for name in NONE}

    def _asked(self, cut: _Cut) -> dict[str, AnyArray]:
        """Return tasks and inputs where there is a model."""
        if self._questions is None:
            return {}
        tasks, inputs = np.empty(len(cut.times), np.int16), np.empty(len(cut.times), np.int32)
        for place, questions in enumerate(self._questions):
            rows = slice(cut.ends[place], cut.ends[place + 1])
            tasks[rows], inputs[rows] = questions.ask(cut.times[rows])
        return {"task": tasks, "input": inputs}

    def _expires(self, made: dict[str, AnyArray], which: IntArray) -> FloatArray:
        if not self._late.any():
            return self._columns["expires_s"].of(which)
        return np.where(self._late[which], made["t_emit_s"] + made["deadline_s"], np.inf)


class _Column:
    """One column of all streams: a value each, or what laws draw into the rows of some."""

    def __init__(self, name: str, laws: Sequence[Law]) -> None:
        self.dtype = NONE[name].dtype
        self.fills = [(place, law) for place, law in enumerate(laws) if callable(law)]
        self.values = np.array([0.0 if callable(law) else law for law in laws]).astype(self.dtype)
        bits = self.values.view(f"u{self.dtype.itemsize}")
        self._same = bool((bits == bits[:1]).all())
        self._constant = np.empty(0, self.dtype)

    def of(self, which: IntArray) -> AnyArray:
        """Return the column of requests whose streams are known, (n,)."""
        if not self._same:
            return self.values[which]
        if len(self._constant) < len(which):
            self._constant = np.full(len(which), self.values[0])
        return self._constant[: len(which)]

    def drawn(self, cut: _Cut) -> AnyArray:
        """Draw the column stream by stream, (n,)."""
        if len(self.fills) == len(self.values):
            out = np.empty(len(cut.times), self.dtype)
        else:
            out = np.repeat(self.values, cut.counts)
        ends = cut.ends
        for place, fill in self.fills:
            if ends[place + 1] > ends[place]:
                fill(out[ends[place] : ends[place + 1]])
        return out


def _columns(world: World, streams: Sequence[StreamSpec], seeds: Family) -> dict[str, _Column]:
    found: dict[str, list[Law]] = {name: [] for name in NONE if name != "t_emit_s"}
    for stream in streams:
        said: dict[str, Law] = {
            "stream": stream.id, "source": stream.node, "task": -1, "input": -1,
            "expires_s": np.inf, **laws(world, stream, seeds),
        }  # fmt: skip
        for name, law in said.items():
            found[name].append(law)
    return {name: _Column(name, of) for name, of in found.items()}


def _cut(taken: Sequence[FloatArray]) -> _Cut:
    counts = np.fromiter(map(len, taken), dtype=np.int64, count=len(taken))
    times = np.concatenate(taken) if len(taken) != 1 else taken[0]
    return _Cut(times, counts, [0, *np.cumsum(counts).tolist()])


def _order(cut: _Cut) -> IntArray | None:
    """Return the order of emission; streams are in id order, so ties go by row."""
    if np.count_nonzero(cut.counts) <= 1:
        return None
    order = np.argsort(cut.times)  # several times faster than a stable sort
    ordered = cut.times[order]
    if (ordered[1:] == ordered[:-1]).any():
        order = np.argsort(cut.times, kind="stable")
    return order


def _batch(streams: int, target: int) -> int:
    """Return how many requests are drawn together."""
    return max(target, _LEAST_EACH * streams, min(_EACH * streams, _LARGEST))


def _ends(world: World, batch: int) -> list[float]:
    """Return where batches of draws end, the last one at no time at all."""
    total = expected_requests(world)
    # a little less than wanted, so that luck rarely makes a window more
    batches = max(1, math.ceil(total / max(batch - 4.0 * math.sqrt(batch), 1.0)))
    if batches == 1:
        return [math.inf]
    grid = np.linspace(0.0, world.duration_s, _CELLS * batches + 1)
    levels = total * np.arange(1, batches) / batches
    inner = np.interp(levels, _expected(world, grid), grid)
    return [*np.unique(inner).tolist(), math.inf]


def expected_requests(world: World) -> float:
    """Return how many requests a world is expected to emit.

    Raises:
        InputError: A rate, profile or trace makes no sense.
    """
    return float(_expected(world, np.array([world.duration_s]))[0])


def _expected(world: World, times_s: FloatArray) -> FloatArray:
    """Return the expected emissions of all streams in [0, t) for many t, (n,)."""
    counts: dict[int, int] = {}  # most streams of a fleet share one object
    specs: dict[int, ArrivalSpec] = {}
    for stream in world.streams:
        key = id(stream.arrivals)
        specs[key], counts[key] = stream.arrivals, counts.get(key, 0) + 1
    total = np.zeros(len(times_s))
    for key, spec in specs.items():
        total += counts[key] * cumulative(spec, times_s)
    return total
