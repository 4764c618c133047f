"""Stations whose arrivals or servers change speed, and requests that do not wait for ever."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from sim.config import ArrivalSpec, FaultSpec, ServiceSpec, Setup
from sim.proofs.farms import EXPONENTIAL, Kind, Seen, Size, farm, finite, mean, observe, wait
from sim.proofs.forms_general import setup_wait
from sim.proofs.forms_markov import erlang_a
from sim.proofs.forms_modulated import generator, mean_rate, modulated_stay
from sim.proofs.proof import Proof

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.proofs.proof import Lab
    from sim.proofs.verdict import Result


def _modulated(lab: Lab) -> Sequence[Result]:
    rates, stays = (0.2, 0.8), (4.0, 4.0)
    environment = generator(stays)
    arrivals = ArrivalSpec("mmpp", rates_per_s=rates, stays_s=stays)
    kinds = (Kind(mean_rate(rates, environment), EXPONENTIAL, arrivals, burst=2.0),)
    seen = observe(lab.run, kinds, Size(keep=6000), 116)
    theory = modulated_stay(rates, (1.0, 1.0), environment)
    return [mean(seen, "MMPP/M/1 mean stay [s]", theory, seen.stay_s())]


def _breakdowns(lab: Lab) -> Sequence[Result]:
    rate, mtbf_s, mttr_s = 0.4, 8.0, 2.0
    kinds, size = (Kind(rate, EXPONENTIAL),), Size(keep=4000)
    world = farm(kinds, size, 117)
    faults = tuple(
        FaultSpec("node-crash", node.id, mtbf_s=mtbf_s, mttr_s=mttr_s, work="resume")
        for node in world.nodes
    )
    seen = Seen(lab.run, replace(world, faults=faults), kinds, size)
    theory = modulated_stay((rate, rate), (1.0, 0.0), generator((mtbf_s, mttr_s)))
    return [mean(seen, "M/M/1 breakdowns, resumed: stay [s]", theory, seen.stay_s())]


def _impatience(lab: Lab) -> Sequence[Result]:
    rate, servers, patience_s = 3.6, 4, 1.0
    patience = {"patience": ServiceSpec("exponential", patience_s)}
    kinds = (Kind(rate, EXPONENTIAL, fields=patience),)
    seen = observe(lab.run, kinds, Size(keep=3000), 118, servers=servers)
    theory = erlang_a(rate, 1.0, servers, patience_s)
    left = seen.dropped()
    queued_s = np.where(left, seen.column("patience_s"), finite(seen.wait_s()))
    return [
        mean(seen, "M/M/4+M share that leaves", theory.leave, left),
        mean(seen, "M/M/4+M mean time queued [s]", theory.queued_s, queued_s),
    ]


def _setup(lab: Lab) -> Sequence[Result]:
    rate, time_s, keep_s = 0.4, 1.5, 1.0
    cold = observe(lab.run, (Kind(rate, EXPONENTIAL),), Size(keep=2000), 119, setup=Setup(time_s))
    warm = observe(
        lab.run, (Kind(rate, EXPONENTIAL),), Size(keep=3000), 120, setup=Setup(time_s, keep_s)
    )
    return [
        wait(cold, "M/M/1 set-up: wait [s]", setup_wait(rate, 1.0, 2.0, time_s)),
        wait(warm, "same, kept warm 1 s [s]", setup_wait(rate, 1.0, 2.0, time_s, keep_s)),
    ]


PROOFS = (
    Proof("impatience", "queues", "M/M/4+M: who leaves, time queued (Erlang A)", _impatience,
          quick=True),
    Proof("mmpp", "queues", "MMPP/M/1: mean stay (matrix-geometric)", _modulated),
    Proof("breakdowns", "queues", "M/M/1 with breakdowns, work resumed", _breakdowns),
    Proof("setup", "queues", "M/M/1 with set-up (Welch)", _setup),
)  # fmt: skip
