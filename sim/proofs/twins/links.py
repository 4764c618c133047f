"""Journeys over links, slow and obvious: a walk from instant to instant over plain lists."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, nan
from typing import TYPE_CHECKING, Any, NamedTuple

from sim.network.luck import uniform
from sim.records import DROPS
from sim.rng import Streams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sim.config import LinkSpec, TransportSpec
    from sim.faults import Outage

FAULT, END, ARRIVE, EMIT = range(4)  # what comes first at one instant
LOSS, LINK_DOWN, NO_ROUTE = (DROPS.index(name) for name in ("loss", "link_down", "no_route"))


class Trip(NamedTuple):
    """A request from node to node, and the answer that goes back as soon as it is there."""

    start_s: float
    src: int
    dst: int
    up_bytes: float
    down_bytes: float


@dataclass(frozen=True, slots=True)
class Script:
    """Trips over links that are cut, slowed and lossy as a timetable says."""

    links: tuple[LinkSpec, ...]
    outages: tuple[Outage, ...]
    trips: tuple[Trip, ...]
    transport: TransportSpec
    seed: int


@dataclass(slots=True)
class Outcome:
    """What became of trips, and what links carried."""

    reached_s: list[float]  # request there; NaN: never
    ended_s: list[float]  # answer back, or given up
    drop: list[int]  # -1: answer back
    sent_bytes: list[float]  # by link
    lost: list[int]  # tries that a link lost, by link


@dataclass(slots=True, eq=False)
class _Mover:
    """A request or answer."""

    trip: int
    up: bool
    here: int
    goal: int
    size_bytes: float
    failures: int = 0
    sent: bool = False
    way: list[int] = field(default_factory=list)  # links that it is on
    left_bytes: float = 0.0  # on fair links
    cut_by: int = -1
    lost_by: int = -1
    tried: list[int] = field(default_factory=list)  # links, once for each try


class _Event(NamedTuple):
    t_s: float
    rank: int
    key: int
    asked: int  # events so far: ties go by order of asking
    act: Callable[[Any], None]
    who: _Mover | int


def hop_twin(script: Script) -> Outcome:
    """Return what becomes of the trips of a script."""
    return _Walk(script).walk()


class _Walk:
    def __init__(self, script: Script) -> None:
        self.script, self.links, trips = script, script.links, script.trips
        none = [nan] * len(trips)
        self.out = Outcome(
            none, list(none), [-1] * len(trips), [0.0] * len(self.links), [0] * len(self.links)
        )
        self.events: list[_Event] = []
        self.flows: list[_Mover] = []  # on fair links, not yet all gone
        self.flying: list[_Mover] = []
        self.free_s = [0.0] * len(self.links)
        self.now_s = 0.0
        self.count = 0
        for link in range(len(self.links)):
            for t_s in self.cuts_s(link):
                self.ask(t_s, FAULT, link, self.cut, link)
            for outage in self.troubles(link, "link-slow"):
                for t_s in (outage.from_s, outage.until_s):
                    if t_s < inf:
                        self.ask(t_s, FAULT, link, self.look, link)
        for i, trip in enumerate(trips):
            mover = _Mover(i, True, trip.src, trip.dst, trip.up_bytes)
            self.ask(trip.start_s, EMIT, i, self.go, mover)

    def ask(
        self, t_s: float, rank: int, key: int, act: Callable[[Any], None], who: _Mover | int
    ) -> None:
        self.count += 1
        self.events.append(_Event(t_s, rank, key, self.count, act, who))

    def walk(self) -> Outcome:
        while self.events or self.flows:
            rates = self.rates()
            gone = [
                _Event(self.now_s + f.left_bytes / r, END, f.trip, 0, self.gone, f)
                for f, r in zip(self.flows, rates, strict=True)
            ]
            event = min([*self.events, *gone], key=lambda e: e[:4])
            for flow, rate in zip(self.flows, rates, strict=True):
                if event.t_s > self.now_s:
                    flow.left_bytes -= rate * (event.t_s - self.now_s)
            self.now_s = event.t_s
            if event in self.events:
                self.events.remove(event)
            event.act(event.who)
        return self.out

    # --- what the timetable says

    def troubles(self, link: int, kind: str) -> list[Outage]:
        return [o for o in self.script.outages if o.kind == kind and o.target == link]

    def cuts_s(self, link: int) -> list[float]:
        """List when a link goes down: at the beginning of an outage that no other covers."""
        down = self.troubles(link, "link-down")
        starts = {o.from_s for o in down if not any(p.from_s < o.from_s < p.until_s for p in down)}
        return sorted(starts)

    def up(self, link: int) -> bool:
        down = self.troubles(link, "link-down")
        return not any(o.from_s <= self.now_s < o.until_s for o in down)

    def speed(self, link: int, t_s: float) -> float:
        speed = self.links[link].bytes_per_s
        for o in self.troubles(link, "link-slow"):
            if o.from_s <= t_s < o.until_s:
                speed /= o.spec.factor
        return speed

    def delay_s(self, link: int, t_s: float) -> float:
        slow = self.troubles(link, "link-slow")
        more = sum(o.spec.delay_s for o in slow if o.from_s <= t_s < o.until_s)
        return self.links[link].delay_s + more

    def loss(self, link: int) -> float:
        kept = 1.0 - self.links[link].loss
        for o in self.troubles(link, "link-lossy"):
            if o.from_s <= self.now_s < o.until_s:
                kept *= 1.0 - o.spec.loss
        return 1.0 - kept

    def transmitted_s(self, link: int, begin_s: float, size_bytes: float) -> float:
        """Return when bytes have left, stretch by stretch of constant speed."""
        slow = self.troubles(link, "link-slow")
        stops = sorted({t for o in slow for t in (o.from_s, o.until_s) if t > begin_s})
        for stop_s in [*stops, inf]:
            speed = self.speed(link, begin_s)
            if begin_s + size_bytes / speed <= stop_s:
                break
            size_bytes -= speed * (stop_s - begin_s)
            begin_s = stop_s
        return begin_s + size_bytes / speed

    # --- routes

    def route(self, here: int, goal: int) -> list[int] | None:
        """Return the best of all simple paths over links that are up."""
        paths = list(self.paths(here, goal, [here]))
        return min(paths, key=self.merit) if paths else None

    def paths(self, here: int, goal: int, seen: list[int]) -> Iterator[list[int]]:
        if here == goal:
            yield []
            return
        for link in self.links:
            if link.src == here and link.dst not in seen and self.up(link.id):
                for rest in self.paths(link.dst, goal, [*seen, link.dst]):
                    yield [link.id, *rest]

    def merit(self, path: Sequence[int]) -> tuple[float, int, list[int], Sequence[int]]:
        """Least delay, fewest links, lowest nodes, lowest links."""
        delay_s = 0.0
        for link in path:
            delay_s += self.links[link].delay_s
        return delay_s, len(path), [self.links[link].dst for link in path], path

    # --- what happens

    def go(self, mover: _Mover) -> None:
        """Try to pass on a mover that is at a node."""
        route = self.route(mover.here, mover.goal)
        if route is None:
            never = mover.up and not mover.sent
            self.fail(mover, NO_ROUTE if never else LINK_DOWN)
        elif not route:
            self.arrive(mover)
        else:
            self.send(mover, route)

    def send(self, mover: _Mover, route: list[int]) -> None:
        fair = [self.links[link].sharing == "fair" for link in route]
        run = fair.index(False) if False in fair else len(fair)
        mover.way, mover.sent = route[: max(run, 1)], True
        mover.cut_by = mover.lost_by = -1
        for link in reversed(mover.way):
            mover.tried.append(link)
            luck = uniform(
                Streams(self.script.seed).integer("loss", link),
                2 * mover.trip + (0 if mover.up else 1),
                mover.tried.count(link),
            )
            if luck < self.loss(link):
                mover.lost_by = link
            self.out.sent_bytes[link] += mover.size_bytes
        self.flying.append(mover)
        if run:
            mover.left_bytes = mover.size_bytes
            self.flows.append(mover)
            return
        (link,) = mover.way
        waits = self.links[link].sharing == "fifo" and self.free_s[link] > self.now_s
        begin_s = self.free_s[link] if waits else self.now_s
        gone_s = self.transmitted_s(link, begin_s, mover.size_bytes)
        self.free_s[link] = gone_s
        self.ask(gone_s + self.delay_s(link, gone_s), ARRIVE, mover.trip, self.due, mover)

    def gone(self, mover: _Mover) -> None:
        """The last byte has left the near end of fair links."""
        self.flows.remove(mover)
        delay_s = sum(self.delay_s(link, self.now_s) for link in mover.way)
        self.ask(self.now_s + delay_s, ARRIVE, mover.trip, self.due, mover)

    def due(self, mover: _Mover) -> None:
        """It should be at the far end of its way now."""
        self.flying.remove(mover)
        culprit = mover.cut_by if mover.cut_by >= 0 else mover.lost_by
        if culprit >= 0:
            self.out.lost[culprit] += 1
            self.fail(mover, LINK_DOWN if mover.cut_by >= 0 else LOSS)
        else:
            mover.failures = 0
            mover.here = self.links[mover.way[-1]].dst
            self.go(mover)

    def fail(self, mover: _Mover, reason: int) -> None:
        mover.failures += 1
        transport = self.script.transport
        if mover.failures == transport.tries:
            self.out.ended_s[mover.trip] = self.now_s
            self.out.drop[mover.trip] = reason
            return
        wait_s = transport.backoff_s
        for _ in range(mover.failures - 1):
            wait_s *= 2.0
        self.ask(self.now_s + wait_s, ARRIVE, mover.trip, self.go, mover)

    def arrive(self, mover: _Mover) -> None:
        trip = self.script.trips[mover.trip]
        if mover.up:
            self.out.reached_s[mover.trip] = self.now_s
            self.go(_Mover(mover.trip, False, trip.dst, trip.src, trip.down_bytes))
        else:
            self.out.ended_s[mover.trip] = self.now_s

    def cut(self, link: int) -> None:
        """Lose what is on a link; it is empty from now on."""
        self.free_s[link] = 0.0
        for mover in self.flying:
            if link in mover.way and (mover.cut_by < 0 or _earlier(link, mover)):
                mover.cut_by = link
        for mover in [m for m in self.flows if link in m.way]:
            self.gone(mover)

    def look(self, link: int) -> None:
        """Do nothing but find the rates anew, because a link's speed is another."""

    # --- fair links

    def rates(self) -> list[float]:
        """Raise the rates of all flows together; a full link stops the flows on it.

        Source: the definition of max-min fairness (Bertsekas and Gallager 1992, 6.5.2). Deviation:
        none.
        """
        rates = [0.0] * len(self.flows)
        rising = list(range(len(self.flows)))
        ways = [flow.way for flow in self.flows]
        while rising:
            room = [self.room(link, ways, rates, rising) for link in range(len(self.links))]
            step = min(room)
            if step == inf:
                for i in rising:
                    rates[i] = inf
                return rates
            for i in rising:
                rates[i] += step
            full = [link for link, more in enumerate(room) if more <= step * (1.0 + 1e-12)]
            rising = [i for i in rising if not any(link in ways[i] for link in full)]
        return rates

    def room(
        self, link: int, ways: Sequence[Sequence[int]], rates: Sequence[float], rising: list[int]
    ) -> float:
        """Return by how much the rates of flows that still rise may rise until a link is full."""
        count = sum(link in ways[i] for i in rising)
        if not count:
            return inf
        used = sum(rate for way, rate in zip(ways, rates, strict=True) if link in way)
        return (self.speed(link, self.now_s) - used) / count


def _earlier(link: int, mover: _Mover) -> bool:
    return mover.way.index(link) < mover.way.index(mover.cut_by)
