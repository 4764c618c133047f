"""Mixes over time against a slow twin that evaluates one moment at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.arrivals.mix import MixSchedule, draw_schedules
from sim.compute.hardware import HARDWARE
from sim.config import ArrivalSpec, DriftSpec, MixSpec, NodeSpec, StreamSpec, World
from sim.errors import InputError

M = 4
A, B, C = (0.7, 0.3, 0.0, 0.0), (0.0, 0.0, 0.5, 0.5), (0.1, 0.2, 0.3, 0.4)


def stream(
    mix: MixSpec, *drift: DriftSpec, id: int = 0, node: int = 0, rate: float = 1.0
) -> StreamSpec:
    return StreamSpec(id, f"s{id}", node, ArrivalSpec("poisson", rate), mix, drift)


def schedule(mix: MixSpec, *drift: DriftSpec, seed: int = 0) -> MixSchedule:
    return MixSchedule(stream(mix, *drift), M, np.random.default_rng(seed))


EXPLICIT = MixSpec("explicit", A)
SKEWED = MixSpec("dirichlet", alpha=0.3, tasks=3)


def slow_at(first: tuple[float, ...], drifts: list[DriftSpec], t: float) -> np.ndarray:
    """Obvious twin for drifts with given weights: recurse to the last drift that has begun."""
    begun = [drift for drift in drifts if drift.at_s <= t]
    if not begun:
        return np.array(first)
    drift = begun[-1]
    before = slow_at(first, begun[:-1], drift.at_s)
    after = np.array(drift.weights)
    if drift.kind == "gradual":
        share = min((t - drift.at_s) / drift.over_s, 1.0)
        return (1 - share) * before + share * after
    if drift.kind == "recurring":
        return after if int((t - drift.at_s) // drift.every_s) % 2 == 0 else before
    return after


one_drift = st.builds(
    DriftSpec,
    kind=st.sampled_from(["switch", "gradual", "recurring"]),
    at_s=st.integers(1, 40).map(float),
    over_s=st.integers(1, 15).map(float),
    every_s=st.integers(1, 18).map(lambda halves: halves / 2.0),
    weights=st.sampled_from([A, B, C]),
)
drift_lists = st.lists(one_drift, max_size=4, unique_by=lambda drift: drift.at_s)


@settings(max_examples=80)
@given(drifts=drift_lists)
def test_vectorised_equals_one_moment_at_a_time(drifts: list[DriftSpec]) -> None:
    mixes = schedule(EXPLICIT, *drifts)
    times = np.arange(0.25, 60.0, 0.5)  # between the corners, where sides are ambiguous
    ordered = sorted(drifts, key=lambda drift: drift.at_s)
    slow = np.array([slow_at(A, ordered, t) for t in times])
    assert mixes.at(times) == pytest.approx(slow, abs=1e-12)


@settings(max_examples=60)
@given(drifts=drift_lists, start=st.integers(0, 50), length=st.integers(1, 12))
def test_mean_equals_a_fine_sum(drifts: list[DriftSpec], start: int, length: int) -> None:
    mixes = schedule(EXPLICIT, *drifts)
    steps = 64 * length  # midpoints: exact for laws that are linear between corners
    times = start + (np.arange(steps) + 0.5) * length / steps
    fine = mixes.at(times).mean(axis=0)
    assert mixes.mean(float(start), float(start + length)) == pytest.approx(fine, abs=1e-9)


@settings(max_examples=60)
@given(drifts=drift_lists)
def test_change_times_are_where_the_law_changes(drifts: list[DriftSpec]) -> None:
    mixes = schedule(EXPLICIT, *drifts)
    found = mixes.change_times(60.0)
    ordered = sorted(drifts, key=lambda drift: drift.at_s)
    slow = []
    for index, drift in enumerate(ordered):
        end_s = ordered[index + 1].at_s if index + 1 < len(ordered) else 60.0
        turn = drift.every_s if drift.kind == "recurring" else 60.0
        slow += np.arange(drift.at_s, end_s, turn).tolist()
    assert list(found) == slow


def test_a_change_at_the_very_end_is_none() -> None:
    drifts = (DriftSpec("switch", 30.0, weights=B), DriftSpec("switch", 60.0, weights=C))
    assert schedule(EXPLICIT, *drifts).change_times(60.0) == (30.0,)


def test_slots_average_over_a_switch_in_their_middle() -> None:
    mixes = schedule(EXPLICIT, DriftSpec("switch", 12.5, weights=B))
    assert mixes.slot_mix(1, 5.0) == pytest.approx(A)
    assert mixes.slot_mix(2, 5.0) == pytest.approx((np.array(A) + B) / 2)
    assert mixes.slot_mix(3, 5.0) == pytest.approx(B)


def test_dirichlet_streams_hold_the_asked_number_of_tasks() -> None:
    for seed in range(30):
        mix = schedule(SKEWED, seed=seed).at(np.zeros(1))[0]
        assert np.count_nonzero(mix) <= 3
        assert mix.sum() == pytest.approx(1.0)


def test_dirichlet_shares_have_the_right_moments() -> None:
    """4000 streams, symmetric Dirichlet(2) over 4: mean 1/4, variance (1/4)(3/4)/9, 4.5 s.e."""
    mix = MixSpec("dirichlet", alpha=2.0)
    shares = np.array([schedule(mix, seed=seed).at(np.zeros(1))[0] for seed in range(4000)])
    variance = 0.25 * 0.75 / 9
    assert np.all(np.abs(shares.mean(axis=0) - 0.25) < 4.5 * np.sqrt(variance / 4000))
    assert shares.var(axis=0) == pytest.approx(np.full(M, variance), rel=0.12)


def test_a_switch_draws_another_mix_and_recurring_returns() -> None:
    fresh = schedule(SKEWED, DriftSpec("switch", 10.0))
    before, after = fresh.at(np.array([9.9, 10.0]))
    assert not np.array_equal(before, after)
    turns = schedule(SKEWED, DriftSpec("recurring", 10.0, every_s=5.0)).at(
        np.array([1.0, 12.0, 17.0, 22.0])
    )
    assert np.array_equal(turns[0], turns[2])
    assert np.array_equal(turns[1], turns[3])
    assert not np.array_equal(turns[0], turns[1])


def test_an_explicit_switch_deals_the_same_shares_to_other_tasks() -> None:
    before, after = schedule(MixSpec("explicit", C), DriftSpec("switch", 1.0)).at(
        np.array([0.0, 1.0])
    )
    assert sorted(before) == sorted(after)
    assert not np.array_equal(before, after)


def test_a_new_task_takes_its_share() -> None:
    mixes = schedule(EXPLICIT, DriftSpec("new-task", 5.0, share=0.4))
    after = mixes.at(np.array([6.0]))[0]
    assert after[:2] == pytest.approx([0.42, 0.18])
    assert sorted(after[2:]) == pytest.approx([0.0, 0.4])


def test_weights_are_normalised() -> None:
    assert schedule(MixSpec("explicit", (2, 2, 0, 4))).at(np.zeros(1))[0] == pytest.approx(
        [0.25, 0.25, 0, 0.5]
    )


@pytest.mark.parametrize(
    ("mix", "drift", "words"),
    [
        (MixSpec("explicit", (1.0, 2.0)), (), r"streams\.s0\.mix\.weights: expected 4 weights"),
        (MixSpec("explicit", (1.0, -1.0, 0, 0)), (), "expected 4 weights >= 0"),
        (MixSpec("explicit", (0, 0, 0, 0)), (), "not all 0"),
        (MixSpec("dirichlet", tasks=5), (), "expected 1 <= tasks <= 4"),
        (MixSpec("dirichlet", alpha=0.0), (), "alpha > 0"),
        (MixSpec("uniform"), (DriftSpec("switch", 1.0),), "give switch weights"),
        (MixSpec("uniform"), (DriftSpec("new-task", 1.0),), "found 0 such tasks"),
        (EXPLICIT, (DriftSpec("switch", 0.0),), r"drift\.at_s: expected > 0, found 0"),
        (EXPLICIT, (DriftSpec("gradual", 1.0),), r"drift\.over_s: expected > 0, found 0"),
        (EXPLICIT, (DriftSpec("recurring", 1.0),), r"drift\.every_s: expected > 0, found 0"),
        (EXPLICIT, (DriftSpec("switch", 1.0, weights=(1.0,)),), r"drift\.weights: expected 4"),
    ],
)
def test_bad_mixes_are_refused(mix: MixSpec, drift: tuple[DriftSpec, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        schedule(mix, *drift)


def world(*streams: StreamSpec) -> World:
    hardware = HARDWARE["jetson-orin-nano"]
    nodes = tuple(NodeSpec(i, f"n{i}", "edge", hardware) for i in range(3))
    return World("w", 5, 100.0, 0.0, 10.0, nodes, (), streams)


def test_schedules_depend_on_seed_and_stream_only() -> None:
    one = stream(SKEWED, DriftSpec("switch", 5.0), id=1)
    alone, among = world(one), world(stream(SKEWED, id=0), one, stream(SKEWED, id=2))
    times = np.array([0.0, 6.0])
    expected = draw_schedules(alone, M)[0].at(times)
    assert np.array_equal(draw_schedules(among, M)[1].at(times), expected)
