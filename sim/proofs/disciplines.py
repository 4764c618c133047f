"""Batches, priorities and sharing against queueing theory; service takes 1 s on average."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.config import Batching, ServiceSpec
from sim.proofs.farms import EXPONENTIAL, Kind, Size, mean, observe, pooled, wait
from sim.proofs.forms_bulk import bulk
from sim.proofs.forms_general import Class, cobham, cobham_servers, ps_stay, second_moment
from sim.proofs.forms_markov import sharing_stay
from sim.proofs.proof import Proof

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.proofs.farms import Run, Sample


def _sharing(run: Run, seed: int) -> Sequence[Sample]:
    skewed = ServiceSpec("hyperexponential", 1.0, 2.0)
    seen = observe(run, (Kind(0.5, skewed),), Size(keep=2000), seed, discipline="sharing")
    stays, theory = seen.stay_s(), ps_stay(0.5, 1.0)
    slowdown = stays / seen.column("service_s")
    return [
        mean(seen, "M/H2/1-PS mean stay [s]", theory, stays),
        mean(seen, "M/H2/1-PS mean slowdown", theory, slowdown),
    ]


def _sharing_servers(run: Run, seed: int) -> Sequence[Sample]:
    station = {"servers": 3, "discipline": "sharing"}
    full = observe(run, (Kind(2.0, EXPONENTIAL),), Size(keep=2000), seed, **station)
    half = observe(
        run, (Kind(2.0, EXPONENTIAL),), Size(keep=2000), seed + 500, **station, job_share=0.6
    )
    return [
        mean(full, "M/M/3-PS mean stay [s]", sharing_stay(2.0, 1.0, 3), full.stay_s()),
        mean(half, "same, shares <= 0.6 [s]", sharing_stay(2.0, 1.0, 3, 0.6), half.stay_s()),
    ]


def _bulk(run: Run, seed: int) -> Sequence[Sample]:
    rate, first_s, each_s, most = 2.0, 0.8, 0.2, 4
    kinds = (Kind(rate, ServiceSpec("deterministic", first_s, each_s=each_s)),)
    seen = observe(run, kinds, Size(keep=1500), seed, batching=Batching(most, 0.0))
    theory = bulk(rate, first_s, each_s, most)
    batches = 1.0 / seen.table["batch_size"][seen.ids()]
    return [
        mean(seen, "M/G[1,4]/1 mean stay [s]", theory.stay_s, seen.stay_s()),
        mean(seen, "M/G[1,4]/1 batches per request", 1.0 / theory.size, batches),
    ]


def _priorities(run: Run, seed: int) -> Sequence[Sample]:
    laws = (ServiceSpec("deterministic", 0.5), EXPONENTIAL, ServiceSpec("erlang", 1.0, 0.5))
    rates = (0.3, 0.2, 0.15)  # first class first
    kinds = tuple(
        Kind(rate, law, fields={"priority": 2 - k})
        for k, (rate, law) in enumerate(zip(rates, laws, strict=True))
    )
    classes = [Class(k.rate_per_s, k.service.mean_s, second_moment(k.service)) for k in kinds]
    seen = observe(run, kinds, Size(keep=1600, skip=300), seed, discipline="priority")
    theory = cobham(classes)
    return [wait(seen, f"M/G/1 priority {2 - k} wait [s]", theory[k], k) for k in range(3)]


def _priority_servers(run: Run, seed: int) -> Sequence[Sample]:
    rates = (0.5, 0.5)
    kinds = tuple(Kind(r, EXPONENTIAL, fields={"priority": 1 - k}) for k, r in enumerate(rates))
    seen = observe(run, kinds, Size(keep=1800, skip=300), seed, discipline="priority", servers=2)
    theory = cobham_servers(rates, 1.0, 2)
    return [wait(seen, f"M/M/2 priority {1 - k} wait [s]", theory[k], k) for k in range(2)]


PROOFS = (
    Proof("bulk", "queues", "M/G[1,4]/1 with size-dependent time", pooled(_bulk, 113), quick=True),
    Proof(
        "priority", "queues", "M/G/1 with three priorities (Cobham)", pooled(_priorities, 114, 8)
    ),
    Proof(
        "priority-servers", "queues", "M/M/2 with two priorities", pooled(_priority_servers, 115, 8)
    ),
    Proof("sharing", "queues", "M/H2/1-PS: insensitivity", pooled(_sharing, 110), quick=True),
    Proof(
        "sharing-servers",
        "queues",
        "M/M/3-PS, with and without a cap",
        pooled(_sharing_servers, 111),
    ),
)
