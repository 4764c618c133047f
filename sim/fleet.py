"""The fleet in motion: stations, links, faults and slot boundaries around one clock."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.auditor import Auditor
from sim.brains import Brains
from sim.clock import EMIT, FAULT, SLOT, Clock
from sim.compute.floor import Floor
from sim.compute.plain import PlainStation
from sim.compute.stations import build_stations
from sim.dispatch import make_dispatcher
from sim.errors import InputError
from sim.faults import Faults, Outage, timetable
from sim.laws import causality, conservation, link_bytes, stations
from sim.network.carrier import Carrier
from sim.network.links import Links
from sim.network.transfer import Transfers
from sim.recorder import Recorder
from sim.request import Requests
from sim.rules import Ruled
from sim.sampling import sampled
from sim.slots import SlotMeter
from sim.topology.graph import Network
from sim.views import Sight

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sim.arrivals.workload import Workload
    from sim.compute.station import Station
    from sim.config import DispatchSpec, Work, World
    from sim.network.ways import Way
    from sim.parts import Parts
    from sim.ports import ExpertKey
    from sim.records import Tables


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
        self.clock, self.workload, self.requests = Clock(), workload, Requests(workload)
        self.recorder = Recorder(self.card.experts if self.card else 0)
        outages = timetable(world, self.card)
        self.links, self.network = Links(world.links, outages, world.seed), Network(world.links)
        self.carrier = Carrier(self.clock, self.links, self.network)
        self.faults = Faults(self.clock, outages, self, self._note_fault)
        self.transfers = Transfers(
            self.carrier, self.requests, self, world.transport, steady=steady(outages)
        )
        nodes = world.nodes
        self.in_system, self.up = [0] * len(nodes), [True] * len(nodes)
        self.servers = [n.servers for n in nodes]
        self.dispatcher = make_dispatcher(world, dispatch, parts)
        self.view_every_s = dispatch.view_every_s
        self.choice_s = [self.dispatcher.flop / n.hardware.flop_per_s for n in nodes]
        self._sight = Sight(
            self.in_system, self.up, self.servers, live=dispatch.view_every_s == 0.0
        )
        self._view = self._sight.look(0.0)
        self.limit_s = self.end_s = world.duration_s + world.drain_s
        self.slots_closed = 0
        self._outstanding = self.requests.count
        self.stations: dict[int, Station] = self._build_stations(outages)
        self.doors = [self._door(n.id) for n in nodes]
        self.meters = {node: SlotMeter(station) for node, station in self.stations.items()}
        self.brains = Brains(self, cache) if self.card is not None else None
        asked_s = self.brains.asked_s if self.brains is not None else _nothing
        self.auditor = Auditor(self.stations, self.requests, asked_s)

    def _build_stations(self, outages: Sequence[Outage]) -> dict[int, Station]:
        self._batch_ids = itertools.count()
        floor = Floor(
            clock=self.clock,
            requests=self.requests,
            in_system=self.in_system,
            ends=self,
            batch_ids=self._batch_ids,
        )
        return build_stations(self.world, floor, outages)

    def _door(self, node: int) -> Callable[[int, float], None]:
        if node in self.stations:
            return self.stations[node].enqueue

        def closed(rid: int, now_s: float) -> None:
            raise InputError(
                f"dispatch: request {rid} was sent to {self.world.nodes[node].name}, "
                "which has no servers"
            )

        return closed

    # --- running

    def run(self) -> None:
        """Let time pass until every request has come to its end, or `drain` is over."""
        self.faults.arm()
        self.clock.stop(self.limit_s)
        self.clock.at(0.0, SLOT, 0, self._boundary, 0)
        if self.view_every_s > 0.0:
            self.clock.at(0.0, SLOT, 1, self._refresh, 0)
        if not self.requests.count:
            self.clock.stop(self.world.duration_s)
        self.clock.run_to_stop(self.requests.t_emit_s, self._emitter())
        self.end_s = self.clock.stop_s
        self._close()

    def _emitter(self) -> Callable[[int, float, float], None]:
        """Return what sends a request on its way when it is emitted."""
        clock, choose, ways_up = self.clock, self.dispatcher.choose, self.transfers.ways_up
        sources, servers, choice_s = self.requests.source, self.requests.server, self.choice_s
        dated = self.view_every_s == 0.0 and not isinstance(self.dispatcher, Ruled)

        def emit(rid: int, now_s: float, idle_s: float) -> None:
            source = sources[rid]
            if dated:
                object.__setattr__(self._view, "t_s", now_s)  # live: the engine's own, never a copy
            server = servers[rid] = choose(source, self._view)
            sent_s = now_s + choice_s[source]
            if sent_s < idle_s or sent_s == now_s or clock.idle_before(sent_s, EMIT, rid):
                ways_up[source][server](rid, sent_s)  # nothing happens meanwhile
            else:
                clock.at(sent_s, EMIT, rid, self._send, rid)

        return emit

    def _send(self, rid: int, now_s: float) -> None:
        source, server = self.requests.source[rid], self.requests.server[rid]
        self.transfers.send_up(rid, source, server, now_s)

    # --- what transfers and stations report

    def served(self, node: int, ids: Sequence[int], now_s: float) -> None:
        """Send the answers of requests whose service ended together."""
        if self.brains is not None:
            self.brains.coupling.served(node, ids, now_s)
        source, ways = self.requests.source, self.ways_back(node)
        for rid in ids:
            ways[source[rid]](rid, now_s)

    def ways_back(self, node: int) -> Mapping[int, Way]:
        """Return the ways of answers from a node, by source."""
        return self.transfers.ways_down[node]

    def returned(self, rid: int, now_s: float) -> None:
        """Stamp the answer's arrival at the source.

        On a network without faults the time may lie ahead: it is known when the answer is sent.
        """
        self.requests.t_return_s[rid] = now_s
        self._outstanding -= 1
        if not self._outstanding:
            self._stop(now_s)

    def lose(self, rid: int, reason: int, now_s: float) -> None:
        """Drop a request with a reason."""
        self.requests.drop[rid] = reason
        meter = self.meters.get(self.requests.server[rid])
        if meter is not None:
            meter.dropped += 1
        self._outstanding -= 1
        if not self._outstanding:
            self._stop(now_s)

    def _stop(self, now_s: float) -> None:
        """End the run when the last answer is back, but not before arrivals do."""
        returns = np.frombuffer(self.requests.t_return_s, dtype="f8")
        last_s = float(np.fmax.reduce(returns, initial=now_s))
        self.clock.stop(min(max(self.world.duration_s, last_s), self.limit_s))

    # --- slots

    def _boundary(self, slot: int, now_s: float) -> None:
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
        self.auditor.checkpoint(now_s)

    def _refresh(self, count: int, now_s: float) -> None:
        """Take the dispatcher's next dated view."""
        self._view = self._sight.look(now_s)
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
        self.carrier.cut(link, now_s)

    def mend(self, link: int, now_s: float) -> None:
        """Bring a link up."""
        self.carrier.mend(link, now_s)

    def crash(self, node: int, now_s: float, work: Work = "drop") -> None:
        """Take a node down: memory and plan are lost, requests as `work` says."""
        self.up[node] = False
        moved = self.stations[node].crash(now_s, work)
        if self.brains is not None:
            self.brains.crash(node, now_s)
        if moved:  # nobody chooses before all that breaks at this instant is broken
            last = len(self.faults.outages) + node
            self.clock.at(now_s, FAULT, last, self._dispatch_anew, (node, moved))

    def _dispatch_anew(self, item: tuple[int, Sequence[int]], now_s: float) -> None:
        """Send requests on from a node that crashed, as any others: who is refused there is lost.

        The choice takes no time: the node that would have to think is down.
        """
        node, moved = item
        if self.view_every_s == 0.0:
            object.__setattr__(self._view, "t_s", now_s)
        for rid in moved:
            server = self.requests.server[rid] = self.dispatcher.choose(node, self._view)
            self.transfers.send_on(rid, node, server, now_s)

    def life(self, node: int) -> int | None:
        """Return how often a node has crashed so far, None while it is down."""
        station = self.stations.get(node)
        if station is None:
            return 0  # it only forwards, and no fault is told of it
        return station.epoch if station.up else None

    def restart(self, node: int, now_s: float) -> None:
        """Bring a node back; it serves when its start plan is loaded."""
        self.up[node] = True
        self.stations[node].restart(now_s)
        if self.brains is not None:
            self.brains.restart(node, now_s)

    def change_link(self, link: int, now_s: float) -> None:
        """Note that a link's speed, delay or loss is another one from now on."""
        self.transfers.link_changed(link, now_s)

    def lose_experts(
        self, node: int, experts: Sequence[ExpertKey], corrupt: bool, now_s: float
    ) -> None:
        """Take experts away from a node, or spoil its copies of them."""
        assert self.brains is not None
        self.brains.lose_experts(node, experts, corrupt, now_s)

    def restore_experts(
        self, node: int, experts: Sequence[ExpertKey], corrupt: bool, now_s: float
    ) -> None:
        """End what `lose_experts` began."""
        assert self.brains is not None
        self.brains.restore_experts(node, experts, corrupt, now_s)

    def mute(self, node: int, now_s: float) -> None:
        """Let dispatchers see a node as it was last heard, and lose its outcomes."""
        self._view = self._sight.mute(node, self._view)
        if self.brains is not None:
            self.brains.audits.mute(node)

    def unmute(self, node: int, now_s: float) -> None:
        """Let a node be heard again."""
        self._view = self._sight.unmute(node, self._view)
        if self.brains is not None:
            self.brains.audits.unmute(node)

    def spoil(self, node: int, value: float, now_s: float) -> None:
        """Turn the outcomes of what a node serves into a value."""
        assert self.brains is not None
        self.brains.audits.spoil(node, value)

    def unspoil(self, node: int, value: float, now_s: float) -> None:
        """End what `spoil` began with the same value."""
        assert self.brains is not None
        self.brains.audits.unspoil(node, value)

    # --- the end

    def audit(self) -> dict[str, int]:
        """Check the laws and return the fleet's counts.

        Raises:
            LawViolation: A law is broken.
        """
        (aloft, flying), choosing = self._last_stamps()
        table = self.recorder.requests(self.requests)
        causality(table)
        ledgers = [self.auditor.ledger(node, self.end_s) for node in self.stations]
        present = sum(len(ledger.present) for ledger in ledgers)
        counts = conservation(table, len(choosing) + aloft + present)
        stations(ledgers)
        flying_bytes = [0.0] * len(self.world.links)
        for link, size_bytes in flying:
            flying_bytes[link] += size_bytes
        self.transfers.count_direct(table)
        link_bytes(self.links, flying_bytes)
        return counts

    def tables(self) -> Tables:
        """Return all tables."""
        return self.recorder.tables(self.requests)

    def describe(self, tables: Tables, meta: dict[str, Any]) -> None:
        """Cut the table `requests` to the sample that the world asks for, and say so."""
        plain = [isinstance(self.stations.get(n.id), PlainStation) for n in self.world.nodes]
        sampled(self.world, tables, meta, plain)

    @property
    def workload_digest(self) -> str:
        """Return the hash of the workload."""
        return self.workload.digest

    def own_s(self, node: int) -> float:
        """Return the server time that a node's own work took."""
        return self.stations[node].meters.job_s if node in self.stations else 0.0

    @property
    def events(self) -> int:
        """Return how many events happened."""
        return self.clock.alarms

    def _last_stamps(self) -> tuple[tuple[int, list[tuple[int, float]]], list[int]]:
        """Complete the stamps; return what is on its way, and the requests not yet dispatched."""
        requests = self.requests
        returns = np.frombuffer(requests.t_return_s, dtype="f8")
        late = np.flatnonzero(returns > self.end_s)
        flying = self.transfers.flying(late.tolist())
        returns[late] = np.nan  # known to arrive, but after the end
        choosing = self.clock.pending(EMIT)
        requests.fill_dispatch(self.choice_s, choosing)
        plain = [isinstance(self.stations.get(n.id), PlainStation) for n in self.world.nodes]
        if any(plain):
            requests.fill_plain(plain, next(self._batch_ids))
        return flying, choosing


def steady(outages: Sequence[Outage]) -> bool:
    """Tell whether no link ever fails and no request ever moves from one server to another."""
    return not any(o.kind == "link-down" or o.spec.work == "migrate" for o in outages)


def _no_plan(node: int) -> int:
    return -1


def _nothing(node: int) -> float:
    return 0.0
