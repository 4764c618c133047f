"""The monitor of one block: which cluster a request falls in, and when the clusters are outdated.

It sees embeddings of the node's own requests and nothing hidden. The composition of clusters by
task, which metrics need, is kept beside it and never handed to a router.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from agents.hosting.feedback import NOBODY
from agents.hosting.recluster import Refit, nearest, recluster
from sim.ports import Receipts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agents.hosting.model import HostedModel
    from sim.arrays import BoolArray, FloatArray, IntArray
    from sim.ports import ModelCard

RING = 512  # embeddings that a node keeps of its last requests
_GROWTH = 1.1  # mean distance over its running median
_ERRORS = 3.0  # and so many standard errors of that mean above it
_SLOTS = 3  # slots running
_LEAST = 8  # requests of a slot that counts
_WARM = 5  # slots behind the first median
_MEMORY = 200  # slots behind a running median
_FLOAT_BYTES = 8.0


def monitor_flop(card: ModelCard) -> float:
    """Return what assigning one request to a cluster costs: pool its embeddings, find the nearest.

    Source: 2 d FLOP per token (weighted sum) and 3 d per centroid (squared distance). Deviation:
    the embeddings are there already, since the model has just served the request.
    """
    return card.d_model * (2.0 * card.tokens + 3.0 * card.clusters)


@dataclass(frozen=True, slots=True)
class Clusters:
    """Centroids in force on a node, and what follows from them for every input of the pool."""

    centroids: FloatArray  # (V, D)
    label: IntArray  # (P,), nearest centroid
    distance: FloatArray  # (P,), to it
    to_task: FloatArray  # (V, M), composition by task, for metrics only


@dataclass(slots=True)
class _Node:
    """What the monitor of one node remembers."""

    clusters: Clusters
    ring: deque[int] = field(default_factory=lambda: deque(maxlen=RING))
    mean: deque[float] = field(default_factory=lambda: deque(maxlen=_MEMORY))
    spread: deque[float] = field(default_factory=lambda: deque(maxlen=_MEMORY))
    late: list[int] = field(default_factory=list)  # requests of the slots of the alarm so far


@dataclass(frozen=True, slots=True)
class Watch:
    """What the monitor says at one boundary."""

    counts: FloatArray  # (n, V), requests served in the last slot by cluster
    to_task: Sequence[FloatArray]  # per node, (V, M)
    cost: Receipts  # of the monitor, for routers that keep an estimate of the mix
    renewed: BoolArray | None = None  # (n, V), see `ContextBlock.renewed`
    refitted: Sequence[int] = ()  # rows


class Monitor:
    """Assigns requests to clusters, and with `refit` notices when traffic leaves them.

    Source: TANBR.md section 4, RE-CLUSTER: the mean distance of a slot's embeddings to their
    centroid exceeds 1.5 times its running median for 3 slots. Deviation: 1.1 times and 3 standard
    errors. Embeddings have many dimensions, so known inputs lie far from their centroids, too:
    measured on `stream`, an unknown task lies 1.2 to 1.4 times as far as known ones and 1.5 never
    triggers; a change between known tasks stays below 1.1. Slots with fewer than 8 requests do not
    count, nor do the first 5; slots above the limit do not enter the median.

    A restarted node starts with the shipped centroids again.

    Args:
        model: Shipped clusters and the pool's embeddings.
        nodes: Number of nodes n.
        refit: Cluster anew; otherwise the shipped clusters stay, at no memory.
    """

    def __init__(self, model: HostedModel, nodes: int, *, refit: bool) -> None:
        self._model, self._refit = model, refit
        self._shipped = _shipped(model, refit)
        self._nodes = [_Node(self._shipped) for _ in range(nodes)]
        self._flop = monitor_flop(model.card)

    def restart(self, row: int) -> None:
        """Forget all that a node has seen."""
        self._nodes[row] = _Node(self._shipped)

    def assign(self, rows: IntArray, inputs: IntArray) -> IntArray:
        """Return the clusters of requests, (R,); those of no row (NOBODY) by shipped clusters."""
        found = self._shipped.label[inputs]
        if self._refit:
            for row in np.unique(rows[rows != NOBODY]).tolist():
                mine = rows == row
                found[mine] = self._nodes[row].clusters.label[inputs[mine]]
        return found

    def observe(self, rows: IntArray, inputs: IntArray, awake: BoolArray) -> Watch:
        """Count what the nodes served in the last slot, and cluster anew where it is time.

        Args:
            rows: Node of each request, (R,), or NOBODY.
            inputs: What it asked, (R,).
            awake: Nodes that were up throughout, (n,): only they watch their traffic.
        """
        n, clusters = len(self._nodes), self._model.card.clusters
        cost, refits = Receipts.free(n), dict[int, Refit]()
        if self._refit:
            for row in np.flatnonzero(awake).tolist():
                refit = self._look(self._nodes[row], inputs[rows == row])
                if refit is not None:
                    refits[row] = refit
            cost.state_bytes[:] = self._state_bytes()
        mine = rows != NOBODY
        counts: FloatArray = np.zeros((n, clusters))
        np.add.at(counts, (rows[mine], self.assign(rows[mine], inputs[mine])), 1.0)
        cost.flop[:] = counts.sum(axis=1) * self._flop
        for row, refit in refits.items():
            cost.flop[row] += refit.flop
            cost.read_bytes[row] += refit.read_bytes
        to_task = [node.clusters.to_task for node in self._nodes]
        return Watch(counts, to_task, cost, _renewed(refits, n, clusters), list(refits))

    def _state_bytes(self) -> float:
        """Count a node's centroids, its last embeddings and its running medians."""
        size: int = self._shipped.centroids.size + RING * self._shipped.centroids.shape[1]
        return _FLOAT_BYTES * (size + 2 * _MEMORY)

    def _look(self, node: _Node, inputs: IntArray) -> Refit | None:
        """Take in what a node served in a slot; cluster anew if its traffic left the clusters."""
        node.ring.extend(inputs.tolist())
        if len(inputs) < _LEAST:
            return None
        distance = node.clusters.distance[inputs]
        mean, spread = float(distance.mean()), float(distance.std())
        if not _left(node, mean, len(inputs)):
            node.mean.append(mean)
            node.spread.append(spread)
            node.late.clear()
            return None
        node.late.append(len(inputs))
        return self._renew(node) if len(node.late) == _SLOTS else None

    def _renew(self, node: _Node) -> Refit:
        # Slots too small to count have put their requests into the ring as well.
        recent = min(sum(node.late), len(node.ring))
        kept = np.array(node.ring, np.int64)
        points, old = self._model.embeddings[kept], node.clusters.centroids
        refit = recluster(points, recent, old, float(np.median(node.mean)))
        node.clusters = _clusters(self._model, refit.centroids, kept)
        node.mean.clear()
        node.spread.clear()
        node.late.clear()
        return refit


