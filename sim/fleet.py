"""The fleet in motion: stations, links, faults and slot boundaries around one clock."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from sim.brains import Brains
from sim.clock import EMIT, END, SLOT, Alarm, Clock
from sim.compute.station import Batch, Floor, Station
from sim.errors import InputError
from sim.faults import Faults, timetable
from sim.laws import NodeLedger, causality, conservation, link_bytes, stations
from sim.network.links import Links
from sim.network.transfer import Transfers
from sim.recorder import Recorder
from sim.request import Requests
from sim.rng import Streams
from sim.slots import SlotMeter
from sim.topology.graph import Network
from sim.views import FleetView

if TYPE_CHECKING:
    from sim.arrays import FloatArray
    from sim.arrivals.workload import Workload
    from sim.config import DispatchSpec, World
    from sim.parts import Parts
    from sim.ports import Dispatcher


class DrawnService:
    """Serves batches of `model: none` for the times drawn at emission.

    A batch lasts as long as its longest request.
    """

    def __init__(self, clock: Clock, station: Station, requests: Requests) -> None:
        self.clock, self.station, self.draw_s = clock, station, requests.draw_s

    def admit(self, size: int, now_s: float) -> int:
        """Admit all: without a model there is no memory to run out of."""
        return size

    def begin(self, batch: Batch, now_s: float) -> None:
        """Serve for the drawn time."""
        ids, draw_s = batch.ids, self.draw_s
        service_s = draw_s[ids[0]] if len(ids) == 1 else max(draw_s[rid] for rid in ids)
        batch.service_s, batch.stall_s = service_s, 0.0
        self.clock.at(now_s + service_s, END, ids[0], self.station.ended, batch)

    def end(self, batch: Batch, now_s: float) -> None:
        """Free nothing."""


class Fleet:
    """Everything that moves in one run.

    Args:
        world: The run.
        workload: All requests, drawn before the run.
        parts: Plug-ins and hosts.
        dispatch: Who serves a request, and how old a view it gets.
        cache: Name of the expert cache of every routed node; None: what the nodes say.
    """

    def __init__(
        self,
        world: World,
        workload: Workload,
        parts: Parts,
        dispatch: DispatchSpec,
        cache: str | None = None,
    ) -> None:
        self.world, self.parts, self.card = world, parts, parts.card
        self.clock, self.requests = Clock(), Requests(workload)
        self.recorder = Recorder(self.card.experts if self.card else 0)
        self.links, self.network = Links(world.links), Network(world.links)
        outages = timetable(world)
        self.faults = Faults(self.clock, outages, self, self._note_fault)
        steady = not any(outage.kind == "link-down" for outage in outages)
        self.transfers = Transfers(
            self.clock, self.requests, self.links, self.network, self, steady=steady
        )
        nodes = world.nodes
        self.in_system, self.up = [0] * len(nodes), [True] * len(nodes)
        self.servers = [n.servers for n in nodes]
        self.dispatcher = make_dispatcher(world, dispatch, parts)
        self.view_every_s = dispatch.view_every_s
        self._view = FleetView(0.0, self.in_system, self.up, self.servers)
        self.limit_s = self.end_s = world.duration_s + world.drain_s
        self.slots_closed = 0
        self._outstanding, self._last_return_s, self._next = self.requests.count, 0.0, 0
        self.stations = self._build_stations()
        self.meters = {node: SlotMeter(station) for node, station in self.stations.items()}
        self.brains = Brains(self, cache) if self.card is not None else None

    def _build_stations(self) -> dict[int, Station]:
        floor = Floor(
            clock=self.clock,
            requests=self.requests,
            in_system=self.in_system,
            ends=self,
            batch_ids=itertools.count(),
            plans=self.card is not None,
        )
        stations = {n.id: Station(floor, n) for n in self.world.nodes if n.servers > 0}
        for station in stations.values():
            station.service = DrawnService(self.clock, station, self.requests)
        return stations

    # --- running

    def run(self) -> None:
        """Let time pass until every request has come to its end, or `drain` is over."""
        self.faults.arm()
        self.clock.stop(self.limit_s)
        self.clock.at(0.0, SLOT, 0, self._boundary, 0)
        if self.view_every_s > 0.0:
            self.clock.at(0.0, SLOT, 1, self._refresh, 0)
        if self.requests.count:
            self.clock.at(self.requests.t_emit_s[0], EMIT, 0, self._emissions)
        else:
            self.clock.stop(self.world.duration_s)
        self.clock.run_to_stop()
        self.end_s = self.clock.stop_s
        self._close()

    def _emissions(self, alarm: Alarm) -> None:
        """Emit every request that is due before anything else is; then wait for the rest's turn."""
        clock, times, rid = self.clock, self.requests.t_emit_s, self._next
        count = len(times)
        while True:
            self._emit(rid, times[rid])
            rid += 1
            if rid == count:
                break
            if not clock.idle_before(times[rid], EMIT, rid):
                clock.at(times[rid], EMIT, rid, self._emissions)
                break
            clock.jump(times[rid])
        self._next = rid

    def _emit(self, rid: int, now_s: float) -> None:
        source, dispatcher = self.requests.source[rid], self.dispatcher
        view = self._view
        if dispatcher.flop and self.view_every_s == 0.0:
            view = FleetView(now_s, self.in_system, self.up, self.servers)
        server = dispatcher.choose(source, view)
        self.requests.server[rid] = server
        if dispatcher.flop:
            choice_s = dispatcher.flop / self.world.nodes[source].hardware.flop_per_s
            self.clock.at(now_s + choice_s, EMIT, rid, self._dispatched, rid)
        else:
            self._send(rid, source, server, now_s)

    def _dispatched(self, alarm: Alarm) -> None:
        rid = alarm.item
        self._send(rid, self.requests.source[rid], self.requests.server[rid], self.clock.now)

    def _send(self, rid: int, source: int, server: int, now_s: float) -> None:
        self.requests.t_dispatch_s[rid] = now_s
        if server == source:
            self.arrive(rid, now_s)
        else:
            self.transfers.send_up(rid, source, server, now_s)

    # --- what transfers and stations report

    def arrive(self, rid: int, now_s: float) -> None:
        """Take a request at its server."""
        self.stations[self.requests.server[rid]].enqueue(rid, now_s)

    def served(self, node: int, batch: Batch, now_s: float) -> None:
        """Send the answers of a batch."""
        if self.brains is not None:
            self.brains.coupling.served(node, batch.ids, now_s)
        source = self.requests.source
        for rid in batch.ids:
            if source[rid] == node:
                self.returned(rid, now_s)
            else:
                self.transfers.send_down(rid, node, source[rid], now_s)

    def returned(self, rid: int, now_s: float) -> None:
        """Stamp the answer's arrival at the source.

        On a network without faults the time may lie ahead: it is known when the answer is sent.
        """
        self.requests.t_return_s[rid] = now_s
        self._last_return_s = max(self._last_return_s, now_s)
        self._one_less(now_s)

    def lose(self, rid: int, reason: int, now_s: float) -> None:
        """Drop a request with a reason."""
        self.requests.drop[rid] = reason
        meter = self.meters.get(self.requests.server[rid])
        if meter is not None:
            meter.dropped += 1
        self._one_less(now_s)

    def _one_less(self, now_s: float) -> None:
        self._outstanding -= 1
        if self._outstanding == 0:
            last_s = max(self.world.duration_s, self._last_return_s, now_s)
            self.clock.stop(min(last_s, self.limit_s))

    # --- slots

    def _boundary(self, alarm: Alarm) -> None:
        slot, now_s = alarm.item, self.clock.now
        if slot:
            self._close_slot(slot - 1, now_s)
        if now_s >= self.clock.stop_s:
            return  # `_close` makes the last exchange with the hosts
        if self.brains is not None:
            up = [node for node, station in self.stations.items() if station.up]
            self.brains.coupling.boundary(slot, now_s, up)
        if self.parts.on_slot is not None:
            self.parts.on_slot(slot, self.world.slots)
        self.clock.at((slot + 1) * self.world.slot_s, SLOT, 0, self._boundary, slot + 1)

    def _close_slot(self, slot: int, now_s: float) -> None:
        plan_id = self.brains.plan_id if self.brains is not None else _no_plan
        rows = [meter.row(slot, plan_id(node), now_s) for node, meter in self.meters.items()]
        self.recorder.rows("slots", rows)
        self.recorder.rows("links", [(row[0], slot, *row[1:]) for row in self.links.flush()])
        self.slots_closed = slot + 1

    def _refresh(self, alarm: Alarm) -> None:
        """Take the dispatcher's next dated view."""
        count, now_s = alarm.item, self.clock.now
        self._view = FleetView(now_s, tuple(self.in_system), tuple(self.up), self.servers)
        self.clock.at((count + 1) * self.view_every_s, SLOT, 1, self._refresh, count + 1)

    def _close(self) -> None:
        """Close the slot that the end cuts, and make the last exchange with the hosts."""
        if self.end_s > self.slots_closed * self.world.slot_s:
            self._close_slot(self.slots_closed, self.end_s)
        if self.brains is not None:
            self.brains.coupling.last(self.slots_closed, self.end_s)

    # --- faults

    def _note_fault(self, row: tuple[float, ...]) -> None:
        self.recorder.rows("faults", [row])

    def cut(self, link: int, now_s: float) -> None:
        """Take a link down."""
        self.links.fail(link)
        self.network.set_link(link, up=False)

    def mend(self, link: int, now_s: float) -> None:
        """Bring a link up."""
        self.links.repair(link, now_s)
        self.network.set_link(link, up=True)

    def crash(self, node: int, now_s: float) -> None:
        """Take a node down: queue, memory and plan are lost."""
        self.up[node] = False
        self.stations[node].crash(now_s)
        if self.brains is not None:
            self.brains.crash(node, now_s)

    def restart(self, node: int, now_s: float) -> None:
        """Bring a node back, empty; it serves when its start plan is loaded."""
        self.up[node] = True
        self.stations[node].restart(now_s)
        if self.brains is not None:
            self.brains.restart(node, now_s)

    # --- the end

    def audit(self) -> dict[str, int]:
        """Check the laws and return the fleet's counts.

        Raises:
            LawViolation: A law is broken.
        """
        returns = np.frombuffer(self.requests.t_return_s, dtype="f8")
        in_flight = self._under_way(returns)
        returns[returns > self.end_s] = np.nan  # known to arrive, but after the end
        table = self.recorder.requests(self.requests)
        causality(table)
        flying = self.transfers.flying()
        ledgers = [self._ledger(node) for node in self.stations]
        counts = conservation(
            table, in_flight + len(flying) + sum(len(ledger.present) for ledger in ledgers)
        )
        stations(ledgers)
        flying_bytes = [0.0] * len(self.world.links)
        for link, size_bytes in flying:
            flying_bytes[link] += size_bytes
        link_bytes(self.links, flying_bytes)
        return counts

    def _under_way(self, returns: FloatArray) -> int:
        """Count requests that neither a station nor an alarm of a link holds."""
        choosing = [rid for rid in self.clock.pending(EMIT) if rid is not None]
        unborn = self.requests.count - self._next
        return len(choosing) + unborn + int((returns > self.end_s).sum())

    def _ledger(self, node: int) -> NodeLedger:
        station = self.stations[node]
        present = station.present()
        return NodeLedger(
            node=node,
            servers=station.spec.servers,
            meters=station.settle(self.end_s),
            present=present,
            stays_open_s=sum(self.end_s - self.requests.t_enqueue_s[rid] for rid in present),
            asked_s=self.brains.asked_s(node) if self.brains is not None else 0.0,
            open_s=station.open_job_s(),
        )


def make_dispatcher(world: World, spec: DispatchSpec, parts: Parts) -> Dispatcher:
    """Make the dispatcher of a run over the nodes that it may choose.

    Raises:
        InputError: No node may be chosen.
    """
    candidates = [n.id for n in world.nodes if n.servers > 0 and spec.to in {None, n.group}]
    if not candidates:
        raise InputError(f"dispatch.to: no node of group {spec.to!r} has servers")
    rng = Streams(world.seed).stream("dispatch", spec.kind)
    return parts.dispatcher(spec.kind)(world.nodes, candidates, rng, spec.params)


def _no_plan(node: int) -> int:
    return -1
