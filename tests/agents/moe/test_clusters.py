"""Pseudo-tasks: k-means against brute force, and clusters that follow the tasks without labels."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from agents.moe.clusters import assign, kmeans, pool_embeddings, token_weights
from agents.moe.model import PAD
from sim.rng import Streams

if TYPE_CHECKING:
    from agents.moe.runtime import Runtime
    from agents.moe.train import Trained


def test_kmeans_finds_the_best_partition_of_few_points() -> None:
    points = Streams(3).stream("points").normal(size=(9, 2))
    centroids = kmeans(points, 2, Streams(1).stream("k"))
    found = ((points - centroids[assign(points, centroids)]) ** 2).sum()
    best = np.inf
    for label in product((0, 1), repeat=8):
        mask = np.array((0, *label)) == 1
        if mask.any():
            parts = (points[mask], points[~mask])
            best = min(best, sum(((p - p.mean(0)) ** 2).sum() for p in parts))
    np.testing.assert_allclose(found, best)


def test_assign_is_the_nearest_centroid() -> None:
    rng = Streams(5).stream("points")
    points, centroids = rng.normal(size=(40, 3)), rng.normal(size=(6, 3))
    slow = [min(range(6), key=lambda v, p=p: ((p - centroids[v]) ** 2).sum()) for p in points]
    assert assign(points, centroids).tolist() == slow


def test_more_clusters_than_distinct_points_stay_finite() -> None:
    centroids = kmeans(np.ones((5, 2)), 4, Streams(1).stream("k"))
    assert np.isfinite(centroids).all()
    assert centroids.shape == (4, 2)


def test_token_weights_favour_rare_tokens_and_skip_padding() -> None:
    inputs = np.array([[1, 2, 2, 2], [1, 2, 3, PAD]], np.uint8)
    weights = token_weights(inputs, 5)
    assert weights[PAD] == 0.0
    assert weights[4] == 1.0  # never seen
    assert weights[2] < weights[1] < weights[3] < 1.0
    np.testing.assert_allclose(weights[3], 1e-3 / (1e-3 + 1 / 7), rtol=1e-6)


def test_pooling_is_the_weighted_mean_of_embeddings(trained: Trained) -> None:
    inputs = trained.suite.service.flat()[0][:6]
    weights = token_weights(inputs, trained.model.shape.vocab)
    table = trained.model.embed.weight.detach().double().numpy()
    slow = [
        sum(weights[t] * table[t] for t in row) / sum(weights[t] for t in row) for row in inputs
    ]
    np.testing.assert_allclose(pool_embeddings(trained.model, inputs, weights), slow, rtol=1e-5)


def test_shipped_clusters_follow_tasks_on_unseen_inputs(stream: Runtime) -> None:
    guess = stream.cluster_to_task.argmax(1)[stream.cluster_of]
    assert (guess == stream.task_of).mean() > 0.9
    np.testing.assert_allclose(stream.cluster_to_task.sum(1), 1.0)
