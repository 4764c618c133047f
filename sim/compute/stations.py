"""Which station serves a node, and the checks that its rules make sense together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.clock import END, Clock
from sim.compute.plain import ImpatientStation, PlainStation
from sim.compute.setup import ColdStation
from sim.compute.sharing import SharingStation
from sim.compute.station import Station
from sim.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.compute.floor import Batch, Floor
    from sim.config import NodeSpec, World
    from sim.faults import Outage
    from sim.request import Requests


class DrawnService:
    """Serves batches of `model: none` for the times drawn at emission.

    A batch of n lasts as long as its longest request, and (n - 1) * `each_s` longer.

    Args:
        clock: The run's clock.
        station: Whose batches it serves.
        requests: Columns of all requests.
        each_s: Time that every request after the first adds to a batch.

    Source: linear batch service times, Inoue 2021 (doi 10.1016/j.peva.2020.102183). Deviation:
    the constant part is the longest of the drawn times.
    """

    def __init__(
        self, clock: Clock, station: Station, requests: Requests, each_s: float = 0.0
    ) -> None:
        self.clock, self.station = clock, station
        self.draw_s, self.each_s = requests.draw_s, each_s

    def admit(self, size: int, now_s: float) -> int:
        """Admit all: without a model there is no memory to run out of."""
        return size

    def begin(self, batch: Batch, now_s: float) -> None:
        """Serve for the drawn time."""
        ids, draw_s = batch.ids, self.draw_s
        service_s = draw_s[ids[0]]
        if (size := len(ids)) > 1:
            service_s = max(draw_s[rid] for rid in ids) + (size - 1) * self.each_s
        batch.service_s, batch.due_s = service_s, now_s + service_s
        self.clock.at(batch.due_s, END, ids[0], self.station.finish, batch)

    def end(self, batch: Batch, now_s: float) -> None:
        """Free nothing."""


def build_stations(world: World, floor: Floor, outages: Sequence[Outage]) -> dict[int, Station]:
    """Build the stations of all nodes with servers; with a model they still lack their service.

    Args:
        world: The run.
        floor: What all stations share.
        outages: Its faults.

    Raises:
        InputError: Rules of a node exclude each other.
    """
    spared = [o.target for o in outages if o.kind == "node-crash" and o.spec.work != "drop"]
    stations: dict[int, Station] = {}
    for node in world.nodes:
        if node.servers:
            check(world, node)
            stations[node.id] = _station(world, floor, node, comes_back=node.id in spared)
    return stations


def _station(world: World, floor: Floor, node: NodeSpec, *, comes_back: bool) -> Station:
    if is_plain(world, node) and not comes_back:
        return (ImpatientStation if floor.impatient else PlainStation)(floor, node)
    if node.discipline == "sharing":
        return SharingStation(floor, node)
    setup = node.setup
    station = Station(floor, node) if setup is None else ColdStation(floor, node, setup)
    if world.service is not None and world.model is None:
        each_s = world.service.each_s
        station.service = DrawnService(floor.clock, station, floor.requests, each_s)
    return station


def is_plain(world: World, node: NodeSpec) -> bool:
    """Tell whether the short way (`PlainStation`) does for a node."""
    simple = node.discipline == "fifo" and node.batching.max_size == 1 and node.setup is None
    return world.model is None and simple


def check(world: World, node: NodeSpec) -> None:
    """Refuse rules of a node that exclude each other.

    Raises:
        InputError: It names them.
    """
    where, setup = f"nodes.{node.id}", node.setup
    if setup is not None and not (setup.time_s >= 0.0 and setup.keep_s >= 0.0):
        raise InputError(f"{where}.setup: expected times >= 0, found {setup}")
    if node.discipline != "sharing":
        if node.job_share != 1.0:
            raise InputError(f"{where}.job_share: expected `discipline: sharing` with it")
        return
    if not 0.0 < node.job_share <= 1.0:
        raise InputError(f"{where}.job_share: expected above 0, at most 1, found {node.job_share}")
    wrong = {
        "a model": world.model is not None,
        "batches": node.batching.max_size > 1,
        "set-up": setup is not None,
    }
    if found := [word for word, is_so in wrong.items() if is_so]:
        raise InputError(
            f"{where}.discipline: sharing serves single requests of `model: none` on warm servers, "
            f"found {', '.join(found)}; choose fifo or priority"
        )
