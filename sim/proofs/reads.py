"""Storage against a slow walk in exact arithmetic: reads in turn, slowed by faults."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from sim.compute.hardware import HARDWARE
from sim.compute.storage import Storage
from sim.pace import Pace
from sim.proofs.proof import Proof
from sim.proofs.verdict import Result, apart, exact
from sim.rng import Streams

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from sim.config import Hardware
    from sim.pace import Slowdown
    from sim.proofs.proof import Lab

_SCRIPTS = 300


def read_twin(
    box: Hardware, slowdowns: Sequence[Slowdown], reads: Sequence[tuple[float, float]]
) -> list[float]:
    """Return when reads end, walking from one change of the bandwidth to the next.

    Args:
        box: Delay and bandwidth of its storage.
        slowdowns: From when until when the bandwidth is divided, and by what.
        reads: When each is asked for, and its bytes, in order of asking.

    Source: one server, first come first served, whose speed changes while it works. Deviation:
    none.
    """
    changes = sorted(
        {Fraction(t_s) for from_s, until_s, _ in slowdowns for t_s in (from_s, until_s)}
    )
    ends, free = [], Fraction(0)
    for asked_s, size_bytes in reads:
        now = max(Fraction(asked_s), free) + Fraction(box.storage_delay_s)
        left = Fraction(size_bytes)
        while left:
            speed = Fraction(box.storage_bytes_per_s)
            for from_s, until_s, factor in slowdowns:
                if from_s <= now < until_s:
                    speed /= Fraction(factor)
            until = min([change for change in changes if change > now], default=now + left / speed)
            until = min(until, now + left / speed)
            left, now = left - speed * (until - now), until
        free = now
        ends.append(float(free))
    return ends


def _script(rng: np.random.Generator) -> tuple[list[Slowdown], list[tuple[float, float]]]:
    """Draw up to four slowdowns, which may overlap, and up to twenty reads, some of them empty."""
    begins = rng.uniform(0.0, 8.0, int(rng.integers(0, 5))).tolist()
    slowdowns = [
        (from_s, from_s + float(rng.uniform(0.1, 4.0)), float(rng.uniform(1.0, 8.0)))
        for from_s in begins
    ]
    asked = sorted(rng.uniform(0.0, 10.0, int(rng.integers(1, 21))).tolist())
    return slowdowns, [
        (at_s, 0.0 if rng.random() < 0.1 else float(rng.uniform(1e6, 1e9))) for at_s in asked
    ]


def _reads(_: Lab) -> Sequence[Result]:
    box = replace(HARDWARE["jetson-orin-nano"], storage_delay_s=0.01)
    worst, reads, streams = 0.0, 0, Streams(1)
    for number in range(_SCRIPTS):
        slowdowns, asked = _script(streams.stream("proofs", "reads", number))
        storage = Storage(box, Pace(slowdowns))
        ends_s = [storage.book(size_bytes, at_s) for at_s, size_bytes in asked]
        worst = max(worst, apart(ends_s, read_twin(box, slowdowns, asked)))
        reads += len(asked)
    return [exact("storage: ends of reads [s]", worst, reads, f"reads in {_SCRIPTS} scripts")]


PROOFS = (
    Proof("storage-twin", "twins", "reads in turn, slowed by faults, exact", _reads, quick=True),
)