def _left(node: _Node, mean: float, n: int) -> bool:
    """Tell whether a slot's mean distance is clearly above what is usual on the node."""
    if len(node.mean) < _WARM:
        return False
    usual, spread = float(np.median(node.mean)), float(np.median(node.spread))
    return mean > max(_GROWTH * usual, usual + _ERRORS * spread / math.sqrt(n))


def _shipped(model: HostedModel, refit: bool) -> Clusters:
    label = np.asarray(model.cluster_of, np.int64)
    if not refit:
        nothing = np.zeros(0)
        return Clusters(nothing, label, nothing, model.cluster_to_task)
    away = model.embeddings - model.centroids[label]
    distance = np.sqrt((away**2).sum(axis=1))
    return Clusters(model.centroids, label, distance, model.cluster_to_task)


def _clusters(model: HostedModel, centroids: FloatArray, kept: IntArray) -> Clusters:
    """Assign the pool's inputs to new centroids.

    A cluster's composition counts the inputs of those tasks only that the requests behind the new
    centroids had, as that of a fit on some tasks does: what a node never saw also lies near some
    centroid.
    """
    label, distance = nearest(model.embeddings, centroids)
    seen = np.isin(model.task_of, model.task_of[kept])
    table = np.zeros((len(centroids), len(model.card.tasks)))
    np.add.at(table, (label[seen], model.task_of[seen]), 1.0)
    # a cluster without any such input says nothing of tasks: the shares of them all
    table[table.sum(axis=1) == 0.0] = table.sum(axis=0)
    return Clusters(centroids, label, distance, table / table.sum(axis=1, keepdims=True))


def _renewed(refits: dict[int, Refit], n: int, clusters: int) -> BoolArray | None:
    if not refits:
        return None
    renewed: BoolArray = np.zeros((n, clusters), np.bool_)
    for row, refit in refits.items():
        renewed[row] = refit.renewed
    return renewed
