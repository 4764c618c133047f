"""Service laws: declared moments, and the whole law against scipy's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sim.arrivals.service import (
    draw_service,
    erlang_parameters,
    hyperexponential_parameters,
    moments,
)
from sim.config import ServiceSpec
from sim.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sim.arrays import FloatArray

N = 20_000  # at 0.1 % Kolmogorov-Smirnov detects a law that is off by 0.014 somewhere


def draw(spec: ServiceSpec, n: int = N, seed: int = 3) -> FloatArray:
    return draw_service(spec, n, np.random.default_rng(seed), np.random.default_rng(seed + 1))


def erlang_law(spec: ServiceSpec) -> Callable[[FloatArray], FloatArray]:
    k, p = erlang_parameters(spec.cv)
    scale = spec.mean_s / (k - p)
    few = stats.gamma(max(k - 1, 1), scale=scale)
    many = stats.gamma(k, scale=scale)
    return lambda t: p * few.cdf(t) + (1 - p) * many.cdf(t)


def hyper_law(spec: ServiceSpec) -> Callable[[FloatArray], FloatArray]:
    p = hyperexponential_parameters(spec.cv)
    fast = stats.expon(scale=spec.mean_s / (2 * p))
    slow = stats.expon(scale=spec.mean_s / (2 * (1 - p)))
    return lambda t: p * fast.cdf(t) + (1 - p) * slow.cdf(t)


def lognormal_law(spec: ServiceSpec) -> Callable[[FloatArray], FloatArray]:
    variance = np.log(1 + spec.cv**2)
    return stats.lognorm(np.sqrt(variance), scale=spec.mean_s * np.exp(-variance / 2)).cdf


CASES = [
    (ServiceSpec("exponential", 0.5), stats.expon(scale=0.5).cdf),
    (ServiceSpec("lognormal", 0.02, 0.4), lognormal_law(ServiceSpec("lognormal", 0.02, 0.4))),
    (ServiceSpec("lognormal", 0.02, 2.0), lognormal_law(ServiceSpec("lognormal", 0.02, 2.0))),
    (ServiceSpec("erlang", 0.1, 0.5), stats.gamma(4, scale=0.1 / 4).cdf),
    (ServiceSpec("erlang", 0.1, 0.6), erlang_law(ServiceSpec("erlang", 0.1, 0.6))),
    (ServiceSpec("erlang", 0.1, 1.0), stats.expon(scale=0.1).cdf),
    (
        ServiceSpec("hyperexponential", 1.0, 2.0),
        hyper_law(ServiceSpec("hyperexponential", 1.0, 2.0)),
    ),
    (ServiceSpec("hyperexponential", 1.0, 1.0), stats.expon(scale=1.0).cdf),
]


@pytest.mark.parametrize(("spec", "law"), CASES, ids=lambda c: getattr(c, "kind", "law"))
def test_law_matches_scipy(spec: ServiceSpec, law: Callable[[FloatArray], FloatArray]) -> None:
    assert stats.kstest(draw(spec), law).pvalue > 1e-3


@pytest.mark.parametrize(("spec", "law"), CASES, ids=lambda c: getattr(c, "kind", "law"))
def test_law_is_told_from_one_that_is_six_percent_longer(
    spec: ServiceSpec, law: Callable[[FloatArray], FloatArray]
) -> None:
    """Negative control: the check has teeth."""
    assert stats.kstest(1.06 * draw(spec, 60_000), law).pvalue < 1e-3


@pytest.mark.parametrize("spec", [spec for spec, _ in CASES], ids=lambda spec: spec.kind)
def test_moments_are_the_declared_ones(spec: ServiceSpec) -> None:
    mean_s, cv = moments(spec)
    drawn = draw(spec, 200_000)
    assert abs(drawn.mean() - mean_s) < 4.5 * mean_s * cv / np.sqrt(len(drawn))
    assert drawn.std() / drawn.mean() == pytest.approx(cv, rel=0.05)


@given(cv=st.floats(0.05, 1.0))
def test_erlang_fit_has_exactly_the_declared_moments(cv: float) -> None:
    k, p = erlang_parameters(cv)
    mean = p * (k - 1) + (1 - p) * k
    second = p * (k - 1) * k + (1 - p) * k * (k + 1)
    assert 0.0 <= p < 1.0
    assert (second - mean**2) / mean**2 == pytest.approx(cv**2, rel=1e-6)


@given(cv=st.floats(1.0, 50.0))
def test_hyperexponential_fit_has_exactly_the_declared_moments(cv: float) -> None:
    p = hyperexponential_parameters(cv)
    second = 2 * p / (2 * p) ** 2 + 2 * (1 - p) / (2 * (1 - p)) ** 2
    assert second - 1.0 == pytest.approx(cv**2, rel=1e-6)


def test_deterministic_is_constant() -> None:
    spec = ServiceSpec("deterministic", 0.25)
    assert set(draw(spec, 10).tolist()) == {0.25}
    assert moments(spec) == (0.25, 0.0)


@pytest.mark.parametrize("spec", [spec for spec, _ in CASES], ids=lambda spec: spec.kind)
def test_more_requests_repeat_the_first_ones(spec: ServiceSpec) -> None:
    assert np.array_equal(draw(spec, 50), draw(spec, 500)[:50])


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (ServiceSpec("exponential", 0.0), "mean_s: expected > 0, found 0"),
        (ServiceSpec("erlang", 1.0, 1.5), "erlang expects 0.01 <= cv <= 1, found 1.5"),
        (ServiceSpec("hyperexponential", 1.0, 0.5), "hyperexponential expects 1 <= cv"),
        (ServiceSpec("lognormal", 1.0, -1.0), "lognormal expects 0 <= cv"),
    ],
)
def test_impossible_laws_are_refused(spec: ServiceSpec, words: str) -> None:
    with pytest.raises(InputError, match=words):
        draw(spec, 1)
