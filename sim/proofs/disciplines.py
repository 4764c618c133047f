"""Batches, priorities and sharing against queueing theory; service takes 1 s on average."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.config import Batching, ServiceSpec
from sim.proofs.farms import EXPONENTIAL, Kind, Size, mean, observe, wait
from sim.proofs.forms_bulk import bulk
from sim.proofs.forms_general import Class, cobham, cobham_servers, ps_stay, second_moment
from sim.proofs.forms_markov import sharing_stay
from sim.proofs.proof import Proof

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.proofs.proof import Lab
    from sim.proofs.verdict import Result


def _sharing(lab: Lab) -> Sequence[Result]:
    skewed = ServiceSpec("hyperexponential", 1.0, 2.0)
    seen = observe(lab.run, (Kind(0.5, skewed),), Size(keep=2000), 110, discipline="sharing")
    stays, theory = seen.stay_s(), ps_stay(0.5, 1.0)
    slowdown = stays / seen.column("service_s")
    return [
        mean(seen, "M/H2/1-PS mean stay [s]", theory, stays),
        mean(seen, "M/H2/1-PS mean slowdown", theory, slowdown),
    ]


def _sharing_servers(lab: Lab) -> Sequence[Result]:
    station = {"servers": 3, "discipline": "sharing"}
    full = observe(lab.run, (Kind(2.0, EXPONENTIAL),), Size(keep=2000), 111, **station)
    half = observe(
        lab.run, (Kind(2.0, EXPONENTIAL),), Size(keep=2000), 112, **station, job_share=0.6
    )
    return [
        mean(full, "M/M/3-PS mean stay [s]", sharing_stay(2.0, 1.0, 3), full.stay_s()),
        mean(half, "same, shares <= 0.6 [s]", sharing_stay(2.0, 1.0, 3, 0.6), half.stay_s()),
    ]


def _bulk(lab: Lab) -> Sequence[Result]:
    rate, first_s, each_s, most = 2.0, 0.8, 0.2, 4
    kinds = (Kind(rate, ServiceSpec("deterministic", first_s, each_s=each_s)),)
    seen = observe(lab.run, kinds, Size(keep=1500), 113, batching=Batching(most, 0.0))
    theory = bulk(rate, first_s, each_s, most)
    batches = 1.0 / seen.table["batch_size"][seen.ids()]
    return [
        mean(seen, "M/G[1,4]/1 mean stay [s]", theory.stay_s, seen.stay_s()),
        mean(seen, "M/G[1,4]/1 batches per request", 1.0 / theory.size, batches),
    ]


def _priorities(lab: Lab) -> Sequence[Result]:
    laws = (ServiceSpec("deterministic", 0.5), EXPONENTIAL, ServiceSpec("erlang", 1.0, 0.5))
    rates = (0.3, 0.2, 0.15)  # first class first
    kinds = tuple(
        Kind(rate, law, fields={"priority": 2 - k})
        for k, (rate, law) in enumerate(zip(rates, laws, strict=True))
    )
    classes = [Class(k.rate_per_s, k.service.mean_s, second_moment(k.service)) for k in kinds]
    seen = observe(lab.run, kinds, Size(keep=12000, skip=600), 114, discipline="priority")
    theory = cobham(classes)
    return [wait(seen, f"M/G/1 priority {2 - k} wait [s]", theory[k], k) for k in range(3)]


def _priority_servers(lab: Lab) -> Sequence[Result]:
    rates = (0.5, 0.5)
    kinds = tuple(Kind(r, EXPONENTIAL, fields={"priority": 1 - k}) for k, r in enumerate(rates))
    seen = observe(
        lab.run, kinds, Size(keep=14000, skip=400), 115, discipline="priority", servers=2
    )
    theory = cobham_servers(rates, 1.0, 2)
    return [wait(seen, f"M/M/2 priority {1 - k} wait [s]", theory[k], k) for k in range(2)]


PROOFS = (
    Proof("bulk", "queues", "M/G[1,4]/1 with size-dependent time", _bulk, quick=True),
    Proof("priority", "queues", "M/G/1 with three priorities (Cobham)", _priorities),
    Proof("priority-servers", "queues", "M/M/2 with two priorities", _priority_servers),
    Proof("sharing", "queues", "M/H2/1-PS: insensitivity", _sharing, quick=True),
    Proof("sharing-servers", "queues", "M/M/3-PS, with and without a cap", _sharing_servers),
)
