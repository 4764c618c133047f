"""A landscape that is really merged: small networks fine-tuned from one base on other teachers.

Cluster v asks questions from its own corner of the inputs, which its own teacher answers; expert k
is the base network fine-tuned on little else than cluster k mod V. A merge is the average of the
experts' parameters, its reward the share of right answers on a fixed set of fresh questions.

Source: our own, after model soups (Wortsman et al. 2022, arXiv 2203.05482). Deviation: none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from agents.routers.landscapes.search import Effort, search_best
from sim.rng import Streams

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Generator, Tensor

    from sim.arrays import AnyArray, FloatArray, IntArray

    Layers = list[Tensor]

INPUTS, HIDDEN, CLASSES, TEACHER = 16, 48, 6, 24
_TRAIN, _TEST = 2000, 400  # questions per cluster
_BASE_STEPS, _EXPERT_STEPS, _BATCH, _LR = 400, 300, 128, 3e-3
# where W1, b1, W2 and b2 of a flat network end
_CUTS = (HIDDEN * INPUTS, HIDDEN * (INPUTS + 1), HIDDEN * (INPUTS + 1 + CLASSES))
_OWN = 0.95  # share of an expert's training questions from its own cluster
_CHUNK = 8  # merges evaluated at a time: their activations stay in the cache
# 0.001 to 0.002 short of a search with 20 times the work (K = 8)
_EFFORT = Effort(scatter=500, starts=4, tries=4, turns=120, shrink=0.975)


@dataclass(frozen=True, slots=True)
class MergedNets:
    """Experts that were trained, and the questions that judge their merges.

    `best` is found by search over exact accuracies, a lower bound: a router may beat it by a few
    questions, so regret may be slightly negative.
    """

    weights: AnyArray  # (K, parameters), float32: W1 (48, 16), b1, W2 (6, 48), b2
    questions: AnyArray  # (16, V * 400), float32
    answers: IntArray  # (V * 400,), grouped by cluster
    mixes: FloatArray  # (P, V)
    best: FloatArray  # (P,)

    @property
    def kind(self) -> str:
        """Return the word that draws it."""
        return "mlp"

    @property
    def experts(self) -> int:
        """Return K."""
        return len(self.weights)

    @property
    def clusters(self) -> int:
        """Return V."""
        return int(self.mixes.shape[1])

    @property
    def effort(self) -> Effort:
        """Return how hard the best merge is searched."""
        return _EFFORT

    def reward(self, points: FloatArray) -> FloatArray:
        """Return the exact accuracy of merges per cluster, (..., K) to (..., V)."""
        flat = np.reshape(points, (-1, self.experts)).astype(np.float32)
        parts = [self._accuracy(flat[i : i + _CHUNK]) for i in range(0, len(flat), _CHUNK)]
        return np.concatenate(parts).reshape(*points.shape[:-1], self.clusters)

    def _accuracy(self, points: AnyArray) -> FloatArray:
        import torch  # numpy would start a thread per core for products that need none

        n, (a, b, c) = len(points), _CUTS
        merged = torch.from_numpy(points) @ torch.from_numpy(self.weights)
        x = torch.from_numpy(self.questions).expand(n, INPUTS, -1)
        y = torch.from_numpy(self.answers).expand(n, 1, -1)
        hidden = torch.baddbmm(
            merged[:, a:b, None], merged[:, :a].view(n, HIDDEN, INPUTS), x
        ).relu_()
        logits = torch.baddbmm(merged[:, c:, None], merged[:, b:c].view(n, CLASSES, HIDDEN), hidden)
        right = logits.gather(1, y)[:, 0] >= logits.amax(1)
        return np.asarray(right.view(n, self.clusters, -1).double().mean(2).numpy())

    def seeds(self) -> FloatArray:
        """Return the plain average, (1, K)."""
        return np.full((1, self.experts), 1.0 / self.experts)


@lru_cache(maxsize=32)
def draw_mlp(experts: int, clusters: int, seed: int, mixes: int) -> MergedNets:
    """Train the experts of a landscape and search the best merges (seconds; kept in the process).

    Args:
        experts: K.
        clusters: V.
        seed: Of everything.
        mixes: Size of the pool.
    """
    streams = Streams(seed)
    rng = streams.stream("landscape", "mlp", experts, clusters)
    shares = _diets(experts, clusters, rng)
    weights, questions, answers = _School(
        clusters, streams.integer("landscape", "mlp", experts, clusters)
    ).graduates(shares)
    pool = rng.dirichlet(np.full(clusters, 0.6), mixes)
    land = MergedNets(weights, questions, answers, pool, np.zeros(mixes))
    return replace(land, best=search_best(land, rng))


def shift_mlp(land: MergedNets, seed: int) -> MergedNets:
    """Let the clusters trade their questions, each with another: no expert fits its cluster."""
    rng = Streams(seed).stream("landscape", "shift")
    turn = int(rng.integers(1, land.clusters)) if land.clusters > 1 else 0
    size = len(land.answers) // land.clusters
    moved = replace(
        land,
        questions=np.roll(land.questions, turn * size, axis=1),
        answers=np.roll(land.answers, turn * size),
    )
    return replace(moved, best=search_best(moved, rng))


def _diets(experts: int, clusters: int, rng: np.random.Generator) -> FloatArray:
    """Return the share of each cluster in each expert's training questions, (K, V).

    Experts beyond the first V repeat a cluster, half diluted, so that no two are alike.
    """
    shares = np.full((experts, clusters), (1.0 - _OWN) / clusters)
    shares[np.arange(experts), np.arange(experts) % clusters] += _OWN
    extra = max(0, experts - clusters)
    shares[clusters:] = 0.5 * shares[clusters:] + 0.5 * rng.dirichlet(np.full(clusters, 0.5), extra)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


class _School:
    """Teachers, their questions, and the training of the experts; torch lives here only.

    Args:
        clusters: V.
        seed: Of the torch generator.
    """

    def __init__(self, clusters: int, seed: int) -> None:
        import torch

        self.rng: Generator = torch.Generator().manual_seed(seed)
        shapes = ((INPUTS, TEACHER, 1.5 / INPUTS**0.5), (TEACHER, CLASSES, 1.0))
        base = [self._normal(rows, columns) * scale for rows, columns, scale in shapes]
        self.teachers = [
            [layer + float(layer.std()) * self._normal(*layer.shape) for layer in base]
            for _ in range(clusters)
        ]
        self.corners = [0.6 * self._normal(INPUTS) for _ in range(clusters)]
        self.lessons = [self._ask(v, _TRAIN) for v in range(clusters)]
        self.exams = [self._ask(v, _TEST) for v in range(clusters)]

    def _normal(self, *shape: int) -> Tensor:
        import torch

        return torch.randn(shape, generator=self.rng)

    def _ask(self, cluster: int, size: int) -> tuple[Tensor, Tensor]:
        """Draw questions of a cluster, (size, 16), with its teacher's answers, (size,)."""
        first, second = self.teachers[cluster]
        x = self._normal(size, INPUTS) + self.corners[cluster]
        return x, ((x @ first).tanh() @ second).argmax(1)

    def graduates(self, shares: FloatArray) -> tuple[AnyArray, AnyArray, IntArray]:
        """Train one expert per row of shares, (K, V); return weights, questions, answers."""
        import torch

        blank = [
            self._normal(HIDDEN, INPUTS) / INPUTS**0.5,
            torch.zeros(HIDDEN),
            self._normal(CLASSES, HIDDEN) / HIDDEN**0.5,
            torch.zeros(CLASSES),
        ]
        base = self._train(blank, np.full(shares.shape[1], 1.0 / shares.shape[1]), _BASE_STEPS)
        nets = [self._train(base, row, _EXPERT_STEPS) for row in shares]
        weights = torch.stack([torch.cat([layer.flatten() for layer in net]) for net in nets])
        questions = torch.cat([x for x, _ in self.exams]).T.contiguous()
        answers = torch.cat([y for _, y in self.exams])
        return weights.numpy(), questions.numpy(), answers.numpy().astype(np.int64)

    def _train(self, start: Sequence[Tensor], share: FloatArray, steps: int) -> Layers:
        import torch
        from torch.nn.functional import cross_entropy, linear, relu

        net = [layer.clone().requires_grad_(True) for layer in start]
        optimiser = torch.optim.Adam(net, _LR)
        sizes = np.rint(_BATCH * share).astype(int).tolist()
        for _ in range(steps):
            x, y = self._batch(sizes)
            loss = cross_entropy(linear(relu(linear(x, net[0], net[1])), net[2], net[3]), y)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        return [layer.detach() for layer in net]

    def _batch(self, sizes: Sequence[int]) -> tuple[Tensor, Tensor]:
        import torch

        parts = []
        for (x, y), size in zip(self.lessons, sizes, strict=True):
            pick = torch.randint(0, _TRAIN, (size,), generator=self.rng)
            parts.append((x[pick], y[pick]))
        return torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts])
