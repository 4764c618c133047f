"""Bursty and daily arrivals against theory.

Every verdict is a confidence interval of 4.5 standard errors (1 in 150 000 by chance; seeds are
fixed). Each test says what it would catch, by asserting how wide its interval is.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import integrate, linalg, stats

from sim.arrivals import hawkes as hawkes_room
from sim.arrivals.dispersion import index_of_dispersion
from sim.arrivals.emission import emit, expected, mean_rate_per_s
from sim.arrivals.mmpp import path, stationary
from sim.arrivals.poisson import diurnal_count
from sim.config import ArrivalSpec
from sim.errors import InputError

if TYPE_CHECKING:
    from sim.arrays import FloatArray

SIGMAS, ALPHA = 4.5, 1e-3
TWO = ArrivalSpec("mmpp", rates_per_s=(10.0, 40.0), stays_s=(0.5, 0.25))
THREE = ArrivalSpec(
    "mmpp",
    rates_per_s=(0.0, 8.0, 100.0),
    stays_s=(2.0, 0.5, 0.25),
    jumps=((0.0, 0.9, 0.1), (0.5, 0.0, 0.5), (0.2, 0.8, 0.0)),
)
HAWKES = ArrivalSpec("hawkes", 20.0, branching=0.5, decay_s=0.5)
DAY = ArrivalSpec("diurnal", 20.0, amplitude=0.7, period_s=50.0, peak_s=12.0)
BURSTY = [TWO, THREE, HAWKES]
SPAN_S = 50_000.0  # a million arrivals


def draw(spec: ArrivalSpec, duration_s: float = SPAN_S, seed: int = 1) -> FloatArray:
    return emit(spec, duration_s, np.random.default_rng(seed))[0]


def interval(values: FloatArray, batches: int = 50) -> tuple[float, float]:
    """Return mean and 4.5 standard errors from batch means: good for correlated values, too."""
    means = values[: len(values) // batches * batches].reshape(batches, -1).mean(axis=1)
    return float(means.mean()), float(SIGMAS * means.std(ddof=1) / np.sqrt(batches))


def counts(times: FloatArray, window_s: float, duration_s: float = SPAN_S) -> FloatArray:
    windows = round(duration_s / window_s)
    found = np.bincount((times / window_s).astype(np.int64), minlength=windows)
    return found[:windows].astype(np.float64)


# --- the laws ---------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [*BURSTY, DAY], ids=lambda spec: spec.kind)
def test_a_longer_run_repeats_the_shorter_one(spec: ArrivalSpec) -> None:
    short, long = draw(spec, 30.0), draw(spec, 400.0)
    assert len(short) > 100
    assert np.array_equal(short, long[: len(short)])
    assert long[len(short)] >= 30.0


@pytest.mark.parametrize("spec", [*BURSTY, DAY], ids=lambda spec: spec.kind)
def test_times_ascend_within_the_run(spec: ArrivalSpec) -> None:
    times = draw(spec, 400.0)
    assert np.all(np.diff(times) > 0.0)
    assert times[0] >= 0.0
    assert times[-1] < 400.0


# --- means ------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [TWO, HAWKES, DAY], ids=lambda spec: spec.kind)
def test_the_declared_mean_rate_holds_and_two_percent_would_be_caught(spec: ArrivalSpec) -> None:
    declared = mean_rate_per_s(spec, SPAN_S)
    assert declared == pytest.approx(20.0)
    mean, half = interval(counts(draw(spec), 50.0) / 50.0)
    assert abs(mean - declared) < half
    assert half < 0.013 * declared  # a bias of 2 % lies more than two standard errors outside


def test_mean_rates_are_weighted_with_time_not_with_jumps() -> None:
    assert stationary(TWO).tolist() == pytest.approx([2 / 3, 1 / 3])
    assert mean_rate_per_s(TWO, 7.0) == pytest.approx(20.0)
    equal = replace(TWO, stays_s=(1e-6, 1e6))
    assert mean_rate_per_s(equal, 1.0) == pytest.approx(40.0)


def test_expected_counts_of_a_day_are_its_integral() -> None:
    rate = integrate.quad(
        lambda t: 20.0 * (1.0 + 0.7 * np.cos(2 * np.pi * (t - 12.0) / 50.0)), 3.0, 41.0
    )[0]
    assert expected(DAY, 3.0, 41.0) == pytest.approx(rate)
    assert expected(DAY, 10.0, 110.0) == pytest.approx(2000.0)
    assert expected(HAWKES, 1.0, 3.0) == 40.0
    assert expected(TWO, 1.0, 3.0) == pytest.approx(40.0)


# --- dispersion -------------------------------------------------------------------------------


@pytest.mark.parametrize("window_s", [0.5, 4.0])
@pytest.mark.parametrize("spec", [TWO, HAWKES], ids=lambda spec: spec.kind)
def test_counts_have_the_dispersion_of_theory(spec: ArrivalSpec, window_s: float) -> None:
    """The variance around the known mean, so that nothing is lost to a fitted one."""
    mean = 20.0 * window_s
    found, half = interval((counts(draw(spec), window_s) - mean) ** 2 / mean)
    theory = index_of_dispersion(spec, window_s)
    assert theory > 1.5
    assert abs(found - theory) < half
    assert half < 0.12 * theory  # 4.5 standard errors: one of them is below 2.7 %


def test_the_dispersion_of_three_states_is_the_one_of_theory() -> None:
    mean = mean_rate_per_s(THREE, 1.0) * 2.0
    found, half = interval((counts(draw(THREE), 2.0) - mean) ** 2 / mean)
    assert abs(found - index_of_dispersion(THREE, 2.0)) < half
    assert half < 0.1 * found


def test_limits_of_dispersion_are_the_textbook_ones() -> None:
    low, high, leave_low, leave_high = 10.0, 40.0, 2.0, 4.0
    both = leave_low + leave_high
    limit = 2 * leave_low * leave_high * (low - high) ** 2
    limit /= both**2 * (low * leave_high + high * leave_low)
    assert index_of_dispersion(TWO) == pytest.approx(1.0 + limit)
    ramp = 1.0 - (1.0 - np.exp(-both * 0.7)) / (both * 0.7)
    assert index_of_dispersion(TWO, 0.7) == pytest.approx(1.0 + limit * ramp)
    assert index_of_dispersion(HAWKES) == pytest.approx(4.0)
    assert index_of_dispersion(HAWKES, 1e-6) == pytest.approx(1.0, abs=1e-5)
    assert index_of_dispersion(ArrivalSpec("poisson", 3.0), 2.0) == 1.0


@pytest.mark.parametrize("window_s", [0.3, 5.0])
def test_dispersion_equals_the_integrated_covariance_of_the_rate(window_s: float) -> None:
    shares, rates = stationary(THREE), np.array(THREE.rates_per_s)
    leave = (np.array(THREE.jumps) - np.eye(3)) / np.array(THREE.stays_s)[:, None]
    mean = float(shares @ rates)

    def weighted(lag_s: float) -> float:
        later = linalg.expm(leave * lag_s) @ rates
        return (window_s - lag_s) * float(shares * rates @ later - mean**2)

    variance = mean * window_s + 2.0 * integrate.quad(weighted, 0.0, window_s)[0]
    assert index_of_dispersion(THREE, window_s) == pytest.approx(variance / (mean * window_s))


# --- MMPP -------------------------------------------------------------------------------------


def test_chains_start_in_their_stationary_law() -> None:
    """Chi-square over 4000 starts: a share that is off by 0.04 is caught."""
    starts = [path(THREE, 0.0, np.random.default_rng(seed))[1][0] for seed in range(4000)]
    shares = stationary(THREE)
    assert stats.chisquare(np.bincount(starts, minlength=3), 4000 * shares).pvalue > ALPHA
    at_jumps = shares / np.array(THREE.stays_s)
    at_jumps *= 4000 / at_jumps.sum()  # the wrong law, which a chain without memory of time has
    assert stats.chisquare(np.bincount(starts, minlength=3), at_jumps).pvalue < ALPHA


def test_stays_are_exponential_and_jumps_have_their_shares() -> None:
    starts, states = path(THREE, 20_000.0, np.random.default_rng(2))
    stays, which = np.diff(starts), np.array(states[:-1])
    for state, mean_s in enumerate(THREE.stays_s):
        assert stats.kstest(stays[which == state], "expon", args=(0, mean_s)).pvalue > ALPHA
        after = np.array(states[1:])[which == state]
        law = np.array(THREE.jumps[state])
        found = np.bincount(after, minlength=3)
        assert found[law == 0.0].sum() == 0
        likely = law > 0.0
        assert stats.chisquare(found[likely], len(after) * law[likely]).pvalue > ALPHA


def test_arrivals_are_poisson_in_each_state() -> None:
    """Counts of single stays: chi-square over their Poisson means; places: uniform in the stay."""
    times = draw(TWO, 4000.0, seed=3)
    starts, states = path(TWO, 4000.0, np.random.default_rng(3).spawn(2)[0])
    stay = np.searchsorted(starts, times, side="right") - 1
    stays_s = np.diff(starts)
    place = (times - starts[stay]) / stays_s[stay]
    assert stats.kstest(place, "uniform").pvalue > ALPHA
    complete = starts[1:] < 4000.0
    means = (np.array(TWO.rates_per_s)[np.array(states[:-1])] * stays_s)[complete]
    found = np.bincount(stay, minlength=len(stays_s))[: len(stays_s)][complete]
    for state in (0, 1):
        rows = np.array(states[:-1])[complete] == state
        wide = SIGMAS / np.sqrt(means[rows].sum())
        assert abs(found[rows].sum() / means[rows].sum() - 1.0) < wide < 0.03
        excess, half = interval((found[rows] - means[rows]) ** 2 - means[rows])
        assert abs(excess) < half < 0.25 * means[rows].mean()


# --- Hawkes -----------------------------------------------------------------------------------


def compensated(times: FloatArray, spec: ArrivalSpec) -> FloatArray:
    """Return the integrated rate between arrivals, from the arrivals alone."""
    base = (spec.rate_per_s or 0.0) * (1.0 - spec.branching)
    gaps, left, found = np.diff(times), 0.0, []
    for gap in gaps.tolist():
        left += spec.branching
        kept = left * math.exp(-gap / spec.decay_s)
        found.append(base * gap + left - kept)
        left = kept
    return np.array(found)


def sums(gaps: FloatArray, n: int = 20) -> FloatArray:
    found: FloatArray = gaps[: len(gaps) // n * n].reshape(-1, n).sum(axis=1)
    return found


def test_integrated_rates_between_arrivals_are_unit_exponentials() -> None:
    """Random time change; KS at 0.1 % over 200 000 gaps and 10 000 sums of 20, which see memory."""
    times = draw(HAWKES, 10_100.0)
    gaps = compensated(times, HAWKES)[2000:]  # what came before 0 is forgotten by then
    assert stats.kstest(gaps, "expon").pvalue > ALPHA
    assert stats.kstest(sums(gaps), "gamma", args=(20,)).pvalue > ALPHA
    for wrong in (replace(HAWKES, branching=0.4), replace(HAWKES, decay_s=0.8)):
        gaps = compensated(times, wrong)[2000:]
        assert stats.kstest(sums(gaps), "gamma", args=(20,)).pvalue < ALPHA


def first_counts(runs: int = 3000) -> FloatArray:
    spec = replace(HAWKES, branching=0.6)
    return np.array([len(draw(spec, 1.0, seed)) for seed in range(runs)], dtype=np.float64)


@pytest.mark.parametrize("burn", [1e5, 0.0])
def test_hawkes_is_stationary_from_zero(burn: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mean and variance of the first second, with and without the run before 0."""
    monkeypatch.setattr(hawkes_room, "_BURN_ARRIVALS", burn)
    spec, found = replace(HAWKES, branching=0.6), first_counts()
    mean, half = interval(found)
    assert abs(mean - 20.0) < half < 0.05 * 20.0
    spread, half = interval((found - 20.0) ** 2 / 20.0)
    assert abs(spread - index_of_dispersion(spec, 1.0)) < half < 0.25 * spread


