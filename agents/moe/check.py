"""The build check: is the reward landscape worth steering in?

Measured on the calibration split only. Every pair's best merge is cross-fitted: chosen on one
half of the items and scored on the other, both ways, so that picking among candidates does not
flatter it. The best single expert is picked on the items that score it, which flatters *it*.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from agents.moe.scoring import MergedScorer, score_gated
from agents.moe.tables import task_experts, vertices
from agents.moe.train import Progress, silent
from sim.errors import InputError
from sim.rng import Streams

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agents.moe.model import Encoder
    from agents.moe.suites import Split, Suite
    from sim.arrays import AnyArray, FloatArray

UNIFORM_MOST = 0.75
MEDIAN_GAP_LEAST = 0.12
_REPLICATES = 400
_PATH = tuple(step / 8.0 for step in range(1, 8))
_HALF = _PATH.index(0.5)
_BLEND = 0.2  # second candidate path: a fifth of the weight is spread over all experts


@dataclass(frozen=True, slots=True)
class Pair:
    """An even mix of two tasks; accuracies in [0, 1]."""

    first: int
    second: int
    one: float  # best single expert
    uniform: float
    mix: float  # w = mix
    best: float  # best merge, cross-fitted


@dataclass(frozen=True, slots=True)
class Bound:
    """One requirement: the value, its 95 % bootstrap interval over items, and whether it holds."""

    name: str
    value: float
    low: float
    high: float
    limit: float
    holds: bool


@dataclass(frozen=True, slots=True)
class Landscape:
    """What the check saw."""

    tasks: tuple[str, ...]
    experts: FloatArray  # (E, M) accuracy of single experts
    routes: Mapping[str, FloatArray]  # top-1, top-2, uniform -> (M,)
    pairs: tuple[Pair, ...]
    bounds: tuple[Bound, ...]

    @property
    def useful(self) -> bool:
        """Tell whether every bound holds."""
        return all(bound.holds for bound in self.bounds)

    def summary(self) -> dict[str, Any]:
        """Return the bounds and means as plain data, for the card."""
        means = {name: round(float(values.mean()), 4) for name, values in self.routes.items()}
        own = round(float(self.experts.max(0).mean()), 4)
        bounds = {
            b.name: {k: round(float(getattr(b, k)), 4) for k in ("value", "low", "high", "limit")}
            for b in self.bounds
        }
        return {
            "mean_accuracy": {"own expert": own, **means},
            "bounds": bounds,
            "useful": self.useful,
        }


def check(model: Encoder, suite: Suite, progress: Progress = silent) -> Landscape:
    """Measure a model's landscape on the calibration split."""
    hits = _Hits.measure(model, suite.calibration, progress)
    gated = _gated(model, suite.calibration)
    accuracy = hits.one.mean(-1)  # (E, M)
    return Landscape(
        tasks=suite.tasks,
        experts=accuracy,
        routes={**gated, "uniform": hits.uniform.mean(-1)},
        pairs=tuple(hits.pair(i) for i in range(len(hits.members))),
        bounds=_bounds(hits),
    )


def require(landscape: Landscape) -> None:
    """Refuse a landscape in which routing is not worth studying.

    Raises:
        InputError: A bound is broken; the message names each with its value, interval and limit.
    """
    broken = [b for b in landscape.bounds if not b.holds]
    if broken:
        raise InputError("useless landscape: " + "; ".join(_line(b) for b in broken))


def render(landscape: Landscape) -> str:
    """Write the table for people, accuracies in percent."""
    head = ["calibration accuracy, %".ljust(24) + " ".join(f"{t[:6]:>6}" for t in landscape.tasks)]
    rows = [f"expert {e}".ljust(24) + _cells(row) for e, row in enumerate(landscape.experts)]
    rows += [name.ljust(24) + _cells(v) + _mean(v) for name, v in landscape.routes.items()]
    pairs = ["", "even pair".ljust(24) + f"{'one':>6} {'unif':>6} {'w=mix':>6} {'best':>6}"]
    for p in landscape.pairs:
        names = f"{landscape.tasks[p.first]} + {landscape.tasks[p.second]}"
        pairs.append(names.ljust(24) + _cells([p.one, p.uniform, p.mix, p.best]))
    return "\n".join([*head, *rows, *pairs, "", *map(_line, landscape.bounds)])


def _cells(values: Any) -> str:
    """Write accuracies as percent columns."""
    return " ".join(f"{100.0 * v:6.1f}" for v in values)


def _mean(values: FloatArray) -> str:
    """Write a row's mean."""
    return f"  mean {100.0 * values.mean():.1f}"


def _line(bound: Bound) -> str:
    """Write one bound."""
    verdict = "holds" if bound.holds else "BROKEN"
    interval = f"[{100.0 * bound.low:.1f}, {100.0 * bound.high:.1f}]"
    value = f"{100.0 * bound.value:.1f} {interval}, limit {100.0 * bound.limit:.1f}"
    return f"{bound.name}: {value}: {verdict}"


