"""Ridge models over learned and random features: starting, forgetting, going back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agents.conformance import example_setup
from agents.routers.model import Observations
from agents.routers.tanbr.fourier import Fourier, FourierModel
from agents.routers.tanbr.learner import Learner, RidgeParams, rounds
from agents.routers.tanbr.net import Nets

N, K, M, V = 2, 4, 16, 3


def model(kind="net", nodes=N, pooled=False, **params):
    chosen = RidgeParams(restart_steps=20, pooled=pooled, **params)
    if kind == "rff":
        made = FourierModel((nodes, K, M, V), 0.5, chosen)
    else:
        made = Learner(Nets((nodes, K, M, V), 5e-3, 16, pooled), chosen)
    for row in range(nodes):
        made.draw(row, np.random.default_rng(row))
    return made


def observations(rows, seed=0, count=None):
    rng = np.random.default_rng(seed)
    shape = (len(rows), V)
    seen = (
        rng.integers(0, 9, shape).astype(float) if count is None else np.tile(count, (len(rows), 1))
    )
    seen[:, 0] += 1.0
    x = rng.dirichlet(np.ones(K), len(rows))
    return Observations(np.array(rows), x, rng.random(shape), seen, np.arange(len(rows)))


def pooled(seen):
    share = seen.count / seen.count.sum(axis=1, keepdims=True)
    mean = (share * seen.reward).sum(axis=1, keepdims=True)
    return Observations(seen.row, seen.point, np.repeat(mean, V, axis=1), seen.count, seen.decided)


def rngs():
    return [np.random.default_rng(100 + row) for row in range(N)]


def told(made, seen):
    return made.observe(pooled(seen) if made.params.pooled else seen)


KINDS = [("net", False), ("rff", False), ("net", True), ("rff", True)]


@pytest.mark.parametrize(("kind", "one_number"), KINDS)
def test_heads_after_a_refit_are_what_they_were_step_by_step(kind, one_number):
    made = model(kind, pooled=one_number)
    told(made, observations([0, 1, 0, 0, 1] * 6))
    before = made.heads.snapshot()
    made.fit(np.array([0, 1]), rngs(), 0)
    for name, value in made.heads.snapshot().items():
        # a network's features are float32: their last bits depend on how many are made at once
        np.testing.assert_allclose(value, before[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("kind", "one_number"), KINDS)
def test_the_way_back_leads_to_the_mark(kind, one_number):
    made = model(kind, pooled=one_number)
    assert not made.back(0)
    told(made, observations([0] * 12))
    made.fit(np.array([0]), rngs(), 5)
    want = made.heads.snapshot()
    made.mark(0)
    told(made, observations([0] * 7, seed=5))
    made.fit(np.array([0]), rngs(), 5)
    assert made.back(0)
    assert made.memory.size[0] == 12
    for name, value in made.heads.snapshot().items():
        np.testing.assert_allclose(value, want[name], rtol=1e-5, atol=1e-5)


def test_there_is_no_way_back_past_an_alarm():
    made = model()
    told(made, observations([0] * 12))
    made.mark(0)
    made.forget(0, 4, np.random.default_rng(9))
    assert not made.back(0)


def test_fixed_features_never_go_stale():
    learned, fixed = model("net"), model("rff")
    for made in (learned, fixed):
        told(made, observations([0] * 3))
    assert (learned.stale(0), learned.stale(1), fixed.stale(0)) == (True, False, False)


def test_renewed_clusters_are_forgotten_and_no_others():
    made, fresh = model(), model()
    told(made, observations([0, 1] * 10))
    made.fit(np.array([0, 1]), rngs(), 5)
    before, weights = made.heads.snapshot(), made.basis.weights.clone()
    made.renew(0, np.array([1]))
    for name, value in made.heads.snapshot().items():
        np.testing.assert_array_equal(value[0, [0, 2]], before[name][0, [0, 2]])
        np.testing.assert_array_equal(value[0, 1], fresh.heads.snapshot()[name][0, 1])
        np.testing.assert_array_equal(value[1], before[name][1])
    assert made.memory.w[0, : made.memory.size[0], 1].sum() == 0.0
    moved = (made.basis.weights != weights).numpy()
    assert not moved[1].any()
    outputs = made.basis._views(torch.from_numpy(moved).float())[2][0].bool()
    assert outputs[1].any()
    assert not outputs[[0, 2]].any()


def test_records_that_say_nothing_any_more_go():
    made = model()
    told(made, observations([0] * 4, count=[0.0, 0.0, 5.0]))  # and one of cluster 0 each
    made.renew(0, np.array([0, 2]))
    assert made.memory.size[0] == 0
    assert not made.stale(0)


def test_a_pooled_record_goes_with_any_of_its_clusters():
    made, twin = model(pooled=True), model(pooled=True)
    both = observations([0] * 8)
    both.count[:4, 1], both.count[4:, 1] = 0.0, 3.0
    told(made, both)
    made.renew(0, np.array([1]))
    half = Observations(
        *(part[:4] for part in (both.row, both.point, both.reward, both.count)), both.decided[:4]
    )
    told(twin, half)
    np.testing.assert_allclose(made.heads.theta.numpy(), twin.heads.theta.numpy(), atol=1e-9)


@pytest.mark.parametrize(("kind", "one_number"), KINDS)
def test_a_snapshot_goes_on_bit_for_bit(kind, one_number):
    one, two = model(kind, pooled=one_number), model(kind, pooled=one_number)
    told(one, observations([0, 1, 0]))
    one.mark(0)
    two.restore(one.snapshot())
    for made in (one, two):
        told(made, observations([0, 1] * 4, seed=3))
        made.fit(np.array([0, 1]), rngs(), 3)
        made.back(0)
    for name, value in one.snapshot().items():
        np.testing.assert_array_equal(value, two.snapshot()[name], err_msg=name)


def test_a_mark_is_resident():
    made = model()
    bare = made.state_bytes(0)
    made.mark(0)
    assert made.state_bytes(0) == bare + made.basis.nbytes


@pytest.mark.parametrize(("kind", "one_number"), KINDS)
def test_the_work_counts_what_is_done(kind, one_number):
    made = model(kind, pooled=one_number)
    told(made, observations([0] * 5))
    few, many = (made.work_score(0, points, 2.0).flop for points in (10.0, 20.0))
    assert many - few == pytest.approx(made.costs.score(10.0).flop)
    assert made.work_fit(0, 0.0).flop == made.costs.refit(5.0).flop
    assert (made.work_fit(0, 3.0).flop > made.work_fit(0, 0.0).flop) == (kind == "net")


# --- one number for all clusters ---


def test_a_pooled_regression_equals_batch_ridge_on_mix_times_features():
    made = model("rff", nodes=1, pooled=True, lambda0=0.5)
    seen = pooled(observations([0] * 60))
    made.observe(seen)
    phi = made.basis.embed(seen.point[None]).numpy()[0]
    share = seen.count / seen.count.sum(axis=1, keepdims=True)
    weight = np.array([made.noise(total) ** -2.0 for total in seen.count.sum(axis=1)])
    z = np.einsum("rv,rd->rvd", share, phi).reshape(60, -1)
    gram = 0.5 * np.eye(z.shape[1]) + z.T @ (weight[:, None] * z)
    theta = np.linalg.solve(gram, z.T @ (weight * seen.reward[:, 0]))
    np.testing.assert_allclose(made.heads.theta[0].numpy(), theta, atol=1e-7)
    mix, points = (
        np.array([[0.2, 0.5, 0.3]]),
        np.random.default_rng(4).dirichlet(np.ones(K), (1, 6)),
    )
    mean, deviation = made.aim(mix).both(points)
    at = np.einsum("v,rd->rvd", mix[0], made.basis.embed(points).numpy()[0]).reshape(6, -1)
    np.testing.assert_allclose(mean[0], at @ theta, atol=1e-7)
    want = np.sqrt(np.einsum("rd,de,re->r", at, np.linalg.inv(gram), at))
    np.testing.assert_allclose(deviation[0], want, atol=1e-7)


def test_what_a_pooled_regression_expected():
    made = model("rff", nodes=1, pooled=True)
    made.observe(pooled(observations([0] * 9)))
    seen = pooled(observations([0], seed=8))
    share = seen.count / seen.count.sum()
    mean, deviation = made.aim(share).both(seen.point[None])
    surprise = made.observe(seen)
    np.testing.assert_allclose(surprise.mean, np.full((1, V), mean[0, 0]), atol=1e-9)
    np.testing.assert_allclose(surprise.variance, np.full((1, V), deviation[0, 0] ** 2), atol=1e-9)


def test_a_pooled_start_knows_the_calibration_per_cluster():
    known = example_setup(experts=K, clusters=V).calibration
    made = model("rff", nodes=1, pooled=True)
    made.warm_up(known, np.random.default_rng(0))
    for v in range(V):
        mean, _ = made.aim(np.eye(V)[v : v + 1]).both(known.weights[None])
        np.testing.assert_allclose(mean[0], known.reward[:, v], atol=0.2)


# --- random features ---


def test_the_kernel_of_the_cosines():
    basis, points = (
        Fourier((1, K, 4096, V), 0.5),
        np.random.default_rng(1).dirichlet(np.ones(K), 12),
    )
    basis.draw(0, np.random.default_rng(2))
    phi = basis.embed(points[None]).numpy()[0]
    gap = ((points[:, None] - points[None]) ** 2).sum(-1)
    np.testing.assert_allclose(phi[:, :4096] @ phi[:, :4096].T, np.exp(-2.0 * gap), atol=0.06)
    np.testing.assert_array_equal(phi[:, 4096:-1], points)


def test_random_features_of_chosen_nodes():
    made, points = model("rff"), np.random.default_rng(1).dirichlet(np.ones(K), (N, 5))
    some = made.basis.embed(points[[1, 0, 1]], np.array([1, 0, 1])).numpy()
    np.testing.assert_allclose(some, made.basis.embed(points).numpy()[[1, 0, 1]], atol=1e-12)


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [([], []), ([2, 0, 2, 2, 1, 0], [[0, 1, 4], [2, 5], [3]]), ([4, 4], [[0], [1]])],
)
def test_rounds_take_every_node_once_in_its_own_order(rows, wanted):
    assert [places.tolist() for places in rounds(np.array(rows, int))] == wanted
