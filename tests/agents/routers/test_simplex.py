"""T2: the projection against a general solver, the uniform map."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize

from agents.routers.simplex import project, sparsify, stick_breaking


@pytest.mark.parametrize("experts", [2, 3, 8])
def test_projection_equals_a_quadratic_program(experts):
    rng = np.random.default_rng(experts)
    for point in rng.normal(0.2, 0.7, (12, experts)):
        solved = minimize(
            lambda x, p=point: 0.5 * ((x - p) ** 2).sum(),
            np.full(experts, 1.0 / experts),
            jac=lambda x, p=point: x - p,
            bounds=[(0.0, 1.0)] * experts,
            constraints={"type": "eq", "fun": lambda x: x.sum() - 1.0, "jac": np.ones_like},
            method="SLSQP",
            options={"ftol": 1e-15, "maxiter": 300},
        )
        np.testing.assert_allclose(project(point), solved.x, atol=1e-6)


@given(arrays(float, (5, 4), elements=st.floats(-10, 10)))
def test_projection_lands_on_the_simplex_and_stays_there(points):
    once = project(points)
    assert (once >= 0.0).all()
    np.testing.assert_allclose(once.sum(axis=-1), 1.0, atol=1e-12)
    np.testing.assert_allclose(project(once), once, atol=1e-12)


def test_projection_takes_any_leading_shape():
    points = np.random.default_rng(1).normal(size=(2, 3, 4))
    want = [[project(p) for p in row] for row in points]
    np.testing.assert_array_equal(project(points), want)


@pytest.mark.parametrize("experts", [2, 4, 8])
def test_stick_breaking_keeps_uniform_uniform(experts):
    cube = np.random.default_rng(2).random((40_000, experts - 1))
    points = stick_breaking(cube)
    np.testing.assert_allclose(points.sum(axis=1), 1.0, atol=1e-12)
    np.testing.assert_allclose(points.mean(axis=0), 1.0 / experts, atol=0.01)
    # second moment of Dirichlet(1): 2 / (K (K+1))
    np.testing.assert_allclose((points**2).mean(axis=0), 2 / experts / (experts + 1), atol=0.01)


def test_sparse_points_keep_their_largest_weights():
    point = np.array([0.1, 0.4, 0.2, 0.3])
    np.testing.assert_allclose(sparsify(point, 2), [0.0, 4 / 7, 0.0, 3 / 7])
    assert sparsify(point, 4) is point
    np.testing.assert_allclose(sparsify(np.full(4, 0.25), 2), [0.5, 0.5, 0.0, 0.0])
