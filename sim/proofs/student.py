"""Student's t, central and shifted, by quadrature: how often a test rejects.

A t variable is (Z + shift) / U with Z standard normal and U = sqrt(chi2 / df), so the probability
of |t| > c is an integral over the density of U of a normal probability that is known exactly. One
function thus gives both the size of a test (shift 0) and its power.
"""

from __future__ import annotations

from functools import cache, lru_cache
from math import erfc, exp, lgamma, log, sqrt
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sim.arrays import FloatArray

_NODES = 400
_SPREAD = 12.0  # standard deviations of U that the integral covers
_STEPS = 60  # halvings of a bracket


def rejection(critical: float, df: int, shift: float = 0.0) -> float:
    """Return the probability that |t| exceeds a critical value.

    Args:
        critical: Bound of |t|, >= 0.
        df: Degrees of freedom, >= 2.
        shift: Noncentrality: the true deviation in standard errors.

    Source: definition of the noncentral t distribution, Johnson, Kotz and Balakrishnan 1995, ch.
    31. Deviation: none (Gauss-Legendre, 400 nodes).
    """
    points, weights = _chi(df)
    beyond = [
        (erfc((critical * u - shift) / sqrt(2.0)) + erfc((critical * u + shift) / sqrt(2.0))) / 2.0
        for u in points
    ]
    return float(weights @ np.array(beyond))


@cache
def _chi(df: int) -> tuple[list[float], FloatArray]:
    """Return points of U and their probability weights, (400,) each."""
    low = max(0.0, 1.0 - _SPREAD / sqrt(2.0 * df))
    high = 1.0 + _SPREAD / sqrt(2.0 * df)
    x, w = np.polynomial.legendre.leggauss(_NODES)
    points = (low + high) / 2.0 + (high - low) / 2.0 * x
    constant = log(2.0) + df / 2.0 * log(df / 2.0) - lgamma(df / 2.0)
    density = [exp(constant + (df - 1.0) * log(u) - df * u * u / 2.0) for u in points]
    return points.tolist(), (high - low) / 2.0 * w * np.array(density)


@lru_cache(maxsize=1024)
def quantile(alpha: float, df: int) -> float:
    """Return the critical value that |t| exceeds with probability alpha.

    Source: bisection of `rejection`. Deviation: none.
    """
    low, high = 0.0, 2.0
    while rejection(high, df) > alpha:
        high *= 2.0
    for _ in range(_STEPS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if rejection(middle, df) > alpha else (low, middle)
    return (low + high) / 2.0
