"""Mixes of tasks over time: what a stream asks, drifting as its schedule says."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sim.errors import InputError
from sim.rng import Streams

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.arrays import FloatArray
    from sim.config import DriftSpec, StreamSpec, World


@dataclass(frozen=True, slots=True)
class _Piece:
    """The law of a mix from `start_s` on, until the next piece starts.

    Neither `over_s` nor `every_s`: `after`. `over_s`: linear from `before` to `after`. `every_s`:
    `after` first, then `before`, in turn.
    """

    start_s: float
    before: FloatArray
    after: FloatArray
    over_s: float = 0.0
    every_s: float = 0.0

    @property
    def constant(self) -> bool:
        """Tell whether the mix stands still in this piece."""
        return self.over_s == 0.0 and self.every_s == 0.0

    def at(self, times: FloatArray) -> FloatArray:
        """Evaluate at times within the piece, (n,) -> (n, M)."""
        age_s = times - self.start_s
        if self.every_s > 0.0:
            share = (np.floor(age_s / self.every_s) % 2 == 0).astype(np.float64)
        elif self.over_s > 0.0:
            share = np.minimum(age_s / self.over_s, 1.0)
        else:
            share = np.ones(len(times))
        mixed: FloatArray = (1.0 - share)[:, None] * self.before + share[:, None] * self.after
        return mixed

    def corners(self, start_s: float, end_s: float) -> list[float]:
        """List the times in (start, end), after the piece's own start, where it bends or jumps."""
        if self.every_s > 0.0:
            first = max(1, int((start_s - self.start_s) / self.every_s))
            last = int(max(0.0, (end_s - self.start_s) / self.every_s)) + 1
            found = [self.start_s + j * self.every_s for j in range(first, last + 1)]
        else:
            found = [self.start_s + self.over_s] if self.over_s > 0.0 else []
        return [t for t in found if max(start_s, self.start_s) < t < end_s]


