"""Stations whose arrivals or servers change speed, and requests that do not wait for ever."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from sim.config import ArrivalSpec, FaultSpec, ServiceSpec, Setup
from sim.proofs.farms import (
    EXPONENTIAL,
    Kind,
    Seen,
    Size,
    farm,
    finite,
    mean,
    observe,
    pooled,
    wait,
)
from sim.proofs.forms_general import setup_wait
from sim.proofs.forms_markov import erlang_a
from sim.proofs.forms_modulated import generator, mean_rate, modulated_stay
from sim.proofs.proof import Proof

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.proofs.farms import Run, Sample


def _modulated(run: Run, seed: int) -> Sequence[Sample]:
    rates, stays = (0.2, 0.8), (4.0, 4.0)
    environment = generator(stays)
    arrivals = ArrivalSpec("mmpp", rates_per_s=rates, stays_s=stays)
    kinds = (Kind(mean_rate(rates, environment), EXPONENTIAL, arrivals, burst=2.0),)
    seen = observe(run, kinds, Size(keep=2000), seed)
    theory = modulated_stay(rates, (1.0, 1.0), environment)
    return [mean(seen, "MMPP/M/1 mean stay [s]", theory, seen.stay_s())]


def _breakdowns(run: Run, seed: int) -> Sequence[Sample]:
    rate, mtbf_s, mttr_s = 0.4, 8.0, 2.0
    kinds, size = (Kind(rate, EXPONENTIAL),), Size(keep=1500)
    world = farm(kinds, size, seed)
    faults = tuple(
        FaultSpec("node-crash", node.id, mtbf_s=mtbf_s, mttr_s=mttr_s, work="resume")
        for node in world.nodes
    )
    seen = Seen(run, replace(world, faults=faults), kinds, size)
    theory = modulated_stay((rate, rate), (1.0, 0.0), generator((mtbf_s, mttr_s)))
    return [mean(seen, "M/M/1 breakdowns, resumed: stay [s]", theory, seen.stay_s())]


def _impatience(run: Run, seed: int) -> Sequence[Sample]:
    rate, servers, patience_s = 3.6, 4, 1.0
    patience = {"patience": ServiceSpec("exponential", patience_s)}
    kinds = (Kind(rate, EXPONENTIAL, fields=patience),)
    seen = observe(run, kinds, Size(keep=1500), seed, servers=servers)
    theory = erlang_a(rate, 1.0, servers, patience_s)
    left = seen.dropped()
    queued_s = np.where(left, seen.column("patience_s"), finite(seen.wait_s()))
    return [
        mean(seen, "M/M/4+M share that leaves", theory.leave, left),
        mean(seen, "M/M/4+M mean time queued [s]", theory.queued_s, queued_s),
    ]


def _setup(run: Run, seed: int) -> Sequence[Sample]:
    rate, time_s, keep_s = 0.4, 1.5, 1.0
    cold = observe(run, (Kind(rate, EXPONENTIAL),), Size(keep=1500), seed, setup=Setup(time_s))
    warm = observe(
        run, (Kind(rate, EXPONENTIAL),), Size(keep=1500), seed + 500, setup=Setup(time_s, keep_s)
    )
    return [
        wait(cold, "M/M/1 set-up: wait [s]", setup_wait(rate, 1.0, 2.0, time_s)),
        wait(warm, "same, kept warm 1 s [s]", setup_wait(rate, 1.0, 2.0, time_s, keep_s)),
    ]


PROOFS = (
    Proof("impatience", "queues", "M/M/4+M: who leaves, time queued (Erlang A)",
 pooled(_impatience, 118, 2),
          quick=True),
    Proof("mmpp", "queues", "MMPP/M/1: mean stay (matrix-geometric)", pooled(_modulated, 116, 3)),
    Proof("breakdowns", "queues", "M/M/1 with breakdowns, work resumed",
          pooled(_breakdowns, 117, 2)),
    Proof("setup", "queues", "M/M/1 with set-up (Welch)", pooled(_setup, 119, 2)),
)  # fmt: skip
