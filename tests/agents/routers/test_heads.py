"""T3: the fast heads against batch ridge regression."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agents.routers.tanbr.heads import Heads, PooledHeads, score

N, V, D = 2, 3, 12


def observations(rows, seed=0):
    rng = np.random.default_rng(seed)
    phi, y = rng.normal(size=(rows, D)), rng.normal(size=(rows, V))
    w = rng.exponential(2.0, (rows, V)) * (rng.random((rows, V)) < 0.6)
    return phi, y, w


def batch_ridge(phi, y, w, v, ridge):
    gram = ridge * np.eye(D) + sum(w[i, v] * np.outer(phi[i], phi[i]) for i in range(len(phi)))
    moment = sum(w[i, v] * y[i, v] * phi[i] for i in range(len(phi)))
    return np.linalg.inv(gram), moment


@pytest.fixture
def learned():
    heads, data = Heads((N, V, D), 0.5), observations(500)
    for phi, y, w in zip(*data, strict=True):
        heads.observe(1, torch.tensor(phi), y, w)
    return heads, data


def test_incremental_heads_equal_batch_ridge_after_500_updates(learned):
    heads, (phi, y, w) = learned
    for v in range(V):
        inverse, moment = batch_ridge(phi, y, w, v, 0.5)
        np.testing.assert_allclose(heads.inverse[1, v].numpy(), inverse, atol=1e-6)
        np.testing.assert_allclose(heads.moment[1, v].numpy(), moment, atol=1e-6)
        np.testing.assert_allclose(heads.theta[1, v].numpy(), inverse @ moment, atol=1e-6)


def test_refit_equals_batch_ridge(learned):
    _, (phi, y, w) = learned
    heads = Heads((N, V, D), 0.5)
    heads.refit(0, torch.tensor(phi), y, w)
    for v in range(V):
        inverse, moment = batch_ridge(phi, y, w, v, 0.5)
        np.testing.assert_allclose(heads.inverse[0, v].numpy(), inverse, atol=1e-9)
        np.testing.assert_allclose(heads.theta[0, v].numpy(), inverse @ moment, atol=1e-9)


def test_a_node_learns_nothing_from_its_neighbour(learned):
    heads, _ = learned
    fresh = Heads((1, V, D), 0.5)
    for name in ("inverse", "moment", "theta"):
        assert torch.equal(getattr(heads, name)[0], getattr(fresh, name)[0])


def test_zero_counts_leave_a_head_bit_for_bit(learned):
    heads, _ = learned
    before = heads.snapshot()
    heads.observe(1, torch.ones(D, dtype=torch.float64), np.ones(V), np.array([0.0, 2.0, 0.0]))
    for name, value in heads.snapshot().items():
        np.testing.assert_array_equal(value[1, [0, 2]], before[name][1, [0, 2]])
        assert not np.array_equal(value[1, 1], before[name][1, 1])


def test_two_parts_of_one_mean_weigh_as_much_as_the_whole():
    whole, parts = Heads((1, 1, D), 1.0), Heads((1, 1, D), 1.0)
    phi = torch.tensor(observations(1)[0][0])
    whole.observe(0, phi, np.array([0.6]), np.array([10.0]))
    parts.observe(0, phi, np.array([1.0]), np.array([4.0]))
    parts.observe(0, phi, np.array([1.0 / 3.0]), np.array([6.0]))
    np.testing.assert_allclose(parts.inverse.numpy(), whole.inverse.numpy(), atol=1e-12)
    np.testing.assert_allclose(parts.theta.numpy(), whole.theta.numpy(), atol=1e-12)


def test_surprise_is_what_the_heads_expected_before(learned):
    heads, _ = learned
    phi, y, w = observations(1, seed=5)
    theta, inverse = heads.theta[1].numpy().copy(), heads.inverse[1].numpy().copy()
    mean, variance = heads.observe(1, torch.tensor(phi[0]), y[0], w[0])
    np.testing.assert_allclose(mean, theta @ phi[0], atol=1e-12)
    want = [phi[0] @ inverse[v] @ phi[0] for v in range(V)]
    np.testing.assert_allclose(variance, want, atol=1e-12)


def test_score_equals_the_sum_over_clusters(learned):
    heads, _ = learned
    rng = np.random.default_rng(3)
    mix, phi = rng.dirichlet(np.ones(V), N), rng.normal(size=(N, 7, D))
    mean, deviation = score(torch.tensor(phi), *heads.combine(mix))
    for n in range(N):
        for i, x in enumerate(phi[n]):
            means = [mix[n, v] * (heads.theta[n, v].numpy() @ x) for v in range(V)]
            parts = [mix[n, v] ** 2 * (x @ heads.inverse[n, v].numpy() @ x) for v in range(V)]
            assert mean[n, i] == pytest.approx(sum(means), abs=1e-9)
            assert deviation[n, i] == pytest.approx(sum(parts) ** 0.5, abs=1e-9)


def test_read_only_feedback_is_no_obstacle():
    reward = np.ones(V)
    reward.flags.writeable = False
    Heads((1, V, D), 1.0).observe(0, torch.ones(D, dtype=torch.float64), reward, np.ones(V))


@pytest.mark.parametrize("kind", [Heads, PooledHeads])
def test_nodes_learn_together_what_each_learns_alone(kind):
    """The slow twin is one observation at a time; a node's bits do not depend on the company."""
    rng, nodes = np.random.default_rng(4), 5
    together, one_by_one, few = (kind((nodes, V, D), 0.5) for _ in range(3))
    for _ in range(40):
        phi, y, w = observations(nodes, seed=int(rng.integers(1 << 30)))
        w[w.sum(axis=1) == 0.0, 1] = 1.0
        y = np.repeat(y[:, :1], V, axis=1) if kind is PooledHeads else y
        rows, points = rng.permutation(nodes)[: rng.integers(1, nodes + 1)], torch.tensor(phi)
        mean, variance = together.observe_all(rows, points[rows], y[rows], w[rows])
        for i, row in enumerate(rows.tolist()):
            expected = one_by_one.observe(row, points[row], y[row], w[row])
            told = w[row] > 0.0
            np.testing.assert_allclose(mean[i][told], expected[0][told], atol=1e-12)
            np.testing.assert_allclose(variance[i][told], expected[1][told], atol=1e-12)
            few.observe_all(rows[i : i + 1], points[row : row + 1], y[[row]], w[[row]])
    for name in ("inverse", "moment", "theta"):
        ours, twin = getattr(together, name), getattr(one_by_one, name)
        np.testing.assert_allclose(ours.numpy(), twin.numpy(), atol=1e-11)
        assert torch.equal(ours, getattr(few, name))


def test_heads_that_learn_nothing_keep_their_bits():
    heads, before = Heads((3, V, D), 0.5), Heads((3, V, D), 0.5)
    weight = np.zeros((2, V))
    weight[1, 2] = 4.0
    told = heads.observe_all(
        np.array([2, 0]), torch.ones(2, D, dtype=torch.float64), np.ones((2, V)), weight
    )
    changed = (heads.inverse != before.inverse).flatten(2).any(2).nonzero().tolist()
    assert changed == [[0, 2]]
    assert (told[1] > 0.0).tolist() == (weight > 0.0).tolist()
