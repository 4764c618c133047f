from __future__ import annotations

import numpy as np
import pytest

from agents.routers.tanbr.context import MixEstimate
from sim.errors import ShapeError


def test_the_estimate_is_a_moving_average_of_shares():
    mix = MixEstimate(1, np.array([2.0, 2.0]), 0.25)
    want = 0.5
    for a, b in ((8, 2), (1, 0), (0, 5)):
        mix.observe(np.array([[a, b]], float), np.array([True]))
        want = 0.75 * want + 0.25 * a / (a + b)
        np.testing.assert_allclose(mix.mix[0], [want, 1 - want])


def test_silent_and_inactive_nodes_keep_theirs():
    mix = MixEstimate(3, np.array([1.0, 3.0]), 0.5)
    counts = np.array([[4.0, 0.0], [0.0, 0.0], [4.0, 0.0]])
    mix.observe(counts, np.array([True, True, False]))
    np.testing.assert_allclose(mix.mix, [[0.625, 0.375], [0.25, 0.75], [0.25, 0.75]])
    mix.restart(0)
    np.testing.assert_allclose(mix.mix[0], [0.25, 0.75])


def test_negligible_clusters_are_not_scored():
    mix = MixEstimate(1, np.array([0.9995, 0.0005]), 0.5)
    assert mix.relevant()[0].tolist() == [0.9995, 0.0]


def test_a_prior_of_nothing_is_uniform():
    np.testing.assert_allclose(MixEstimate(1, np.zeros(4), 0.5).mix, 0.25)


def test_wrong_shape():
    with pytest.raises(ShapeError, match=r"context counts: expected \(1, 2\)"):
        MixEstimate(1, np.ones(2), 0.5).observe(np.ones((1, 3)), np.array([True]))
