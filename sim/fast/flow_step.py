"""What goes into a step of the flow pass, and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sim.arrays import AnyArray, FloatArray, IntArray
    from sim.arrivals.workload import Workload
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


@dataclass(frozen=True, slots=True)
class Retired:
    """Requests that came to their end, (n,) each, by server, in the order of their ends there.

    NaN: did not happen. One that has finished and has neither returned nor been dropped is on its
    way back when the run ends. At the end of a run the same columns tell of those that did not come
    to their end.
    """

    id: IntArray
    pair: AnyArray  # place in FlowPass.pairs
    server: AnyArray  # node id
    dispatch_s: FloatArray
    enqueue_s: FloatArray
    start_s: FloatArray
    finish_s: FloatArray
    return_s: FloatArray
    drop: AnyArray  # int16
    row: AnyArray  # place among those carried over and new ones
    held: Mapping[str, AnyArray]  # columns of the workload of those carried over
    window: Mapping[str, AnyArray]  # and of new ones

    def __len__(self) -> int:
        return len(self.id)

    def drawn(self, name: str) -> AnyArray:
        """Return their column of the workload."""
        return np.concatenate([self.held[name], self.window[name]])[self.row]

    def stamp(self, stamps: Stamps) -> None:
        """Write the stamps into the columns of a whole run."""
        for name in ("dispatch", "enqueue", "start", "finish", "return"):
            stamps.stamp(f"t_{name}_s")[self.id] = getattr(self, f"{name}_s")
        stamps.server[self.id] = self.server
        stamps.drop[self.id] = self.drop


@dataclass(frozen=True, slots=True)
class Settled:
    """Slot boundaries, (K,), and the meters of every station there, (K, M).

    Sums go on from boundary to boundary (`sim.compute.floor.Meters`), except where said otherwise.
    """

    first: int  # the slot that the first boundary closes
    bound_s: FloatArray
    up_s: FloatArray  # (K,) how long stations were up in the slot: all of it
    busy_s: FloatArray  # server seconds in the slot
    queue_max: IntArray  # in the slot
    dropped: IntArray  # in the slot
    number: IntArray
    area: FloatArray
    stays_s: FloatArray
    open_s: FloatArray  # stays so far of those present; NaN: not due for a check
    arrived: IntArray
    finished: IntArray
    lost: IntArray
    sent_up_bytes: FloatArray  # (K, P) in the slot
    sent_down_bytes: FloatArray

    def part(self, begin: int, stop: int) -> Settled:
        """Return some of the boundaries."""
        cut = {f.name: getattr(self, f.name)[begin:stop] for f in fields(self) if f.name != "first"}
        return replace(self, first=self.first + begin, **cut)


@dataclass(frozen=True, slots=True)
class Step:
    """What happened in a step."""

    retired: Retired
    settled: Settled


@dataclass(frozen=True, slots=True)
class Closing:
    """The end of a run.

    Attributes:
        partial: The end cuts a slot, which `settled` closes; else all slots are told of, and
            `settled` only says how the meters stand.
        settled: One boundary, at the end; every station is due for its check.
        left: Requests that have not come to their end.
        choosing: How many of them wait for the choice of their server.
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
    choosing: int
    flying: int
    late: int
    most_running: IntArray
    flying_up_bytes: FloatArray
    flying_down_bytes: FloatArray
    landed_up_bytes: FloatArray
    landed_down_bytes: FloatArray
