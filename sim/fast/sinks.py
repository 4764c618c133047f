"""Where the requests of a run come from and where they go: all at once, or window by window.

`Whole` keeps every row, in columns that were there from the start. `Sampled` draws the workload as
the run goes on, counts every request that ended and keeps the rows of a sample, so that memory does
not grow with the run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from sim.arrivals.drawn import NONE
from sim.arrivals.windows import Windows
from sim.fast.live import FIXED, Rows, Window, take_down
from sim.fast.stamps import Stamps
from sim.laws import balance, causality, conservation
from sim.recorder import requests_of
from sim.records import DROPS, columns, dtype
from sim.sampling import Retired

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sim.arrays import AnyArray, BoolArray, IntArray
    from sim.arrivals.drawn import Drawn
    from sim.arrivals.workload import Workload
    from sim.config import World
    from sim.fast.state import State
    from sim.records import Table

WINDOW = 1 << 16  # emissions that are loaded at once


class End(NamedTuple):
    """How a run ended."""

    end_s: float
    in_flight: int  # requests that stations, links and choosing dispatchers hold
    plain: BoolArray  # by node: every request is a batch of its own, not numbered while it runs
    batches: int  # batches that were numbered


class Sink(Protocol):
    """Gives windows of emissions, and takes what became of requests."""

    @property
    def digest(self) -> str:
        """Return the hash of the workload; known after the last window."""
        ...

    def take(self, present: int) -> tuple[Window, int, bool]:
        """Return the next window, the id of its first request, and whether there are more.

        Args:
            present: Requests that are there already: much fewer should move over than come.
        """
        ...

    def retire(self, state: State, *, choosing: IntArray | None = None) -> IntArray:
        """Take down who ended; return the others' new places.

        Args:
            state: Of the run.
            choosing: At the end, when everybody is taken down: ids of requests not yet dispatched.
        """
        ...

    def conclude(self, end: End) -> dict[str, int]:
        """Complete the rows and check the laws of requests; return the fleet's counts.

        Raises:
            LawViolation: A law is broken.
        """
        ...

    def table(self) -> tuple[Table, Mapping[str, Any]]:
        """Return the table `requests`, and what meta says of it."""
        ...


def window_of(drawn: Drawn | Mapping[str, AnyArray], priorities: IntArray) -> Window:
    """Return emissions as kernels want them.

    Args:
        drawn: The workload, or a part of it.
        priorities: All that requests may have, ascending; one where no node asks for them.
    """
    get: Any = drawn.__getitem__ if isinstance(drawn, dict) else lambda name: getattr(drawn, name)
    priority = get("priority")
    above = np.searchsorted(priorities, priority) if len(priorities) > 1 else np.zeros(1, np.int64)
    rank = np.broadcast_to(len(priorities) - 1 - above, priority.shape)
    named = {name: get(name) for name in Window._fields if name != "rank"}
    return Window(rank=rank, **named)


# --- all rows


class Whole:
    """Keeps every row.

    Args:
        workload: Drawn.
        choice_s: Time that a choice takes, by source.
        priorities: All that requests may have, ascending.
        window: Emissions that are loaded at once.
        stamps: Of all requests; None: fresh ones.
    """

    def __init__(
        self,
        workload: Workload,
        choice_s: Sequence[float],
        priorities: IntArray,
        window: int,
        stamps: Stamps | None = None,
    ) -> None:
        self.stamps = stamps or Stamps(workload)
        self.digest = workload.digest
        self._choice_s, self._priorities, self._least = choice_s, priorities, window
        self._next, self._choosing = 0, list[int]()
        # what was fixed at emission is in the workload, so kernels need not write it
        fixed = {name: values[:1] for name, values in _columns(1)._asdict().items()}
        written = {n: self.stamps.stamp(n) for n in Rows._fields if n not in ("id", *FIXED)}
        self._rows = Rows(**fixed | written)

    def take(self, present: int) -> tuple[Window, int, bool]:
        """Return the next window, the id of its first request, and whether there are more."""
        first, drawn = self._next, self.stamps.workload
        self._next = min(first + max(self._least, present), self.stamps.count)
        rows = slice(first, self._next)
        part = {name: getattr(drawn, name)[rows] for name in (*Window._fields, "priority")
                if name != "rank"}  # fmt: skip
        return window_of(part, self._priorities), first, self._next < self.stamps.count

    def retire(self, state: State, *, choosing: IntArray | None = None) -> IntArray:
        """Take down who ended, at the end everybody; return the others' new places."""
        new = np.empty(int(state.facts["emitted"]) + 1, np.int64)
        take_down(state.run, self._rows, 1, choosing is not None, new)
        self._choosing = [] if choosing is None else choosing.tolist()
        return new

    def conclude(self, end: End) -> dict[str, int]:
        """Complete the rows and check the laws of requests; return the fleet's counts."""
        stamps = self.stamps
        stamps.t_return_s[stamps.t_return_s > end.end_s] = np.nan
        stamps.fill_dispatch(self._choice_s, self._choosing)
        stamps.fill_plain(end.plain.tolist(), end.batches)
        table, _ = self.table()
        causality(table)
        return conservation(table, end.in_flight)

    def table(self) -> tuple[Table, Mapping[str, Any]]:
        """Return the table `requests`, and what meta says of it."""
        return requests_of(self.stamps), {}


