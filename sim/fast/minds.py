"""The `slots` engine of worlds with a model: kernels serve calm nodes, Python does the rest.

Storage reads, swaps, a node's own work, walks through experts that are missing and messages are
alarms of SimPy's clock, as in `sim.fleet`; kernels come back for whatever they cannot do alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sim.errors import LawViolation
from sim.fast.access import floats_of, word
from sim.fast.book import SlotBook
from sim.fast.brains import FastBrains, FastLinks
from sim.fast.facade import Facade
from sim.fast.fleet import FastFleet
from sim.fast.layout import ASK, CALL, ENDED, MIND, OVER, RUN, USED
from sim.fast.ledger import agree
from sim.fast.open_books import LiveRecorder, LiveStamps
from sim.fast.outcomes import Ended
from sim.fast.sinks import Whole
from sim.fast.think import CATEGORIES
from sim.network.carrier import Carrier
from sim.sampling import sampled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.arrays import IntArray
    from sim.arrivals.workload import Workload
    from sim.config import DispatchSpec, Work, World
    from sim.fast.sinks import Sink
    from sim.fast.state import State
    from sim.parts import Parts
    from sim.plans import Plan
    from sim.ports import ExpertKey
    from sim.records import Tables

_ABOUT, _NOW_S, _PAUSE, _NOTED, _NOTES_COUNT = (
    word(RUN, name) for name in ("about", "now_s", "pause", "noted", "notes_count")
)


class MindFleet(FastFleet):
    """Everything that moves in one run with a model.

    All requests are loaded at once, so that their places are their ids, which alarms of the clock
    go by, too.

    Args:
        world: The run.
        workload: All requests, drawn before the run.
        parts: Plug-ins and hosts.
        dispatch: Who serves a request, and how old a view it gets.
        cache: Name of the expert cache of every routed node; None: what the nodes say.
    """

    recorder: LiveRecorder
    brains: FastBrains

    def __init__(
        self,
        world: World,
        workload: Workload,
        parts: Parts,
        dispatch: DispatchSpec,
        cache: str | None = None,
    ) -> None:
        self.requests = LiveStamps(workload)

        def sink(choice_s: Sequence[float], priorities: IntArray) -> Sink:
            all_of_them = max(1, len(workload))
            return Whole(workload, choice_s, priorities, all_of_them, self.requests)

        super().__init__(world, sink, parts, dispatch)
        assert self.card is not None
        state = self.state
        _add_minds(state, workload)
        self._reals = floats_of(state.run)
        self.facts["layers"] = self.card.layers
        self.requests.state = state
        self.recorder = LiveRecorder(self.card.experts, state)
        self.slot_book = SlotBook(world, state.nodes, state.minds["plan"])
        self.up = [True] * len(world.nodes)
        self.network = self.routes.network
        self.carrier = Carrier(self.clock, FastLinks(self), self.network)
        self.stations = {
            n.id: Facade(state, self.clock, n, self._plan_of, self.routes.settle)
            for n in world.nodes
            if n.servers
        }
        self.brains = FastBrains(self, cache)

    def _plan_of(self, plan_id: int) -> Plan | None:
        return self.recorder.decisions[plan_id].plan

    # --- running

    def run(self) -> None:
        """Let time pass until every request has come to its end, or `drain` is over."""
        super().run()
        self._tell()
        self.brains.coupling.last(self.slots_closed, self.end_s)

    def _answer(self, why: int) -> None:
        """Do what a kernel asks for."""
        if why < CALL:
            super()._answer(why)
            return
        facts = self.state.ints
        about, now_s = facts[_ABOUT], self._reals[_NOW_S]
        facts[_PAUSE] = 0
        if facts[_NOTED] + 2 > facts[_NOTES_COUNT]:
            self.recorder.keep()
        if why == CALL:
            self.stations[about].start_ready(now_s)
        elif why == ENDED:
            self.stations[int(self.state.batches["node"][about])].ended(about, now_s)
        else:
            raise LawViolation(f"L3 memory: node {about} at t={now_s} holds more than it has")

    def _decide(self, slot: int, now_s: float) -> None:
        """Let the hosts decide."""
        self._tell()
        up = [node for node, station in self.stations.items() if station.up]
        self.brains.coupling.boundary(slot, now_s, up)

    def _tell(self) -> None:
        """Note the outcomes of requests whose service ended since the last call."""
        number = int(self.facts["overs"])
        if number:
            ids = self.state.over["id"][:number].copy()
            requests = self.state.requests
            ended = Ended(ids, requests["server"][ids], requests["t_finish_s"][ids])
            self.brains.coupling.served_all(ended)
            self.facts["overs"] = 0

    # --- faults

    def life(self, node: int) -> int | None:
        """Return how often a node has crashed so far, None while it is down."""
        station = self.stations.get(node)
        if station is None:
            return 0  # it only forwards, and no fault is told of it
        return station.epoch if station.up else None

    def crash(self, node: int, now_s: float, work: Work = "drop") -> None:
        """Take a node down: memory and plan are lost, requests as `work` says."""
        self.up[node] = False
        super().crash(node, now_s, work)
        self.stations[node].crashed()
        self.brains.crash(node, now_s)

    def restart(self, node: int, now_s: float) -> None:
        """Bring a node back; it serves when its start plan is loaded."""
        self.up[node] = True
        super().restart(node, now_s)
        self.brains.restart(node, now_s)

    def lose_experts(
        self, node: int, experts: Sequence[ExpertKey], corrupt: bool, now_s: float
    ) -> None:
        """Take experts away from a node, or spoil its copies of them."""
        self.brains.lose_experts(node, experts, corrupt, now_s)

    def restore_experts(
        self, node: int, experts: Sequence[ExpertKey], corrupt: bool, now_s: float
    ) -> None:
        """End what `lose_experts` began."""
        self.brains.restore_experts(node, experts, corrupt, now_s)

    def mute(self, node: int, now_s: float) -> None:
        """Let dispatchers see a node as it was last heard, and lose its outcomes."""
        super().mute(node, now_s)
        self._tell()
        self.brains.audits.mute(node)

    def unmute(self, node: int, now_s: float) -> None:
        """Let a node be heard again."""
        super().unmute(node, now_s)
        self._tell()
        self.brains.audits.unmute(node)

    def spoil(self, node: int, value: float, now_s: float) -> None:
        """Turn the outcomes of what a node serves into a value."""
        self._tell()
        self.brains.audits.spoil(node, value)

    def unspoil(self, node: int, value: float, now_s: float) -> None:
        """End what `spoil` began with the same value."""
        self._tell()
        self.brains.audits.unspoil(node, value)

    # --- laws

    def _close_slot(self, slot: int, now_s: float) -> None:
        super()._close_slot(slot, now_s)
        self._check_work()

    def _check_work(self) -> None:
        """Check that the nodes' own work is charged and done (L7)."""
        asked_s, charged_s, done_s = np.zeros((3, len(self.world.nodes)))
        for node, station in self.stations.items():
            asked_s[node], charged_s[node] = self.brains.asked_s(node), station.job_asked_s
            done_s[node] = station.job_s + station.job_lost_s + station.open_job_s()
        agree("L7 own cost asked and charged: node", asked_s, charged_s)
        agree("L7 own cost charged and done: node", charged_s, done_s)

    def _parcels(self) -> Sequence[tuple[int, float]]:
        """Return (link, bytes) of messages on their way."""
        return [(link, cargo.size_bytes) for cargo in self.carrier.aloft() for link in cargo.way]

    def audit(self) -> dict[str, int]:
        """Check the laws and return the fleet's counts.

        Raises:
            LawViolation: A law is broken.
        """
        self.recorder.keep()
        self.requests.plan[:] = self.state.asks["plan"][: self.requests.count]
        self.requests.state = None
        self._check_work()
        return super().audit()

    def describe(self, tables: Tables, meta: dict[str, Any]) -> None:
        """Cut the table `requests` to the sample that the world asks for, and say so."""
        sampled(self.world, tables, meta)

    def own_s(self, node: int) -> float:
        """Return the server time that a node's own work took."""
        return self.stations[node].job_s if node in self.stations else 0.0


def _add_minds(state: State, workload: Workload) -> None:
    """Add what kernels need to know of models: nothing is in force yet."""
    minds = np.zeros(len(state.nodes), MIND)
    minds["plan"] = minds["weights"] = minds["masks"] = -1
    state.put("minds", minds)
    state.put("used", np.zeros(len(state.nodes) * CATEGORIES, USED))
    asks = np.zeros(len(workload), ASK)
    asks["input"], asks["plan"] = workload.input, -1
    state.put("asks", asks)
    state.put("over", np.zeros(len(workload), OVER))
