"""Journeys over links against their twin, on scripts drawn at random."""

from __future__ import annotations

from math import inf, nan
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np

from sim.arrivals.workload import Workload
from sim.clock import EMIT, Clock
from sim.config import FaultSpec, LinkSpec, TransportSpec
from sim.faults import Faults, Outage, Targets
from sim.network.carrier import Carrier
from sim.network.links import Links
from sim.network.transfer import Transfers
from sim.proofs.twins.links import Outcome, Script, Trip, hop_twin
from sim.proofs.verdict import apart
from sim.request import Requests
from sim.rng import Streams
from sim.topology.graph import Network

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sim.config import FaultKind, Sharing

Value = TypeVar("Value")
_LATE_S = 1e18


class Draw:
    """Where a script takes its choices from: a generator here, Hypothesis in tests.

    Args:
        integer: Returns a number from a range, ends included.
        real: Turns a round number into one that meets no other; None: ties are wanted.
    """

    def __init__(
        self, integer: Callable[[int, int], int], real: Callable[[float], float] | None = None
    ) -> None:
        self.integer, self._real = integer, real

    def pick(self, values: Sequence[Value]) -> Value:
        """Choose one."""
        return values[self.integer(0, len(values) - 1)]

    def number(self, *values: float) -> float:
        """Choose a number; unless ties are wanted, one near it that meets no other."""
        value = self.pick(values)
        return value if self._real is None or value in {0.0, inf} else self._real(value)


def hop_script(draw: Draw, sharings: Sequence[Sharing]) -> Script:
    """Draw a script: 2 to 4 nodes, up to 7 directed links, faults, up to 10 trips.

    Every number is a multiple of a power of two (unless `draw` moves it), so that what happens at
    one instant does so in floating point, too.
    """
    nodes = draw.integer(2, 4)
    links = []
    for i in range(draw.integer(1, 7)):
        src = draw.integer(0, nodes - 1)
        dst = (src + draw.integer(1, nodes - 1)) % nodes
        links.append(
            LinkSpec(
                i, src, dst, draw.number(0.0, 0.25, 0.5), draw.number(1.0, 2.0, 4.0, inf),
                draw.pick(sharings), draw.number(0.0, 0.0, 0.25, 0.5),
            )
        )  # fmt: skip
    outages = [_outage(draw, len(links)) for _ in range(draw.integer(0, 4))]
    trips = []
    for _ in range(draw.integer(1, 10)):
        src, dst = draw.integer(0, nodes - 1), draw.integer(0, nodes - 1)
        start_s, *sizes = (draw.number(0.0, 0.5, 1.0, 2.0) for _ in range(3))
        trips.append(Trip(start_s, src, dst, sizes[0], sizes[1]))
    return Script(
        tuple(links),
        tuple(sorted(outages, key=lambda o: (o.from_s, o.kind, o.target, o.until_s))),
        tuple(sorted(trips, key=lambda trip: trip.start_s)),
        TransportSpec(draw.integer(1, 4), draw.number(0.0, 0.25, 1.0)),
        draw.integer(0, 99),
    )


def _outage(draw: Draw, links: int) -> Outage:
    kinds: tuple[FaultKind, ...] = ("link-down", "link-slow", "link-lossy")
    kind, target = draw.pick(kinds), draw.integer(0, links - 1)
    at_s, for_s = draw.number(0.0, 0.5, 1.0, 2.0, 3.0), draw.number(0.5, 1.0, 4.0, inf)
    if kind == "link-slow":
        factor, delay_s = draw.number(1.0, 2.0, 4.0), draw.number(0.0, 0.25)
        spec = FaultSpec(kind, target, at_s, for_s, factor=factor, delay_s=delay_s)
    elif kind == "link-lossy":
        spec = FaultSpec(kind, target, at_s, for_s, loss=draw.number(0.25, 0.5))
    else:
        spec = FaultSpec(kind, target, at_s, for_s)
    return Outage(kind, target, at_s, at_s + for_s, spec)


