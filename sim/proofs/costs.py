"""Rows of the cost law of gated plans: a batch costs as the distinct experts that it touches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.proofs.cost import Law, line, uniform_cost, uniform_distinct
from sim.proofs.proof import Proof
from sim.proofs.student import quantile
from sim.proofs.verdict import ALPHA, Estimate, Result, exact, refuted, weigh

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.proofs.proof import Lab

_SHAPES, _SIZES = ((8, 2), (60, 4)), (1, 4, 32)
_KNOWN = 10**5  # degrees of freedom that stand for a known deviation


def _found(law: Law) -> Estimate:
    return Estimate(law.measured, (law.high - law.low) / 2.0 / quantile(ALPHA, _KNOWN), _KNOWN)


def _row(law: Law) -> Result:
    if law.high == law.low:  # one token: nothing is random
        return exact(law.name, abs(law.measured - law.expected), 1, "value")
    return weigh(law.name, law.expected, _found(law), "deviation known")


def _distinct(_: Lab) -> Sequence[Result]:
    cases = [(experts, k, n) for experts, k in _SHAPES for n in _SIZES]
    rows = [_row(law(*case)) for law in (uniform_distinct, uniform_cost) for case in cases]
    many = uniform_distinct(8, 2, 32)
    return [*rows, refuted("a count linear in n, E=8 k=2 n=32", line(8, 2, 32), _found(many))]


PROOFS = (
    Proof("distinct", "cost", "E (1 - (1 - k/E)^n) experts and their time", _distinct, quick=True),
)
