"""Arrivals against their declared mean rates, and one by one against slow twins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim.arrivals.emission import emit
from sim.config import ArrivalSpec
from sim.proofs.forms_modulated import generator, mean_rate
from sim.proofs.proof import Proof
from sim.proofs.twins import arrivals as twins
from sim.proofs.verdict import Result, apart, count, exact, judge
from sim.rng import Streams

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sim.proofs.proof import Lab

_TURNS = ((0.0, 0.25, 0.75), (1.0, 0.0, 0.0), (0.5, 0.5, 0.0))
_MMPP = ArrivalSpec(
    "mmpp", rates_per_s=(0.0, 20.0, 5.0), stays_s=(0.5, 0.2, 1.0), jumps=_TURNS
)  # fmt: skip
_DIURNAL = ArrivalSpec("diurnal", 8.0, amplitude=0.9, period_s=20.0, peak_s=3.0)
_HAWKES = ArrivalSpec("hawkes", 6.0, branching=0.6, decay_s=0.5)
_STREAMS = 256


def _same(spec: ArrivalSpec, duration_s: float, runs: int) -> Result:
    """Compare emission times with the twin's, which draws the same numbers."""
    twin: Callable[[ArrivalSpec, float, np.random.Generator], list[float]]
    twin = {"mmpp": twins.mmpp, "diurnal": twins.diurnal, "hawkes": twins.hawkes}[spec.kind]
    worst, emissions = 0.0, 0
    for run in range(runs):
        name = ("proofs", "arrivals", spec.kind, run)
        fast = emit(spec, duration_s, Streams(1).stream(*name))[0]
        slow = np.array(twin(spec, duration_s, Streams(1).stream(*name)))
        worst, emissions = max(worst, apart(fast, slow)), emissions + len(fast)
    return exact(f"{spec.kind}: emission times [s]", worst, emissions, f"emissions, {runs} streams")


def _twins(_: Lab) -> Sequence[Result]:
    return [_same(_MMPP, 40.0, 30), _same(_DIURNAL, 40.0, 30), _same(_HAWKES, 8.0, 20)]


def _rate(spec: ArrivalSpec, mean_per_s: float, duration_s: float) -> Result:
    """Judge how many emissions independent streams make; the start is stationary."""
    streams = Streams(2)
    counts = np.array(
        [
            len(emit(spec, duration_s, streams.stream("proofs", "rate", spec.kind, number))[0])
            for number in range(_STREAMS)
        ]
    )
    note = f"{count(int(counts.sum()))} emissions in {_STREAMS} streams"
    return judge(f"{spec.kind}: emissions per second", mean_per_s, counts / duration_s, note=note)


def _rates(_: Lab) -> Sequence[Result]:
    bursty = mean_rate(_MMPP.rates_per_s, generator(_MMPP.stays_s, _MMPP.jumps))
    return [
        _rate(ArrivalSpec("poisson", 8.0), 8.0, 100.0),
        _rate(_MMPP, bursty, 1000.0),
        _rate(_DIURNAL, 8.0, 100.0),  # whole periods
        _rate(_HAWKES, 6.0, 500.0),
    ]


PROOFS = (
    Proof("arrivals", "arrivals", "declared mean rates", _rates, quick=True),
    Proof("arrivals-twin", "twins", "bursty and daily arrivals one by one", _twins, quick=True),
)
