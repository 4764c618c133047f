"""Slow, obvious twins of a station: one node, its requests as rows, one walk over all instants.

At each instant things happen in the declared order: outages end and begin, services and set-ups
end, requests come, services start, who has waited too long leaves. Nothing is kept up to date: at
every step everything is looked up in plain lists.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, nan
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sim.config import Work


@dataclass(frozen=True, slots=True)
class Coming:
    """A request that comes to the node; rows are in order of joining."""

    at_s: float
    service_s: float
    priority: int = 0
    patience_s: float = inf
    expires_s: float = inf


@dataclass(frozen=True, slots=True)
class Down:
    """An interval in which the node is down, and what that does to its requests."""

    from_s: float
    until_s: float
    work: Work = "drop"


@dataclass(frozen=True, slots=True)
class Rules:
    """How the node serves; `keep_s` counts only where `setup_s` is not None."""

    servers: int = 1
    capacity: float = inf
    size: int = 1
    wait_s: float = 0.0
    each_s: float = 0.0
    by_priority: bool = False
    job_share: float = 1.0
    setup_s: float | None = None
    keep_s: float = 0.0


@dataclass(slots=True)
class Fate:
    """What became of a request; times are NaN until they happen.

    `gone` is the reason of a drop, or "moved" when a crash sent the request to another node.
    """

    start_s: float = nan
    finish_s: float = nan
    gone: str = ""
    left_s: float = nan


@dataclass(slots=True)
class _Serving:
    ids: list[int]
    end_s: float  # where servers are shared: the work left


@dataclass(slots=True)
class _Place:
    """A node at one instant."""

    up: bool = True
    open: bool = True
    down_s: float = nan
    waiting: list[int] = field(default_factory=list)  # in order of joining
    serving: list[_Serving] = field(default_factory=list)  # in order of starting
    setups: list[float] = field(default_factory=list)  # when they end
    idle: list[float] = field(default_factory=list)  # since when warm servers are idle

    def present(self) -> list[int]:
        return [i for batch in self.serving for i in batch.ids] + self.waiting


def serve(coming: Sequence[Coming], rules: Rules, outages: Sequence[Down] = ()) -> list[Fate]:
    """Walk a station that serves one batch a server at a time.

    Args:
        coming: Requests in order of joining.
        rules: The node.
        outages: Intervals in which the node is down, none of them empty.

    Returns:
        What became of each request.

    Source: the rules of the design; non-preemptive priorities as Cobham 1954, set-up as Gandhi et
    al. 2013. Deviation: none from the engine, which is what it is for.
    """
    return _Walk(coming, rules, outages).run()


def share(coming: Sequence[Coming], rules: Rules, outages: Sequence[Down] = ()) -> list[Fate]:
    """Walk a station whose requests share its servers: n of them at min(job_share, servers / n).

    Args:
        coming: Requests in order of joining.
        rules: The node; batches, priorities and set-up have no meaning here.
        outages: Intervals in which the node is down, none of them empty.

    Returns:
        What became of each request.

    Source: egalitarian processor sharing, Kleinrock 1967. Deviation: none.
    """
    return _Shared(coming, rules, outages).run()


class _Walk:
    def __init__(self, coming: Sequence[Coming], rules: Rules, outages: Sequence[Down]) -> None:
        self.coming, self.rules, self.outages = coming, rules, outages
        self.fates, self.place = [Fate() for _ in coming], _Place()
        self.place.idle = [self.idle_since_s(0.0)] * rules.servers

    def run(self) -> list[Fate]:
        ends = {t for o in self.outages for t in (o.from_s, o.until_s)}
        instants = {c.at_s for c in self.coming} | ends
        now_s = -inf
        while later := [t for t in instants | self.alarms() if now_s < t < inf]:
            now_s = min(later)
            self.elapse(now_s)
            self.faults(now_s)
            self.ends(now_s)
            self.comes(now_s)
            while self.starts(now_s):
                self.ends(now_s)
            self.leaves(now_s)
        return self.fates

    def idle_since_s(self, now_s: float) -> float:
        """Return since when a server that comes up counts as warm: never, where it needs set-up."""
        return now_s if self.rules.setup_s is None else -inf

    def alarms(self) -> set[float]:
        """Return the instants at which something may happen by itself."""
        place, rules = self.place, self.rules
        due = {self.coming[i].at_s + rules.wait_s for i in place.waiting}
        late = {self.late_s(i) for i in place.waiting}
        return due | late | set(place.setups) | {batch.end_s for batch in place.serving}

    def late_s(self, i: int) -> float:
        return min(self.coming[i].at_s + self.coming[i].patience_s, self.coming[i].expires_s)

    def go(self, ids: Iterable[int], reason: str, now_s: float) -> None:
        for i in ids:
            self.fates[i].gone, self.fates[i].left_s = reason, now_s

    # --- the steps of an instant

    def elapse(self, now_s: float) -> None:
        """Let the time since the last instant pass: services know when they end."""

    def faults(self, now_s: float) -> None:
        held = [o for o in self.outages if o.from_s < now_s < o.until_s]
        ends = [o for o in self.outages if o.until_s == now_s]
        begins = [o for o in self.outages if o.from_s == now_s]
        if ends and not held:
            self.restart(now_s)
        if begins and self.place.up:
            self.crash(begins[0].work, now_s)

    def crash(self, work: Work, now_s: float) -> None:
        place = self.place
        place.up, place.open, place.down_s = False, work in {"keep", "resume"}, now_s
        place.setups, place.idle = [], []
        if work == "resume":
            return
        running = [i for batch in place.serving for i in batch.ids]
        if work != "drop":  # what is done is done for nothing
            for i in running:
                self.fates[i].start_s = nan
        if work == "keep":
            place.waiting = sorted([*running, *place.waiting])
        else:
            self.go(place.present(), "moved" if work == "migrate" else "node_down", now_s)
            place.waiting = []
        place.serving = []

    def restart(self, now_s: float) -> None:
        place, rules = self.place, self.rules
        place.up = place.open = True
        for batch in place.serving:  # only where they are to be resumed
            batch.end_s = now_s + (batch.end_s - place.down_s)
        place.idle = [self.idle_since_s(now_s)] * (rules.servers - len(place.serving))

    def ends(self, now_s: float) -> None:
        place = self.place
        if not place.up:
            return
        for batch in [b for b in place.serving if b.end_s == now_s]:
            place.serving.remove(batch)
            place.idle.append(now_s)
            for i in batch.ids:
                self.fates[i].finish_s = now_s
        for end_s in [s for s in place.setups if s == now_s]:
            place.setups.remove(end_s)
            place.idle.append(now_s)

    def comes(self, now_s: float) -> None:
        for i, request in enumerate(self.coming):
            if request.at_s != now_s:
                continue
            if not self.place.open:
                self.go([i], "node_down", now_s)
            elif request.expires_s <= now_s:
                self.go([i], "deadline", now_s)
            elif len(self.place.present()) >= self.rules.capacity:
                self.go([i], "queue_full", now_s)
            else:
                self.place.waiting.append(i)

    def starts(self, now_s: float) -> bool:
        """Start one batch or one set-up; False: none may."""
        place, rules = self.place, self.rules
        if not place.up or not place.idle or not place.waiting:
            return False
        oldest_s = min(self.coming[i].at_s for i in place.waiting)
        if len(place.waiting) < rules.size and now_s < oldest_s + rules.wait_s:
            return False
        warm = [s for s in place.idle if rules.setup_s is None or now_s <= s + rules.keep_s]
        if warm:
            place.idle.remove(max(warm))
            self.start(now_s)
            return True
        if len(place.waiting) <= len(place.setups) * rules.size:
            return False
        place.idle.remove(min(place.idle))
        assert rules.setup_s is not None
        place.setups.append(now_s + rules.setup_s)
        return True

    def start(self, now_s: float) -> None:
        place, rules = self.place, self.rules
        turn = list(place.waiting)
        if rules.by_priority:
            turn.sort(key=lambda i: -self.coming[i].priority)  # stable: then in order of joining
        ids = turn[: rules.size]
        place.waiting = [i for i in place.waiting if i not in ids]
        last_s = max(self.coming[i].service_s for i in ids) + (len(ids) - 1) * rules.each_s
        place.serving.append(_Serving(ids, now_s + last_s))
        for i in ids:
            self.fates[i].start_s = now_s

    def leaves(self, now_s: float) -> None:
        for i in [i for i in self.place.waiting if self.late_s(i) <= now_s]:
            request = self.coming[i]
            late = request.expires_s <= request.at_s + request.patience_s
            self.place.waiting.remove(i)
            self.go([i], "deadline" if late else "patience", now_s)


class _Shared(_Walk):
    """The same node when requests share the servers: `end_s` of a request is the work left."""

    last_s = 0.0

    def rate(self) -> float:
        present = len(self.place.serving)
        return min(self.rules.job_share, self.rules.servers / present) if present else 0.0

    def next_s(self) -> float:
        if not self.place.up or not self.place.serving:
            return inf
        return self.last_s + min(each.end_s for each in self.place.serving) / self.rate()

    def alarms(self) -> set[float]:
        return {self.late_s(i) for i in self.place.waiting} | {self.next_s()}

    def elapse(self, now_s: float) -> None:
        if self.place.up:
            done_s, rate = now_s - self.last_s, self.rate()
            least_s = min((each.end_s for each in self.place.serving), default=0.0)
            ended = self.next_s() <= now_s
            for each in self.place.serving:
                last = ended and each.end_s == least_s
                each.end_s = 0.0 if last else max(0.0, each.end_s - rate * done_s)
        self.last_s = now_s

    def restart(self, now_s: float) -> None:
        self.place.up = self.place.open = True

    def ends(self, now_s: float) -> None:
        place = self.place
        for each in [e for e in place.serving if place.up and e.end_s == 0.0]:
            place.serving.remove(each)
            self.fates[each.ids[0]].finish_s = now_s

    def starts(self, now_s: float) -> bool:
        """Start all that wait: only a node that is down lets anybody wait."""
        place = self.place
        if place.up:
            for i in place.waiting:
                self.fates[i].start_s = now_s
                place.serving.append(_Serving([i], self.coming[i].service_s))
            place.waiting = []
        return False
