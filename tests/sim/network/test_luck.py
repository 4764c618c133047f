"""Luck on lossy links: uniform, independent, a function of link, transfer and try alone."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy import stats

from sim.network.luck import mix, uniform
from sim.rng import Streams

SEEDS = [Streams(1).integer("loss", link) for link in range(4)]
TRANSFERS = range(20_000)


def column(seed: int, nth: int = 1, sign: int = 1) -> np.ndarray:
    return np.array([uniform(seed, sign * key, nth) for key in TRANSFERS])


def test_the_finaliser_is_splitmix64() -> None:
    # the generator's first outputs for the seed 1234567, as its other implementations have them
    gamma, mask = 0x9E3779B97F4A7C15, (1 << 64) - 1
    assert [mix((1234567 + n * gamma) & mask) for n in range(1, 6)] == [
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431,
        16408922859458223821,
    ]  # fmt: skip


def test_luck_is_uniform_over_transfers_and_over_tries() -> None:
    columns = [column(seed) for seed in SEEDS]
    columns += [column(SEEDS[0], 2), column(SEEDS[0], sign=-1)]
    columns.append(np.array([uniform(SEEDS[0], 7, nth) for nth in TRANSFERS]))
    for values in columns:
        assert values.min() >= 0.0
        assert values.max() < 1.0
        assert stats.kstest(values, "uniform").pvalue > 1e-4


def test_links_transfers_and_tries_are_independent() -> None:
    one = column(SEEDS[0])
    others = [column(seed) for seed in SEEDS[1:]]
    others += [column(SEEDS[0], nth) for nth in (2, 3)]
    others += [column(SEEDS[0], sign=-1), np.roll(one, 1), np.roll(one, 2)]
    for other in others:
        assert abs(np.corrcoef(one, other)[0, 1]) < 4.0 / np.sqrt(len(one))  # 4 sigma
        # all quadrants alike: also what a correlation does not see
        counts = np.histogram2d(one, other, bins=8, range=[[0, 1], [0, 1]])[0]
        assert stats.chisquare(counts.ravel()).pvalue > 1e-4


def test_neighbouring_arguments_are_far_apart() -> None:
    base = uniform(SEEDS[0], 5, 1)
    near = [uniform(SEEDS[0], 6, 1), uniform(SEEDS[0], 5, 2), uniform(SEEDS[0] + 1, 5, 1)]
    assert all(abs(a - b) > 1e-3 for a, b in pairwise([base, *near]))
