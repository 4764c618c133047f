"""moedge beside ciw, an independent queueing library: the same requests, one by one.

Whatever is drawn for our requests is replayed by ciw, and every start and end of service must agree
to 1e-9 s; only the bursty arrivals are drawn by each library for itself and compared by interval.
Source: Palmer, Knight, Harper and Hawa 2019, Journal of Simulation 13(1) (ciw).

ciw's blocking after service (a finished request holds its server until the next station has room)
is not what a station of ours does: a full one refuses. Both refuse what comes from outside, and
that is compared.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.arrivals.workload import draw_workload
from sim.config import ArrivalSpec, FaultSpec, ServiceSpec
from sim.proofs.farms import Kind, Size, farm, observe
from sim.proofs.forms_modulated import generator, mean_rate
from sim.proofs.networks import dealt
from sim.proofs.proof import Proof
from sim.proofs.verdict import Estimate, Result, apart, compare, count, estimate, exact, skipped
from sim.records import DROPS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sim.config import Work, World
    from sim.proofs.peer_ciw import Answer, Desk
    from sim.proofs.proof import Checks, Lab
    from sim.records import Table

_REQUESTS = 4000
_ONE = ServiceSpec("exponential", 1.0)


def installed() -> bool:
    """Return whether ciw can be imported."""
    return find_spec("ciw") is not None


def _if_installed(check: str, checks: Checks) -> Checks:
    def run(lab: Lab) -> Sequence[Result]:
        return checks(lab) if installed() else [skipped(check, "ciw is not installed")]

    return run


def _replayed(world: World, table: Table, desks: Sequence[Desk], **more: Any) -> Answer:
    """Let ciw serve the requests of one of our runs."""
    from sim.proofs.peer_ciw import Script, replay

    drawn = draw_workload(world, None)
    streams = sorted(world.streams, key=lambda stream: stream.id)
    given = {
        "t_emit_s": drawn.t_emit_s,
        "service_s": drawn.service_s[:, None],
        "kind": drawn.stream.astype(np.int64),
        "priority": tuple(stream.priority for stream in streams),
        "patience_s": drawn.patience_s,
        "route": np.zeros(len(drawn), dtype=np.int64),
    }
    return replay(Script(**{**given, **more}), desks)


def _station(
    kinds: tuple[Kind, ...], desk: Callable[[], Desk], **node: Any
) -> Callable[[str], Checks]:
    """Return what makes the checks of one station that both libraries run."""

    def make(check: str) -> Checks:
        def checks(lab: Lab) -> Sequence[Result]:
            world = farm(kinds, Size(copies=1, keep=_REQUESTS, skip=1), 21, **node)
            return _both(check, lab, world, desk())

        return _if_installed(check, checks)

    return make


def _both(check: str, lab: Lab, world: World, desk: Desk) -> Sequence[Result]:
    table = lab.run(world).tables["requests"]
    answer = _replayed(world, table, [desk])
    gone = max(
        apart(table["t_start_s"], answer.start_s[:, 0]) if not desk.sharing else 0.0,
        apart(table["t_finish_s"], answer.finish_s[:, 0]),
        float((_drops(table, "queue_full") != answer.refused).sum()),
        float((_drops(table, "patience") != answer.left).sum()),
    )
    out = int((answer.refused | answer.left).sum())
    return [exact(check, gone, len(answer.refused), f"requests, {count(out)} of them not served")]


def _drops(table: Table, reason: str) -> np.ndarray[Any, Any]:
    dropped: np.ndarray[Any, Any] = table["drop"] == DROPS.index(reason)
    return dropped


def _desk(**fields: Any) -> Callable[[], Desk]:
    def make() -> Desk:
        from sim.proofs.peer_ciw import Desk

        return Desk(**fields)

    return make


def _interrupted(work: Work, preemption: str, check: str) -> Checks:
    """Return the checks of a server that is away for 3 s in every 20 s."""

    def checks(lab: Lab) -> Sequence[Result]:
        world = farm((Kind(0.5, _ONE),), Size(copies=1, keep=_REQUESTS, skip=1), 22)
        crash = FaultSpec("node-crash", 0, at_s=17.0, for_s=3.0, every_s=20.0, work=work)
        shifts = ((1, 17.0), (0, 20.0))
        desk = _desk(shifts=shifts, preemption=preemption)()
        return _both(check, lab, replace(world, faults=(crash,)), desk)

    return _if_installed(check, checks)


def _split(check: str) -> Checks:
    def checks(lab: Lab) -> Sequence[Result]:
        world, desk = dealt(_REQUESTS, 23, hop_s=0.0), _desk()
        table = lab.run(world).tables["requests"]
        drawn = draw_workload(world, None)
        transmit_s = drawn.up_bytes / world.links[0].bytes_per_s
        service_s = np.stack([transmit_s, *[drawn.service_s] * 3], axis=1)
        route = table["server"].astype(np.int64)  # node 2 is desk 2: ciw counts from 1
        answer = _replayed(
            world, table, [desk(), desk(), desk(), desk()], service_s=service_s, route=route
        )
        rows = np.arange(len(route))
        worst = max(
            apart(table["t_enqueue_s"], answer.finish_s[:, 0]),
            apart(table["t_start_s"], answer.start_s[rows, route - 1]),
            apart(table["t_finish_s"], answer.finish_s[rows, route - 1]),
        )
        return [exact(check, worst, len(route), "requests")]

    return _if_installed(check, checks)


def _bursts(check: str) -> Checks:
    """Return the checks of bursty arrivals, which each library draws for itself."""

    def checks(lab: Lab) -> Sequence[Result]:
        rates, stays_s, size = (0.1, 0.5), (2.0, 2.0), Size(keep=2000)
        arrivals = ArrivalSpec("mmpp", rates_per_s=rates, stays_s=stays_s)
        kind = Kind(mean_rate(rates, generator(stays_s)), _ONE, arrivals, burst=2.0)
        seen = observe(lab.run, (kind,), size, 24)
        ours = estimate(seen.stay_s().mean(axis=1), seen.controls())
        theirs, requests = _bursts_of_ciw(kind)
        return [compare(check, ours, theirs, f"{count(requests)} requests by ciw")]

    return _if_installed(check, checks)


def _bursts_of_ciw(kind: Kind, runs: int = 64, keep: int = 5000) -> tuple[Estimate, int]:
    """Return ciw's mean stay, with its own services and gaps as controls, and its requests."""
    from sim.proofs.peer_ciw import bursts

    assert kind.arrivals is not None
    rates, stays_s = kind.arrivals.rates_per_s, kind.arrivals.stays_s
    drawn = [bursts(rates, stays_s, 200, keep, seed) for seed in range(runs)]
    controls = [
        (each.service_s.mean() - 1.0, (each.service_s**2).mean() - 2.0,
         each.gap_s.mean() - 1.0 / kind.rate_per_s)
        for each in drawn
    ]  # fmt: skip
    stays = np.array([each.stay_s.mean() for each in drawn])
    return estimate(stays, np.array(controls)), runs * keep


