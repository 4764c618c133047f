"""Service times of `model: none`, drawn at emission; each law has its declared mean and cv."""

from __future__ import annotations

from math import ceil, log, sqrt
from typing import TYPE_CHECKING

import numpy as np

from sim.errors import InputError

if TYPE_CHECKING:
    from sim.arrays import FloatArray
    from sim.config import ServiceSpec


MIXTURES = ("erlang", "hyperexponential")  # laws that choose a branch first


def moments(spec: ServiceSpec) -> tuple[float, float]:
    """Return the mean and the coefficient of variation that a service law really has."""
    fixed = {"exponential": 1.0, "deterministic": 0.0}
    return spec.mean_s, fixed.get(spec.kind, spec.cv)


def draw_service(
    spec: ServiceSpec, n: int, rng: np.random.Generator, branches: np.random.Generator
) -> FloatArray:
    """Draw n service times in s, (n,).

    Args:
        spec: Law, mean and cv; `exponential` and `deterministic` know no cv and ignore it.
        n: How many.
        rng: Generator of the times.
        branches: Generator of the choice that mixtures make (see `MIXTURES`).

    Raises:
        InputError: The mean is not positive, or the law cannot have that cv.

    Source: two-moment fits of Tijms 2003, A First Course in Stochastic Models, app. B: mixture of
    Erlang(k-1) and Erlang(k) for cv < 1, hyperexponential with balanced means for cv > 1; the
    lognormal by its moments. Deviation: none.
    """
    check_service(spec)
    found = np.empty(n)
    fill_service(spec, found, rng, branches)
    return found


def fill_service(
    spec: ServiceSpec,
    out: FloatArray,
    rng: np.random.Generator,
    branches: np.random.Generator | None,
) -> None:
    """Draw the next service times of a checked law into an array; see `draw_service`."""
    n = len(out)
    if spec.kind == "deterministic":
        out[:] = spec.mean_s
    elif spec.kind == "exponential":
        rng.standard_exponential(out=out)
        out *= spec.mean_s
    elif spec.kind == "lognormal":
        variance = log(1.0 + spec.cv**2)
        out[:] = spec.mean_s * np.exp(sqrt(variance) * rng.standard_normal(n) - variance / 2.0)
    else:
        assert branches is not None
        draw = _erlang if spec.kind == "erlang" else _hyperexponential
        out[:] = draw(spec, rng, branches.random(n))


def check_service(spec: ServiceSpec) -> None:
    """Refuse a service law that is none.

    Raises:
        InputError: The mean is not positive, or the law cannot have that cv.
    """
    if not 0.0 < spec.mean_s < np.inf:
        raise InputError(f"service.mean_s: expected > 0, found {spec.mean_s}")
    low, high = {
        "erlang": (0.01, 1.0),
        "hyperexponential": (1.0, 1e3),
        "lognormal": (0.0, 1e3),
    }.get(spec.kind, (-np.inf, np.inf))
    if not low <= spec.cv <= high:
        raise InputError(
            f"service.cv: {spec.kind} expects {low:g} <= cv <= {high:g}, found {spec.cv}"
        )


def erlang_parameters(cv: float) -> tuple[int, float]:
    """Return k and the probability p of k - 1 phases instead of k."""
    square = cv**2
    k = max(1, ceil(1.0 / square - 1e-9))
    root = k * (1.0 + square) - k * k * square
    # both maxima only catch rounding: at cv = 1/sqrt(k) root and p are zero
    return k, max(0.0, (k * square - sqrt(max(root, 0.0))) / (1.0 + square))


def hyperexponential_parameters(cv: float) -> float:
    """Return the probability p of the faster phase; phase means are mean / 2p and mean / 2(1-p)."""
    return (1.0 + sqrt((cv**2 - 1.0) / (cv**2 + 1.0))) / 2.0


def _erlang(spec: ServiceSpec, rng: np.random.Generator, choice: FloatArray) -> FloatArray:
    k, p = erlang_parameters(spec.cv)
    phases = np.where(choice < p, k - 1, k)
    return spec.mean_s / (k - p) * rng.standard_gamma(phases)


def _hyperexponential(
    spec: ServiceSpec, rng: np.random.Generator, choice: FloatArray
) -> FloatArray:
    p = hyperexponential_parameters(spec.cv)
    mean_s = np.where(choice < p, spec.mean_s / (2.0 * p), spec.mean_s / (2.0 * (1.0 - p)))
    return mean_s * rng.standard_exponential(len(choice))
