"""Fast arrivals equal slow twins that make one event at a time from the same draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.arrivals.emission import emit
from sim.config import ArrivalSpec
from sim.proofs.twins import arrivals as twins

RING = ((0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 0.0, 0.0))
UNEVEN = ((0.0, 0.25, 0.75), (1.0, 0.0, 0.0), (0.5, 0.5, 0.0))

diurnals = st.builds(
    ArrivalSpec,
    st.just("diurnal"),
    st.sampled_from([0.5, 8.0, 60.0]),
    amplitude=st.sampled_from([0.0, 0.3, 1.0]),
    period_s=st.sampled_from([0.7, 5.0, 86400.0]),
    peak_s=st.sampled_from([-2.0, 0.0, 3.5]),
)
chains = st.builds(
    ArrivalSpec,
    st.just("mmpp"),
    rates_per_s=st.tuples(*[st.sampled_from([0.0, 1.0, 7.0, 90.0])] * 2, st.just(3.0)),
    stays_s=st.tuples(*[st.sampled_from([0.02, 0.5, 4.0])] * 3),
    jumps=st.sampled_from([(), RING, UNEVEN]),
)
memories = st.builds(
    ArrivalSpec,
    st.just("hawkes"),
    st.sampled_from([0.5, 3.0]),
    branching=st.sampled_from([0.0, 0.3, 0.8]),
    decay_s=st.sampled_from([0.05, 1.0]),
)


def same(spec: ArrivalSpec, duration_s: float, seed: int) -> bool:
    """Tell whether both are equal to 1e-9: an arrival that only one has shows in the lengths."""
    fast = emit(spec, duration_s, np.random.default_rng(seed))[0]
    slow = getattr(twins, spec.kind)(spec, duration_s, np.random.default_rng(seed))
    return len(fast) == len(slow) and fast.tolist() == pytest.approx(slow, rel=1e-9, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(spec=diurnals, duration=st.integers(1, 12), seed=st.integers(0, 999))
def test_diurnal_equals_one_candidate_at_a_time(
    spec: ArrivalSpec, duration: int, seed: int
) -> None:
    assert same(spec, float(duration), seed)


@settings(max_examples=40, deadline=None)
@given(spec=chains, duration=st.integers(1, 12), seed=st.integers(0, 999))
def test_mmpp_equals_one_event_at_a_time(spec: ArrivalSpec, duration: int, seed: int) -> None:
    assert same(spec, float(duration), seed)


@settings(max_examples=15, deadline=None)
@given(spec=memories, duration=st.integers(1, 8), seed=st.integers(0, 999))
def test_hawkes_equals_a_sum_over_the_whole_past(
    spec: ArrivalSpec, duration: int, seed: int
) -> None:
    assert same(spec, float(duration), seed)


def test_hundreds_of_jumps_cross_the_chunks_of_draws() -> None:
    spec = ArrivalSpec("mmpp", rates_per_s=(40.0, 5.0), stays_s=(0.01, 0.02))
    assert same(spec, 20.0, 5)