class Ends:
    """Who takes requests and answers, and answers at once.

    Args:
        script: The trips.
        clock: The run's clock.
    """

    def __init__(self, script: Script, clock: Clock) -> None:
        trips = len(script.trips)
        self.script, self.clock = script, clock
        self.reached_s, self.ended_s = [nan] * trips, [nan] * trips
        self.drop = [-1] * trips
        self.transfers: Transfers
        self.doors = [self._reached] * (1 + max(max(t.src, t.dst) for t in script.trips))

    def _reached(self, rid: int, now_s: float) -> None:
        trip = self.script.trips[rid]
        self.reached_s[rid] = now_s
        self.transfers.send_down(rid, trip.dst, trip.src, now_s)

    def returned(self, rid: int, now_s: float) -> None:
        """Note when an answer is back."""
        self.ended_s[rid] = now_s

    def lose(self, rid: int, reason: int, now_s: float) -> None:
        """Note when a request or answer is given up, and why."""
        self.ended_s[rid], self.drop[rid] = now_s, reason


class _Cutter:
    """What link faults hit."""

    def __init__(self, carrier: Carrier) -> None:
        self.cut, self.mend, self.change_link = carrier.cut, carrier.mend, carrier.link_changed


def hop_engine(script: Script) -> Outcome:
    """Return what becomes of the trips of a script as the engine has it."""
    clock, links = Clock(), Links(script.links, script.outages, script.seed)
    carrier = Carrier(clock, links, Network(script.links))
    ends = Ends(script, clock)
    steady = not any(o.kind == "link-down" for o in script.outages)
    ends.transfers = Transfers(carrier, requests_of(script), ends, script.transport, steady=steady)
    Faults(clock, script.outages, cast("Targets", _Cutter(carrier)), lambda row: None).arm()

    def send(rid: int, now_s: float) -> None:
        trip = script.trips[rid]
        ends.transfers.send_up(rid, trip.src, trip.dst, now_s)

    for rid, trip in enumerate(script.trips):
        clock.at(trip.start_s, EMIT, rid, send, rid)
    clock.stop(_LATE_S)
    clock.run_to_stop()
    return Outcome(ends.reached_s, ends.ended_s, ends.drop, links.sent_bytes, links.lost)


def requests_of(script: Script) -> Requests:
    """Return the columns of a script's requests, as far as links read them."""
    n = len(script.trips)
    ints, floats = np.zeros(n, np.int32), np.zeros(n)
    workload = Workload(
        stream=ints, source=np.array([t.src for t in script.trips], np.int32), task=ints,
        input=ints, t_emit_s=np.array([t.start_s for t in script.trips]), service_s=floats,
        deadline_s=floats, priority=ints,
        up_bytes=np.array([t.up_bytes for t in script.trips]),
        down_bytes=np.array([t.down_bytes for t in script.trips]),
        audit=floats, patience_s=floats, expires_s=floats,
    )  # fmt: skip
    return Requests(workload)


def hop_gap(script: Script) -> float:
    """Return the largest difference of a time between engine and twin; inf: another fate."""
    mine, twin = hop_engine(script), hop_twin(script)
    same = (
        mine.drop == twin.drop
        and mine.lost == twin.lost
        and np.allclose(mine.sent_bytes, twin.sent_bytes, rtol=1e-12, atol=0.0)
    )
    times, theirs = mine.reached_s + mine.ended_s, twin.reached_s + twin.ended_s
    return apart(times, theirs) if same else inf


def worst_hop_gap(scripts: int = 500, seed: int = 1) -> float:
    """Return the largest `hop_gap` of many random scripts, fair links among the others.

    Instants do not meet here: rates are not round, so that engine and twin may round either side.
    """
    rng = Streams(seed).stream("proofs", "hops")
    draw = Draw(
        lambda low, high: int(rng.integers(low, high + 1)),
        lambda value: value * float(rng.uniform(0.75, 1.25)),
    )
    return max(hop_gap(hop_script(draw, ("fifo", "fair", "none"))) for _ in range(scripts))
