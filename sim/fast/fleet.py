"""The `slots` engine: SimPy's clock says when slots end and faults strike, kernels do the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sim.clock import FAULT, SLOT, Clock
from sim.dispatch import make_dispatcher
from sim.errors import LawViolation
from sim.fast.book import LinkBook, SlotBook
from sim.fast.break_down import crash, restart, settle_all
from sim.fast.build import add_lines, state_of
from sim.fast.fused import advance, dispatch_anew
from sim.fast.heap import order_of
from sim.fast.layout import BROKEN, DRAW, DRAWS, GROW, MORE, PLAIN, REACHED, ROUTE
from sim.fast.ledger import LinkAudit, NodeAudit, pending
from sim.fast.live import renew
from sim.fast.pick import MOST_DRAWS
from sim.fast.routes import Routes
from sim.fast.sinks import End
from sim.fast.told import Told
from sim.faults import Faults, timetable
from sim.fleet import steady
from sim.network.links import Links
from sim.recorder import Recorder
from sim.rng import Streams
from sim.rules import Ruled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sim.arrays import IntArray
    from sim.brains import Brains
    from sim.config import DispatchSpec, Work, World
    from sim.fast.sinks import Sink
    from sim.parts import Parts
    from sim.ports import ExpertKey
    from sim.records import Table

_DRAWS = 1 << 16  # uniform numbers that are drawn at once
_WORKS: tuple[Work, ...] = ("drop", "keep", "resume", "migrate")


class FastFleet(Told):
    """Everything that moves in one run of `model: none`, in compiled kernels.

    `sim.fast.minds` adds what models need; its hooks here are `_answer`, `_decide` and `_parcels`.

    Args:
        world: The run.
        sink: Makes what gives emissions and takes what became of them.
        parts: Plug-ins.
        dispatch: Who serves a request, and how old a view it gets.
    """

    def __init__(
        self,
        world: World,
        sink: Callable[[Sequence[float], IntArray], Sink],
        parts: Parts,
        dispatch: DispatchSpec,
    ) -> None:
        self.world, self.parts = world, parts
        self.card = parts.card
        self.clock = Clock()
        self.recorder = Recorder(self.card.experts if self.card else 0)
        self.brains: Brains | None = None
        outages = timetable(world, self.card)
        self.faults = Faults(self.clock, outages, self, self._note_fault)
        dispatcher = make_dispatcher(world, dispatch, parts)
        assert isinstance(dispatcher, Ruled)
        self.view_every_s = dispatch.view_every_s
        self.choice_s = [dispatcher.flop / n.hardware.flop_per_s for n in world.nodes]
        if dispatcher.rule.name == "local":  # it refuses sources without servers
            for source in dict.fromkeys(stream.node for stream in world.streams):
                dispatcher.choose(source, None)  # type: ignore[arg-type]
        self._rng = Streams(world.seed).stream("dispatch", dispatch.kind)
        self.state = state_of(world, outages, self.choice_s, dispatcher.rule)
        self._priorities = _priorities(world)
        add_lines(self.state, len(self._priorities))
        links, still = Links(world.links, outages, world.seed), steady(outages)
        sure = [still and links.sure(link.id) for link in world.links]
        self.routes = Routes(world, self.state, sure)
        self.facts: Any = self.state.facts
        self.facts["steady"], self.facts["live"] = still, self.view_every_s == 0.0
        self.facts["impatient"] = any(s.patience or s.late == "drop" for s in world.streams)
        self.facts["outstanding"] = self.facts["more"] = 1  # until all are emitted
        self.slot_book = SlotBook(world, self.state.nodes)
        self.link_book = LinkBook(self.state.links)
        self.node_audit, self.link_audit = NodeAudit(len(world.nodes)), LinkAudit(self.state)
        self.sink, self._late = sink(self.choice_s, self._priorities), 0
        self.slots_closed, self.end_s = 0, world.duration_s + world.drain_s

    # --- running

    def run(self) -> None:
        """Let time pass until every request has come to its end, or `drain` is over."""
        clock, facts = self.clock, self.facts
        self.faults.arm()
        clock.at(0.0, SLOT, 0, self._boundary, 0)
        if self.view_every_s > 0.0:
            clock.at(0.0, SLOT, 1, self._refresh, 0)
        self._load()
        if not self.facts["emitted"]:
            facts["stop_s"] = self.world.duration_s
        while self._advance() <= facts["stop_s"]:
            clock.step()
        self.end_s = float(facts["stop_s"])
        if self.end_s > self.slots_closed * self.world.slot_s:
            self._close_slot(self.slots_closed, self.end_s)

    def _advance(self) -> float:
        """Let everything happen before the next alarm of the clock, and return its time."""
        while True:
            t_s, rank, key = self.clock.following()
            why = advance(self.state.run, t_s, order_of(rank, key))
            if why == REACHED:
                return t_s
            self._answer(why)

    def _answer(self, why: int) -> None:
        """Do what a kernel asks for."""
        if why == MORE:
            self._load()
        elif why == GROW:
            self.state.reserve(len(self.state.heap))
        elif why == ROUTE:
            self.routes.settle()
        elif why == DRAWS:
            self._draw(MOST_DRAWS)
        elif why == BROKEN:
            raise LawViolation(f"L3 capacity: node {self.facts['broken']} runs too many")

    def _load(self) -> None:
        """Let requests that ended make room for the next emissions."""
        self._note_late()
        self.link_audit.count()
        new = self.sink.retire(self.state)
        window, first, more = self.sink.take(int(np.count_nonzero(new >= 0)))
        renew(self.state, new, window, first)
        self.facts["more"] = more
        self.facts["outstanding"] += len(window.t_emit_s) - (not more)
        widest = max((n.servers for n in self.world.nodes), default=0)
        longest = max((n.batching.max_size for n in self.world.nodes), default=1)
        self.facts["room"] = 16 + 2 * widest + min(longest, len(self.state.requests))

    def _note_late(self) -> None:
        """Count the answers that are sent before the end and arrive after it."""
        requests = self.state.requests[: int(self.facts["emitted"])]
        self._late += int(np.count_nonzero(requests["t_return_s"] > self.facts["limit_s"]))

    def _draw(self, needed: int) -> None:
        """Draw more uniform numbers, behind those that are left."""
        draws = self.state.draws["u"][int(self.facts["draw"]) : int(self.facts["draws_count"])]
        fresh = self._rng.random(_DRAWS * (1 + needed // _DRAWS))
        self.state.put("draws", np.concatenate((draws, fresh)).view(DRAW))
        self.facts["draw"] = 0

    # --- slots and views

    def _boundary(self, slot: int, now_s: float) -> None:
        if slot:
            self._close_slot(slot - 1, now_s)
        if now_s >= self.facts["stop_s"]:
            return
        self._decide(slot, now_s)
        if self.parts.on_slot is not None:
            self.parts.on_slot(slot, self.world.slots)
        self.clock.at((slot + 1) * self.world.slot_s, SLOT, 0, self._boundary, slot + 1)

    def _decide(self, slot: int, now_s: float) -> None:
        """Do nothing: without a model nobody decides."""

    def _close_slot(self, slot: int, now_s: float) -> None:
        settle_all(self.state.run, now_s)
        self.recorder.block("slots", self.slot_book.close(slot))
        self.recorder.block("links", self.link_book.close(slot))
        self.slots_closed = slot + 1
        self.node_audit.check(self.state, now_s, every=False)

    def _refresh(self, count: int, now_s: float) -> None:
        """Take the dispatcher's next dated view."""
        nodes = self.state.nodes
        heard = nodes["heard"] == 1
        nodes["seen_load"][heard] = nodes["in_system"][heard]
        nodes["seen_up"][heard] = nodes["up"][heard]
        self.facts["alive"] = -1
        self.clock.at((count + 1) * self.view_every_s, SLOT, 1, self._refresh, count + 1)

    # --- faults

    def _note_fault(self, row: tuple[float, ...]) -> None:
        self.recorder.rows("faults", [row])

    def crash(self, node: int, now_s: float, work: Work = "drop") -> None:
        """Take a node down; requests fare as `work` says."""
        present = int(self.state.nodes[node]["in_system"])
        self.state.reserve(2 * present + 16)
        ids = np.zeros(present + 1, np.int64)
        moved = crash(self.state.run, node, now_s, _WORKS.index(work), ids)
        if moved:  # nobody chooses before all that breaks at this instant is broken
            last = len(self.faults.outages) + node
            self.clock.at(now_s, FAULT, last, self._dispatch_anew, (node, ids[:moved]))

    def _dispatch_anew(self, item: tuple[int, IntArray], now_s: float) -> None:
        """Send requests on from a node that crashed; the choice takes no time."""
        node, moved = item
        self.state.reserve(4 * len(moved) + 16)
        if self.facts["draw"] + MOST_DRAWS * len(moved) > self.facts["draws_count"]:
            self._draw(MOST_DRAWS * len(moved))
        self.facts["now_s"] = now_s
        dispatch_anew(self.state.run, moved, node, now_s)
        self.routes.settle()

    def restart(self, node: int, now_s: float) -> None:
        """Bring a node back."""
        self.state.reserve(2 * int(self.state.nodes[node]["in_system"]) + 16)
        restart(self.state.run, node, now_s)

    def cut(self, link: int, now_s: float) -> None:
        """Take a link down: what is on it is lost."""
        self.state.links[link]["epoch"] += 1
        self.routes.set_link(link, up=False)

    def mend(self, link: int, now_s: float) -> None:
        """Bring a link up, empty."""
        self.state.links[link]["free_s"] = now_s
        self.routes.set_link(link, up=True)

    def change_link(self, link: int, now_s: float) -> None:
        """Do nothing: the timetable is known to the links."""

    def mute(self, node: int, now_s: float) -> None:
        """Let dispatchers see a node as it was last heard."""
        record = self.state.nodes[node]
        if self.facts["live"]:
            record["seen_load"], record["seen_up"] = record["in_system"], record["up"]
        record["heard"] = 0
        self.facts["alive"] = -1

    def unmute(self, node: int, now_s: float) -> None:
        """Let a node be heard again."""
        self.state.nodes[node]["heard"] = 1
        self.facts["alive"] = -1

    def lose_experts(
        self, node: int, experts: Sequence[ExpertKey], corrupt: bool, now_s: float
    ) -> None:
        """Never happens: faults of experts need a model."""

    def restore_experts(
        self, node: int, experts: Sequence[ExpertKey], corrupt: bool, now_s: float
    ) -> None:
        """Never happens: faults of experts need a model."""

    def spoil(self, node: int, value: float, now_s: float) -> None:
        """Never happens: outcomes need a model."""

    def unspoil(self, node: int, value: float, now_s: float) -> None:
        """Never happens: outcomes need a model."""

    # --- the end

    def audit(self) -> dict[str, int]:
        """Check the laws and return the fleet's counts.

        Raises:
            LawViolation: A law is broken.
        """
        on_way = pending(self.state)
        requests = self.state.requests[: int(self.facts["emitted"])]
        self._note_late()
        self.link_audit.count(everybody=True)
        settle_all(self.state.run, self.end_s)
        present = self.node_audit.check(self.state, self.end_s, every=True)
        self.link_audit.check(self.link_book.sent_bytes, on_way, self._parcels())
        self.sink.retire(self.state, choosing=requests["id"][on_way.choosing])
        in_flight = len(on_way.choosing) + on_way.aloft + self._late + present
        plain = self.state.nodes["kind"] == PLAIN
        return self.sink.conclude(End(self.end_s, in_flight, plain, int(self.facts["batch"])))

    def _requests(self) -> tuple[Table, Mapping[str, Any]]:
        return self.sink.table()

    @property
    def workload_digest(self) -> str:
        """Return the hash of the workload."""
        return self.sink.digest

    def _parcels(self) -> Sequence[tuple[int, float]]:
        """Return (link, bytes) of messages on their way: none without a model."""
        return ()

    @property
    def events(self) -> int:
        """Return how many events happened: alarms of the clock, and the kernel's."""
        return self.clock.alarms + int(self.facts["events"])


def _priorities(world: World) -> IntArray:
    """Return all priorities that requests may have, where a node asks for them; else one."""
    if not any(n.discipline == "priority" for n in world.nodes):
        return np.zeros(1, np.int64)
    traced = [p for s in world.streams for p in s.arrivals.priorities if p is not None]
    return np.unique(np.array([*(s.priority for s in world.streams), *traced], dtype=np.int64))
