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
from importlib.util import find_spec
from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.arrivals.workload import draw_workload
from sim.config import (
    ArrivalSpec,
    DispatchSpec,
    FaultSpec,
    LinkSpec,
    MixSpec,
    ServiceSpec,
    StreamSpec,
    World,
)
from sim.proofs.farms import Kind, Size, box, farm, observe
from sim.proofs.forms_modulated import generator, mean_rate
from sim.proofs.proof import Proof
from sim.proofs.verdict import Result, compare, estimate, exact, skipped
from sim.records import DROPS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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


def _difference(ours: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any]) -> float:
    """Return the largest difference; infinite where only one of them has a number."""
    if not np.array_equal(np.isnan(ours), np.isnan(theirs)):
        return inf
    return float(np.nanmax(np.abs(ours - theirs), initial=0.0))


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


def _station(check: str, kinds: tuple[Kind, ...], desk: Callable[[], Desk], **node: Any) -> Checks:
    """Return the checks of one station that both libraries run."""

    def checks(lab: Lab) -> Sequence[Result]:
        world = farm(kinds, Size(copies=1, keep=_REQUESTS, skip=1), 21, **node)
        return _both(check, lab, world, desk())

    return _if_installed(check, checks)


def _both(check: str, lab: Lab, world: World, desk: Desk) -> Sequence[Result]:
    table = lab.run(world).tables["requests"]
    answer = _replayed(world, table, [desk])
    gone = max(
        _difference(table["t_start_s"], answer.start_s[:, 0]) if not desk.sharing else 0.0,
        _difference(table["t_finish_s"], answer.finish_s[:, 0]),
        float((_drops(table, "queue_full") != answer.refused).sum()),
        float((_drops(table, "patience") != answer.left).sum()),
    )
    out = int((answer.refused | answer.left).sum())
    return [exact(check, gone, len(answer.refused), f"requests, {out} of them not served")]


def _drops(table: Table, reason: str) -> np.ndarray[Any, Any]:
    dropped: np.ndarray[Any, Any] = table["drop"] == DROPS.index(reason)
    return dropped


def _desk(**fields: Any) -> Callable[[], Desk]:
    def make() -> Desk:
        from sim.proofs.peer_ciw import Desk

        return Desk(**fields)

    return make


def _interrupted(check: str, work: str, preemption: str) -> Checks:
    """Return the checks of a server that is away for 3 s in every 20 s."""

    def checks(lab: Lab) -> Sequence[Result]:
        world = farm((Kind(0.5, _ONE),), Size(copies=1, keep=_REQUESTS, skip=1), 22)
        crash = FaultSpec(
            "node-crash", 0, at_s=17.0, for_s=3.0, every_s=20.0, work=work  # type: ignore[arg-type]
        )
        shifts = ((1, 17.0), (0, 20.0))
        desk = _desk(shifts=shifts, preemption=preemption)()
        return _both(check, lab, replace(world, faults=(crash,)), desk)

    return _if_installed(check, checks)


def _split_world() -> World:
    """Return a gateway whose one FIFO link feeds a hub that deals to three nodes at no cost."""
    world = farm((Kind(1.2, _ONE),), Size(copies=1, keep=_REQUESTS, skip=1), 23)
    ends = [(0, 1, "fifo", 1e6), (1, 0, "none", inf)]
    ends += [pair for i in (2, 3, 4) for pair in ((1, i, "none", inf), (i, 1, "none", inf))]
    links = tuple(
        LinkSpec(n, src, dst, 0.0, rate, sharing)  # type: ignore[arg-type]
        for n, (src, dst, sharing, rate) in enumerate(ends)
    )
    stream = StreamSpec(
        0, "all", 0, ArrivalSpec("poisson", 1.2), MixSpec("uniform"), up_bytes=5e5,
        size_law="exponential",
    )  # fmt: skip
    nodes = (box(0, servers=0), box(1, servers=0), *(box(i) for i in (2, 3, 4)))
    dispatch = DispatchSpec("random")
    return replace(world, nodes=nodes, links=links, streams=(stream,), dispatch=dispatch)


def _split(check: str) -> Checks:
    def checks(lab: Lab) -> Sequence[Result]:
        world, desk = _split_world(), _desk()
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
            _difference(table["t_enqueue_s"], answer.finish_s[:, 0]),
            _difference(table["t_start_s"], answer.start_s[rows, route - 1]),
            _difference(table["t_finish_s"], answer.finish_s[rows, route - 1]),
        )
        return [exact(check, worst, len(route), "requests")]

    return _if_installed(check, checks)


def _bursts(check: str) -> Checks:
    """Return the checks of bursty arrivals, which each library draws for itself."""

    def checks(lab: Lab) -> Sequence[Result]:
        from sim.proofs.peer_ciw import burst_stays

        rates, stays_s, runs, keep = (0.2, 0.6), (2.0, 2.0), 60, 6000
        arrivals = ArrivalSpec("mmpp", rates_per_s=rates, stays_s=stays_s)
        kind = Kind(mean_rate(rates, generator(stays_s)), _ONE, arrivals, burst=2.0)
        seen = observe(lab.run, (kind,), Size(keep=4000), 24)
        ours = estimate(seen.stay_s().mean(axis=1), seen.controls())
        drawn = [burst_stays(rates, stays_s, keep + 200, seed)[200:].mean() for seed in range(runs)]
        theirs = estimate(np.array(drawn))
        return [compare(check, ours, theirs, f"{runs} runs of {keep} requests by ciw")]

    return _if_installed(check, checks)


def _classes(*priorities: int) -> tuple[Kind, ...]:
    laws = (ServiceSpec("lognormal", 0.7, 1.4), _ONE, ServiceSpec("deterministic", 1.3))
    rates = (0.5, 0.4, 0.4)
    return tuple(
        Kind(rate, law, fields={"priority": priority})
        for rate, law, priority in zip(rates, laws, priorities, strict=True)
    )


_PATIENCE = {"patience": ServiceSpec("exponential", 1.0)}


def _rows() -> tuple[tuple[str, str, Checks, bool], ...]:
    """Return name, what is compared, the checks, and whether they are quick."""
    one = (Kind(0.8, _ONE),)
    three = (Kind(2.5, _ONE),)
    return (
        ("ciw-mm1", "M/M/1", _station("M/M/1", one, _desk()), True),
        ("ciw-mmc", "M/M/3", _station("M/M/3", three, _desk(servers=3), servers=3), True),
        (
            "ciw-loss",
            "M/M/3/5, blocked requests lost",
            _station(
                "M/M/3/5, blocked requests lost",
                (Kind(4.0, _ONE),),
                _desk(servers=3, capacity=5),
                servers=3,
                capacity=5,
            ),
            True,
        ),
    )


PROOFS: tuple[Proof, ...] = ()