# --- a sample of rows


class Sample:
    """Counts every request and keeps the rows of some.

    Args:
        world: The run.
        choice_s: Time that a choice takes, by source.
    """

    def __init__(self, world: World, choice_s: Sequence[float]) -> None:
        self._retired = Retired(world, compiled=True)
        self._choice_s, self._limit_s = np.array(choice_s), world.duration_s + world.drain_s
        self._counts = {"emitted": 0, "returned": 0}
        self._drops = np.zeros(len(DROPS), np.int64)

    def add(self, rows: Table, choosing: IntArray | None = None) -> None:
        """Take requests that came to their end.

        Args:
            rows: The columns `Rows`; returns after the end of the run are taken out.
            choosing: At the end, when those still under way come, too: ids of requests not yet
                dispatched.
        """
        if not len(rows["id"]):
            return
        known = self._dated(rows, choosing)
        causality(known)
        returned = int(np.count_nonzero(~np.isnan(known["t_return_s"])))
        self.note(len(rows["id"]), returned, rows["drop"])
        self._retired.totals.add(known | {"correct": np.full(len(rows["id"]), -1, np.int8)})
        kept = np.flatnonzero(self._retired.sample.keeps(rows["id"]))
        if len(kept):
            some = {name: values[kept] for name, values in known.items()}
            self._retired.keep(self._whole(some))

    def complete(self, rows: Table, choosing: IntArray | None = None) -> Table:
        """Return all columns of the schema: without a model there is neither task nor plan."""
        return self._whole(self._dated(rows, choosing))

    def _dated(self, rows: Table, choosing: IntArray | None) -> Table:
        """Return rows with the time of dispatch, and without returns after the end of the run."""
        back_s = rows["t_return_s"]
        sent_s = rows["t_emit_s"] + self._choice_s[rows["source"]]
        if choosing is not None:
            sent_s[np.isin(rows["id"], choosing)] = np.nan
        late = np.where(back_s > self._limit_s, np.nan, back_s)
        return {**rows, "t_return_s": late, "t_dispatch_s": sent_s}

    def _whole(self, known: Table) -> Table:
        count = len(known["id"])
        return {
            c.name: known[c.name] if c.name in known else np.full(count, -1, dtype(c))
            for c in columns("requests")
        }

    def note(self, emitted: int, returned: int, drop: AnyArray) -> None:
        """Count ends."""
        self._counts["emitted"] += emitted
        self._counts["returned"] += returned
        if (drop >= 0).any():
            self._drops += np.bincount(drop[drop >= 0], minlength=len(DROPS))

    def conclude(self, in_flight: int) -> dict[str, int]:
        """Check the law of conservation; return the fleet's counts."""
        counts = {**self._counts, "in_flight": in_flight}
        return balance(counts | dict(zip(DROPS, self._drops.tolist(), strict=True)))

    def table(self) -> tuple[Table, Mapping[str, Any]]:
        """Return the table `requests`, and what meta says of it."""
        return self._retired.finish()


class Sampled:
    """Counts every request, keeps the rows of a sample, and draws the workload as time goes on.

    Args:
        world: The run.
        choice_s: Time that a choice takes, by source.
        priorities: All that requests may have, ascending.
        window: Emissions that are loaded at once.
    """

    def __init__(
        self, world: World, choice_s: Sequence[float], priorities: IntArray, window: int
    ) -> None:
        self._sample, self._windows = Sample(world, choice_s), Windows(world, None, window)
        self._priorities = priorities
        self._coming: Iterator[Any] = iter(self._windows)
        self._ahead = next(self._coming, None)

    @property
    def digest(self) -> str:
        """Return the hash of the workload; known after the last window."""
        return self._windows.digest

    def take(self, present: int) -> tuple[Window, int, bool]:
        """Return the next window, the id of its first request, and whether there are more."""
        made, first = list[Window](), self._ahead.first if self._ahead else 0
        while self._ahead is not None and sum(len(w.t_emit_s) for w in made) < max(1, present):
            made.append(window_of(self._ahead, self._priorities))
            self._ahead = next(self._coming, None)
        made = made or [window_of(NONE, self._priorities)]  # a world may draw no request at all
        window = (
            made[0] if len(made) == 1 else Window(*map(np.concatenate, zip(*made, strict=True)))
        )
        return window, first, self._ahead is not None

    def retire(self, state: State, *, choosing: IntArray | None = None) -> IntArray:
        """Take down who ended, at the end everybody; return the others' new places."""
        count = int(state.facts["emitted"])
        new, rows = np.empty(count + 1, np.int64), _columns(count)
        took = take_down(state.run, rows, 0, choosing is not None, new)
        known = {name: values[:took] for name, values in zip(Rows._fields, rows, strict=True)}
        self._sample.add(known, choosing)
        return new

    def conclude(self, end: End) -> dict[str, int]:
        """Check the laws of requests; return the fleet's counts."""
        return self._sample.conclude(end.in_flight)

    def table(self) -> tuple[Table, Mapping[str, Any]]:
        """Return the table `requests`, and what meta says of it."""
        return self._sample.table()


def _columns(count: int) -> Rows:
    """Return columns for so many rows."""
    types = {c.name: dtype(c) for c in columns("requests")}
    return Rows(*(np.empty(count, types[name]) for name in Rows._fields))
