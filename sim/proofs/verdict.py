"""Verdicts of proofs: a confidence interval with a stated power, never a tolerance by hand.

A stationary check has R independent replications (mostly nodes that serve streams of their own in
one run). Its interval holds the true mean with probability 1 - ALPHA, so that of forty true checks
one fails in 250 runs; its power is the probability that the same test would reject a simulator that
is wrong by BIAS. A check passes when theory lies in the interval, the power is enough, and the very
same numbers refute a theory that is BIAS too high or too low.

Control variates are realised means of the drawn input (gaps, service times) whose expectations are
declared: they explain most of the noise. With given coefficients the estimate keeps its mean; those
fitted here add a bias of order 1/R, far below the interval (counted in tests/theory).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf, isnan, nan, sqrt
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from sim.proofs.student import quantile, rejection

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from sim.arrays import FloatArray

ALPHA, BIAS, POWER = 1e-4, 0.02, 0.9
EXACT = 1e-9  # what rounding in another order of sums may cost

Verdict: TypeAlias = Literal["pass", "FAIL", "no power", "skipped"]


@dataclass(frozen=True, slots=True)
class Result:
    """One check: what theory says, what was measured, and what follows.

    `low` and `high` bound the true value; `power` is NaN where nothing is random; `caught` tells
    whether the same numbers refute a theory that is 2 % off on either side.
    """

    check: str
    expected: float
    measured: float
    low: float
    high: float
    verdict: Verdict
    power: float = nan
    caught: bool | None = None
    note: str = ""
    proof: str = ""
    group: str = ""
    seconds: float = nan

    @property
    def bad(self) -> bool:
        """Return whether this row must fail the whole: wrong, or unable to tell."""
        return self.verdict in {"FAIL", "no power"}


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its standard error and degrees of freedom."""

    mean: float
    error: float
    df: int

    @property
    def half(self) -> float:
        """Return half the width of the interval at level 1 - ALPHA."""
        return quantile(ALPHA, self.df) * self.error

    def power(self, bias: float) -> float:
        """Return the probability that the test rejects when the truth is off by `bias`."""
        if self.error == 0.0:
            return 1.0
        return rejection(quantile(ALPHA, self.df), self.df, bias / self.error)

    def refutes(self, value: float) -> bool:
        """Return whether a value lies outside the interval."""
        return abs(self.mean - value) > self.half


def estimate(values: FloatArray, controls: FloatArray | None = None) -> Estimate:
    """Estimate a mean from independent replications.

    Args:
        values: One number per replication, (R,).
        controls: Realised minus declared means of inputs, (R, C); None: no control variates.

    Source: Lavenberg and Welch 1981, Management Science 27(3): the intercept of the regression on
    centred controls, t with R - C - 1 degrees of freedom. Deviation: none.
    """
    count = len(values)
    ones = np.ones((count, 1))
    design = ones if controls is None else np.hstack((ones, controls / _scale(controls)))
    solution, *_ = np.linalg.lstsq(design, values, rcond=None)
    rest = values - design @ solution
    df = count - design.shape[1]
    inverse = np.linalg.pinv(design.T @ design)
    error = sqrt(float(rest @ rest) / df * float(inverse[0, 0]))
    return Estimate(float(solution[0]), error, df)


def _scale(controls: FloatArray) -> FloatArray:
    """Return deviations by which columns are divided, for the condition of the regression."""
    deviation: FloatArray = controls.std(axis=0)
    return np.where(deviation > 0.0, deviation, 1.0)


def judge(
    check: str,
    expected: float,
    values: FloatArray,
    controls: FloatArray | None = None,
    note: str = "",
) -> Result:
    """Hold replications against theory.

    Args:
        check: What is compared.
        expected: The number that theory gives.
        values: One number per replication, (R,).
        controls: Centred control variates, (R, C).
        note: What else the reader should know.
    """
    found = estimate(values, controls)
    return weigh(check, expected, found, note)


def weigh(check: str, expected: float, found: Estimate, note: str = "") -> Result:
    """Hold an estimate against theory."""
    margin = BIAS * abs(expected)
    power = found.power(margin)
    caught = found.refutes(expected + margin) and found.refutes(expected - margin)
    return Result(
        check=check,
        expected=expected,
        measured=found.mean,
        low=found.mean - found.half,
        high=found.mean + found.half,
        verdict=_verdict(found.refutes(expected), power, caught),
        power=power,
        caught=caught,
        note=note,
    )


def _verdict(refuted: bool, power: float, caught: bool) -> Verdict:
    if refuted or isnan(power):
        return "FAIL"
    return "pass" if power >= POWER and caught else "no power"


def compare(check: str, ours: Estimate, theirs: Estimate, note: str = "") -> Result:
    """Hold an estimate against another simulator's: the difference must have zero in its interval.

    Source: Welch's two-sample interval, with the smaller of the two degrees of freedom.
    Deviation: fewer degrees of freedom than Welch-Satterthwaite, so the interval is wider.
    """
    error = sqrt(ours.error**2 + theirs.error**2)
    both = Estimate(ours.mean, error, min(ours.df, theirs.df))
    return weigh(check, theirs.mean, both, note)


def refuted(check: str, wrong: float, found: Estimate) -> Result:
    """Judge a theory that must not hold: a negative control.

    Args:
        check: What is wrong.
        wrong: The number that the wrong theory gives.
        found: The estimate that must refute it.
    """
    return Result(
        check=f"refuted: {check}",
        expected=wrong,
        measured=found.mean,
        low=found.mean - found.half,
        high=found.mean + found.half,
        verdict="pass" if found.refutes(wrong) else "FAIL",
        note="a wrong theory, which the interval must not hold",
    )


def exact(check: str, difference: float, cases: int, what: str, limit: float = EXACT) -> Result:
    """Judge the largest difference between two computations of the same numbers.

    Args:
        check: What is compared.
        difference: The largest absolute difference found; NaN counts as a failure.
        cases: How many numbers were compared; zero proves nothing and fails.
        what: What the cases are ("requests").
        limit: Largest difference that passes.
    """
    good = cases > 0 and difference <= limit
    return Result(
        check=check,
        expected=0.0,
        measured=difference,
        low=-limit,
        high=limit,
        verdict="pass" if good else "FAIL",
        note=f"{count(cases)} {what}",
    )


def apart(ours: ArrayLike, theirs: ArrayLike) -> float:
    """Return the largest difference of two lists of numbers, in which NaN means "never happened".

    Infinite where lengths differ, or only one of them has a number: it is never NaN itself, which a
    maximum over many would swallow.
    """
    mine, other = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if mine.shape != other.shape or not np.array_equal(np.isnan(mine), np.isnan(other)):
        return inf
    differ = (mine != other) & ~np.isnan(mine)
    return float(np.abs(mine[differ] - other[differ]).max(initial=0.0))


def count(number: int) -> str:
    """Write a count with thin groups: 1 024 000."""
    return f"{number:,}".replace(",", " ")


def skipped(check: str, why: str) -> Result:
    """Return the row of a check that cannot run here."""
    return Result(check, nan, nan, -inf, inf, "skipped", note=f"skipped: {why}")


def failed(check: str, why: str) -> Result:
    """Return the row of a check that broke before it had a number."""
    return Result(check, nan, nan, nan, nan, "FAIL", note=why)


def stamp(result: Result, proof: str, group: str, seconds: float) -> Result:
    """Return the row with what the runner knows: whose it is, and its share of the time."""
    return replace(result, proof=proof, group=group, seconds=seconds)
