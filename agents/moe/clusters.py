"""Pseudo-tasks without tags: k-means on pooled input embeddings, fitted on unlabelled inputs.

The plain mean is drowned by frequent function words (measured on `stream`: 34 % of inputs fall in
their task's cluster, 95 % with token weights; labels chose this pooling once, the fit reads none).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from agents.moe.model import PAD, Encoder

if TYPE_CHECKING:
    from sim.arrays import AnyArray, FloatArray, IntArray

_SMOOTH = 1e-3
_RESTARTS = 10
_ROUNDS = 100


@dataclass(frozen=True, slots=True)
class Fit:
    """Clusters of some inputs; arrays hold what their stored float32 form holds."""

    token_weights: FloatArray  # (vocab,); (1,) for patches
    centroids: FloatArray  # (V, D)
    cluster: IntArray  # (N,), of the inputs fitted on


def fit(model: Encoder, inputs: AnyArray, clusters: int, rng: np.random.Generator) -> Fit:
    """Cluster inputs by their pooled embeddings; no label is read.

    Args:
        model: Whose embedding table is used.
        inputs: What to cluster, (N, T) or (N, T-1, patch), uint8.
        clusters: V.
        rng: Draws the starting centroids.
    """
    tokens = model.shape.kind == "tokens"
    weights = token_weights(inputs, model.shape.vocab) if tokens else np.ones(1)
    points = pool_embeddings(model, inputs, weights)
    centroids = kmeans(points, clusters, rng).astype(np.float32).astype(np.float64)
    return Fit(weights, centroids, assign(points, centroids))


def token_weights(inputs: AnyArray, vocab: int) -> FloatArray:
    """Return how much each token counts: rare ones more, padding nothing, (vocab,).

    Source: smooth inverse frequency, a / (a + p(token)), a = 1e-3 (Arora, Liang and Ma 2017).
    Deviation: the common component is not removed.
    """
    counts = np.bincount(inputs.reshape(-1), minlength=vocab).astype(np.float64)
    counts[PAD] = 0.0
    weights: FloatArray = _SMOOTH / (_SMOOTH + counts / counts.sum())
    weights[PAD] = 0.0
    # As stored, so that a loaded checkpoint repeats the assignment exactly.
    return weights.astype(np.float32).astype(np.float64)


def pool_embeddings(model: Encoder, inputs: AnyArray, weights: FloatArray) -> FloatArray:
    """Return the mean embedding of each input, positions left out, (P, D).

    Args:
        model: Whose embedding table is used.
        inputs: The pool, (P, T) or (P, T-1, patch), uint8.
        weights: `token_weights`; ignored for patches, which all count alike.
    """
    raw = torch.from_numpy(inputs)
    with torch.inference_mode():
        features = model.features(raw).double()
        if model.shape.kind == "patches":
            return features.mean(1).numpy()
        share = torch.from_numpy(weights)[raw.long()]
        return ((features * share[..., None]).sum(1) / share.sum(1, keepdim=True)).numpy()


def assign(points: FloatArray, centroids: FloatArray) -> IntArray:
    """Return the nearest centroid of each point (the first, if several are equally near), (P,)."""
    nearest: IntArray = _distances(points, centroids).argmin(1)
    return nearest


def kmeans(points: FloatArray, clusters: int, rng: np.random.Generator) -> FloatArray:
    """Return the centroids (V, D) of the best of several k-means runs.

    Source: Lloyd 1982 with k-means++ seeding (Arthur and Vassilvitskii 2007). Deviation: an empty
    cluster restarts at the point that is farthest from its centroid.
    """
    runs = [_lloyd(points, _seed(points, clusters, rng)) for _ in range(_RESTARTS)]
    inertia = [float(_distances(points, centroids).min(1).sum()) for centroids in runs]
    return runs[int(np.argmin(inertia))]


def _distances(points: FloatArray, centroids: FloatArray) -> FloatArray:
    """Return squared distances, (P, V)."""
    squares = (points**2).sum(1)[:, None] + (centroids**2).sum(1)
    distances: FloatArray = np.maximum(squares - 2.0 * points @ centroids.T, 0.0)
    return distances


def _seed(points: FloatArray, clusters: int, rng: np.random.Generator) -> FloatArray:
    """Draw starting centroids, each far from those before."""
    chosen = [points[rng.integers(len(points))]]
    while len(chosen) < clusters:
        weight = _distances(points, np.stack(chosen)).min(1)
        total = weight.sum()
        share = weight / total if total > 0.0 else np.full(len(points), 1.0 / len(points))
        chosen.append(points[rng.choice(len(points), p=share)])
    return np.stack(chosen)


def _lloyd(points: FloatArray, centroids: FloatArray) -> FloatArray:
    """Alternate assignment and means until nothing moves."""
    label = np.full(len(points), -1)
    for _ in range(_ROUNDS):
        distances = _distances(points, centroids)
        nearest = distances.argmin(1)
        if np.array_equal(nearest, label):
            break
        label = nearest
        centroids = _means(points, label, distances)
    return centroids


def _means(points: FloatArray, label: IntArray, distances: FloatArray) -> FloatArray:
    """Return the mean of each cluster."""
    clusters = distances.shape[1]
    empty = (np.bincount(label, minlength=clusters) == 0).any()
    far = iter(np.argsort(-distances.min(1), kind="stable") if empty else ())
    return np.stack(
        [
            points[label == v].mean(0) if (label == v).any() else points[next(far)]
            for v in range(clusters)
        ]
    )