def test_the_check_would_catch_a_start_without_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hawkes_room, "_BURN_ARRIVALS", 0.0)
    monkeypatch.setattr(hawkes_room, "first_excess_per_s", lambda spec, rng: 0.0)
    mean, half = interval(first_counts(1000))
    assert mean + half < 20.0


def test_the_run_before_zero_is_bounded() -> None:
    slow = ArrivalSpec("hawkes", 1000.0, branching=0.99, decay_s=3600.0)
    assert hawkes_room.burn_s(slow) == 100.0
    assert hawkes_room.burn_s(HAWKES) == 20.0


def test_without_branching_hawkes_is_poisson() -> None:
    gaps = np.diff(draw(replace(HAWKES, branching=0.0), 1000.0))
    assert stats.kstest(gaps, "expon", args=(0, 0.05)).pvalue > ALPHA


# --- diurnal ----------------------------------------------------------------------------------


def test_time_changed_arrivals_of_a_day_are_uniform() -> None:
    """KS at 0.1 % over 20 000 arrivals; a peak that is 1 s off in 50 is told apart."""
    times = draw(DAY, 1000.0)

    def changed(spec: ArrivalSpec) -> FloatArray:
        phase = np.array([diurnal_count(spec, 20.0, 0.0, t % 50.0) for t in times.tolist()])
        return phase / diurnal_count(spec, 20.0, 0.0, 50.0)

    assert stats.kstest(changed(DAY), "uniform").pvalue > ALPHA
    assert stats.kstest(changed(replace(DAY, peak_s=13.0)), "uniform").pvalue < ALPHA
    assert stats.kstest(changed(replace(DAY, amplitude=0.65)), "uniform").pvalue < ALPHA


