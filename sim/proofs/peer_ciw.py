"""Our arrivals, service times and routes replayed by the queueing library ciw (dev extra).

Only this module imports ciw; it is loaded when a peer proof runs. ciw numbers individuals in the
order in which they come, which is the order of our request ids, so distributions can look up what
was drawn for one.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite
from typing import TYPE_CHECKING, Any

import ciw
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.arrays import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Desk:
    """One station: servers and places, as ours; `sharing` for processor sharing.

    `shifts`: (servers, until_s), cyclic; what runs when servers leave goes on where it was
    (`resume`), or starts again (`restart`).
    """

    servers: int = 1
    capacity: float = inf
    sharing: bool = False
    shifts: tuple[tuple[int, float], ...] = ()
    preemption: str = "resume"


@dataclass(frozen=True, slots=True)
class Script:
    """What happens to R requests, by emission: first desk 1, then the desk that `route` says.

    `service_s` is (R, D) by desk; `route` 0 means that a request leaves after desk 1.
    """

    t_emit_s: FloatArray
    service_s: FloatArray
    kind: IntArray  # class, 0..K-1
    priority: tuple[int, ...]  # of each class, 0 is served last
    patience_s: FloatArray
    route: IntArray


@dataclass(frozen=True, slots=True)
class Answer:
    """Starts and ends of service, (R, D), NaN where there was none; who was refused or left."""

    start_s: FloatArray
    finish_s: FloatArray
    refused: BoolArray
    left: BoolArray


class _Given(ciw.dists.Distribution):  # type: ignore[misc]
    """Yields what was drawn for the individual that asks."""

    def __init__(self, values: FloatArray) -> None:
        self.values: list[float] = values.tolist()

    def sample(self, t: float | None = None, ind: Any = None) -> float:
        value: float = self.values[ind.id_number - 1]
        return value


class _At(ciw.dists.Distribution):  # type: ignore[misc]
    """Yields gaps that lead to given times: each makes up for the rounding of the sum so far."""

    def __init__(self, times: FloatArray) -> None:
        self.times: list[float] = [*times.tolist(), inf]
        self.reached, self.next = 0.0, 0

    def sample(self, t: float | None = None, ind: Any = None) -> float:
        gap: float = self.times[self.next] - self.reached
        self.reached += gap
        self.next += 1
        return gap


def replay(script: Script, desks: Sequence[Desk]) -> Answer:
    """Let ciw serve the requests of a script."""
    network = _network(script, desks)
    nodes = [ciw.PSNode if desk.sharing else ciw.Node for desk in desks]
    simulation = ciw.Simulation(network, node_class=nodes)
    # ciw goes on until so many have left, however they did
    simulation.simulate_until_max_customers(len(script.t_emit_s), method="Finish")
    return _read(simulation.get_all_records(), len(script.t_emit_s), desks)


def _network(script: Script, desks: Sequence[Desk]) -> Any:
    names = [f"class {k}" for k in range(len(script.priority))]
    beyond = len(desks) - 1
    services = [_Given(script.service_s[:, d]) for d in range(len(desks))]
    patient = not np.isfinite(script.patience_s).any()
    route = script.route.tolist()

    def onwards(ind: Any, _: Any) -> list[int]:
        desk = route[ind.id_number - 1]
        return [desk] if desk else []

    return ciw.create_network(
        arrival_distributions={
            name: [_At(script.t_emit_s[script.kind == k]), *[None] * beyond]
            for k, name in enumerate(names)
        },
        service_distributions=dict.fromkeys(names, services),
        priority_classes={
            name: max(script.priority) - script.priority[k] for k, name in enumerate(names)
        },
        routing={name: ciw.routing.ProcessBased(onwards) for name in names},
        number_of_servers=[_servers(desk) for desk in desks],
        # ciw counts places in the queue, we count places in the system
        queue_capacities=[
            int(desk.capacity) - desk.servers if isfinite(desk.capacity) else inf for desk in desks
        ],
        ps_thresholds=[desk.servers for desk in desks],
        reneging_time_distributions={
            name: [None if patient else _Given(script.patience_s), *[None] * beyond]
            for name in names
        },
    )


def _servers(desk: Desk) -> Any:
    if desk.sharing:
        return inf
    if not desk.shifts:
        return desk.servers
    servers, ends = zip(*desk.shifts, strict=True)
    return ciw.Schedule(list(servers), list(ends), preemption=desk.preemption)


def _read(records: Sequence[Any], requests: int, desks: Sequence[Desk]) -> Answer:
    """Return what ciw recorded; service that is resumed began when it first began."""
    shape = (requests, len(desks))
    start_s, finish_s = np.full(shape, np.nan), np.full(shape, np.nan)
    refused, left = np.zeros(requests, dtype=bool), np.zeros(requests, dtype=bool)
    for record in sorted(records, key=lambda record: float(record.exit_date)):
        row, desk = record.id_number - 1, record.node - 1
        kind = record.record_type
        if kind in {"service", "interrupted service"}:
            resumed = desks[desk].preemption == "resume" and not np.isnan(start_s[row, desk])
            if not resumed:
                start_s[row, desk] = record.service_start_date
        if kind == "service":
            finish_s[row, desk] = record.service_end_date
        refused[row] |= kind == "rejection"
        left[row] |= kind == "renege"
    return Answer(start_s, finish_s, refused, left)


class _Bursts(ciw.dists.Distribution):  # type: ignore[misc]
    """Gaps of a two-state MMPP, by racing clocks: the next emission against the next jump."""

    def __init__(self, rates: Sequence[float], stays_s: Sequence[float], seed: int) -> None:
        self.rates, self.stays_s, self.state = rates, stays_s, 0
        self.rng = np.random.default_rng(seed)

    def sample(self, t: float | None = None, ind: Any = None) -> float:
        gap = 0.0
        while True:
            emission = self.rng.exponential(1.0 / self.rates[self.state])
            jump = self.rng.exponential(self.stays_s[self.state])
            if emission < jump:
                return float(gap + emission)
            gap += jump
            self.state = 1 - self.state


@dataclass(frozen=True, slots=True)
class Drawn:
    """What ciw made of requests that it drew itself, (n,) each."""

    stay_s: FloatArray
    service_s: FloatArray
    gap_s: FloatArray


def bursts(
    rates: Sequence[float], stays_s: Sequence[float], skip: int, keep: int, seed: int
) -> Drawn:
    """Return the requests of ciw's MMPP/M/1 with services of mean 1 s.

    Args:
        rates: Emissions per second in the two states.
        stays_s: Mean stays in them.
        skip: Requests before the first that counts, at least 1.
        keep: Requests that count.
        seed: Of ciw.
    """
    ciw.seed(seed)
    network = ciw.create_network(
        arrival_distributions=[_Bursts(rates, stays_s, seed)],
        service_distributions=[ciw.dists.Exponential(1.0)],
        number_of_servers=[1],
    )
    simulation = ciw.Simulation(network)
    simulation.simulate_until_max_customers(skip + keep, method="Finish")
    records = sorted(simulation.get_all_records(), key=lambda record: record.id_number)
    arrived, served, left = (
        np.array([getattr(record, name) for record in records[skip - 1 : skip + keep]])
        for name in ("arrival_date", "service_time", "exit_date")
    )
    return Drawn((left - arrived)[1:], served[1:], np.diff(arrived))
