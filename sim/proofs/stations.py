"""Stations against their slow twins, request by request, on scripts drawn at random.

Half of the scripts live on a coarse grid of time, so that arrivals, ends, crashes and timeouts
coincide; the other half are real numbers. Tests drive the same functions with Hypothesis.
"""

from __future__ import annotations

from math import fsum, inf, isnan
from typing import TYPE_CHECKING

import numpy as np

from sim.arrivals.workload import Workload
from sim.config import Batching, DispatchSpec, FaultSpec, ServiceSpec, Setup, World
from sim.fleet import Fleet
from sim.proofs.farms import box
from sim.proofs.proof import Proof
from sim.proofs.twins.stations import Coming, Down, Fate, Rules, serve, share
from sim.proofs.verdict import Result, apart, exact
from sim.records import DROPS
from sim.rng import Streams

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sim.config import Work
    from sim.parts import Parts
    from sim.proofs.proof import Checks, Lab
    from sim.records import Table

_SCRIPTS, _WORKS = 600, ("drop", "keep", "resume", "migrate")


def workload(coming: Sequence[Coming]) -> Workload:
    """Return a script's requests as a workload of one stream at node 0."""
    n = len(coming)
    return Workload(
        stream=np.zeros(n, np.int32),
        source=np.zeros(n, np.int32),
        task=np.full(n, -1, np.int16),
        input=np.full(n, -1, np.int32),
        t_emit_s=np.array([c.at_s for c in coming], float),
        service_s=np.array([c.service_s for c in coming], float),
        deadline_s=np.full(n, np.inf),
        priority=np.array([c.priority for c in coming], np.int16),
        up_bytes=np.zeros(n),
        down_bytes=np.zeros(n),
        audit=np.ones(n),
        patience_s=np.array([c.patience_s for c in coming], float),
        expires_s=np.array([c.expires_s for c in coming], float),
    )


def station_world(rules: Rules, outages: Sequence[Down] = (), *, sharing: bool = False) -> World:
    """Return the world of one node with a script's rules and outages."""
    setup = None if rules.setup_s is None else Setup(rules.setup_s, rules.keep_s)
    discipline = "sharing" if sharing else "priority" if rules.by_priority else "fifo"
    node = box(
        0, servers=rules.servers, capacity=rules.capacity, job_share=rules.job_share,
        batching=Batching(rules.size, rules.wait_s), discipline=discipline, setup=setup,
    )  # fmt: skip
    faults = tuple(
        FaultSpec("node-crash", 0, o.from_s, o.until_s - o.from_s, work=o.work) for o in outages
    )
    return World(
        name="script", seed=1, duration_s=1000.0, drain_s=1000.0, slot_s=1.5, nodes=(node,),
        links=(), streams=(), dispatch=DispatchSpec("local"), faults=faults,
        service=ServiceSpec("deterministic", 1.0, each_s=rules.each_s),
    )  # fmt: skip


def live(world: World, coming: Sequence[Coming], parts: Parts) -> Fleet:
    """Return a fleet after a lawful run of a script."""
    fleet = Fleet(world, workload(coming), parts, world.dispatch)
    fleet.run()
    fleet.audit()
    return fleet


def engine(world: World, coming: Sequence[Coming], parts: Parts) -> Table:
    """Return the table `requests` of a lawful run of a script."""
    fleet = live(world, coming, parts)
    return fleet.recorder.requests(fleet.requests)


def difference(table: Table, fates: Sequence[Fate]) -> float:
    """Return the largest difference of any stamp; infinite when a request met another fate.

    A request that a crash moves has nowhere to go on the one node, and is lost there.
    """
    reasons = [fate.gone.replace("moved", "node_down") for fate in fates]
    if [DROPS[code] if code >= 0 else "" for code in table["drop"]] != reasons:
        return inf
    return max(
        apart(table["t_start_s"], [fate.start_s for fate in fates]),
        apart(table["t_finish_s"], [fate.finish_s for fate in fates]),
    )


def stay_gap(fleet: Fleet, coming: Sequence[Coming], fates: Sequence[Fate]) -> float:
    """Return the difference of the summed stays: it tells when those left who were not served."""
    ends_s = [fate.left_s if fate.gone else fate.finish_s for fate in fates]
    stays_s = [end - c.at_s for end, c in zip(ends_s, coming, strict=True) if not isnan(end)]
    return apart(fleet.stations[0].meters.stays_s, fsum(stays_s))