# --- what is refused --------------------------------------------------------------------------

BAD_JUMPS = ((0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (0.5, 0.5, 0.0))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (replace(TWO, rates_per_s=(1.0,)), "two states or more, found 1 and 2"),
        (replace(TWO, stays_s=(1.0,)), "found 2 and 1"),
        (replace(TWO, rates_per_s=(1.0, -1.0)), "rates_per_s: expected rates >= 0"),
        (replace(TWO, rates_per_s=(0.0, 0.0)), "one of them > 0"),
        (replace(TWO, rates_per_s=(1.0, float("nan"))), "rates_per_s: expected"),
        (replace(TWO, stays_s=(1.0, 0.0)), "stays_s: expected times > 0"),
        (replace(TWO, jumps=((0.0, 1.0),)), "jumps: expected 2 rows of 2"),
        (replace(TWO, jumps=((0.0, 0.9), (1.0, 0.0))), r"jumps.0: expected probabilities"),
        (replace(TWO, jumps=((0.0, 1.0), (0.5, 0.5))), r"jumps.1.1: expected 0 .*found 0.5"),
        (replace(THREE, jumps=BAD_JUMPS), "0 never leads to 2"),
        (replace(DAY, amplitude=1.01), "amplitude: expected 0 <= amplitude <= 1, found 1.01"),
        (replace(DAY, amplitude=float("nan")), "amplitude: expected"),
        (replace(DAY, period_s=0.0), "period_s: expected > 0, found 0"),
        (replace(DAY, peak_s=float("inf")), "peak_s: expected a finite time"),
        (replace(DAY, rate_per_s=None), "rate_per_s: expected > 0, found None"),
        (replace(HAWKES, branching=1.0), "branching: expected 0 <= branching < 1, found 1"),
        (replace(HAWKES, branching=-0.1), "branching: expected"),
        (replace(HAWKES, decay_s=0.0), "decay_s: expected > 0, found 0"),
        (replace(HAWKES, rate_per_s=0.0), "rate_per_s: expected > 0, found 0"),
    ],
)
def test_bad_arrivals_are_refused(spec: ArrivalSpec, words: str) -> None:
    with pytest.raises(InputError, match=words):
        draw(spec, 10.0)
    with pytest.raises(InputError, match=words):
        expected(spec, 0.0, 1.0)


def test_periodic_arrivals_have_no_dispersion_here() -> None:
    with pytest.raises(InputError, match="deterministic has no stationary counts"):
        index_of_dispersion(ArrivalSpec("deterministic", 1.0))
