"""The gradient model against autograd and explicit inverses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from agents.routers.gradient.config import GradientParams
from agents.routers.gradient.model import GradientModel
from agents.routers.model import Observations
from sim.errors import InputError
from sim.ports import Calibration

K, V, WIDTH = 3, 2, 8
SMALL = GradientParams(width=WIDTH, batch=16, restart_steps=20, upsilon=0.7, lambda0=0.5)
WAYS = [
    pytest.param("full", False, id="full"),
    pytest.param("full", True, id="full-pooled"),
    pytest.param("diagonal", False, id="diagonal"),
    pytest.param("diagonal", True, id="diagonal-pooled"),
]


def model(nodes=1, pooled=False, seed=0, **changes):
    made = GradientModel((nodes, K, V), replace(SMALL, **changes), pooled)
    for row in range(nodes):
        made.draw(row, np.random.default_rng(seed + row))
    return made


def seen(count, rows=None, seed=1, pooled=False):
    rng = np.random.default_rng(seed)
    reward = rng.random((count, V))
    if pooled:
        reward[:] = reward[:, :1]
    requests = rng.integers(1, 20, (count, V)).astype(float)
    requests[::3, 0] = 0.0
    rows = np.zeros(count, int) if rows is None else np.array(rows)
    return Observations(rows, rng.dirichlet(np.ones(K), count), reward, requests, np.arange(count))


def part(all_, rows):
    names = ("row", "point", "reward", "count", "decided")
    return Observations(*(getattr(all_, name)[rows] for name in names))


class Twin:
    """One node, written out: autograd for slopes, float64, the inverse of the whole sum."""

    def __init__(self, one, row=0):
        p = one.params
        flat = one.nets.weights[row].double()
        a, b, c, _ = one.nets.cuts
        self.tanh, self.upsilon = p.activation == "tanh", p.upsilon
        self.theta = torch.cat([flat[:b], flat[b:c] * WIDTH**0.5, flat[c:]]).requires_grad_(True)
        self.cuts = (a, b, c)
        self.diagonal = p.covariance == "diagonal"
        self.Z = p.lambda0 * torch.eye(len(flat), dtype=torch.float64)

    def value(self, x):
        a, b, c = self.cuts
        w1, b1 = self.theta[:a].view(WIDTH, K), self.theta[a:b]
        w2, b2 = self.theta[b:c].view(V, WIDTH) / WIDTH**0.5, self.theta[c:]
        z = w1 @ torch.from_numpy(x) + b1
        return w2 @ (torch.tanh(z) if self.tanh else torch.relu(z)) + b2

    def slope(self, x, mix):
        return torch.autograd.grad(self.value(x) @ torch.from_numpy(mix), self.theta)[0]

    def judge(self, x, mix):
        g = self.slope(x, mix)
        Z = torch.diag(torch.diag(self.Z)) if self.diagonal else self.Z
        spread = float(g @ torch.linalg.inv(Z) @ g)
        return float(self.value(x).detach() @ torch.from_numpy(mix)), self.upsilon * spread**0.5

    def observe(self, x, count, pooled):
        share = count / count.sum()
        for g, w in (
            [(self.slope(x, share), 1.0)]
            if pooled
            else [(self.slope(x, np.eye(V)[v]), share[v]) for v in range(V)]
        ):
            self.Z = self.Z + w * torch.outer(g, g)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize(("covariance", "pooled"), WAYS)
def test_mean_and_width_equal_autograd_and_the_explicit_inverse(covariance, pooled, activation):
    one = model(pooled=pooled, covariance=covariance, activation=activation)
    start = seen(6, seed=9, pooled=pooled)
    one.observe(start)
    one.fit(np.array([0]), [np.random.default_rng(0)], 30)  # off the mirrored start
    one.covariance.clear(0)
    twin = Twin(one)
    told = seen(40, pooled=pooled)
    one.observe(told)
    for x, count in zip(told.point, told.count, strict=True):
        twin.observe(x, count, pooled)
    points = np.random.default_rng(3).dirichlet(np.ones(K), 20)
    for mix in (np.array([0.3, 0.7]), np.array([1.0, 0.0])):
        mean, deviation = one.aim(mix[None]).both(points[None])
        want = np.array([twin.judge(x, mix) for x in points])
        np.testing.assert_allclose(mean[0], want[:, 0], atol=1e-5)
        np.testing.assert_allclose(deviation[0], want[:, 1], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("covariance", "pooled"), WAYS)
def test_surprise_is_what_was_expected_before_learning(covariance, pooled):
    one = model(pooled=pooled, covariance=covariance)
    one.observe(seen(5, seed=7, pooled=pooled))
    told = seen(1, pooled=pooled)
    share = told.count[0] / told.count[0].sum()
    mixes = [share] * V if pooled else np.eye(V)  # one number is that of the slot's own mix
    judged = [one.aim(mix[None]).both(told.point[None]) for mix in mixes]
    surprise = one.observe(told)
    np.testing.assert_allclose(surprise.mean[0], [m[0, 0] for m, _ in judged], atol=1e-6)
    np.testing.assert_allclose(surprise.variance[0], [d[0, 0] ** 2 for _, d in judged], rtol=1e-4)


@pytest.mark.parametrize("pooled", [False, True])
def test_the_training_gradient_equals_autograd_of_the_written_loss(pooled):
    one = model(pooled=pooled)
    rng = np.random.default_rng(2)
    x, y, w = (torch.from_numpy(rng.random((1, 5, n)).astype(np.float32)) for n in (K, V, V))
    if pooled:
        y = y[..., :1].expand(-1, -1, V)
    flat = (one.nets.weights + 0.1).requires_grad_(True)
    w1, b1, w2, b2 = one.nets._views(flat)
    value = torch.tanh(x @ w1.transpose(1, 2) + b1) @ w2.transpose(1, 2) + b2
    if pooled:
        total = w.sum(2)
        loss = (total * ((w * value).sum(2) / total - y[..., 0]) ** 2).sum() / 2
    else:
        loss = (w * (value - y) ** 2).sum() / 2
    want = torch.autograd.grad(loss, flat)[0]
    got = one.nets._gradient(flat.detach(), x, y, w)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_a_new_network_answers_zero():
    mean, deviation = model().aim(np.array([[0.5, 0.5]])).both(seen(6).point[None])
    np.testing.assert_allclose(mean, 0.0, atol=1e-6)
    assert (deviation > 0.0).all()


@pytest.mark.parametrize("pooled", [False, True])
def test_it_learns_a_smooth_reward(pooled):
    one = model(pooled=pooled, width=32)
    rng = np.random.default_rng(4)
    points = rng.dirichlet(np.ones(K), 200)
    count = rng.integers(1, 20, (200, V)).astype(float)
    reward = np.stack([points[:, 0], 1.0 - points[:, 1] ** 2], axis=1)
    slot = (reward * count).sum(1, keepdims=True) / count.sum(1, keepdims=True)
    given = np.repeat(slot, V, 1) if pooled else reward
    one.observe(Observations(np.zeros(200, int), points, given, count, np.arange(200)))
    one.fit(np.array([0]), [rng], 400)
    mean, _ = one.aim(np.array([[0.5, 0.5]])).both(points[None])
    assert np.abs(mean[0] - reward.mean(axis=1)).mean() < 0.03


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_a_node_does_not_depend_on_its_company(covariance):
    both, alone = model(2, covariance=covariance), model(1, covariance=covariance, seed=1)
    told = seen(30, rows=[0, 1, 1] * 10)
    both.observe(told)
    mine = part(told, told.row == 1)
    alone.observe(replace(mine, row=np.zeros_like(mine.row)))
    both.fit(np.arange(2), [np.random.default_rng(s) for s in (5, 6)], 10)
    alone.fit(np.arange(1), [np.random.default_rng(6)], 10)
    points, mix = seen(6).point, np.array([[0.4, 0.6]])
    pair = both.aim(np.repeat(mix, 2, 0)).both(np.stack([points, points]))
    single = alone.aim(mix).both(points[None])
    for a, b in zip(pair, single, strict=True):
        np.testing.assert_array_equal(a[1], b[0])


def test_rows_choose_nodes():
    one = model(3)
    one.observe(seen(12, rows=[0, 1, 2] * 4))
    mix, points = np.full((3, V), 0.5), seen(12).point.reshape(3, 4, K)
    every, few = one.aim(mix).both(points), one.aim(mix).both(points[[2, 0]], np.array([2, 0]))
    for a, b in zip(every, few, strict=True):
        np.testing.assert_array_equal(a[[2, 0]], b)


def test_counts_of_zero_teach_nothing_of_that_cluster():
    one = model()
    told = seen(3)
    told.count[:, 0] = 0.0
    told.reward[:, 0] = 0.0
    before = one.covariance.state[0, one.nets.places(np.array([0]))].clone()
    one.observe(told)
    after = one.covariance.state[0, one.nets.places(np.array([0]))]
    assert torch.equal(after, before)
    assert (one.memory.w[0, :3, 0] == 0.0).all()


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_renewed_clusters_start_again_and_the_others_stay(covariance):
    one = model(covariance=covariance)
    one.observe(seen(20))
    one.fit(np.array([0]), [np.random.default_rng(0)], 50)
    points = seen(5, seed=8).point[None]
    kept, gone = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    before, old = one.aim(kept).both(points), one.aim(gone).both(points)
    one.renew(0, np.array([1]))
    for a, b in zip(one.aim(kept).both(points), before, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert (one.aim(gone).both(points)[1] > old[1]).all()
    assert (one.memory.w[0, : one.memory.size[0], 1] == 0.0).all()
    assert (one.memory.w[0, : one.memory.size[0], 0] > 0.0).all()  # records of the other only
    places = one.nets.places(np.array([1]))
    assert torch.equal(one.nets.weights[0, places], one.nets.start[0, places])


def test_pooled_records_that_hold_a_renewed_cluster_go_with_their_confidence():
    one, fresh = model(pooled=True), model(pooled=True)
    told = seen(3, pooled=True)
    told.count[:] = [[1.0, 9.0], [9.0, 0.0], [5.0, 5.0]]
    one.observe(told)
    one.renew(0, np.array([1]))
    np.testing.assert_array_equal(one.memory.x[0, : one.memory.size[0]], told.point[[1]])
    fresh.observe(part(told, np.array([1])))
    torch.testing.assert_close(one.covariance.state, fresh.covariance.state)


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_back_undoes_everything_since_the_mark(covariance):
    one, calm = model(covariance=covariance), model(covariance=covariance)
    for each in (one, calm):
        each.observe(seen(6))
        each.fit(np.array([0]), [np.random.default_rng(1)], 5)
    small = one.state_bytes(0)
    one.mark(0)
    assert one.state_bytes(0) > small
    one.observe(seen(4, seed=5))
    one.fit(np.array([0]), [np.random.default_rng(2)], 5)
    copy = model(covariance=covariance)
    copy.restore(one.snapshot())
    points, mix = seen(5, seed=8).point[None], np.array([[0.5, 0.5]])
    want = calm.aim(mix).both(points)
    for each in (one, copy):
        assert each.back(0)
        for a, b in zip(each.aim(mix).both(points), want, strict=True):
            np.testing.assert_array_equal(a, b)
        assert each.memory.size[0] == 6


def test_there_is_no_way_back_without_a_mark_or_past_a_fresh_start():
    one = model()
    one.observe(seen(6))
    assert not one.back(0)
    one.mark(0)
    one.forget(0, 3, np.random.default_rng(0))
    assert not one.back(0)


def test_a_node_that_renewed_everything_can_be_fitted():
    one = model()
    one.observe(seen(4))
    one.renew(0, np.arange(V))
    assert one.oldest(0) == -1
    before = one.nets.weights.clone()
    one.fit(np.array([0]), [np.random.default_rng(0)], 5)
    assert torch.equal(one.nets.weights, before)
    assert not one.stale(0)


def test_forgetting_leaves_the_last_records_and_their_confidence():
    one, fresh = model(), model(seed=50)
    told = seen(10)
    one.observe(told)
    one.forget(0, 4, np.random.default_rng(50))
    fresh.observe(part(told, np.arange(6, 10)))
    torch.testing.assert_close(one.covariance.state, fresh.covariance.state, rtol=1e-4, atol=1e-5)
    assert one.oldest(0) == 6


def test_a_warm_start_is_copied_and_knows_the_calibration():
    rng = np.random.default_rng(0)
    points = np.vstack([np.eye(K), rng.dirichlet(np.ones(K), 6)])
    reward = np.stack([points[:, 0], 1.0 - points[:, 0]], axis=1)
    template = model(restart_steps=300)
    template.warm_up(Calibration(points, reward, np.full(V, 500.0), np.full(V, 0.5)), rng)
    two = model(2)
    two.copy(1, template)
    mean, deviation = two.aim(np.array([[1.0, 0.0]] * 2)).both(np.stack([points, points]))
    assert np.abs(mean[1] - reward[:, 0]).max() < 0.1
    assert (deviation[1] < deviation[0]).all()
    assert two.state_bytes(1) > two.state_bytes(0)


@pytest.mark.parametrize(("covariance", "pooled"), WAYS)
def test_a_cluster_without_calibration_items_teaches_nothing(covariance, pooled):
    points, reward = np.eye(K), np.full((K, V), 0.5)
    known = Calibration(points, reward, np.array([500.0, 0.0]), np.array([1.0, 0.0]))
    one = model(pooled=pooled, covariance=covariance)
    one.warm_up(known, np.random.default_rng(0))
    mean, deviation = one.aim(np.array([[0.5, 0.5]])).both(points[None])
    assert np.isfinite(mean).all()
    assert (deviation > 0.0).all()
    assert one.memory.size[0] == K


@pytest.mark.parametrize(("covariance", "pooled"), WAYS)
def test_a_snapshot_brings_everything_back(covariance, pooled):
    one = model(pooled=pooled, covariance=covariance)
    one.observe(seen(8, pooled=pooled))
    other = model(pooled=pooled, covariance=covariance, seed=77)
    other.restore(one.snapshot())
    for each in (one, other):
        each.observe(seen(5, seed=3, pooled=pooled))
        each.fit(np.array([0]), [np.random.default_rng(1)], 5)
    for name, value in one.snapshot().items():
        np.testing.assert_array_equal(value, other.snapshot()[name])


def test_a_full_matrix_costs_more_than_a_diagonal_one():
    full, diagonal = model(), model(covariance="diagonal")
    for ask in ("work_score", "work_observe"):
        args = (0, 10.0, 2.0) if ask == "work_score" else (0, 2.0)
        assert getattr(full, ask)(*args).flop > getattr(diagonal, ask)(*args).flop > 0.0
    assert full.work_fit(0, 10.0).flop == 10.0 * full.work_fit(0, 1.0).flop
    assert full.state_bytes(0) > diagonal.state_bytes(0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 7}, "width: expected an even number, found 7"),
        ({"activation": "gelu"}, r"unknown activation .* 'gelu'.* \(allowed: relu, tanh\)"),
        ({"covariance": "ful"}, "unknown covariance .* 'ful'; did you mean 'full'"),
    ],
)
def test_bad_parameters_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        replace(SMALL, **changes)