class MixSchedule:
    """One stream's mix over time, f[M], drawn once from the stream's own generator.

    Drifts act in order of `at_s`; each starts from the mix that the earlier ones have at that
    moment and ends what they do. A fresh mix (no `weights` given) is: for `dirichlet` new tasks
    and new shares, for `explicit` the same shares dealt to other tasks; `uniform` has none and
    needs `weights`.

    Args:
        stream: Mix and drift of the stream.
        tasks: Number of tasks M of the model.
        rng: Generator named after the purpose "mix" and the stream.

    Raises:
        InputError: Weights, counts or times make no sense.
    """

    def __init__(self, stream: StreamSpec, tasks: int, rng: np.random.Generator) -> None:
        self.stream, self.tasks = stream, tasks
        self._rng = rng
        first = self._first()
        self._pieces = [_Piece(0.0, first, first)]
        for drift in sorted(stream.drift, key=lambda drift: drift.at_s):
            self._pieces.append(self._drift(drift))
        self._starts = [piece.start_s for piece in self._pieces]

    def at(self, times: FloatArray) -> FloatArray:
        """Return the mix at each time, (n,) -> (n, M)."""
        which = np.searchsorted(np.array(self._starts), times, side="right") - 1
        found = np.empty((len(times), self.tasks))
        for index, piece in enumerate(self._pieces):
            rows = np.flatnonzero(which == index)
            if len(rows):
                found[rows] = piece.at(times[rows])
        return found

    def change_times(self, until_s: float) -> tuple[float, ...]:
        """List when the mix changes before a time: starts of drifts, turns of recurring ones."""
        ends = [*self._starts[1:], until_s]
        found: dict[float, None] = {}
        for piece, end_s in list(zip(self._pieces, ends, strict=True))[1:]:
            turns = piece.corners(0.0, min(end_s, until_s)) if piece.every_s > 0.0 else []
            found.update(dict.fromkeys([piece.start_s, *turns]))
        return tuple(t for t in found if t < until_s)

    def mean(self, start_s: float, end_s: float) -> FloatArray:
        """Return the exact time average of the mix over an interval, f[M]."""
        first, last = bisect_right(self._starts, start_s) - 1, bisect_left(self._starts, end_s)
        cuts = [start_s, *self._starts[first + 1 : last], end_s]
        if last - first == 1 and self._pieces[first].constant:
            return self._pieces[first].after  # the usual slot, met once per stream and slot
        for index in range(first, last):
            piece, ends = self._pieces[index], [*self._starts[index + 1 : index + 2], end_s]
            cuts += piece.corners(start_s, min(ends))
        cuts.sort()
        lengths = np.diff(cuts)
        middles = self.at(np.array(cuts[:-1]) + lengths / 2.0)  # linear between cuts
        total: FloatArray = lengths @ middles / (end_s - start_s)
        return total

    def slot_mix(self, slot: int, slot_s: float) -> FloatArray:
        """Return the average mix over slot `slot`, f[M]: what a declared oracle is told."""
        return self.mean(slot * slot_s, (slot + 1) * slot_s)

    def _first(self) -> FloatArray:
        mix = self.stream.mix
        if mix.kind == "explicit":
            return self._explicit(mix.weights, "mix.weights")
        if mix.kind == "uniform":
            return np.full(self.tasks, 1.0 / self.tasks)
        return self._dirichlet()

    def _dirichlet(self) -> FloatArray:
        mix = self.stream.mix
        chosen = self.tasks if mix.tasks is None else mix.tasks
        if not 1 <= chosen <= self.tasks or not mix.alpha > 0.0:
            raise InputError(
                f"{self._where('mix')}: expected 1 <= tasks <= {self.tasks} and alpha > 0,"
                f" found tasks {chosen}, alpha {mix.alpha}"
            )
        found = np.zeros(self.tasks)
        which = self._rng.permutation(self.tasks)[:chosen]
        found[which] = self._rng.dirichlet(np.full(chosen, mix.alpha))
        return found

    def _explicit(self, weights: Sequence[float], key: str) -> FloatArray:
        found = np.array(weights, dtype=np.float64)
        if found.shape != (self.tasks,) or not np.all(found >= 0.0) or not found.sum() > 0.0:
            raise InputError(
                f"{self._where(key)}: expected {self.tasks} weights >= 0, not all 0,"
                f" found {list(weights)}"
            )
        total: FloatArray = found / found.sum()
        return total

    def _fresh(self, drift: DriftSpec) -> FloatArray:
        if drift.weights:
            return self._explicit(drift.weights, "drift.weights")
        if self.stream.mix.kind == "dirichlet":
            return self._dirichlet()
        before = self._pieces[0].after
        if np.all(before == before[0]):
            raise InputError(
                f"{self._where('drift')}: a uniform mix has no other draw;"
                f" give {drift.kind} weights"
            )
        found = before
        while np.array_equal(found, before):
            found = self._rng.permutation(before)
        return found

    def _drift(self, drift: DriftSpec) -> _Piece:
        if not drift.at_s > 0.0:
            raise InputError(f"{self._where('drift.at_s')}: expected > 0, found {drift.at_s}")
        before = self._pieces[-1].at(np.array([drift.at_s]))[0]
        if drift.kind == "new-task":
            return _Piece(drift.at_s, before, self._with_new_task(before, drift.share))
        if drift.kind == "gradual":
            self._positive(drift.over_s, "drift.over_s")
            return _Piece(drift.at_s, before, self._fresh(drift), over_s=drift.over_s)
        if drift.kind == "recurring":
            self._positive(drift.every_s, "drift.every_s")
            return _Piece(drift.at_s, before, self._fresh(drift), every_s=drift.every_s)
        return _Piece(drift.at_s, before, self._fresh(drift))

    def _with_new_task(self, before: FloatArray, share: float) -> FloatArray:
        unknown = np.flatnonzero(before == 0.0)
        if not len(unknown) or not 0.0 < share <= 1.0:
            raise InputError(
                f"{self._where('drift')}: new-task needs a task that the mix has not, and a share"
                f" in (0, 1]; found {len(unknown)} such tasks and share {share}"
            )
        found = (1.0 - share) * before
        found[self._rng.choice(unknown)] = share
        return found

    def _positive(self, value: float, key: str) -> None:
        if not value > 0.0:
            raise InputError(f"{self._where(key)}: expected > 0, found {value}")

    def _where(self, key: str) -> str:
        return f"streams.{self.stream.name}.{key}"


def draw_schedules(world: World, tasks: int) -> tuple[MixSchedule, ...]:
    """Draw the mix schedules of all streams, in order of stream id; same seed, same schedules."""
    streams = Streams(world.seed)
    ordered = sorted(world.streams, key=lambda stream: stream.id)
    return tuple(MixSchedule(s, tasks, streams.stream("mix", s.id)) for s in ordered)
