"""Sizes of requests and answers: declared moments, whole laws, streams of their own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

from sim.arrivals.sizes import draw_sizes
from sim.arrivals.workload import draw_workload
from sim.compute.hardware import HARDWARE
from sim.config import ArrivalSpec, MixSpec, NodeSpec, StreamSpec, World
from sim.errors import InputError

if TYPE_CHECKING:
    from sim.arrays import FloatArray
    from sim.config import SizeLaw

N = 20_000  # at 0.1 % Kolmogorov-Smirnov detects a law that is off by 0.014 somewhere
MEAN = 2048.0


def draw(law: SizeLaw, cv: float = 1.0, n: int = N, mean_bytes: float = MEAN) -> FloatArray:
    return draw_sizes(law, mean_bytes, cv, n, np.random.default_rng(4))


def test_fixed_sizes_are_the_mean() -> None:
    assert set(draw("fixed").tolist()) == {MEAN}


def test_exponential_sizes_have_their_law() -> None:
    assert stats.kstest(draw("exponential"), "expon", args=(0, MEAN)).pvalue > 1e-3
    assert stats.kstest(1.06 * draw("exponential"), "expon", args=(0, MEAN)).pvalue < 1e-3


@pytest.mark.parametrize("cv", [0.3, 1.0, 2.5])
def test_lognormal_sizes_have_their_moments_and_law(cv: float) -> None:
    drawn = draw("lognormal", cv, 400_000)
    assert abs(drawn.mean() - MEAN) < 4.5 * MEAN * cv / np.sqrt(len(drawn))
    variance = np.log(1 + cv**2)
    law = stats.lognorm(np.sqrt(variance), scale=MEAN * np.exp(-variance / 2))
    assert law.mean() == pytest.approx(MEAN)
    assert law.std() == pytest.approx(cv * MEAN)
    assert stats.kstest(drawn[:N], law.cdf).pvalue > 1e-3
    assert stats.kstest(1.06 * drawn[: 3 * N], law.cdf).pvalue < 1e-3


def test_no_spread_and_no_size() -> None:
    assert set(draw("lognormal", 0.0).tolist()) == {MEAN}
    assert set(draw("exponential", mean_bytes=0.0).tolist()) == {0.0}


@pytest.mark.parametrize("law", ["exponential", "lognormal"])
def test_more_sizes_repeat_the_first_ones(law: SizeLaw) -> None:
    assert np.array_equal(draw(law, n=50), draw(law, n=500)[:50])


@pytest.mark.parametrize(
    ("law", "mean_bytes", "cv", "words"),
    [
        ("fixed", -1.0, 1.0, "size: expected a mean >= 0 bytes, found -1"),
        ("exponential", float("inf"), 1.0, "size: expected a mean >= 0 bytes, found inf"),
        ("lognormal", 1.0, -0.5, "size_cv: lognormal expects 0 <= cv <= 1000, found -0.5"),
        ("lognormal", 1.0, float("nan"), "size_cv: lognormal expects"),
    ],
)
def test_impossible_sizes_are_refused(
    law: SizeLaw, mean_bytes: float, cv: float, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        draw(law, cv, 1, mean_bytes)


def test_both_ways_have_streams_of_their_own() -> None:
    """Answers do not change with the law of requests, and are not the same draws again."""
    node = NodeSpec(0, "n0", "edge", HARDWARE["jetson-orin-nano"])
    arrivals = ArrivalSpec("poisson", 20.0)
    spec = StreamSpec(3, "s", 0, arrivals, MixSpec("uniform"), up_bytes=MEAN, down_bytes=MEAN)
    base = World("w", 7, 400.0, 1.0, 1.0, (node,), (), (replace(spec, size_law="exponential"),))
    other = replace(base, streams=(replace(base.streams[0], up_bytes=1.0),))
    first, second = (draw_workload(world, (5, 5)) for world in (base, other))
    assert first.down_bytes.tolist() == second.down_bytes.tolist()
    assert first.up_bytes.tolist() == pytest.approx((MEAN * second.up_bytes).tolist())
    correlation = np.corrcoef(first.up_bytes, first.down_bytes)[0, 1]
    assert abs(correlation) < 4.5 / np.sqrt(len(first))
