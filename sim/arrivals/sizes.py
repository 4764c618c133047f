"""Sizes of requests and answers: fixed, or drawn around their mean."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from sim.errors import InputError

if TYPE_CHECKING:
    from sim.arrays import FloatArray
    from sim.config import SizeLaw

_LARGEST_CV = 1e3


def draw_sizes(
    law: SizeLaw, mean_bytes: float, cv: float, n: int, rng: np.random.Generator
) -> FloatArray:
    """Draw n sizes in bytes, (n,); more of them repeat the first ones.

    Args:
        law: `fixed` (every size is the mean), `exponential`, or `lognormal`.
        mean_bytes: Mean size; 0 makes all of them 0.
        cv: Coefficient of variation, for the lognormal.
        n: How many.
        rng: Generator of these sizes and nothing else.

    Raises:
        InputError: The mean is negative or not finite, or the lognormal cannot have that cv.

    Source: lognormal by its moments (mean m, variance (cv m)^2). Deviation: sizes are real numbers,
    not whole bytes.
    """
    if not 0.0 <= mean_bytes < math.inf:
        raise InputError(f"size: expected a mean >= 0 bytes, found {mean_bytes}")
    if law == "fixed":
        return np.full(n, mean_bytes)
    if law == "exponential":
        return mean_bytes * rng.standard_exponential(n)
    if not 0.0 <= cv <= _LARGEST_CV:
        raise InputError(f"size_cv: lognormal expects 0 <= cv <= {_LARGEST_CV:g}, found {cv}")
    variance = math.log1p(cv**2)
    return mean_bytes * np.exp(math.sqrt(variance) * rng.standard_normal(n) - variance / 2.0)
