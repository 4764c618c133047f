from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from agents.routers.tanbr.memory import Memory
from agents.routers.tanbr.net import Nets

N, K, M, V = 3, 4, 16, 2


def nets(lr=5e-3, batch=8):
    made = Nets((N, K, M, V), lr, batch)
    for row in range(N):
        made.draw(row, np.random.default_rng(row))
    return made


def records(rows=20):
    memory, rng = Memory((N, K, V), 100), np.random.default_rng(7)
    for _ in range(rows):
        for row in range(N):
            x, y, w = rng.dirichlet(np.ones(K)), rng.random(V), rng.random(V) * 100
            memory.add(row, x, y, w, 0)
    return memory


class Twin(torch.nn.Module):
    """One node's network, written as everybody writes it."""

    def __init__(self, flat):
        super().__init__()
        a, b, c, d = M * K, M * K + M, M * K + M + V * M, M * K + M + V * M + V
        shapes = {
            "w1": (0, a, (M, K)),
            "b1": (a, b, (M,)),
            "w2": (b, c, (V, M)),
            "b2": (c, d, (V,)),
        }
        for name, (low, high, shape) in shapes.items():
            setattr(self, name, torch.nn.Parameter(flat[low:high].clone().view(shape)))

    def forward(self, x):
        return torch.tanh(x @ self.w1.T + self.b1) @ self.w2.T + self.b2

    def flat(self):
        return torch.cat([p.detach().flatten() for p in (self.w1, self.b1, self.w2, self.b2)])


def test_a_new_network_answers_zero():
    made = nets()
    for row in range(N):
        answer = Twin(made.weights[row])(torch.rand(50, K))
        assert answer.abs().max().item() < 1e-5
        assert made.weights[row].abs().max().item() > 0.5


def test_features_equal_the_formula():
    made, points = nets(), np.random.default_rng(1).dirichlet(np.ones(K), (N, 5))
    phi = made.embed(points).numpy()
    for row in range(N):
        twin = Twin(made.weights[row])
        hidden = np.tanh(points[row] @ twin.w1.detach().numpy().T + twin.b1.detach().numpy())
        np.testing.assert_allclose(phi[row, :, :M], 2 / math.sqrt(M) * hidden, atol=1e-6)
        np.testing.assert_array_equal(phi[row, :, M:-1], points[row])
        assert (phi[row, :, -1] == 0.5).all()


def test_features_of_chosen_nodes():
    made, points = nets(), np.random.default_rng(1).dirichlet(np.ones(K), (N, 5))
    some = made.embed(points[[2, 0, 2]], np.array([2, 0, 2])).numpy()
    np.testing.assert_allclose(some, made.embed(points).numpy()[[2, 0, 2]], atol=1e-6)


def test_training_equals_autograd_and_torch_adam():
    made, memory, steps = nets(), records(), 25
    before = made.weights.clone()
    made.train(np.array([0, 2]), memory, [np.random.default_rng(100 + r) for r in range(N)], steps)
    assert torch.equal(made.weights[1], before[1])
    for row in (0, 2):
        twin = Twin(before[row])
        adam = torch.optim.Adam(twin.parameters(), lr=made.lr)
        picks = np.random.default_rng(100 + row).integers(0, 20, (steps, made.batch))
        scale = V / memory.w[row, :20].sum(axis=1).mean()
        for pick in picks:
            x, y, w = (torch.tensor(p[row, pick]).float() for p in (memory.x, memory.y, memory.w))
            fit = (w * scale * (twin(x) - y) ** 2).sum() / 2
            start = Twin(before[row])
            pull = sum(
                ((p - q.detach()) ** 2).sum()
                for p, q in zip(twin.parameters(), start.parameters(), strict=True)
            )
            adam.zero_grad()
            (fit / made.batch + 0.5 * (1e-2 / 20) * pull).backward()
            adam.step()
        np.testing.assert_allclose(made.weights[row].numpy(), twin.flat().numpy(), atol=1e-5)
        assert (made.weights[row] - before[row]).abs().max().item() > 0.02


def test_training_fits():
    made, memory = nets(lr=1e-2, batch=32), Memory((N, K, V), 400)
    rng = np.random.default_rng(3)
    points = rng.dirichlet(np.ones(K), 200)
    truth = np.stack([np.exp(-2 * ((points - 0.25) ** 2).sum(1)), points[:, 0]], axis=1)
    for x, y in zip(points, truth, strict=True):
        memory.add(0, x, y, np.ones(V), 0)
    made.train(np.array([0]), memory, [rng], 800)
    answer = Twin(made.weights[0])(torch.tensor(points).float()).detach().numpy()
    assert ((answer - truth) ** 2).mean() < 0.05 * truth.var()


def test_no_nodes_or_no_steps_train_nothing():
    made, memory = nets(), records()
    before = made.weights.clone()
    made.train(np.array([], dtype=int), memory, [], 5)
    made.train(np.array([0]), memory, [np.random.default_rng(0)], 0)
    assert torch.equal(made.weights, before)


def test_snapshot_brings_the_optimiser_back():
    made, memory, other = nets(), records(), nets()
    rngs = [np.random.default_rng(r) for r in range(N)]
    made.train(np.arange(N), memory, rngs, 5)
    other.restore(made.snapshot())
    for one in (made, other):
        one.train(np.arange(N), memory, [np.random.default_rng(9 + r) for r in range(N)], 5)
    assert torch.equal(made.weights, other.weights)


@pytest.mark.parametrize("rows", [1, 3])
def test_bytes_are_counted(rows):
    assert nets().nbytes == 4 * 4 * (M * K + M + V * M + V)


@pytest.mark.parametrize("clusters", [1, 2])
def test_renewing_resets_the_whole_output_of_a_cluster_and_no_other(clusters):
    made = Nets((1, K, M, clusters), 5e-3, 8)
    made.draw(0, np.random.default_rng(0))
    hidden, last = M * K + M, M * K + M + clusters * M
    made.weights += 1.0
    made.mean += 1.0
    made.renew(0, np.array([clusters - 1]))
    own = [*range(last - M, last), last + clusters - 1]
    rest = [p for p in range(len(made.weights[0])) if p not in own]
    np.testing.assert_array_equal(made.weights[0, own], made.start[0, own])
    np.testing.assert_array_equal(made.weights[0, rest], made.start[0, rest] + 1.0)
    assert made.mean[0, own].abs().max() == 0.0
    assert (made.mean[0, :hidden] == 1.0).all()
