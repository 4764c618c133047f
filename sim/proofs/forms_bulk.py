"""M/G^[1,B]/1: a server that takes all that wait, up to B, for a time that depends on how many."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, lgamma, log
from typing import TYPE_CHECKING

import numpy as np

from sim.errors import InputError
from sim.proofs.forms_markov import balance

if TYPE_CHECKING:
    from sim.arrays import FloatArray

_TAIL = 1e-15
_MOST = 4096


@dataclass(frozen=True, slots=True)
class Bulk:
    """Mean stay of a request in s, and mean size of a batch."""

    stay_s: float
    size: float


def bulk(rate_per_s: float, first_s: float, each_s: float, most: int) -> Bulk:
    """Solve the bulk queue with deterministic batches of n that last first_s + (n - 1) each_s.

    Args:
        rate_per_s: Poisson arrivals.
        first_s: Time of a batch of one.
        each_s: Time that every further request adds.
        most: Largest batch B.

    Raises:
        InputError: Full batches are too slow for the arrivals.

    Source: Bailey 1954, JRSS B 16(1) (embedded chain at departures); Inoue 2021, Performance
    Evaluation 152 (size-dependent service). The chain of the number left behind is cut where its
    probability is below 1e-15 and solved exactly; the mean number in the system follows from
    renewal reward over service cycles, the stay by Little. Deviation: none.
    """
    durations = [first_s + (n - 1) * each_s for n in range(1, most + 1)]
    if rate_per_s * durations[-1] >= most:
        raise InputError(
            f"rate_per_s: expected below {most / durations[-1]:g} (full batches), "
            f"found {rate_per_s}"
        )
    top = 4 * most
    while True:
        left = _left_behind(rate_per_s, durations, top)
        if left[-most:].sum() < _TAIL or top >= _MOST:
            return _rewards(rate_per_s, durations, left)
        top *= 2


def _left_behind(rate_per_s: float, durations: list[float], top: int) -> FloatArray:
    """Return the stationary law of the number that a departing batch leaves, (top + 1,)."""
    most = len(durations)
    step = np.zeros((top + 1, top + 1))
    for number in range(top + 1):
        size = min(max(number, 1), most)
        rest = max(number - size, 0)
        came = _poisson(rate_per_s * durations[size - 1], top - rest)
        step[number, rest:] = came
        step[number, top] += 1.0 - came.sum()
    return balance(step - np.eye(top + 1), np.ones(top + 1))


def _poisson(mean: float, top: int) -> FloatArray:
    """Return Poisson probabilities of 0..top."""
    return np.array([exp(k * log(mean) - mean - lgamma(k + 1)) for k in range(top + 1)])


def _rewards(rate_per_s: float, durations: list[float], left: FloatArray) -> Bulk:
    most = len(durations)
    area = length_s = served = 0.0
    for number, chance in enumerate(left):
        size = min(max(number, 1), most)
        inside = max(number, 1)  # an empty station waits for its next request alone
        busy_s = durations[size - 1]
        area += chance * (inside * busy_s + rate_per_s * busy_s**2 / 2.0)
        length_s += chance * (busy_s + (1.0 / rate_per_s if number == 0 else 0.0))
        served += chance * size
    return Bulk(float(area / length_s / rate_per_s), float(served))
