"""What the candidate bandits share: everything but the reward model and the rule of choice."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from agents.routers.bandits.clouds import draw_cloud, draw_flop
from agents.routers.context import MixEstimate, switch_rows
from agents.routers.feedback import check_calibration, simplex_point, sound_rows
from agents.routers.model import Observations, RewardModel, Work
from agents.routers.rngs import load_rngs, save_rngs
from agents.routers.simplex import sparsify
from agents.routers.snapshots import below, flat
from agents.routers.tanbr.space import space_for
from sim.plans import Merged, Plan
from sim.ports import BlockSetup, ContextBlock, DecisionBlock, FeedbackBlock, Receipts
from sim.rng import Streams

if TYPE_CHECKING:
    from agents.routers.bandits.config import CandidateParams
    from sim.arrays import AnyArray, BoolArray, FloatArray, IntArray

_TIE = 1e-12
Maker = Callable[[int], RewardModel]  # of a block of so many nodes


class CandidateBandit:
    """Base: draw merges, judge them by a reward model, serve the best, learn what comes back.

    Every node is its own learner with its own stream. All start from one model that has learned the
    calibration split before the run ("in the cloud"), and a restarted node starts there again; each
    is charged for that as if it had done it itself.

    Args:
        setup: The block.
        params: The configuration.
        make: Makes a cold reward model.

    Raises:
        InputError: The calibration does not fit.
    """

    oracle: ClassVar[bool] = False
    learns: ClassVar[bool] = True
    name: ClassVar[str]
    steps: int = 0  # gradient steps per slot, for models that train
    period: int = 1  # slots between fits
    beta: float = 1.0  # weight of the uncertainty

    def __init__(self, setup: BlockSetup, params: CandidateParams, make: Maker) -> None:
        n, k, streams = len(setup.nodes), setup.experts, Streams(setup.seed)
        check_calibration(setup, self.name)
        self.params, self.experts = params, k
        self.nodes = [int(node) for node in setup.nodes]
        self.space = space_for(setup.calibration, params, k, self.name)
        self.known = self._known(setup)
        self.rngs = [streams.stream("router", self.name, node) for node in self.nodes]
        self.mix = MixEstimate(n, setup.calibration.prior, params)
        swap_s = np.zeros(n) if setup.swap_s is None else np.asarray(setup.swap_s)
        self.barrier: FloatArray = params.hysteresis * swap_s / setup.slot_s  # (n,)
        self.template, self.model = make(1), make(n)
        self._prepare(setup, streams.stream("router", self.name, "cloud"))
        self.refused = 0
        self.age: IntArray = np.zeros(n, dtype=np.int64)  # decisions since the start
        self.last: FloatArray = np.full((n, k), np.nan)  # merge decided last
        self.flop: FloatArray = np.zeros(n)  # work since the last decision
        self.read_bytes: FloatArray = np.zeros(n)
        for row in range(n):
            self._start(row)

    def _known(self, setup: BlockSetup) -> FloatArray:
        """Return the calibration's merges where they are candidates, (A, K)."""
        points = sparsify(
            np.asarray(setup.calibration.weights, dtype=np.float64), self.space.max_active
        )
        return points[: len(points) * (self.params.anchors and self.params.warm_start)]

    def _prepare(self, setup: BlockSetup, cloud: np.random.Generator) -> None:
        self.template.draw(0, cloud)
        self._cloud_work = Work(0.0, 0.0)
        if self.params.warm_start:
            self.template.warm_up(setup.calibration, cloud)
            self._cloud_work = self.template.work_warm_up(float(len(setup.calibration.weights)))

    def _start(self, row: int) -> None:
        """Put one node into the state in which it is deployed."""
        self.model.copy(row, self.template)
        self.mix.restart(row)
        self.age[row], self.last[row] = 0, np.nan
        self.flop[row] = self.read_bytes[row] = 0.0
        self._charge(row, self._cloud_work)

    def _charge(self, row: int, work: Work) -> None:
        self.flop[row] += work.flop
        self.read_bytes[row] += work.read_bytes

    # --- deciding ---

    def decide_block(self, context: ContextBlock) -> DecisionBlock:
        """Choose a merge for every active node; None where the plan stays."""
        for row in np.flatnonzero(context.reset).tolist():
            self._start(row)
        self._renew(context)
        switched = self.mix.observe(context.counts, context.active)
        rows = np.flatnonzero(context.active)
        self._fit(rows)
        plans: list[Plan | None] = [None] * len(self.nodes)
        explored = np.zeros(len(self.nodes), dtype=np.bool_)
        if len(rows):
            points, explored[rows] = self._choose(rows)
            for row, point in zip(rows.tolist(), points, strict=True):
                plans[row] = self._issue(row, point)
        self.age[rows] += 1
        changed = np.array([plan is not None for plan in plans])
        telemetry = switch_rows(context.slot, self.nodes, switched)
        receipts = self._receipts(context.active)
        return DecisionBlock(plans, receipts, explored & changed, self.mix.mix, telemetry)

    def _renew(self, context: ContextBlock) -> None:
        """Forget clusters that mean something else now."""
        if context.renewed is None:
            return
        self.mix.renew(context.renewed)
        for row in np.flatnonzero(context.renewed.any(axis=1)).tolist():
            self.model.renew(row, np.flatnonzero(context.renewed[row]))
            self._charge(row, self.model.work_renew(row))

    def _fit(self, rows: IntArray) -> None:
        """Fit the nodes whose period is over and that have learned something since."""
        due = [r for r in rows.tolist() if self.age[r] % self.period == 0 and self.model.stale(r)]
        if not due:
            return
        steps = self.steps * self.period
        self.model.fit(np.array(due), self.rngs, steps)
        for row in due:
            self._charge(row, self.model.work_fit(row, float(steps)))

    def _choose(self, rows: IntArray) -> tuple[FloatArray, BoolArray]:
        """Return the merge of each active node, (a, K), and where it is not the greedy one."""
        mix = self.mix.relevant()
        points = np.stack([self._candidates(row) for row in rows.tolist()])
        mean, deviation = self.model.aim(mix).both(points, rows)
        worth = self.worth(mean, deviation, rows)
        fresh = worth.copy()
        fresh[:, 0] = -np.inf  # the merge in force, judged beside the others
        best, row = fresh.argmax(axis=1), np.arange(len(rows))
        held = np.isfinite(self.last[rows]).all(axis=1) & (self.barrier[rows] > 0.0)
        best[held & (worth[row, best] - worth[:, 0] < self.barrier[rows])] = 0
        greedy = np.where(held, mean.max(axis=1), mean[:, 1:].max(axis=1))
        self._charge_choice(rows, mix, points.shape[1])
        return points[row, best], mean[row, best] < greedy - _TIE

    def _candidates(self, row: int) -> FloatArray:
        """Return a node's candidates: the merge in force or a stand-in, anchors, fresh ones."""
        drawn = draw_cloud(self.rngs[row], self.params.candidates, self.space.size)
        cloud = sparsify(self.space.served(drawn), self.space.max_active)
        first = self.last[row] if np.isfinite(self.last[row]).all() else cloud[0]
        return np.vstack([first[None], self.known, cloud])

    def worth(self, mean: FloatArray, deviation: FloatArray, rows: IntArray) -> FloatArray:
        """Return what each candidate is worth by the rule, (a, N); the largest is served."""
        del rows
        return mean + self.beta * deviation

    def _charge_choice(self, rows: IntArray, mix: FloatArray, points: int) -> None:
        drawn = Work(draw_flop(self.params.candidates, self.space.size), 0.0) + self.mix.work()
        for row in rows.tolist():
            clusters = float((mix[row] > 0.0).sum())
            self._charge(row, drawn + self.model.work_score(row, float(points), clusters))

    def _issue(self, row: int, point: FloatArray) -> Plan | None:
        """Turn a node's merge into a plan, or None when it was given that merge last."""
        if np.array_equal(point, self.last[row]):
            return None
        self.last[row] = point
        return Merged(tuple(point.tolist()))

    def _receipts(self, active: BoolArray) -> Receipts:
        """Hand over the work since the last decision of each active node."""
        flop, read = np.where(active, self.flop, 0.0), np.where(active, self.read_bytes, 0.0)
        self.flop[active] = self.read_bytes[active] = 0.0
        state = [self.model.state_bytes(r) + self.mix.state_bytes for r in range(len(self.nodes))]
        return Receipts(flop, read, np.zeros(len(flop)), np.array(state, dtype=np.float64))

    # --- learning ---

    def update_block(self, feedback: FeedbackBlock) -> None:
        """Learn from each row as one observation of the merge that it names."""
        sound = sound_rows(feedback)
        self.refused += int((~sound).sum())
        told = np.flatnonzero(sound & (feedback.count.sum(axis=1) > 0.0)).tolist()
        points = {r: simplex_point(feedback.plans[r], self.experts) for r in told}
        used = [r for r in told if points[r] is not None]
        if not used:
            return
        x = np.stack([point for r in used if (point := points[r]) is not None])
        count = feedback.count[used]
        self.model.observe(
            Observations(
                feedback.row[used], x, feedback.reward[used], count, feedback.decided[used]
            )
        )
        rows = feedback.row[used].tolist()
        for row, clusters in zip(rows, (count > 0.0).sum(axis=1).tolist(), strict=True):
            self._charge(row, self.model.work_observe(row, float(clusters)))

    # --- checkpoints ---

    def snapshot(self) -> dict[str, AnyArray]:
        """Return a copy of all state that changes, as flat numpy arrays."""
        state = flat({"model": self.model.snapshot(), "mix": self.mix.snapshot()})
        state |= {name: getattr(self, name).copy() for name in _BOOKS}
        return {**state, "refused": np.array(self.refused), "rngs": save_rngs(self.rngs)}

    def restore(self, state: dict[str, AnyArray]) -> None:
        """Put a snapshot of a router with the same setup back."""
        self.model.restore(below(state, "model"))
        self.mix.restore(below(state, "mix"))
        for name in _BOOKS:
            setattr(self, name, np.array(state[name]))
        self.refused = int(state["refused"])
        load_rngs(self.rngs, state["rngs"])


_BOOKS = ("age", "last", "flop", "read_bytes")
