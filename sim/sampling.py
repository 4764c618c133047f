"""Which requests keep their row in the table `requests` when all of them would not fit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.arrivals.windows import expected_requests
from sim.records import columns, dtype
from sim.totals import Totals

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sim.arrays import AnyArray, BoolArray
    from sim.config import World
    from sim.records import Table, Tables

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio, odd
_WORD = 2**64
_BLOCK = 65536  # rows that are counted at once
_RECENT = 64  # blocks of kept rows that are joined to one


def row_bytes() -> int:
    """Return the size of a row of the table `requests` in memory."""
    return sum(dtype(column).itemsize for column in columns("requests"))


@dataclass(frozen=True, slots=True)
class Sample:
    """One in `every` requests: the same ones under every policy, known before the run.

    Ids are multiplied by the golden ratio; those whose fraction is small are kept. Their gaps take
    two or three different lengths only, so the sample is even over time, and no rhythm in the ids
    (streams in turn, say) can stay in step with it.

    Source: Knuth 1973, The Art of Computer Programming 3, sec. 6.4 (Fibonacci hashing; three gaps).
    Deviation: the hash decides who is kept, not where.
    """

    every: int

    def keeps(self, ids: AnyArray) -> BoolArray:
        """Tell which requests keep their row, (n,)."""
        if self.every == 1:
            return np.ones(len(ids), dtype=np.bool_)
        found: BoolArray = ids.astype(np.uint64) * _GOLDEN < np.uint64(_WORD // self.every)
        return found


def sample_of(world: World) -> Sample:
    """Return the sample that holds the rows of a run within `World.rows_bytes`.

    It follows from the number of requests that the world is expected to emit, so luck can take a
    few more rows than that.

    Raises:
        InputError: A rate, profile or trace makes no sense.
    """
    if math.isinf(world.rows_bytes):
        return Sample(1)
    wanted = expected_requests(world) * row_bytes()
    return Sample(max(1, math.ceil(wanted / world.rows_bytes)))


class Retired:
    """Takes the rows of requests that have ended: all are counted, a sample is kept.

    Args:
        world: The run.
        compiled: Count in a compiled loop, to the same numbers.
    """

    def __init__(self, world: World, compiled: bool = False) -> None:
        self.sample = sample_of(world)
        self.totals = Totals(world, compiled)
        self._blocks: list[Table] = []
        self._recent: list[Table] = []  # small ones, to be joined

    @property
    def samples(self) -> bool:
        """Tell whether only some rows are kept."""
        return self.sample.every > 1

    def retire(self, rows: Table) -> None:
        """Take rows of the table `requests`, each request once, in any order and number.

        Args:
            rows: Columns of the schema; they may be views, nothing of them is kept.
        """
        for first in range(0, len(rows["id"]), _BLOCK):
            block = {name: values[first : first + _BLOCK] for name, values in rows.items()}
            self.totals.add(block)
            kept = np.flatnonzero(self.sample.keeps(block["id"]))
            if len(kept):
                self.keep({name: values[kept] for name, values in block.items()})

    def keep(self, rows: Table) -> None:
        """Keep rows of the sample that were counted elsewhere; they stay as they are."""
        self._recent.append(rows)
        if len(self._recent) >= _RECENT:
            self._join()

    def _join(self) -> None:
        """Make one block of the recent ones: thousands of small arrays cost more than they hold."""
        recent, self._recent = self._recent, []
        if recent:
            names = recent[0]
            joined = {name: np.concatenate([block[name] for block in recent]) for name in names}
            self._blocks.append(joined)

    def finish(self) -> tuple[Table, dict[str, Any]]:
        """Return the table `requests` by id, and what meta says of all requests; to be asked once.

        Requests that are still in flight must have been retired before.
        """
        self._join()
        ids = [block["id"] for block in self._blocks]
        order = np.argsort(np.concatenate([np.empty(0, np.int64), *ids]))
        table = {}
        for column in columns("requests"):
            parts = [block.pop(column.name) for block in self._blocks]
            table[column.name] = np.concatenate([np.empty(0, dtype(column)), *parts])[order]
        of = self.totals.requests
        rows = {"kept": len(order), "of": of, "every": self.sample.every}
        return table, {"rows": rows, "totals": self.totals.facts()}


def sampled(world: World, tables: Tables, meta: dict[str, Any], plain: Sequence[bool] = ()) -> None:
    """Cut the table `requests` of a finished run to the sample, and say so in its meta facts.

    Nothing is cut, and nothing said, where all rows fit.

    Args:
        world: The run.
        tables: Its tables.
        meta: Its meta facts.
        plain: By node: every request is a batch of its own. Batches there are numbered by start
            when all are known; in a sample each has its request's number.
    """
    retired = Retired(world)
    if retired.samples:
        rows = tables["requests"]
        alone = np.append(np.array(plain, dtype=np.bool_), False)[
            np.minimum(rows["server"], len(plain))
        ]
        rows["batch"] = np.where(alone & (rows["batch"] >= 0), rows["id"], rows["batch"])
        retired.retire(tables["requests"])
        tables["requests"], facts = retired.finish()
        describe(meta, facts)


def describe(meta: dict[str, Any], facts: Mapping[str, Any]) -> None:
    """Add to the meta facts of a run what `Retired.finish` says, and a note for the reader."""
    meta.update(facts)
    every = facts["rows"]["every"]
    meta["notes"].append(
        f"1 in {every} requests is recorded, the same ones under every policy; counts, latencies"
        " and the summary are from all requests."
    )
