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
    check_sizes(law, mean_bytes, cv)
    found = np.empty(n)
    fill_sizes(law, mean_bytes, cv, found, rng)
    return found


def check_sizes(law: SizeLaw, mean_bytes: float, cv: float) -> None:
    """Refuse a law of sizes that is none.

    Raises:
        InputError: The mean is negative or not finite, or the lognormal cannot have that cv.
    """
    if not 0.0 <= mean_bytes < math.inf:
        raise InputError(f"size: expected a mean >= 0 bytes, found {mean_bytes}")
    if law == "lognormal" and not 0.0 <= cv <= _LARGEST_CV:
        raise InputError(f"size_cv: lognormal expects 0 <= cv <= {_LARGEST_CV:g}, found {cv}")


def fill_sizes(
    law: SizeLaw, mean_bytes: float, cv: float, out: FloatArray, rng: np.random.Generator
) -> None:
    """Draw the next sizes of a checked law into an array; see `draw_sizes`."""
    if law == "fixed":
        out[:] = mean_bytes
    elif law == "exponential":
        rng.standard_exponential(out=out)
        out *= mean_bytes
    else:
        variance = math.log1p(cv**2)
        noise = math.sqrt(variance) * rng.standard_normal(len(out)) - variance / 2.0
        out[:] = mean_bytes * np.exp(noise)
