"""What a run's requests come to, counted as they end, in memory that does not grow with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sim.records import DROPS
from sim.stability import Levels

if TYPE_CHECKING:
    from sim.arrays import AnyArray, BoolArray, FloatArray, IntArray
    from sim.config import World
    from sim.records import Table

# Latencies are counted in bins: 128 equal ones from each power of two to the next, so that the
# middle of a bin is at most 1/256 (0.4 %) off. The first bin holds what is below 2^-30 s (1 ns).
PER_OCTAVE = 128
LOWEST_S, _HIGHEST_S = 2.0**-30, 2.0**30
SHIFT = 52 - 7  # a double's bits without the mantissa's below the first seven number the bins


def _number(value: float) -> int:
    return int(np.array([value]).view(np.int64)[0] >> SHIFT)


FIRST = _number(LOWEST_S) - 1
BINS = _number(_HIGHEST_S) - FIRST + 1
# Latencies are added up in whole numbers of 2^-20 s and of 2^-52 s, so that no order of the
# requests, and no way to compute it, changes the sum.
COARSE, FINE = 2.0**20, 2.0**32
MOST_STREAMS = 1000  # streams of a scenario that are told apart: no file can name more
_COUNTS = ("requests", "returned", "timely", "missed", "scored", "right", "useful")
_PRIORITIES = 2**16  # int16


class Tally(NamedTuple):
    """What is counted of every group of requests, (G, ...); written in place."""

    counts: IntArray  # (G, 7), as `_COUNTS` says
    drops: IntArray  # (G, reasons)
    bins: IntArray  # (G, BINS), latencies of the returned
    sums: IntArray  # (G, 2), in 2^-20 s and 2^-52 s
    extremes: FloatArray  # (G, 2), least and most in s


def _tally(groups: int) -> Tally:
    extremes = np.zeros((groups, 2))
    extremes[:, 0] = np.inf
    counts, drops, bins, sums = (
        np.zeros((groups, width), np.int64) for width in (len(_COUNTS), len(DROPS), BINS, 2)
    )
    return Tally(counts, drops, bins, sums, extremes)


class Totals:
    """Counts, latencies and levels of a run, fed with blocks of rows of the table `requests`.

    Requests are grouped by stream of the scenario (its streams at nodes together) and priority.
    The result depends on no order and no cut of the rows.

    Args:
        world: The run.
        compiled: Count in a compiled loop, to the same numbers.
    """

    def __init__(self, world: World, compiled: bool = False) -> None:
        self._groups = _Groups(world)
        self._tally = _tally(0)
        self._levels = Levels(len(world.nodes), world.duration_s)
        self._compiled = compiled

    @property
    def requests(self) -> int:
        """Return how many requests were counted."""
        return int(self._tally.counts[:, 0].sum())

    def add(self, rows: Table) -> None:
        """Count rows of the table `requests`, in any order.

        Requests that are in flight at the end belong to it, too.
        """
        if not len(rows["stream"]):
            return
        self.add_numbered(self.numbers(rows["stream"], rows["priority"]), rows)

    def numbers(self, stream: AnyArray, priority: AnyArray) -> IntArray:
        """Return the number of the group in which each request is counted, (n,)."""
        group = self._groups.of(stream, priority)
        self._grow(len(self._groups.found))
        return group

    def add_numbered(self, group: IntArray, rows: Table) -> None:
        """Count rows whose groups are known; of their columns, those of the tally suffice.

        Args:
            group: As `numbers` returned them, (n,).
            rows: `server`, `t_emit_s`, `t_enqueue_s`, `t_finish_s`, `t_return_s`, `deadline_s`,
                `drop` and `correct`, (n,) each.
        """
        if self._compiled:
            from sim.fast.tally import tally

            tally(group, rows, self._tally, self._levels)
            return
        took_s = rows["t_return_s"] - rows["t_emit_s"]
        self._count(group, rows, took_s)
        back = np.flatnonzero(np.isfinite(took_s))
        self._time(group[back], took_s[back])
        self._levels.add(rows)

    def _grow(self, groups: int) -> None:
        known = len(self._tally.counts)
        if groups > known:
            new = _tally(groups - known)
            pairs = zip(self._tally, new, strict=True)
            self._tally = Tally(*(np.concatenate(pair) for pair in pairs))

    def _count(self, group: IntArray, rows: Table, took_s: FloatArray) -> None:
        """Count ends as `analysis.outcomes` does."""
        deadline_s, dropped = rows["deadline_s"], rows["drop"] >= 0
        bound = np.isfinite(deadline_s)
        timely = np.isfinite(took_s) & ((took_s <= deadline_s) | ~bound)
        right = rows["correct"] == 1
        masks = {
            "requests": np.ones(len(group), dtype=np.bool_),
            "returned": np.isfinite(rows["t_return_s"]),
            "timely": timely,
            "missed": dropped | (bound & ~timely),
            "scored": rows["correct"] >= 0,
            "right": right,
            "useful": timely & right,
        }
        for place, name in enumerate(_COUNTS):
            self._tally.counts[:, place] += self._by_group(group, masks[name])
        np.add.at(self._tally.drops, (group[dropped], rows["drop"][dropped]), 1)

    def _by_group(self, group: IntArray, mask: BoolArray) -> IntArray:
        groups = len(self._tally.counts)
        if groups == 1:
            return np.array([np.count_nonzero(mask)])
        return np.bincount(group[mask], minlength=groups)

    def _time(self, group: IntArray, took_s: FloatArray) -> None:
        """Count latencies of the returned in bins, and add them up."""
        bins = np.clip((took_s.view(np.int64) >> SHIFT) - FIRST, 0, BINS - 1)
        np.add.at(self._tally.bins.reshape(-1), group * BINS + bins, 1)
        coarse = np.floor(took_s * COARSE)
        fine = np.floor((took_s * COARSE - coarse) * FINE + 0.5)
        for place, part in enumerate((coarse, fine)):
            np.add.at(self._tally.sums[:, place], group, part.astype(np.int64))
        np.minimum.at(self._tally.extremes[:, 0], group, took_s)
        np.maximum.at(self._tally.extremes[:, 1], group, took_s)

    def facts(self) -> dict[str, Any]:
        """Return everything that was counted, JSON-ready; `analysis.totals` reads it."""
        return {
            "lowest_s": LOWEST_S,
            "per_octave": PER_OCTAVE,
            "unstable": self._levels.growing().tolist(),
            "groups": [self._facts(place) for place in self._groups.order()],
        }

    def _facts(self, place: int) -> dict[str, Any]:
        stream, priority = self._groups.found[place]
        tally = Tally(*(column[place] for column in self._tally))
        coarse, fine = tally.sums.tolist()
        return {
            "stream": stream,
            "priority": priority,
            **dict(zip(_COUNTS, tally.counts.tolist(), strict=True)),
            "drops": {name: n for name, n in zip(DROPS, tally.drops.tolist(), strict=True) if n},
            "sum_s": (coarse + fine / FINE) / COARSE,
            "extremes_s": tally.extremes.tolist() if tally.counts[1] else [],
            **_filled(tally.bins),
        }


def _filled(bins: IntArray) -> dict[str, Any]:
    """Return the bins from the first to the last that hold something."""
    at = np.flatnonzero(bins)
    if not len(at):
        return {"first_bin": 0, "bins": []}
    return {"first_bin": int(at[0]), "bins": bins[at[0] : at[-1] + 1].tolist()}


class _Groups:
    """Numbers the pairs of stream (of the scenario) and priority as they appear.

    A world with more streams than any file can name has them counted as one without a name.
    """

    def __init__(self, world: World) -> None:
        names = {node.id: node.name for node in world.nodes}
        labels = [s.name.removesuffix(f".{names[s.node]}") for s in world.streams]
        if len(set(labels)) > MOST_STREAMS:
            labels = [""] * len(labels)
        self._labels = list(dict.fromkeys(labels))
        place = {name: i for i, name in enumerate(self._labels)}
        self._label = np.zeros(max((s.id for s in world.streams), default=0) + 1, np.int64)
        self._label[[s.id for s in world.streams]] = [place[name] for name in labels]
        self._column = np.full(_PRIORITIES, -1, np.int64)  # of a priority in `_places`
        self._places = np.full((len(self._labels), 0), -1, np.int64)
        self.found: list[tuple[str, int]] = []

    def of(self, stream: AnyArray, priority: AnyArray) -> IntArray:
        """Return the number of each request's group, (n,)."""
        if len(self._labels) == 1 and len(self.found) == 1 and (priority == self.found[0][1]).all():
            return np.zeros(len(priority), np.int64)
        label, at = self._label[stream], priority.astype(np.int64) % _PRIORITIES
        column = self._column[at]
        if column.min() < 0:
            self._add_columns(np.unique(at[column < 0]))
            column = self._column[at]
        group = self._places[label, column]
        if group.min() < 0:
            new = group < 0
            self._add_groups(np.unique(label[new] * _PRIORITIES + at[new]).tolist())
            group = self._places[label, column]
        return group

    def _add_columns(self, at: IntArray) -> None:
        width = self._places.shape[1]
        self._column[at] = width + np.arange(len(at))
        self._places = np.pad(self._places, ((0, 0), (0, len(at))), constant_values=-1)

    def _add_groups(self, pairs: list[int]) -> None:
        for label, at in (divmod(pair, _PRIORITIES) for pair in pairs):
            priority = at if at < _PRIORITIES // 2 else at - _PRIORITIES
            self._places[label, self._column[at]] = len(self.found)
            self.found.append((self._labels[label], priority))

    def order(self) -> list[int]:
        """Return the groups by stream in file order, higher priorities first."""
        rank = {name: place for place, name in enumerate(self._labels)}
        keys = [(rank[name], -priority) for name, priority in self.found]
        return sorted(range(len(keys)), key=keys.__getitem__)
