"""What all stations of a run share: the floor they stand on, batches, own jobs and counters."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import nan
from typing import TYPE_CHECKING, Protocol

import numpy as np

from sim.records import DROPS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sim.clock import Clock
    from sim.plans import Plan
    from sim.request import Requests

QUEUE_FULL, NODE_DOWN, MEMORY_FULL, PATIENCE, DEADLINE = (
    DROPS.index(reason) for reason in ("queue_full", "node_down", "memory", "patience", "deadline")
)


@dataclass(slots=True, eq=False)
class Batch:
    """Requests that are served together; `epoch` is the station's when it started."""

    id: int
    ids: list[int]
    epoch: int
    start_s: float
    plan_id: int = -1  # of the decision that its outcomes answer
    plan: Plan | None = None  # None: no model runs
    weights: int = -1  # id of the decision that brought the plan's weights
    service_s: float = 0.0
    stall_s: float = 0.0
    due_s: float = nan  # when it ends, where that is known from the start


@dataclass(slots=True)
class Job:
    """A node's own work on one server."""

    work_s: float
    done: Callable[[float], None]
    epoch: int = 0


class Service(Protocol):
    """How a batch is served: with a model or from drawn times."""

    def admit(self, size: int, now_s: float) -> int:
        """Return how many of `size` waiting requests may start now (memory), 0: none."""
        ...

    def begin(self, batch: Batch, now_s: float) -> None:
        """Serve a batch, and call the station's `finish` when it ends."""
        ...

    def end(self, batch: Batch, now_s: float) -> None:
        """Free what the batch held."""
        ...


class StationEnds(Protocol):
    """What the fleet does with requests that leave a station."""

    def served(self, node: int, ids: Sequence[int], now_s: float) -> None:
        """Send the answers of requests whose service ended together."""
        ...

    def ways_back(self, node: int) -> Mapping[int, Callable[[int, float], None]]:
        """Return what sends the answer of (request, time) from a node, by source."""
        ...

    def lose(self, rid: int, reason: int, now_s: float) -> None:
        """Drop a request."""
        ...


@dataclass(slots=True)
class Meters:
    """Event-time integrals and counters of one station."""

    area: float = 0.0  # of N(t), request seconds
    stays_s: float = 0.0  # summed stays of requests that left
    area_s: float = 0.0  # time of the last change of N
    number: float = 0.0  # N(t), as a float: products of an int and a float take twice as long
    busy_area: float = 0.0  # of busy servers, server seconds
    busy_s: float = 0.0  # time of the last change of busy servers
    up_area_s: float = 0.0
    up_s: float = 0.0
    queue_max: int = 0
    most_running: float = 0  # most servers in use
    arrived: int = 0
    finished: int = 0
    lost: int = 0
    moved: int = 0  # sent on by a crash
    job_s: float = 0.0  # the node's own work: done,
    job_lost_s: float = 0.0  # lost to crashes,
    job_asked_s: float = 0.0  # asked for


@dataclass(frozen=True, slots=True)
class Floor:
    """What all stations of a run share.

    Args:
        clock: The run's clock.
        requests: Columns of all requests.
        in_system: Requests in the system by node id, also the dispatchers' live view.
        ends: Where requests go that leave.
        batch_ids: The run's batch counter.

    Attributes:
        impatient: Some request of the run leaves a queue by itself.
    """

    clock: Clock
    requests: Requests
    in_system: list[int]
    ends: StationEnds
    batch_ids: Iterator[int]
    impatient: bool = field(init=False)

    def __post_init__(self) -> None:
        drawn = self.requests.workload
        impatient = np.isfinite(drawn.patience_s).any() or np.isfinite(drawn.expires_s).any()
        object.__setattr__(self, "impatient", bool(impatient))
