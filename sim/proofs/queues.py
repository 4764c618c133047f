"""Stations that serve first come, first served, against queueing theory: waiting and loss.

Every station is simulated as a farm of 256 independent copies, some in several runs; sizes are
such that a bias of 2 % is caught. Service takes 1 s on average, so rates are loads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.config import ServiceSpec
from sim.proofs.farms import EXPONENTIAL, Kind, Size, finite, mean, observe, pooled, wait
from sim.proofs.forms_general import mg1_wait, second_moment
from sim.proofs.forms_markov import erlang_b, erlang_c, mmc_tail, mmc_wait, mmck
from sim.proofs.proof import Proof

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sim.config import Law
    from sim.proofs.farms import Run, Sample


def _mm1(run: Run, seed: int) -> Sequence[Sample]:
    seen = observe(run, (Kind(0.5, EXPONENTIAL),), Size(keep=2000), seed)
    return [
        wait(seen, "M/M/1 mean wait [s]", mmc_wait(0.5, 1.0, 1)),
        mean(seen, "M/M/1 P(wait > 1 s)", mmc_tail(0.5, 1.0, 1, 1.0), seen.wait_s() > 1.0),
    ]


def _mmc(run: Run, seed: int) -> Sequence[Sample]:
    rate, servers = 1.8, 3
    seen = observe(run, (Kind(rate, EXPONENTIAL),), Size(keep=1600), seed, servers=servers)
    waits = seen.wait_s()
    return [
        wait(seen, "M/M/3 mean wait [s]", mmc_wait(rate, 1.0, servers)),
        mean(seen, "M/M/3 P(wait > 0)", erlang_c(rate, servers), waits > 0.0),
        mean(seen, "M/M/3 P(wait > 0.5 s)", mmc_tail(rate, 1.0, servers, 0.5), waits > 0.5),
        mean(seen, "M/M/3 P(wait > 1 s)", mmc_tail(rate, 1.0, servers, 1.0), waits > 1.0),
    ]


def _waiting(run: Run, seed: int) -> Sequence[Sample]:
    rate, servers = 2.8, 4
    seen = observe(run, (Kind(rate, EXPONENTIAL),), Size(keep=1200), seed, servers=servers)
    return [mean(seen, "M/M/4 P(wait > 0)", erlang_c(rate, servers), seen.wait_s() > 0.0)]


def _mmck(run: Run, seed: int) -> Sequence[Sample]:
    kinds, theory = (Kind(4.0, EXPONENTIAL),), mmck(4.0, 1.0, 4, 6)
    seen = observe(run, kinds, Size(keep=2000), seed, servers=4, capacity=6)
    return [
        mean(seen, "M/M/4/6 loss", theory.loss, seen.dropped()),
        mean(seen, "M/M/4/6 mean wait of all [s]", theory.wait_s, finite(seen.wait_s())),
    ]


def _erlang_b(run: Run, seed: int) -> Sequence[Sample]:
    seen = observe(run, (Kind(3.0, EXPONENTIAL),), Size(keep=1000), seed, servers=4, capacity=4)
    skewed = ServiceSpec("hyperexponential", 1.0, 1.5)
    other = observe(run, (Kind(3.0, skewed),), Size(keep=1000), seed + 500, servers=4, capacity=4)
    return [
        mean(seen, "M/M/4/4 loss (Erlang B)", erlang_b(3.0, 4), seen.dropped()),
        mean(other, "M/H2/4/4 loss (insensitive)", erlang_b(3.0, 4), other.dropped()),
    ]


_KENDALL: dict[Law, str] = {"deterministic": "D", "erlang": "E", "hyperexponential": "H2"}


def _general(law: Law, cv: float, rate: float) -> Callable[[Run, int], Sequence[Sample]]:
    def look(run: Run, seed: int) -> Sequence[Sample]:
        spec = ServiceSpec(law, 1.0, cv)
        seen = observe(run, (Kind(rate, spec),), Size(keep=2000), seed)
        theory = mg1_wait(rate, 1.0, second_moment(spec))
        return [wait(seen, f"M/{_KENDALL[law]}/1 mean wait [s]", theory)]

    return look


PROOFS = (
    Proof("mm1", "queues", "M/M/1: mean wait and tail", pooled(_mm1, 101, 2), quick=True),
    Proof("mmc", "queues", "M/M/3: mean wait, chance of waiting, tails", pooled(_mmc, 102, 10)),
    Proof("erlang-c", "queues", "M/M/4: chance of waiting", pooled(_waiting, 103), quick=True),
    Proof("mmck", "queues", "M/M/4/6: loss and wait", pooled(_mmck, 104), quick=True),
    Proof("erlang-b", "queues", "M/M/4/4 and M/H2/4/4: loss", pooled(_erlang_b, 105), quick=True),
    Proof("md1", "queues", "M/D/1: mean wait",
          pooled(_general("deterministic", 0.0, 0.5), 107), quick=True),
    Proof("mg1-erlang", "queues", "M/G/1, cv 0.5: mean wait",
          pooled(_general("erlang", 0.5, 0.5), 108, 2)),
    Proof("mg1-hyper", "queues", "M/G/1, cv 1.5: mean wait",
          pooled(_general("hyperexponential", 1.5, 0.4), 109, 4)),
)  # fmt: skip
