"""Stations against queueing theory: waiting, loss, general service, batches, sharing, priorities.

Every station is simulated as a farm of 256 independent copies; sizes are such that a bias of 2 %
is caught. Service takes 1 s on average unless said otherwise, so loads are rates.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.config import ArrivalSpec, Batching, FaultSpec, ServiceSpec, Setup
from sim.proofs.farms import Kind, Seen, Size, farm, finite, observe
from sim.proofs.forms_bulk import bulk
from sim.proofs.forms_general import (
    Class,
    cobham,
    cobham_servers,
    mg1_wait,
    ps_stay,
    second_moment,
    setup_wait,
)
from sim.proofs.forms_markov import (
    erlang_a,
    erlang_b,
    erlang_c,
    mmc_tail,
    mmc_wait,
    mmck,
    sharing_stay,
)
from sim.proofs.forms_modulated import generator, mean_rate, modulated_stay
from sim.proofs.proof import Proof
from sim.proofs.verdict import Result, judge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.proofs.proof import Checks, Lab

_EXPONENTIAL = ServiceSpec("exponential", 1.0)


def _wait(seen: Seen, check: str, expected: float, kind: int = 0) -> Result:
    return _mean(seen, check, expected, seen.wait_s(kind))


def _mean(seen: Seen, check: str, expected: float, values: np.ndarray[Any, Any]) -> Result:
    note = f"{seen.size.requests:,} requests".replace(",", " ")
    return judge(check, expected, values.mean(axis=1), seen.controls(), note)


def _mm1(lab: Lab) -> Sequence[Result]:
    seen = observe(lab.run, (Kind(0.5, _EXPONENTIAL),), Size(keep=4000), 101)
    return [
        _wait(seen, "M/M/1 mean wait [s]", mmc_wait(0.5, 1.0, 1)),
        _mean(seen, "M/M/1 P(wait > 1 s)", mmc_tail(0.5, 1.0, 1, 1.0), seen.wait_s() > 1.0),
    ]


def _mmc(lab: Lab) -> Sequence[Result]:
    rate, servers = 1.8, 3
    seen = observe(lab.run, (Kind(rate, _EXPONENTIAL),), Size(keep=16000), 102, servers=servers)
    waits = seen.wait_s()
    return [
        _wait(seen, "M/M/3 mean wait [s]", mmc_wait(rate, 1.0, servers)),
        _mean(seen, "M/M/3 P(wait > 0)", erlang_c(rate, servers), waits > 0.0),
        _mean(seen, "M/M/3 P(wait > 0.5 s)", mmc_tail(rate, 1.0, servers, 0.5), waits > 0.5),
        _mean(seen, "M/M/3 P(wait > 1 s)", mmc_tail(rate, 1.0, servers, 1.0), waits > 1.0),
    ]


def _waiting(lab: Lab) -> Sequence[Result]:
    rate, servers = 2.8, 4
    seen = observe(lab.run, (Kind(rate, _EXPONENTIAL),), Size(keep=1200), 103, servers=servers)
    return [_mean(seen, "M/M/4 P(wait > 0)", erlang_c(rate, servers), seen.wait_s() > 0.0)]


def _mmck(lab: Lab) -> Sequence[Result]:
    kinds, theory = (Kind(4.0, _EXPONENTIAL),), mmck(4.0, 1.0, 4, 6)
    seen = observe(lab.run, kinds, Size(keep=2000), 104, servers=4, capacity=6)
    return [
        _mean(seen, "M/M/4/6 loss", theory.loss, seen.dropped()),
        _mean(seen, "M/M/4/6 mean wait of all [s]", theory.wait_s, finite(seen.wait_s())),
    ]


def _erlang_b(lab: Lab) -> Sequence[Result]:
    seen = observe(lab.run, (Kind(3.0, _EXPONENTIAL),), Size(keep=1000), 105, servers=4, capacity=4)
    skewed = ServiceSpec("hyperexponential", 1.0, 1.5)
    other = observe(lab.run, (Kind(3.0, skewed),), Size(keep=1000), 106, servers=4, capacity=4)
    return [
        _mean(seen, "M/M/4/4 loss (Erlang B)", erlang_b(3.0, 4), seen.dropped()),
        _mean(other, "M/H2/4/4 loss (insensitive)", erlang_b(3.0, 4), other.dropped()),
    ]


def _general(law: str, cv: float, rate: float, size: Size, seed: int) -> Checks:
    def checks(lab: Lab) -> Sequence[Result]:
        spec = ServiceSpec(law, 1.0, cv)  # type: ignore[arg-type]
        seen = observe(lab.run, (Kind(rate, spec),), size, seed)
        theory = mg1_wait(rate, 1.0, second_moment(spec))
        return [_wait(seen, f"M/{law}/1 mean wait [s]", theory)]

    return checks


def _sharing(lab: Lab) -> Sequence[Result]:
    skewed = ServiceSpec("hyperexponential", 1.0, 2.0)
    seen = observe(lab.run, (Kind(0.5, skewed),), Size(keep=2000), 110, discipline="sharing")
    stays, theory = seen.stay_s(), ps_stay(0.5, 1.0)
    slowdown = stays / seen.column("service_s")
    return [
        _mean(seen, "M/H2/1-PS mean stay [s]", theory, stays),
        _mean(seen, "M/H2/1-PS mean slowdown", theory, slowdown),
    ]


def _sharing_servers(lab: Lab) -> Sequence[Result]:
    station = {"servers": 3, "discipline": "sharing"}
    full = observe(lab.run, (Kind(2.0, _EXPONENTIAL),), Size(keep=2000), 111, **station)
    half = observe(
        lab.run, (Kind(2.0, _EXPONENTIAL),), Size(keep=2000), 112, **station, job_share=0.6
    )
    return [
        _mean(full, "M/M/3-PS mean stay [s]", sharing_stay(2.0, 1.0, 3), full.stay_s()),
        _mean(half, "same, shares <= 0.6 [s]", sharing_stay(2.0, 1.0, 3, 0.6), half.stay_s()),
    ]


def _bulk(lab: Lab) -> Sequence[Result]:
    rate, first_s, each_s, most = 2.0, 0.8, 0.2, 4
    kinds = (Kind(rate, ServiceSpec("deterministic", first_s, each_s=each_s)),)
    seen = observe(lab.run, kinds, Size(keep=1500), 113, batching=Batching(most, 0.0))
    theory = bulk(rate, first_s, each_s, most)
    batches = 1.0 / seen.table["batch_size"][seen.ids()]
    return [
        _mean(seen, "M/G[1,4]/1 mean stay [s]", theory.stay_s, seen.stay_s()),
        _mean(seen, "M/G[1,4]/1 batches per request", 1.0 / theory.size, batches),
    ]


def _priorities(lab: Lab) -> Sequence[Result]:
    laws = (ServiceSpec("deterministic", 0.5), _EXPONENTIAL, ServiceSpec("erlang", 1.0, 0.5))
    rates = (0.3, 0.2, 0.15)  # first class first
    kinds = tuple(
        Kind(rate, law, fields={"priority": 2 - k})
        for k, (rate, law) in enumerate(zip(rates, laws, strict=True))
    )
    classes = [Class(k.rate_per_s, k.service.mean_s, second_moment(k.service)) for k in kinds]
    seen = observe(lab.run, kinds, Size(keep=16000, skip=600), 114, discipline="priority")
    theory = cobham(classes)
    return [_wait(seen, f"M/G/1 priority {2 - k} wait [s]", theory[k], k) for k in range(3)]


def _priority_servers(lab: Lab) -> Sequence[Result]:
    rates = (0.6, 0.6)
    kinds = tuple(Kind(r, _EXPONENTIAL, fields={"priority": 1 - k}) for k, r in enumerate(rates))
    seen = observe(
        lab.run, kinds, Size(keep=16000, skip=400), 115, discipline="priority", servers=2
    )
    theory = cobham_servers(rates, 1.0, 2)
    return [_wait(seen, f"M/M/2 priority {1 - k} wait [s]", theory[k], k) for k in range(2)]


def _modulated(lab: Lab) -> Sequence[Result]:
    rates, stays = (0.2, 0.8), (4.0, 4.0)
    environment = generator(stays)
    arrivals = ArrivalSpec("mmpp", rates_per_s=rates, stays_s=stays)
    kinds = (Kind(mean_rate(rates, environment), _EXPONENTIAL, arrivals, burst=2.0),)
    seen = observe(lab.run, kinds, Size(keep=6000), 116)
    theory = modulated_stay(rates, (1.0, 1.0), environment)
    return [_mean(seen, "MMPP/M/1 mean stay [s]", theory, seen.stay_s())]


def _breakdowns(lab: Lab) -> Sequence[Result]:
    rate, mtbf_s, mttr_s = 0.4, 8.0, 2.0
    kinds, size = (Kind(rate, _EXPONENTIAL),), Size(keep=4000)
    world = farm(kinds, size, 117)
    faults = tuple(
        FaultSpec("node-crash", node.id, mtbf_s=mtbf_s, mttr_s=mttr_s, work="resume")
        for node in world.nodes
    )
    seen = Seen(lab.run, replace(world, faults=faults), kinds, size)
    theory = modulated_stay((rate, rate), (1.0, 0.0), generator((mtbf_s, mttr_s)))
    return [_mean(seen, "M/M/1 breakdowns, resumed: stay [s]", theory, seen.stay_s())]


def _impatience(lab: Lab) -> Sequence[Result]:
    rate, servers, patience_s = 3.6, 4, 1.0
    patience = {"patience": ServiceSpec("exponential", patience_s)}
    kinds = (Kind(rate, _EXPONENTIAL, fields=patience),)
    seen = observe(lab.run, kinds, Size(keep=3000), 118, servers=servers)
    theory = erlang_a(rate, 1.0, servers, patience_s)
    left = seen.dropped()
    queued_s = np.where(left, seen.column("patience_s"), finite(seen.wait_s()))
    return [
        _mean(seen, "M/M/4+M share that leaves", theory.leave, left),
        _mean(seen, "M/M/4+M mean time queued [s]", theory.queued_s, queued_s),
    ]


def _setup(lab: Lab) -> Sequence[Result]:
    rate, time_s, keep_s = 0.4, 1.5, 1.0
    cold = observe(lab.run, (Kind(rate, _EXPONENTIAL),), Size(keep=2000), 119, setup=Setup(time_s))
    warm = observe(
        lab.run, (Kind(rate, _EXPONENTIAL),), Size(keep=3000), 120, setup=Setup(time_s, keep_s)
    )
    return [
        _wait(cold, "M/M/1 set-up: wait [s]", setup_wait(rate, 1.0, 2.0, time_s)),
        _wait(warm, "same, kept warm 1 s [s]", setup_wait(rate, 1.0, 2.0, time_s, keep_s)),
    ]


PROOFS = (
    Proof("mm1", "queues", "M/M/1: mean wait and tail", _mm1, quick=True),
    Proof("mmc", "queues", "M/M/3: mean wait, chance of waiting, tails", _mmc),
    Proof("erlang-c", "queues", "M/M/4: chance of waiting", _waiting, quick=True),
    Proof("mmck", "queues", "M/M/4/6: loss and wait", _mmck, quick=True),
    Proof("erlang-b", "queues", "M/M/4/4 and M/H2/4/4: loss", _erlang_b, quick=True),
    Proof("md1", "queues", "M/D/1: mean wait",
          _general("deterministic", 0.0, 0.5, Size(keep=2000), 107), quick=True),
    Proof("mg1-erlang", "queues", "M/G/1, cv 0.5: mean wait",
          _general("erlang", 0.5, 0.5, Size(keep=4000), 108)),
    Proof("mg1-hyper", "queues", "M/G/1, cv 1.5: mean wait",
          _general("hyperexponential", 1.5, 0.4, Size(keep=8000), 109)),
)  # fmt: skip
