"""The timetable of faults: scheduled ones, and ones drawn from the seed before the run starts."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite
from typing import TYPE_CHECKING, Protocol

from sim.clock import FAULT, Clock
from sim.errors import InputError
from sim.records import FAULTS
from sim.rng import Streams

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sim.config import FaultSpec, Work, World


@dataclass(frozen=True, slots=True)
class Outage:
    """One interval in which a fault holds at a target; `until_s` may be infinite."""

    kind: str
    target: int
    from_s: float
    until_s: float
    spec: FaultSpec


def timetable(world: World) -> tuple[Outage, ...]:
    """Return every outage that starts before the run's latest end, by time, then kind and target.

    Drawn faults alternate exponential up and down times, starting up; each draws from its own
    stream, so that no policy and no other fault moves it (law L5).

    Raises:
        InputError: A fault hits a node that only forwards, or a target that does not exist.

    Source: alternating renewal process, availability MTBF / (MTBF + MTTR). Deviation: none.
    """
    for index, fault in enumerate(world.faults):
        _check_target(world, index, fault)
    end_s = world.duration_s + world.drain_s
    outages: list[Outage] = []
    for index, fault in enumerate(world.faults):
        if fault.at_s is not None:
            outages.append(
                Outage(fault.kind, fault.target, fault.at_s, fault.at_s + fault.for_s, fault)
            )
        else:
            outages += _drawn(fault, Streams(world.seed), index, end_s)
    outages = [o for o in outages if o.from_s <= end_s]
    return tuple(sorted(outages, key=lambda o: (o.from_s, o.kind, o.target, o.until_s)))


def _check_target(world: World, index: int, fault: FaultSpec) -> None:
    targets = world.links if fault.kind == "link-down" else world.nodes
    if not 0 <= fault.target < len(targets):
        raise InputError(
            f"faults.{index}.target: expected 0 to {len(targets) - 1}, found {fault.target}"
        )
    if fault.kind == "node-crash" and world.nodes[fault.target].servers == 0:
        raise InputError(
            f"faults.{index}: node {world.nodes[fault.target].name} has no servers and only "
            "forwards, so a crash takes nothing from it; take its links down instead"
        )


def _drawn(fault: FaultSpec, streams: Streams, index: int, end_s: float) -> Sequence[Outage]:
    assert fault.mtbf_s is not None
    rng = streams.stream("faults", fault.kind, fault.target, index)
    outages: list[Outage] = []
    t_s = 0.0
    while True:
        t_s += float(rng.exponential(fault.mtbf_s))
        down_s = inf if fault.mttr_s is None else float(rng.exponential(fault.mttr_s))
        if t_s > end_s:
            return outages
        outages.append(Outage(fault.kind, fault.target, t_s, t_s + down_s, fault))
        t_s += down_s


class Targets(Protocol):
    """What a fault hits."""

    def crash(self, node: int, now_s: float, work: Work) -> None:
        """Take a node down; `work` says what its requests do."""
        ...

    def restart(self, node: int, now_s: float) -> None:
        """Bring a node back."""
        ...

    def cut(self, link: int, now_s: float) -> None:
        """Take a link down."""
        ...

    def mend(self, link: int, now_s: float) -> None:
        """Bring a link up."""
        ...


class Faults:
    """Carries out a timetable; outages of one target may overlap, it is up after the last one.

    Args:
        clock: The run's clock.
        outages: The timetable.
        targets: What is hit.
        note: Called with (t_s, kind code, target) for the table `faults`.
    """

    def __init__(
        self,
        clock: Clock,
        outages: Sequence[Outage],
        targets: Targets,
        note: Callable[[tuple[float, ...]], None],
    ) -> None:
        self.clock, self.outages, self.targets, self.note = clock, outages, targets, note
        self._depth: dict[tuple[str, int], int] = {}

    def arm(self) -> None:
        """Set an alarm for every outage."""
        for index, outage in enumerate(self.outages):
            self.clock.at(outage.from_s, FAULT, index, self._down, outage)

    def _down(self, outage: Outage, now_s: float) -> None:
        key = (outage.kind, outage.target)
        self._depth[key] = self._depth.get(key, 0) + 1
        if isfinite(outage.until_s):
            self.clock.at(outage.until_s, FAULT, -1 - outage.target, self._up, outage)
        if self._depth[key] == 1:
            self._hit(outage, now_s, "node-crash", "link-down")

    def _up(self, outage: Outage, now_s: float) -> None:
        key = (outage.kind, outage.target)
        self._depth[key] -= 1
        if self._depth[key] == 0:
            self._hit(outage, now_s, "node-restart", "link-up")

    def _hit(self, outage: Outage, now_s: float, node_word: str, link_word: str) -> None:
        target = outage.target
        word = link_word if outage.kind == "link-down" else node_word
        self.note((now_s, FAULTS.index(word), target))
        if word == "node-crash":
            self.targets.crash(target, now_s, outage.spec.work)
            return
        act = {
            "node-restart": self.targets.restart,
            "link-down": self.targets.cut,
            "link-up": self.targets.mend,
        }[word]
        act(target, now_s)
