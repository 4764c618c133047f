"""Plays routers on landscapes: contexts, rewards with noise, late and partial feedback, drift."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from agents.routers.landscapes.ground import Landscape, calibration_points
from sim.errors import InputError
from sim.plans import Plan, merge_weights, uniform
from sim.ports import BlockSetup, ContextBlock, FeedbackBlock, Router
from sim.rng import Streams

if TYPE_CHECKING:
    from sim.arrays import BoolArray, FloatArray, IntArray
    from sim.config import Params

_SMALLEST_SHARE = 1e-3  # noise of a cluster that is hardly asked


@dataclass(frozen=True, slots=True)
class Game:
    """How a router is played.

    A slot serves 0.25 / noise^2 requests, split exactly by the mix, and cluster v's mean reward is
    off by a normal draw of standard deviation noise / sqrt(mix_v). With `requests` it serves that
    many, each of a cluster drawn from the mix and right with the merge's expected reward.

    Args:
        slots: T.
        noise: Standard deviation of a slot's mean reward.
        stay: Probability that the mix of a slot stays; 1: it never changes.
        lagged: The router sees the counts of the slot before; False: those of the slot to come.
        blind: The router sees equal counts of all clusters, so it cannot know the mix.
        delay: Slots between a decision and its feedback.
        answered: Share of the requests that are answered, in (0, 1].
        pooled: The reward is one number per slot, the same for every cluster.
        requests: Requests per slot as integers, 0: see above.
        shift_at: Slot from which the second landscapes rule, None: never.
        warm: Hand over a calibration (all nodes then share landscape 0's).
    """

    slots: int
    noise: float = 0.05
    stay: float = 0.9
    lagged: bool = False
    blind: bool = False
    delay: int = 0
    answered: float = 1.0
    pooled: bool = False
    requests: int = 0
    shift_at: int | None = None
    warm: bool = False

    def __post_init__(self) -> None:
        if not 0.0 < self.answered <= 1.0:
            raise InputError(f"game: answered: expected a share in (0, 1], found {self.answered}")

    @property
    def load(self) -> float:
        """Return the requests of a slot."""
        return float(self.requests) if self.requests else 0.25 / self.noise**2


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a game."""

    regret: FloatArray  # (n, T), expected reward of the best merge minus that of the plan in force
    alarms: tuple[tuple[int, int], ...]  # (node, slot)
    points: FloatArray  # (n, T, K), merges in force

    @property
    def slope(self) -> FloatArray:
        """Return the slope of log cumulative regret over log t on [T/4, T], (n,)."""
        return tail_slope(self.regret)


def tail_slope(regret: FloatArray) -> FloatArray:
    """Return the slope of log cumulative regret over log t on [T/4, T], (n, T) to (n,)."""
    total = np.maximum(np.cumsum(regret, axis=1), 1e-9)
    slots = total.shape[1]
    at = np.unique(np.geomspace(max(2, slots // 4), slots, 40).astype(int))
    return np.array([np.polyfit(np.log(at), np.log(row[at - 1]), 1)[0] for row in total])


Maker = Callable[[BlockSetup], Router]


def setup_for(lands: Sequence[Landscape], game: Game, seed: int, params: Params) -> BlockSetup:
    """Return a block with one node per landscape."""
    known = calibration_points(lands[0], seed)
    blank = replace(known, weights=known.weights[:1], reward=np.full((1, lands[0].clusters), 0.5))
    return BlockSetup(
        nodes=np.arange(len(lands)),
        block=0,
        experts=lands[0].experts,
        clusters=lands[0].clusters,
        layers=1,
        slot_s=1.0,
        seed=seed,
        calibration=known if game.warm else blank,
        params=params,
        pooled=game.pooled,
    )


class Arena:
    """One game in progress, slot by slot: node i plays on landscape i with its own mixes and noise.

    Args:
        lands: One landscape per node.
        game: The rules.
        seed: Of the mixes and the noise; several: one per node, so that a node's world does not
            depend on who else is in the block.
        after: Landscapes from `game.shift_at` on.
    """

    def __init__(
        self,
        lands: Sequence[Landscape],
        game: Game,
        seed: int | Sequence[int],
        after: Sequence[Landscape] | None = None,
    ) -> None:
        self.lands, self.game, self.after = lands, game, after
        n = len(lands)
        worlds = [(seed, i) for i in range(n)] if isinstance(seed, int) else [(s, 0) for s in seed]
        self._rngs = [Streams(s).stream("arena", "noise", i) for s, i in worlds]
        # (n, T), which mix of its landscape's pool rules
        self.walk = np.stack(
            [
                self._mix_walk(Streams(s).stream("arena", "mix", i), len(land.mixes))
                for (s, i), land in zip(worlds, lands, strict=True)
            ]
        )
        experts = lands[0].experts
        self.plans: list[Plan] = [uniform(experts)] * n
        self._since = [-1] * n
        self._known: list[tuple[Plan, Landscape, FloatArray, FloatArray] | None] = [None] * n
        self._served: FloatArray = np.zeros((n, lands[0].clusters))  # requests of the last slot
        self._due: dict[int, list[FeedbackBlock]] = {}
        self.regret = np.zeros((n, game.slots))
        self.points = np.zeros((n, game.slots, experts))
        self.alarms: list[tuple[int, int]] = []

    def _mix_walk(self, rng: np.random.Generator, pool: int) -> IntArray:
        move = rng.random(self.game.slots) > self.game.stay
        fresh = rng.integers(0, pool, self.game.slots)
        last = np.maximum.accumulate(np.where(move, np.arange(self.game.slots), 0))
        return np.asarray(fresh[last])

    def _mix(self, slot: int) -> FloatArray:
        return np.stack(
            [land.mixes[w] for land, w in zip(self.lands, self.walk[:, slot], strict=True)]
        )

    def context(self, slot: int) -> ContextBlock:
        """Return what a router sees at the boundary that opens a slot."""
        n = len(self.lands)
        counts = self._served if self.game.lagged else self.game.load * self._mix(slot)
        if self.game.blind:
            counts = np.full_like(counts, self.game.load / counts.shape[1])
        none: BoolArray = np.zeros(n, dtype=np.bool_)
        return ContextBlock(slot, float(slot), ~none, counts.copy(), none)

    def take(self, slot: int, router: Router) -> None:
        """Let the router decide one slot, serve it, and hand over the feedback that is due."""
        answer = router.decide_block(self.context(slot))
        for i, plan in enumerate(answer.plans):
            if plan is not None:
                self.plans[i], self._since[i] = plan, slot
        alarms = [r for r in answer.telemetry if r["table"] == "drift" and r["kind"] == "alarm"]
        self.alarms += [(int(row["node"]), int(row["slot"])) for row in alarms]
        self._due.setdefault(slot + self.game.delay, []).append(self._serve(slot))
        for feedback in self._due.pop(slot, []):
            if len(feedback.row):
                router.update_block(replace(feedback, slot=slot + 1))

    def _serve(self, slot: int) -> FeedbackBlock:
        moved = self.game.shift_at is not None and slot >= self.game.shift_at
        lands = self.after if moved and self.after is not None else self.lands
        mix = self._mix(slot)
        reward, count = np.zeros_like(mix), np.zeros_like(mix)
        for i, land in enumerate(lands):
            self.points[i, slot], expected = self._expected(i, land)
            self.regret[i, slot] = land.best[self.walk[i, slot]] - expected @ mix[i]
            outcome = self._requests if self.game.requests else self._shares
            reward[i], count[i] = outcome(i, mix[i], expected)
        if self.game.pooled:
            total = np.maximum(count.sum(axis=1, keepdims=True), 1e-12)
            reward = np.broadcast_to((reward * count).sum(axis=1, keepdims=True) / total, mix.shape)
        heard = np.flatnonzero(count.sum(axis=1) > 0.0)
        plans = [self.plans[i] for i in heard]
        since = np.array(self._since)[heard]
        return FeedbackBlock(slot + 1, heard, since, plans, reward[heard], count[heard])

    def _expected(self, node: int, land: Landscape) -> tuple[FloatArray, FloatArray]:
        """Return a node's merge and its expected reward per cluster; a kept plan is not redone."""
        plan, known = self.plans[node], self._known[node]
        if known is not None and known[0] is plan and known[1] is land:
            return known[2], known[3]
        weights = merge_weights(plan, land.experts)
        if weights is None:
            raise InputError(f"landscapes know merges and single experts only, found {plan}")
        point = np.array(weights)
        self._known[node] = (plan, land, point, land.reward(point))
        return point, self._known[node][3]  # type: ignore[index]

    def _shares(
        self, node: int, mix: FloatArray, expected: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Split a slot's requests exactly by the mix; the noise is normal."""
        share = np.maximum(mix, _SMALLEST_SHARE) * self.game.answered
        noise = self.game.noise / np.sqrt(share) * self._rngs[node].standard_normal(len(mix))
        self._served[node] = self.game.load * mix
        count = np.where(mix > _SMALLEST_SHARE, mix, 0.0) * self.game.load * self.game.answered
        return np.where(count > 0, expected + noise, 0.0), count

    def _requests(
        self, node: int, mix: FloatArray, expected: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Draw every request: its cluster, whether it is answered, whether it is right."""
        rng = self._rngs[node]
        served = rng.multinomial(self.game.requests, mix)
        self._served[node] = served
        heard = rng.binomial(served, self.game.answered)
        right = rng.binomial(heard, np.clip(expected, 0.0, 1.0))
        return right / np.maximum(heard, 1), heard.astype(np.float64)

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
