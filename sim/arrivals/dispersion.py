"""How bursty arrivals are: the index of dispersion of counts, in closed form."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from sim.arrivals import hawkes, mmpp
from sim.errors import InputError

if TYPE_CHECKING:
    from sim.config import ArrivalSpec


def index_of_dispersion(spec: ArrivalSpec, window_s: float = math.inf) -> float:
    """Return variance over mean of the counts in a window: 1 when Poisson, more when bursty.

    Args:
        spec: Stationary arrivals: `poisson`, `mmpp` or `hawkes`.
        window_s: Length of the window, > 0; infinite: the limit.

    Raises:
        InputError: Another kind of arrivals, or parameters that make no sense.

    Source: Fischer and Meier-Hellstern 1993 for the MMPP, written with the deviation matrix of the
    chain; Hawkes 1971 for the covariance of counts of a Hawkes process. Deviation: none.
    """
    if spec.kind == "mmpp":
        return _mmpp(spec, window_s)
    if spec.kind == "hawkes":
        return _hawkes(spec, window_s)
    if spec.kind == "poisson":
        return 1.0
    raise InputError(f"arrivals.kind: {spec.kind} has no stationary counts")


def _mmpp(spec: ArrivalSpec, window_s: float) -> float:
    from scipy.linalg import expm

    mean_per_s = mmpp.mean_per_s(spec)
    shares, rates = mmpp.stationary(spec), np.array(spec.rates_per_s)
    generator, limit = mmpp.generator(spec), np.outer(np.ones(len(shares)), shares)
    scale_per_s = -float(generator.diagonal().mean())  # any > 0 gives the same; this one, precisely
    deviation = np.linalg.inv(scale_per_s * limit - generator) - limit / scale_per_s
    if window_s == math.inf:
        start = np.zeros_like(deviation)
    else:
        gone = np.eye(len(shares)) - expm(generator * window_s)
        start = deviation @ deviation @ gone / window_s
    return 1.0 + 2.0 * float(shares * rates @ (deviation - start) @ rates) / mean_per_s


def _hawkes(spec: ArrivalSpec, window_s: float) -> float:
    hawkes.check(spec)
    limit = 1.0 / (1.0 - spec.branching) ** 2
    if window_s == math.inf:
        return limit
    turns = window_s * (1.0 - spec.branching) / spec.decay_s
    return limit + (1.0 - limit) * -math.expm1(-turns) / turns