def _classes(*priorities: int) -> tuple[Kind, ...]:
    laws = (ServiceSpec("lognormal", 0.7, 1.4), _ONE, ServiceSpec("deterministic", 1.3))
    rates = (0.5, 0.4, 0.4)
    return tuple(
        Kind(rate, law, fields={"priority": priority})
        for rate, law, priority in zip(rates, laws, priorities, strict=True)
    )


_PATIENCE = {"patience": ServiceSpec("exponential", 1.0)}


_MMC, _OFTEN = (Kind(2.5, _ONE),), (Kind(4.0, _ONE),)


def _proof(name: str, about: str, make: Callable[[str], Checks], *, quick: bool = True) -> Proof:
    return Proof(f"ciw-{name}", "peer", about, make(about), quick)


PROOFS = (
    _proof("mm1", "M/M/1", _station((Kind(0.8, _ONE),), _desk())),
    _proof("mmc", "M/M/3", _station(_MMC, _desk(servers=3), servers=3)),
    _proof("loss", "M/M/3/5, blocked requests refused",
           _station(_OFTEN, _desk(servers=3, capacity=5), servers=3, capacity=5)),
    _proof("classes", "three classes, M/G/2 FIFO",
           _station(_classes(0, 0, 0), _desk(servers=2), servers=2)),
    _proof("priority", "three classes, M/G/2 by priority",
           _station(_classes(2, 0, 1), _desk(servers=2), servers=2, discipline="priority")),
    _proof("priority-loss", "the same with 6 places",
           _station(_classes(2, 0, 1), _desk(servers=2, capacity=6),
                    servers=2, discipline="priority", capacity=6)),
    _proof("patience", "M/M/3+M, requests leave",
           _station((Kind(4.0, _ONE, fields=_PATIENCE),), _desk(servers=3), servers=3)),
    _proof("split", "tandem: FIFO link, random split to 3 nodes", _split),
    _proof("sharing", "M/G/2-PS, three classes",
           _station(_classes(0, 0, 0), _desk(servers=2, sharing=True),
                    servers=2, discipline="sharing")),
    _proof("resume", "server away, work resumed", partial(_interrupted, "resume", "resume")),
    _proof("restart", "server away, work restarted", partial(_interrupted, "keep", "restart")),
    _proof("mmpp", "MMPP/M/1 mean stay [s]", _bursts, quick=False),
)  # fmt: skip
