"""Emission times: exact laws, with the faults of other simulators as negative controls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sim.arrivals.emission import emit, expected
from sim.config import ArrivalSpec
from sim.errors import InputError

if TYPE_CHECKING:
    from sim.arrays import FloatArray

# Kolmogorov-Smirnov with 20 000 gaps at 0.1 %: detects any law whose distribution function is off
# by more than 0.014 somewhere; the generators are fixed, so a green test stays green.
ALPHA = 1e-3


def poisson(rate: float) -> ArrivalSpec:
    return ArrivalSpec("poisson", rate)


def draw(spec: ArrivalSpec, duration_s: float, seed: int = 1) -> FloatArray:
    return emit(spec, duration_s, np.random.default_rng(seed))[0]


def is_exponential(gaps: FloatArray, mean_s: float) -> bool:
    return bool(stats.kstest(gaps, "expon", args=(0, mean_s)).pvalue > ALPHA)


def test_poisson_gaps_are_exponential_and_independent() -> None:
    gaps = np.diff(draw(poisson(5.0), 4000.0))
    assert is_exponential(gaps, 0.2)
    assert abs(np.corrcoef(gaps[:-1], gaps[1:])[0, 1]) < 4.5 / np.sqrt(len(gaps))


def test_the_check_would_catch_clipped_and_truncated_exponentials() -> None:
    gaps = np.diff(draw(poisson(5.0), 4000.0))
    assert not is_exponential(np.minimum(gaps, 3 * 0.2), 0.2)
    assert not is_exponential(np.maximum(np.floor(gaps * 5), 1) / 5, 0.2)


def test_poisson_counts_have_equal_mean_and_variance() -> None:
    counts = np.array([len(draw(poisson(2.0), 25.0, seed)) for seed in range(800)])
    error = np.sqrt(50.0 / len(counts))
    assert abs(counts.mean() - 50.0) < 4.5 * error
    assert abs(counts.var(ddof=1) / 50.0 - 1.0) < 4.5 * np.sqrt(2 / len(counts))


def test_a_longer_run_repeats_the_shorter_one() -> None:
    short, long = draw(poisson(30.0), 20.0), draw(poisson(30.0), 200.0)
    assert np.array_equal(short, long[: len(short)])
    assert long[len(short)] >= 20.0


def test_a_higher_rate_squeezes_the_same_draws() -> None:
    slow, fast = draw(poisson(10.0), 40.0), draw(poisson(20.0), 20.0)
    assert slow == pytest.approx(2.0 * fast)


def slow_profile(spec: ArrivalSpec, duration_s: float, seed: int) -> list[float]:
    """Obvious twin: walk each unit exponential through the steps of rate, one by one."""
    rng = np.random.default_rng(seed)
    chunk, size, at = iter(()), 256, 0.0
    found: list[float] = []
    steps = [*spec.profile, (float("inf"), 0.0)]
    step, now_s = 0, steps[0][0]
    while True:
        left = next(chunk, None)
        if left is None:
            chunk, size = iter(rng.standard_exponential(size).tolist()), min(2 * size, 65536)
            continue
        while step < len(spec.profile):
            _, rate = steps[step]
            room = rate * (steps[step + 1][0] - now_s) if rate else 0.0
            if left < room:
                now_s += left / rate
                break
            left -= room
            step += 1
            now_s = steps[step][0]
        at = now_s
        if step == len(spec.profile) or at >= duration_s:
            return found
        found.append(at)


profiles = st.lists(
    st.tuples(st.integers(1, 8), st.sampled_from([0.0, 0.5, 3.0, 40.0])), min_size=1, max_size=5
)


@settings(max_examples=60)
@given(
    steps=profiles, first=st.integers(0, 3), duration=st.integers(1, 25), seed=st.integers(0, 99)
)
def test_profile_equals_a_walk_through_the_steps(
    steps: list[tuple[int, float]], first: int, duration: int, seed: int
) -> None:
    starts = np.cumsum([first, *(length for length, _ in steps)])[:-1].tolist()
    rates = [rate for _, rate in steps]
    spec = ArrivalSpec("profile", profile=tuple(zip(map(float, starts), rates, strict=True)))
    times = draw(spec, float(duration), seed)
    assert times.tolist() == pytest.approx(slow_profile(spec, float(duration), seed))
    assert np.all(np.diff(times) >= 0)


def test_profile_is_poisson_within_each_step() -> None:
    spec = ArrivalSpec("profile", profile=((0.0, 2.0), (1000.0, 0.0), (1500.0, 20.0)))
    times = draw(spec, 2500.0)
    calm, crowd = times[times < 1000.0], times[times >= 1500.0]
    assert not np.any((times >= 1000.0) & (times < 1500.0))
    assert is_exponential(np.diff(calm), 0.5)
    assert is_exponential(np.diff(crowd), 0.05)
    assert abs(len(times) - expected(spec, 0.0, 2500.0)) < 4.5 * np.sqrt(22_000)


def test_deterministic_keeps_its_period_without_drift() -> None:
    times = draw(ArrivalSpec("deterministic", 3.0), 1e5)
    assert 0.0 <= times[0] < 1 / 3
    assert len(times) == 300_000
    assert times[-1] == times[0] + (1 / 3) * 299_999
    assert times[-1] < 1e5


def test_deterministic_streams_are_not_in_step() -> None:
    spec = ArrivalSpec("deterministic", 1.0)
    phases = [draw(spec, 2.0, seed)[0] for seed in range(200)]
    assert stats.kstest(phases, "uniform").pvalue > ALPHA


def test_trace_is_sorted_cut_and_keeps_its_tasks() -> None:
    spec = ArrivalSpec("trace", times_s=(5.0, 1.0, 9.0, 1.0), tasks=(0, 1, 2, -1))
    times, tasks = emit(spec, 9.0, np.random.default_rng(0))
    assert times.tolist() == [1.0, 1.0, 5.0]
    assert tasks.tolist() == [1, -1, 0]
    assert expected(spec, 0.0, 5.0) == 2


def test_expected_counts() -> None:
    assert expected(poisson(4.0), 1.0, 3.5) == 10.0
    assert expected(ArrivalSpec("deterministic", 4.0), 1.0, 3.5) == 10.0
    steps = ArrivalSpec("profile", profile=((1.0, 2.0), (2.0, 10.0)))
    assert expected(steps, 0.0, 4.0) == 2.0 + 20.0
    assert expected(steps, 0.0, 0.5) == 0.0


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (ArrivalSpec("poisson"), "rate_per_s: expected > 0, found None"),
        (ArrivalSpec("deterministic", 0.0), "rate_per_s: expected > 0, found 0"),
        (ArrivalSpec("profile"), "ascending starts"),
        (ArrivalSpec("profile", profile=((1.0, 1.0), (1.0, 2.0))), "ascending starts"),
        (ArrivalSpec("profile", profile=((0.0, -1.0),)), "rates >= 0"),
        (ArrivalSpec("trace", times_s=(-1.0,)), "finite times >= 0"),
        (ArrivalSpec("trace", times_s=(1.0, 2.0), tasks=(1,)), "one per time, found 1"),
    ],
)
def test_bad_arrivals_are_refused(spec: ArrivalSpec, words: str) -> None:
    with pytest.raises(InputError, match=words):
        draw(spec, 10.0)