def _gated(model: Encoder, split: Split) -> dict[str, FloatArray]:
    """Score top-1 and top-2 per task."""
    inputs, labels, _ = split.flat()
    scores: dict[str, FloatArray] = {}
    for k in (1, 2):
        hit = score_gated(model, torch.from_numpy(inputs), torch.from_numpy(labels), k).correct
        scores[f"top-{k}"] = hit.reshape(split.tasks, split.items).mean(1)
    return scores


@dataclass(frozen=True, slots=True)
class _Hits:
    """Right answers per item. E experts, M tasks, N items per task, Q pairs."""

    one: AnyArray  # (E, M, N) single experts
    uniform: AnyArray  # (M, N)
    members: tuple[tuple[int, int], ...]  # (Q,)
    mix: AnyArray  # (Q, 2, N)
    best: AnyArray  # (Q, 2, N), each item answered by the merge that the other half chose

    @classmethod
    def measure(cls, model: Encoder, split: Split, progress: Progress) -> _Hits:
        """Score singles and uniform on all tasks, and every pair's candidates on its two tasks."""
        answer, experts = _answerer(model, split), model.shape.experts
        every = range(split.tasks)
        one = np.stack([answer(w, every) for w in vertices(experts)])
        teams, members = task_experts(split.tasks, experts), tuple(combinations(every, 2))
        mix, best = [], []
        for i, (a, b) in enumerate(members):
            candidates = np.stack([answer(w, (a, b)) for w in _candidates(teams[a], teams[b])])
            mix.append(candidates[_HALF])
            best.append(_cross_fit(candidates))
            progress("check", i + 1, len(members))
        uniform = answer(np.full(experts, 1.0 / experts), every)
        return cls(one, uniform, members, np.stack(mix), np.stack(best))

    def pair(self, i: int) -> Pair:
        """Summarise one pair."""
        tasks = list(self.members[i])
        one = self.one[:, tasks].mean((1, 2)).max()
        means = (one, self.uniform[tasks].mean(), self.mix[i].mean(), self.best[i].mean())
        return Pair(*self.members[i], *map(float, means))


def _answerer(model: Encoder, split: Split) -> Any:
    """Return a function (weights, tasks) -> hits (tasks, N)."""
    inputs, labels, _ = split.flat()
    scorer, truth, n = (
        MergedScorer(model, torch.from_numpy(inputs)),
        torch.from_numpy(labels),
        split.items,
    )

    def answer(weights: FloatArray, tasks: Any) -> AnyArray:
        merged = scorer.merge(weights.tolist())
        hits = [scorer.correct(merged, truth, range(t * n, (t + 1) * n)) for t in tasks]
        return np.stack(hits)

    return answer


def _candidates(a: FloatArray, b: FloatArray) -> list[FloatArray]:
    """Return a pair's candidates: the path between its experts, plain and blended with uniform.

    `a` and `b` are the even merges of each task's own experts, (E,).
    """
    path = [(1.0 - u) * a + u * b for u in _PATH]
    return path + [(1.0 - _BLEND) * w + _BLEND / len(w) for w in path]


def _cross_fit(candidates: AnyArray) -> AnyArray:
    """Choose on each half, answer the other: (K, 2, N) -> (2, N)."""
    best: AnyArray = np.empty_like(candidates[0])
    for half in (0, 1):
        chosen = candidates[..., 1 - half :: 2].mean((1, 2)).argmax()
        best[:, half::2] = candidates[chosen][:, half::2]
    return best


def _bounds(hits: _Hits) -> tuple[Bound, ...]:
    """Judge the three requirements, with percentile intervals over resampled items."""
    n = hits.uniform.shape[1]
    rng = Streams(0).stream("check", "bootstrap")
    even = np.ones((1, hits.uniform.shape[0], n)) / n
    point = _statistics(hits, even)[:, 0]
    shares = rng.multinomial(n, np.full(n, 1.0 / n), (_REPLICATES, hits.uniform.shape[0])) / n
    low, high = np.quantile(_statistics(hits, shares), (0.025, 0.975), axis=1)
    names = ("uniform", "median pair: best - uniform", "worst pair: best - one")
    limits = (UNIFORM_MOST, MEDIAN_GAP_LEAST, 0.0)
    holds = (point[0] <= UNIFORM_MOST, point[1] >= MEDIAN_GAP_LEAST, point[2] > 0.0)
    rows = zip(names, point, low, high, limits, holds, strict=True)
    return tuple(Bound(a, float(b), float(c), float(d), e, bool(f)) for a, b, c, d, e, f in rows)


def _statistics(hits: _Hits, shares: FloatArray) -> FloatArray:
    """Return the three statistics per replicate, (3, R); shares (R, M, N) weigh the items."""
    one = np.einsum("emn,rmn->rem", hits.one, shares)
    uniform = np.einsum("mn,rmn->rm", hits.uniform, shares)
    gap, lead = [], []
    for (a, b), best in zip(hits.members, hits.best, strict=True):
        merged = np.einsum("tn,rtn->r", best, shares[:, [a, b]]) / 2.0
        gap.append(merged - uniform[:, [a, b]].mean(1))
        lead.append(merged - one[:, :, [a, b]].mean(2).max(1))
    return np.stack([uniform.mean(1), np.median(gap, axis=0), np.min(lead, axis=0)])
