from __future__ import annotations

from collections import deque

import numpy as np
import pytest
import torch

from agents.routers.tanbr.memory import Memory

K, V = 3, 2


def record(i):
    return np.full(K, i), np.full(V, -i), np.full(V, i + 0.5), i


def contents(memory, row):
    return sorted(memory.decided[row, : memory.size[row]].tolist())


@pytest.mark.parametrize("limit", [16, 100, 1000])
def test_a_ring_equals_a_bounded_deque(limit):
    memory, twins = Memory((2, K, V), limit), [deque(maxlen=limit), deque(maxlen=limit)]
    rng = np.random.default_rng(limit)
    for i in range(900):
        row = int(rng.random() < 0.3)
        if rng.random() < 0.01:
            keep = int(rng.integers(1, 20))
            memory.keep_last(row, keep)
            twins[row] = deque(list(twins[row])[-keep:], maxlen=limit)
        memory.add(row, *record(i))
        twins[row].append(i)
    for row, twin in enumerate(twins):
        assert contents(memory, row) == sorted(twin)
        places = memory.decided[row, : memory.size[row]]
        np.testing.assert_array_equal(memory.x[row, : memory.size[row], 0], places)
        np.testing.assert_array_equal(memory.w[row, : memory.size[row], 1], places + 0.5)


def test_the_last_records_survive_in_a_full_ring():
    memory = Memory((1, K, V), 16)
    for i in range(40):
        memory.add(0, *record(i))
    memory.keep_last(0, 5)
    assert contents(memory, 0) == [35, 36, 37, 38, 39]
    assert memory.oldest(0) == 35
    memory.add(0, *record(40))
    assert contents(memory, 0) == [35, 36, 37, 38, 39, 40]


def test_precision_and_take():
    memory = Memory((2, K, V), 16)
    for i in range(3):
        memory.add(1, *record(i))
    scale = 1.0 / memory.precision(np.array([1]))
    assert scale.tolist() == [1.0 / 3.0]  # (1 + 3 + 5) / 3
    x, y, w = memory.deck(np.array([1]), scale).take(torch.tensor([[2, 0]]))
    assert x[0, :, 0].tolist() == [2.0, 0.0]
    assert y[0, :, 0].tolist() == [-2.0, 0.0]
    np.testing.assert_allclose(w[0, :, 0].numpy(), [2.5 / 3, 0.5 / 3], rtol=1e-6)


def test_an_empty_node_has_no_oldest():
    assert Memory((1, K, V), 16).oldest(0) == -1


def test_a_deck_deals_the_records_of_every_node():
    memory, rng = Memory((4, K, V), 16), np.random.default_rng(1)
    for row, size in enumerate((5, 0, 20, 3)):  # node 2 has gone round its ring
        for _ in range(size):
            memory.add(row, rng.random(K), rng.random(V), rng.random(V), 0)
    rows, scale = np.array([3, 0, 2]), np.array([0.5, 2.0, 3.0])
    picks = np.stack([rng.integers(0, memory.size[r], (6, 4)) for r in rows], axis=1)
    dealt = memory.deck(rows, scale).take(torch.from_numpy(picks))
    for step, node, draw in np.ndindex(6, 3, 4):
        at = rows[node], picks[step, node, draw]
        wanted = memory.x[at], memory.y[at], memory.w[at] * scale[node]
        for part, want in zip(dealt, wanted, strict=True):
            assert part[step, node, draw].tolist() == want.astype(np.float32).tolist()
