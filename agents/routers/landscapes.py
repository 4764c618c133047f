"""Synthetic reward landscapes over merges, and a loop that plays routers on them, no simulator.

Letters: K experts, V clusters, P mixes in the pool, n nodes, T slots. All is made up; see the
source of each kind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from agents.routers.simplex import project
from sim.errors import InputError
from sim.plans import Plan, merge_weights, uniform
from sim.ports import BlockSetup, Calibration, ContextBlock, FeedbackBlock, Router
from sim.rng import Streams

if TYPE_CHECKING:
    from sim.arrays import BoolArray, FloatArray, IntArray
    from sim.config import Params

KINDS = ("quad", "bump", "ripple")
_SMALLEST_SHARE = 1e-3  # noise of a cluster that is hardly asked


@dataclass(frozen=True, slots=True)
class Landscape:
    """Expected reward per cluster as a function of the merge, with the best for a pool of mixes.

    quad: 1 - |x-a_v|^2 / 2. bump: exp(-|x-a_v|^2 / 2 w^2). ripple: bump with valleys between
    experts, minus 0.15 sin^2(3 pi |x-a_v|^2) sqrt(1-|x|^2).

    Source: our own. Deviation: none.
    """

    kind: str
    optima: FloatArray  # a_v, (V, K)
    width: float
    mixes: FloatArray  # (P, V)
    best: FloatArray  # (P,), best reward over all merges per mix

    def reward(self, points: FloatArray) -> FloatArray:
        """Return the expected reward of merges per cluster, (..., K) to (..., V)."""
        gap = points[..., None, :] - self.optima
        squared = (gap * gap).sum(axis=-1)
        if self.kind == "quad":
            return np.asarray(1.0 - 0.5 * squared)
        bump = np.exp(-squared / (2.0 * self.width**2))
        if self.kind == "bump":
            return np.asarray(bump)
        spread = np.sqrt(np.maximum(1.0 - (points * points).sum(axis=-1), 0.0))[..., None]
        valley = 0.15 * np.sin(3.0 * np.pi * squared) ** 2 * spread
        return np.asarray(np.clip(bump - valley, 0.0, 1.0))


def draw(kind: str, experts: int, clusters: int, seed: int, mixes: int = 10) -> Landscape:
    """Draw a landscape: optima from Dirichlet(0.5), a pool of mixes from Dirichlet(0.6).

    Raises:
        InputError: No such kind.
    """
    if kind not in KINDS:
        raise InputError(f"unknown landscape {kind!r} (allowed: {', '.join(KINDS)})")
    rng = Streams(seed).stream("landscape", experts, clusters)
    optima = rng.dirichlet(np.full(experts, 0.5), clusters)
    pool = rng.dirichlet(np.full(clusters, 0.6), mixes)
    return _solved(
        Landscape(kind, optima, 0.5 if experts > 4 else 0.35, pool, np.zeros(mixes)), rng
    )


def shifted(land: Landscape, seed: int) -> Landscape:
    """Return the same landscape with all optima drawn anew: an abrupt drift."""
    rng = Streams(seed).stream("landscape", "shift")
    clusters, experts = land.optima.shape
    optima = rng.dirichlet(np.full(experts, 0.5), clusters)
    return _solved(replace(land, optima=optima), rng)


def _solved(land: Landscape, rng: np.random.Generator) -> Landscape:
    if land.kind == "quad":  # closed form: x* = sum psi_v a_v
        best = land.reward(land.mixes @ land.optima)
        return replace(land, best=np.einsum("pv,pv->p", best, land.mixes))
    return replace(land, best=search_best(land, rng))


def search_best(land: Landscape, rng: np.random.Generator, turns: int = 200) -> FloatArray:
    """Return the best reward for each mix by random restarts and shrinking steps, (P,)."""
    experts, pool = land.optima.shape[1], len(land.mixes)
    scatter = [rng.dirichlet(np.full(experts, a), 2000) for a in (0.3, 1.0)]
    shared = np.vstack([*scatter, land.optima, np.eye(experts)])
    value = land.reward(shared) @ land.mixes.T  # (N, P)
    top = np.argsort(-value, axis=0, kind="stable")[:24].T
    point, best = shared[top], np.take_along_axis(value.T, top, axis=1)
    step = 0.1
    for _ in range(turns):
        noise = rng.standard_normal((pool, 24, 8, experts))
        trial = project(point[:, :, None, :] + step * noise)
        gain = np.einsum("psjv,pv->psj", land.reward(trial), land.mixes)
        pick = gain.argmax(axis=2)[..., None]
        gain = np.take_along_axis(gain, pick, axis=2)[..., 0]
        chosen = np.take_along_axis(trial, pick[..., None], axis=2)[:, :, 0]
        point = np.where((gain > best)[..., None], chosen, point)
        best, step = np.maximum(gain, best), step * 0.97
    return np.asarray(best.max(axis=1))


def calibration_points(land: Landscape, seed: int, items: float = 500.0) -> Calibration:
    """Return noisy rewards of all vertices, the centre and all pair averages: a warm start.

    The noise is that of `items` yes/no outcomes per cluster.
    """
    clusters, experts = land.optima.shape
    eye = np.eye(experts)
    pairs = [(eye[i] + eye[j]) / 2.0 for i in range(experts) for j in range(i)]
    points = np.vstack([eye, np.full((1, experts), 1.0 / experts), *pairs])
    rng = Streams(seed).stream("landscape", "calibration")
    noise = 0.5 / np.sqrt(items) * rng.standard_normal((len(points), clusters))
    prior = np.full(clusters, 1.0 / clusters)
    return Calibration(points, land.reward(points) + noise, np.full(clusters, items), prior)


@dataclass(frozen=True, slots=True)
class Game:
    """How a router is played.

    Args:
        slots: T.
        noise: Standard deviation of a slot's mean reward; cluster v has noise / sqrt(mix_v).
        stay: Probability that the mix of a slot stays.
        lagged: The router sees the counts of the slot before; False: those of the slot to come.
        delay: Slots between a decision and its feedback.
        shift_at: Slot from which the second landscapes rule, None: never.
        warm: Hand over a calibration (all nodes then share landscape 0's).
    """

    slots: int
    noise: float = 0.05
    stay: float = 0.9
    lagged: bool = False
    delay: int = 0
    shift_at: int | None = None
    warm: bool = False


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a game."""

    regret: FloatArray  # (n, T), expected reward of the best merge minus that of the plan in force
    alarms: tuple[tuple[int, int], ...]  # (node, slot)
    points: FloatArray  # (n, T, K), merges in force

    @property
    def slope(self) -> FloatArray:
        """Return the slope of log cumulative regret over log t on [T/4, T], (n,)."""
        total = np.maximum(np.cumsum(self.regret, axis=1), 1e-9)
        slots = total.shape[1]
        at = np.unique(np.geomspace(max(2, slots // 4), slots, 40).astype(int))
        return np.array([np.polyfit(np.log(at), np.log(row[at - 1]), 1)[0] for row in total])


Maker = Callable[[BlockSetup], Router]


def setup_for(lands: Sequence[Landscape], game: Game, seed: int, params: Params) -> BlockSetup:
    """Return a block with one node per landscape."""
    clusters, experts = lands[0].optima.shape
    known = calibration_points(lands[0], seed)
    blank = replace(known, weights=known.weights[:1], reward=np.full((1, clusters), 0.5))
    return BlockSetup(
        nodes=np.arange(len(lands)),
        block=0,
        experts=experts,
        clusters=clusters,
        layers=1,
        slot_s=1.0,
        seed=seed,
        calibration=known if game.warm else blank,
        params=params,
    )


class Arena:
    """One game in progress, slot by slot: node i plays on landscape i with its own mixes and noise.

    Args:
        lands: One landscape per node.
        game: The rules.
        seed: Of the mixes and the noise.
        after: Landscapes from `game.shift_at` on.
    """

    def __init__(
        self,
        lands: Sequence[Landscape],
        game: Game,
        seed: int,
        after: Sequence[Landscape] | None = None,
    ) -> None:
        self.lands, self.game, self.after = lands, game, after
        streams, n = Streams(seed), len(lands)
        self._rngs = [streams.stream("arena", "noise", i) for i in range(n)]
        self._walk = np.stack([self._mix_walk(streams, i) for i in range(n)])  # (n, T)
        experts = lands[0].optima.shape[1]
        self.plans: list[Plan] = [uniform(experts)] * n
        self._since = [-1] * n
        self._due: dict[int, list[FeedbackBlock]] = {}
        self.regret = np.zeros((n, game.slots))
        self.points = np.zeros((n, game.slots, experts))
        self.alarms: list[tuple[int, int]] = []

    def _mix_walk(self, streams: Streams, node: int) -> IntArray:
        rng, pool = streams.stream("arena", "mix", node), len(self.lands[node].mixes)
        move = rng.random(self.game.slots) > self.game.stay
        fresh = rng.integers(0, pool, self.game.slots)
        last = np.maximum.accumulate(np.where(move, np.arange(self.game.slots), 0))
        return np.asarray(fresh[last])

    def _mix(self, slot: int) -> FloatArray:
        return np.stack(
            [land.mixes[w] for land, w in zip(self.lands, self._walk[:, slot], strict=True)]
        )

    def context(self, slot: int) -> ContextBlock:
        """Return what a router sees at the boundary that opens a slot."""
        n, requests = len(self.lands), 0.25 / self.game.noise**2
        seen = slot - 1 if self.game.lagged else slot
        counts = requests * self._mix(seen) if seen >= 0 else np.zeros_like(self._mix(0))
        none: BoolArray = np.zeros(n, dtype=np.bool_)
        return ContextBlock(slot, float(slot), ~none, counts, none)

    def take(self, slot: int, router: Router) -> None:
        """Let the router decide one slot, serve it, and hand over the feedback that is due."""
        answer = router.decide_block(self.context(slot))
        for i, plan in enumerate(answer.plans):
            if plan is not None:
                self.plans[i], self._since[i] = plan, slot
        drift = [row for row in answer.telemetry if row["table"] == "drift"]
        self.alarms += [(int(row["node"]), int(row["slot"])) for row in drift]
        self._due.setdefault(slot + self.game.delay, []).append(self._serve(slot))
        for feedback in self._due.pop(slot, []):
            router.update_block(replace(feedback, slot=slot + 1))

    def _serve(self, slot: int) -> FeedbackBlock:
        moved = self.game.shift_at is not None and slot >= self.game.shift_at
        lands = self.after if moved and self.after is not None else self.lands
        mix = self._mix(slot)
        reward = np.zeros_like(mix)
        for i, land in enumerate(lands):
            weights = merge_weights(self.plans[i], land.optima.shape[1])
            assert weights is not None, "landscapes know merges only"
            self.points[i, slot] = weights
            expected = land.reward(self.points[i, slot])
            self.regret[i, slot] = land.best[self._walk[i, slot]] - expected @ mix[i]
            spread = self.game.noise / np.sqrt(np.maximum(mix[i], _SMALLEST_SHARE))
            reward[i] = expected + spread * self._rngs[i].standard_normal(len(expected))
        count = np.where(mix > _SMALLEST_SHARE, mix, 0.0) * 0.25 / self.game.noise**2
        rows, since = np.arange(len(lands)), np.array(self._since)
        return FeedbackBlock(
            slot + 1, rows, since, list(self.plans), np.where(count > 0, reward, 0.0), count
        )

    def result(self) -> Played:
        """Return what came of it so far."""
        return Played(self.regret, tuple(self.alarms), self.points)


def play(
    make: Maker,
    lands: Sequence[Landscape],
    game: Game,
    seed: int,
    params: Params | None = None,
    after: Sequence[Landscape] | None = None,
) -> Played:
    """Play a router on landscapes from the first slot to the last, one node per landscape."""
    router = make(setup_for(lands, game, seed, params or {}))
    arena = Arena(lands, game, seed, after)
    for slot in range(game.slots):
        arena.take(slot, router)
    return arena.result()
