"""The `slots` engine: SimPy's clock says when slots end and faults strike, kernels do the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim.clock import FAULT, SLOT, Clock
from sim.errors import LawViolation
from sim.fast.book import LinkBook, SlotBook
from sim.fast.break_down import crash, restart, settle_all
from sim.fast.build import heap, routes, state_of
from sim.fast.columns import asked_of, marks_of, ties_of
from sim.fast.fused import advance, dispatch_anew
from sim.fast.heap import order_of
from sim.fast.layout import BROKEN, DRAWS, GROW, REACHED, ROUTE
from sim.fast.ledger import NodeAudit, check_links, pending
from sim.fast.move import depart_all, route_at
from sim.fast.stamps import Stamps
from sim.faults import Faults, timetable
from sim.fleet import make_dispatcher, steady
from sim.laws import causality, conservation
from sim.network.links import weathers_of
from sim.ports import Ruled
from sim.recorder import Recorder
from sim.rng import Streams
from sim.topology.graph import Network

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.arrays import IntArray
    from sim.arrivals.workload import Workload
    from sim.config import DispatchSpec, Work, World
    from sim.parts import Parts
    from sim.ports import ExpertKey

_DRAWS = 4096  # uniform numbers in a batch, as dispatchers draw them
_WORKS: tuple[Work, ...] = ("drop", "keep", "resume", "migrate")


class FastFleet:
    """Everything that moves in one run of `model: none`, in compiled kernels.

    Args:
        world: The run.
        workload: All requests, drawn before the run.
        parts: Plug-ins.
        dispatch: Who serves a request, and how old a view it gets.
    """

    def __init__(
        self, world: World, workload: Workload, parts: Parts, dispatch: DispatchSpec
    ) -> None:
        self.world, self.parts = world, parts
        self.clock, self.requests, self.recorder = Clock(), Stamps(workload), Recorder(0)
        self.card = self.brains = None
        outages = timetable(world)
        self.network = Network(world.links)
        self.faults = Faults(self.clock, outages, self, self._note_fault)
        self.steady = steady(outages)
        self.weather = weathers_of(world.links, outages)
        dispatcher = make_dispatcher(world, dispatch, parts)
        assert isinstance(dispatcher, Ruled)
        rule, self.view_every_s = dispatcher.rule, dispatch.view_every_s
        self.choice_s = [dispatcher.flop / n.hardware.flop_per_s for n in world.nodes]
        if rule.name == "local":  # it refuses sources without servers
            for source in np.unique(workload.source).tolist():
                dispatcher.choose(source, None)  # type: ignore[arg-type]
        self._rng = Streams(world.seed).stream("dispatch", dispatch.kind)
        priorities = np.unique(workload.priority)
        columns = (
            asked_of(workload, priorities), marks_of(self.requests), ties_of(len(workload)),
        )  # fmt: skip
        self.state = state_of(
            world, outages, self.choice_s, rule, classes=max(1, len(priorities)), columns=columns
        )
        self.run_record = self.state.run[0]
        self.run_record["emitted"] = self.run_record["outstanding"] = len(workload)
        self.run_record["steady"], self.run_record["live"] = self.steady, self.view_every_s == 0.0
        late = np.isfinite(workload.patience_s).any() or np.isfinite(workload.expires_s).any()
        self.run_record["impatient"] = late
        self.slot_book = SlotBook(world, self.state.nodes)
        self.link_book = LinkBook(self.state.links)
        self.node_audit = NodeAudit(len(world.nodes))
        self._out = np.zeros(max(1, len(workload)), np.int64)
        self._muted: dict[int, None] = {}
        self.slots_closed, self.end_s = 0, world.duration_s + world.drain_s

    # --- running

    def run(self) -> None:
        """Let time pass until every request has come to its end, or `drain` is over."""
        clock, run = self.clock, self.run_record
        self.faults.arm()
        clock.at(0.0, SLOT, 0, self._boundary, 0)
        if self.view_every_s > 0.0:
            clock.at(0.0, SLOT, 1, self._refresh, 0)
        if not self.requests.count:
            run["stop_s"] = self.world.duration_s
        while True:
            t_s, rank, key = clock.following()
            self._advance(t_s, order_of(rank, key))
            if t_s > run["stop_s"]:
                break
            clock.step()
        self.end_s = float(run["stop_s"])
        if self.end_s > self.slots_closed * self.world.slot_s:
            self._close_slot(self.slots_closed, self.end_s)

    def _advance(self, until_s: float, until_order: int) -> None:
        while (why := advance(self.state, until_s, until_order)) != REACHED:
            if why == GROW:
                self._reserve(len(self.state.heap.t_s))
            elif why == ROUTE:
                self._find_route()
                depart_all(self.state)
            elif why == DRAWS:
                self._draw()
            elif why == BROKEN:
                raise LawViolation(f"L3 capacity: node {self.run_record['broken']} runs too many")

    def _reserve(self, more: int) -> None:
        """Make the heap larger."""
        old, size = self.state.heap, int(self.run_record["heap"])
        new = heap(2 * (len(old.t_s) + more))
        for before, after in zip(old, new, strict=True):
            after[:size] = before[:size]
        self.state = self.state._replace(heap=new)

    def _draw(self) -> None:
        """Draw more uniform numbers, behind those that are left."""
        choice, run = self.state.choice, self.run_record
        used = int(run["draw"])
        batch = self._rng.random(_DRAWS * max(1, min(256, self.requests.count // _DRAWS)))
        draws = np.concatenate((choice.draws[used:], batch))
        self.state = self.state._replace(choice=choice._replace(draws=draws))
        run["draw"] = 0

    # --- routes

    def _find_route(self) -> None:
        """Enter the route that the first in line asks for."""
        ties, rid = self.state.ties, int(self.run_record["unrouted"])
        self._enter_route(int(ties.here[rid]), int(ties.goal[rid]))

    def _enter_route(self, here: int, goal: int) -> None:
        table = self.state.routes
        if 2 * (np.count_nonzero(table.key >= 0) + 1) > len(table.key):
            self._widen_routes()
        place = route_at(self.state, here, goal)
        place = place if place >= 0 else -1 - place
        table = self.state.routes
        route = self.network.route(here, goal)
        table.key[place] = here * len(self.world.nodes) + goal
        table.link[place] = route[0] if route else -1
        sure = bool(self.steady and route and len(route) == 1)
        table.direct[place] = sure and not self._odd(route[0] if route else -1)

    def _odd(self, link: int) -> bool:
        return self.world.links[link].sharing == "fair" or self.weather[link].lossy

    def _widen_routes(self) -> None:
        old = self.state.routes
        self.state = self.state._replace(routes=routes(4 * len(old.key)))
        new, count = self.state.routes, len(self.world.nodes)
        for at in np.flatnonzero(old.key >= 0).tolist():
            here, goal = divmod(int(old.key[at]), count)
            place = -1 - route_at(self.state, here, goal)
            new.key[place], new.link[place] = old.key[at], old.link[at]
            new.direct[place] = old.direct[at]

    # --- slots and views

    def _boundary(self, slot: int, now_s: float) -> None:
        if slot:
            self._close_slot(slot - 1, now_s)
        if now_s >= self.run_record["stop_s"]:
            return
        if self.parts.on_slot is not None:
            self.parts.on_slot(slot, self.world.slots)
        self.clock.at((slot + 1) * self.world.slot_s, SLOT, 0, self._boundary, slot + 1)

    def _close_slot(self, slot: int, now_s: float) -> None:
        settle_all(self.state, now_s)
        self.recorder.block("slots", self.slot_book.close(slot))
        self.recorder.block("links", self.link_book.close(slot))
        self.slots_closed = slot + 1
        self.node_audit.check(self.state, now_s, every=False)

    def _refresh(self, count: int, now_s: float) -> None:
        """Take the dispatcher's next dated view."""
        nodes, choice = self.state.nodes, self.state.choice
        heard = nodes["heard"] == 1
        choice.seen_load[heard] = nodes["in_system"][heard]
        choice.seen_up[heard] = nodes["up"][heard]
        self.clock.at((count + 1) * self.view_every_s, SLOT, 1, self._refresh, count + 1)

    # --- faults

    def _note_fault(self, row: tuple[float, ...]) -> None:
        self.recorder.rows("faults", [row])

    def crash(self, node: int, now_s: float, work: Work = "drop") -> None:
        """Take a node down; requests fare as `work` says."""
        present = int(self.state.nodes[node]["in_system"])
        self._make_room(2 * present + 16)
        moved = crash(self.state, node, now_s, _WORKS.index(work), self._out)
        if moved:
            last = len(self.faults.outages) + node
            item = (node, self._out[:moved].copy())
            self.clock.at(now_s, FAULT, last, self._dispatch_anew, item)

    def _make_room(self, events: int) -> None:
        if self.run_record["heap"] + events > len(self.state.heap.t_s):
            self._reserve(events)

    def _dispatch_anew(self, item: tuple[int, IntArray], now_s: float) -> None:
        """Send requests on from a node that crashed; the choice takes no time."""
        node, moved = item
        self._make_room(4 * len(moved) + 16)
        needed = self.run_record["draw"] + 4 * len(moved)
        while needed > len(self.state.choice.draws):
            self._draw()
            needed = self.run_record["draw"] + 4 * len(moved)
        self.run_record["now_s"] = now_s
        dispatch_anew(self.state, moved, node, now_s)
        self._settle_routes()

    def _settle_routes(self) -> None:
        while self.run_record["unrouted"] >= 0:
            self._find_route()
            depart_all(self.state)

    def restart(self, node: int, now_s: float) -> None:
        """Bring a node back."""
        self._make_room(2 * int(self.state.nodes[node]["in_system"]) + 16)
        restart(self.state, node, now_s)

    def cut(self, link: int, now_s: float) -> None:
        """Take a link down: what is on it is lost."""
        self.state.links[link]["epoch"] += 1
        self.network.set_link(link, up=False)
        self._forget_routes()

    def mend(self, link: int, now_s: float) -> None:
        """Bring a link up, empty."""
        self.state.links[link]["free_s"] = now_s
        self.network.set_link(link, up=True)
        self._forget_routes()

    def _forget_routes(self) -> None:
        self.state.routes.key[:] = -1

    def change_link(self, link: int, now_s: float) -> None:
        """Do nothing: the timetable is known to the links."""

    def mute(self, node: int, now_s: float) -> None:
        """Let dispatchers see a node as it was last heard."""
        record, choice = self.state.nodes[node], self.state.choice
        if self.run_record["live"]:
            choice.seen_load[node], choice.seen_up[node] = record["in_system"], record["up"]
        record["heard"] = 0

    def unmute(self, node: int, now_s: float) -> None:
        """Let a node be heard again."""
        self.state.nodes[node]["heard"] = 1

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
        requests, on_way = self.requests, pending(self.state)
        late = np.flatnonzero(requests.t_return_s > self.end_s)
        requests.t_return_s[late] = np.nan
        requests.fill_dispatch(self.choice_s, on_way.choosing.tolist())
        plain = (self.state.nodes["kind"] == 1).tolist()
        requests.fill_plain(plain, int(self.run_record["batch"]))
        table = self.recorder.requests(requests)
        causality(table)
        settle_all(self.state, self.end_s)
        present = self.node_audit.check(self.state, self.end_s, every=True)
        flying = on_way.aloft + len(late)
        counts = conservation(table, len(on_way.choosing) + flying + present)
        check_links(self.state, self.link_book.sent_bytes, table, on_way)
        return counts

    def own_s(self, node: int) -> float:
        """Return a node's own work: none without a model."""
        return 0.0

    @property
    def events(self) -> int:
        """Return how many events happened: alarms of the clock, and the kernel's."""
        return self.clock.alarms + int(self.run_record["events"] + self.run_record["next"])