class Script:
    """Draws one script.

    Args:
        rng: Where it comes from.
        ties: Whether all times are multiples of a quarter.
    """

    def __init__(self, rng: np.random.Generator, *, ties: bool) -> None:
        self.rng, self.ties = rng, ties

    def pick(self, *values: float) -> float:
        """Choose a number; without ties, one near it that meets no other."""
        value = values[int(self.rng.integers(len(values)))]
        return value if self.ties or value in {0.0, inf} else value * self.rng.uniform(0.7, 1.3)

    def count(self, *values: int) -> int:
        """Choose a whole number."""
        return values[int(self.rng.integers(len(values)))]

    def chance(self) -> bool:
        """Toss a coin."""
        return bool(self.rng.random() < 0.5)

    def coming(self) -> list[Coming]:
        """Draw up to 40 requests in 6 s; half of the scripts are patient, half in no hurry."""
        quarters = sorted(self.rng.integers(1, 25, int(self.rng.integers(1, 41))).tolist())
        patient, unhurried = self.chance(), self.chance()
        times = sorted(self.pick(quarter / 4) for quarter in quarters)
        return [
            Coming(
                at_s=at_s,
                service_s=self.pick(0.25, 0.5, 1.0, 1.75),
                priority=self.count(0, 1, 2),
                patience_s=inf if patient else self.pick(inf, 0.0, 0.25, 1.0, 2.5),
                expires_s=inf if unhurried else at_s + self.pick(inf, 0.0, 0.5, 1.5, 4.0),
            )
            for at_s in times
        ]

    def outages(self) -> list[Down]:
        """Draw up to three outages, which may touch and overlap."""
        found = []
        for _ in range(self.count(0, 0, 1, 2, 3)):
            from_s, for_s = self.pick(*range(1, 9)), self.pick(0.25, 1.0, 2.0, 40.0)
            work: Work = _WORKS[self.count(0, 1, 2, 3)]  # type: ignore[assignment]
            found.append(Down(from_s, from_s + for_s, work))
        return sorted(found, key=lambda o: (o.from_s, o.until_s))

    def rules(self) -> Rules:
        """Draw the rules of a node that serves batches."""
        size, cold = self.count(1, 1, 2, 4), self.chance() and self.chance()
        return Rules(
            servers=self.count(1, 2, 3),
            capacity=float(self.count(4, 5, 12, 10**9)),
            size=size,
            wait_s=self.pick(0.0, 0.25, 0.5, 2.0) if size > 1 else 0.0,
            each_s=self.pick(0.0, 0.25),
            by_priority=self.chance(),
            setup_s=self.pick(0.25, 1.5) if cold else None,
            keep_s=self.pick(0.0, 0.5, 1.0) if cold else 0.0,
        )

    def sharing_rules(self) -> Rules:
        """Draw the rules of a node whose requests share it.

        Where times tie, every speed is a power of two: otherwise an end that coincides with another
        instant may be rounded to either side of it.
        """
        pairs = ((1, 1.0, 2), (1, 0.5, 2), (2, 1.0, 2), (2, 0.25, 8), (4, 0.5, 8))
        if self.ties:
            servers, share_of_one, places = pairs[self.count(*range(len(pairs)))]
            return Rules(servers, places, job_share=share_of_one)
        share_of_one = (1.0, 0.7, 0.3)[self.count(0, 1, 2)]
        capacity = float(self.count(3, 5, 12, 10**9))
        return Rules(self.count(1, 2, 3), capacity, job_share=share_of_one)


def scripts(purpose: str, count: int = _SCRIPTS) -> list[Script]:
    """Return scripts to be drawn, every other one with ties."""
    streams = Streams(1)
    return [
        Script(streams.stream("proofs", purpose, number), ties=number % 2 == 0)
        for number in range(count)
    ]


def _against(
    purpose: str, check: str, twin: Callable[..., list[Fate]], *, sharing: bool = False
) -> Checks:
    def checks(lab: Lab) -> Sequence[Result]:
        worst, requests = 0.0, 0
        drawn = scripts(purpose)
        for script in drawn:
            coming, outages = script.coming(), script.outages()
            rules = script.sharing_rules() if sharing else script.rules()
            fleet = live(station_world(rules, outages, sharing=sharing), coming, lab.parts)
            fates = twin(coming, rules, outages)
            table = fleet.recorder.requests(fleet.requests)
            worst = max(worst, difference(table, fates), stay_gap(fleet, coming, fates))
            requests += len(coming)
        return [exact(check, worst, requests, f"requests in {len(drawn)} scripts")]

    return checks


PROOFS = (
    Proof("station-twin", "twins", "batches, priorities, patience, set-up, crashes: one by one",
          _against("stations", "station: starts, ends, fates [s]", serve), quick=True),
    Proof("sharing-twin", "twins", "processor sharing with a cap, crashes: one by one",
          _against("sharing", "sharing: starts, ends, fates [s]", share, sharing=True), quick=True),
)  # fmt: skip
