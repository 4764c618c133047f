"""What goes into a step of the flow pass, and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from sim.fast.arrange import pick

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sim.arrays import AnyArray, FloatArray, IntArray
    from sim.arrivals.workload import Workload
    from sim.fast.flow_ways import Pairs
    from sim.fast.stamps import Stamps


@dataclass(frozen=True, slots=True)
class Window:
    """Requests emitted in a row.

    Attributes:
        first: Id of the first one.
        columns: Of the workload (`sim.arrivals.workload.Workload`), (n,) each, by name: `source`,
            `t_emit_s`, `service_s`, `up_bytes`, `down_bytes`; where requests may leave queues
            `patience_s`, `expires_s`; and whatever the consumer wants of requests that end.
    """

    first: int
    columns: Mapping[str, AnyArray]

    def __len__(self) -> int:
        return len(self.columns["t_emit_s"])

    def part(self, begin: int, stop: int) -> Window:
        """Return some of the requests."""
        cut = {name: values[begin:stop] for name, values in self.columns.items()}
        return Window(self.first + begin, cut)


def whole(workload: Workload) -> Window:
    """Return all requests of a run as one window."""
    names = (f.name for f in fields(workload) if f.init)
    return Window(0, {name: getattr(workload, name) for name in names})


def take(old: AnyArray, new: AnyArray, rows: AnyArray) -> AnyArray:
    """Return rows of two columns, one behind the other, without joining them."""
    picked = np.empty(len(rows), new.dtype)
    pick(old, new, rows, picked)
    return picked


@dataclass(frozen=True, slots=True)
class Retired:
    """Requests that came to their end, (n,) each, by server, in the order of their ends there.

    NaN: did not happen. One that has finished and has neither returned nor been dropped is on its
    way back when the run ends. At the end of a run the same columns tell of those that did not come
    to their end.

    Attributes:
        done: DONE (sim.fast.flow_state), (n,): their stamps, pairs, and rows: their places among
            requests carried over into the step and new ones.
        pairs: Pairs of source and server.
        choice_s: How long a source chooses, by pair.
        old_id: Ids of those carried over.
        first: Id of the first new one.
        old: Columns of the workload, of those carried over.
        new: The same of new ones.
    """

    done: AnyArray
    pairs: Pairs
    choice_s: FloatArray
    old_id: IntArray
    first: int
    old: Mapping[str, AnyArray]
    new: Mapping[str, AnyArray]

    def __len__(self) -> int:
        return len(self.done)

    @property
    def id(self) -> IntArray:
        """Their ids."""
        olds = len(self.old_id)
        ids = self.done["row"] + np.int64(self.first - olds)
        old = np.flatnonzero(self.done["row"] < olds)
        ids[old] = self.old_id[self.done["row"][old]]
        return ids

    @property
    def server(self) -> AnyArray:
        """Node ids of their servers."""
        nodes: AnyArray = self.pairs.server[self.done["pair"]]
        return nodes

    @property
    def dispatch_s(self) -> FloatArray:
        """When their servers were chosen."""
        chosen_s: FloatArray = self.drawn("t_emit_s") + self.choice_s[self.done["pair"]]
        return chosen_s

    def drawn(self, name: str) -> AnyArray:
        """Return their column of the workload."""
        new = self.new[name]
        return take(self.old.get(name, new[:0]), new, self.done["row"])

    def stamp(self, stamps: Stamps) -> None:
        """Write all stamps but `t_dispatch_s` into the columns of a whole run."""
        ids = self.id
        stamps.server[ids] = self.server
        for name in ("enqueue", "start", "finish", "return"):
            stamps.stamp(f"t_{name}_s")[ids] = self.done[f"{name}_s"]
        stamps.drop[ids] = self.done["drop"]


@dataclass(frozen=True, slots=True)
class Settled:
    """Slot boundaries, (K,), and the meters of every station there."""

    first: int  # the slot that the first boundary closes
    bound_s: FloatArray
    up_s: FloatArray  # (K,) how long stations were up in the slot: all of it
    busy_s: FloatArray  # (K, M), server seconds in the slot
    marks: AnyArray  # MARK (sim.fast.flow_state), (K, M)
    up_bytes: FloatArray  # (K, P), put on links in the slot
    down_bytes: FloatArray


@dataclass(frozen=True, slots=True)
class Stayed:
    """Requests still in the fleet after a step, (n,) each, in the order in which it carries them.

    Attributes:
        row: Their places among those carried over into the step and new ones.
        start_s: When their service started, NaN: they do not run.
        id: Their ids.
    """

    row: IntArray
    start_s: FloatArray
    id: IntArray


@dataclass(frozen=True, slots=True)
class Step:
    """What happened in a step.

    Its records lie in memory that the next step overwrites.
    """

    retired: Retired
    settled: Settled
    stayed: Stayed


@dataclass(frozen=True, slots=True)
class Closing:
    """The end of a run.

    Attributes:
        partial: The end cuts a slot, which `settled` closes; else all slots are told of, and
            `settled` only says how the meters stand.
        settled: One boundary, at the end; every station is due for its check.
        left: Requests that have not come to their end.
        choosing: Ids of those of them whose server is still being chosen.
        flying: How many are on their way up.
        late: How many answers are on their way back.
        most_running: By station, (M,), most servers in use.
        flying_up_bytes: By pair, (P,), what is on its way.
        flying_down_bytes: Likewise.
        landed_up_bytes: By pair, what arrived over links.
        landed_down_bytes: Likewise.
    """

    partial: bool
    settled: Settled
    left: Retired
    choosing: IntArray
    flying: int
    late: int
    most_running: IntArray
    flying_up_bytes: FloatArray
    flying_down_bytes: FloatArray
    landed_up_bytes: FloatArray
    landed_down_bytes: FloatArray
