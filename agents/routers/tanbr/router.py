"""Tanbr, the router: one object steers one block of nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from agents.routers.context import MixEstimate
from agents.routers.feedback import check_calibration, simplex_point, sound_rows
from agents.routers.model import Observations, Work
from agents.routers.simplex import sparsify
from agents.routers.tanbr.choice import POLISH_ROUNDS, Choice, Scorer, best_candidate, polish
from agents.routers.tanbr.config import read_params
from agents.routers.tanbr.drift import Cusum
from agents.routers.tanbr.ledger import Ledger
from agents.routers.tanbr.modes import model_for
from agents.routers.tanbr.safety import Watch
from agents.routers.tanbr.space import space_for
from agents.routers.tanbr.state import load, save
from agents.routers.tanbr.tree import SplitRule, Tree
from sim.ports import BlockSetup, ContextBlock, DecisionBlock, FeedbackBlock
from sim.rng import Streams

if TYPE_CHECKING:
    from agents.routers.model import RewardModel, Surprise
    from sim.arrays import AnyArray, BoolArray, FloatArray, IntArray
    from sim.plans import Plan

_TIE = 1e-12
_ANCHOR_REACH = 0.4  # how far the search around an anchor goes, as if it had a cell


class Tanbr:
    """Tree of merges, a model of the reward, drift alarm, a way back; see the package.

    Every node is its own learner; the block only batches the arithmetic. All nodes start from one
    model, trained on the calibration split before the run ("in the cloud"), and a restarted node
    starts there again. Each node is charged for that work as if it had done it itself.

    Args:
        setup: The block. Parameters: see `TanbrParams`.

    Raises:
        InputError: A parameter is unknown or out of its limits, or the calibration does not fit.
    """

    oracle: ClassVar[bool] = False
    parameters: ClassVar[str] = "agents.routers.tanbr.config:TanbrParams"
    learns: ClassVar[bool] = True

    def __init__(self, setup: BlockSetup) -> None:
        self.params = p = read_params(setup.params)
        k, v, n = setup.experts, setup.clusters, len(setup.nodes)
        check_calibration(setup, "tanbr")
        self.nodes = [int(node) for node in setup.nodes]
        self.experts, self.calibration = k, setup.calibration
        self.pooled = setup.pooled or p.scalar
        self.space = space_for(setup.calibration, p, k)
        self.rule = SplitRule(p.c, p.nu, p.rho or 2.0 ** (-1.0 / max(1, self.space.size - 1)))
        known = np.asarray(setup.calibration.weights, dtype=np.float64)
        self.safe = sparsify(np.vstack([np.full((1, k), 1.0 / k), known]), self.space.max_active)
        # beside a cold tree untried points cost more than they find, after a warm start never
        anchors = sparsify(self.space.place(self.safe[1:]), self.space.tree_active)
        self.anchors = anchors[: len(anchors) * (p.anchors and p.warm_start)]
        swap_s = np.zeros(n) if setup.swap_s is None else np.asarray(setup.swap_s)
        self.threshold: FloatArray = p.hysteresis * swap_s / setup.slot_s
        self._build(Streams(setup.seed), n, v)
        for row in range(n):
            self._start(row)

    def _build(self, streams: Streams, n: int, v: int) -> None:
        p, k = self.params, self.experts
        self.rngs = [streams.stream("router", "tanbr", node) for node in self.nodes]
        cloud = streams.stream("router", "tanbr", "cloud")
        self.learner: RewardModel = model_for((n, k, v), p, self.pooled)
        self.template: RewardModel = model_for((1, k, v), p, self.pooled)
        self.template.draw(0, cloud)
        if p.warm_start:
            self.template.warm_up(self.calibration, cloud)
        size, active = self.space.size, self.space.tree_active
        self.trees = [Tree(size, active, p.max_leaves, p.cells) for _ in self.nodes]
        self.mix = MixEstimate(n, self.calibration.prior, p)
        self.cusum = Cusum(n, p.alarm_delta, p.alarm_height, p.alarm_warm)
        self.watch = Watch(n, v, k)
        self.ledger = Ledger(self.nodes, k)
        self.refused = 0

    def _start(self, row: int) -> None:
        """Put one node into the state in which it is deployed."""
        p = self.params
        self.learner.copy(row, self.template)
        self.ledger.restart(row, hurry=not p.warm_start)
        self.ledger.new_cells += [(row, cell) for cell in self.trees[row].restart(p.start_depth)]
        self.mix.restart(row)
        self.cusum.restart(row)
        self.watch.restart(row)
        if p.warm_start:
            points = float(len(self.calibration.weights))
            self.ledger.charge(row, self.template.work_warm_up(points))

    # --- deciding ---

    def decide_block(self, context: ContextBlock) -> DecisionBlock:
        """Choose a merge for every active node; None where the plan stays."""
        ledger, active, slot = self.ledger, context.active, context.slot
        for row in np.flatnonzero(context.reset).tolist():
            self._start(row)
        if context.renewed is not None:
            self._renew(context.renewed)
        switched = self.mix.observe(context.counts, active)
        ledger.events += [(slot, row, "detected") for row in np.flatnonzero(switched).tolist()]
        self._maintain(active)
        choice, explored = self._choose(active)
        plans: list[Plan | None] = [None] * len(self.nodes)
        for row in np.flatnonzero(active).tolist():
            plans[row] = ledger.issue(row, choice, slot)
        changed = np.array([plan is not None for plan in plans])
        self._grow_older(active)
        telemetry = ledger.telemetry(slot, self.trees, choice.means)
        receipts = ledger.receipts(active, self._state_bytes())
        return DecisionBlock(plans, receipts, explored & changed, self.mix.mix, telemetry)

    def _renew(self, renewed: BoolArray) -> None:
        """Forget what clusters have taught that mean something else now, and only that."""
        self.mix.renew(renewed)
        for row in np.flatnonzero(renewed.any(axis=1)).tolist():
            clusters = np.flatnonzero(renewed[row])
            self.learner.renew(row, clusters)
            self.watch.renew(row, clusters)
            self.ledger.charge(row, self.learner.work_renew(row))

    def _maintain(self, active: BoolArray) -> None:
        """Train and fit the nodes whose period is over and that have learned something since."""
        p, age = self.params, self.cusum.age
        early = self.ledger.hurry & (age < p.early_slots)
        for period in sorted({p.early_period, p.period}):
            mine = np.where(early, p.early_period, p.period) == period
            due = np.flatnonzero(active & mine & (age > 0) & (age % period == 0))
            stale = [row for row in due.tolist() if self.learner.stale(row)]
            self._fit(np.array(stale, dtype=np.int64), p.steps * period)
        self._save(active)

    def _fit(self, rows: IntArray, steps: int) -> None:
        if not len(rows):
            return
        self.learner.fit(rows, self.rngs, steps)
        for row in rows.tolist():
            self.ledger.charge(row, self.learner.work_fit(row, steps))

    def _save(self, active: BoolArray) -> None:
        """Remember the nodes whose time has come, unless they serve poorly just now."""
        if not self.params.rollback:
            return
        age = self.ledger.age
        due = active & (age > 0) & (age % self.params.rollback_every == 0) & (self.watch.low == 0)
        # on the way back the last merge is a poor one, and the saved one has yet to be served
        due &= ~(self.ledger.fallback & (self.watch.frozen > 0))
        for row in np.flatnonzero(due).tolist():
            self.learner.mark(row)
            self.watch.save(row, self.ledger.last[row], self.trees[row])
            self.ledger.charge(row, Work(0.0, float(self.watch.nbytes(row))))

    def _grow_older(self, active: BoolArray) -> None:
        self.ledger.age[active] += 1
        self.cusum.age[active] += 1
        self.watch.frozen[active] = np.maximum(self.watch.frozen[active] - 1, 0)

    def _choose(self, active: BoolArray) -> tuple[Choice, BoolArray]:
        """Return the merges of all nodes and where they are not the greedy ones."""
        mix = self.mix.relevant()
        beta = np.where(self.watch.frozen > 0, 0.0, self.params.beta)
        scorer = Scorer(self.learner.aim(mix), beta, self.space)
        choice = best_candidate(self.trees, self.anchors, scorer)
        if self.params.polish:
            reach = np.array([self._reach(row, choice) for row in range(len(self.nodes))])
            polish(choice, reach, self._draw(active), scorer)
        choice.point = self.space.served(choice.point)
        safe = active & self.ledger.fallback
        for row in np.flatnonzero(safe).tolist():
            self._play_safe(row, choice, scorer)
        explored = choice.mean < choice.greedy - _TIE
        if self.threshold.any():
            self._hold(choice, scorer, safe)
        self._charge_choice(active, mix)
        return choice, explored

    def _reach(self, row: int, choice: Choice) -> float:
        tree = self.trees[row]
        leaf = tree.leaf(int(choice.cell[row]))
        return _ANCHOR_REACH if leaf is None else float(tree.diameter[leaf])

    def _draw(self, active: BoolArray) -> FloatArray:
        """Draw every active node's search directions, (n, rounds, points, G)."""
        shape = (POLISH_ROUNDS, self.params.polish, self.space.size)
        noise = np.zeros((len(self.nodes), *shape))
        for row in np.flatnonzero(active).tolist():
            noise[row] = self.rngs[row].standard_normal(shape)
        return noise

    def _play_safe(self, row: int, choice: Choice, scorer: Scorer) -> None:
        """Choose the saved merge, else the calibration point or the plain average that is safest.

        Safest is the best lower bound, from what was learned since the alarm alone.
        """
        points = self.safe
        if self.watch.frozen[row] and self.watch.kept(row):
            points = self.watch.point[row][None]
        mean, deviation = (part[0] for part in scorer.model.both(points[None], np.array([row])))
        best = int((mean - deviation).argmax())
        choice.point[row], choice.cell[row], choice.mean[row] = points[best], -1, mean[best]
        self.ledger.fallback[row] = False
        self.ledger.charge(row, self.learner.work_score(row, float(len(points)), 0.0))

    def _hold(self, choice: Choice, scorer: Scorer, safe: BoolArray) -> None:
        """Keep a node's last merge unless the new one's bound pays for putting it in force.

        A slot of service is worth 1, so that a change that takes s seconds costs s / slot_s.
        """
        known = np.isfinite(self.ledger.last).all(axis=1) & ~safe & (self.threshold > 0.0)
        old = np.where(known[:, None], self.ledger.last, choice.point)
        mean, deviation = scorer.model.both(old[:, None, :])
        bound = mean[:, 0] + scorer.beta[:, 0] * deviation[:, 0]
        keep = known & (choice.bound - bound < self.threshold)
        choice.point = np.where(keep[:, None], old, choice.point)
        choice.cell = np.where(keep, self.ledger.cell, choice.cell)

    def _charge_choice(self, active: BoolArray, mix: FloatArray) -> None:
        searched = POLISH_ROUNDS * self.params.polish + (self.threshold > 0.0)  # (n,)
        context = self.mix.work()
        for row in np.flatnonzero(active).tolist():
            clusters = float((mix[row] > 0.0).sum())
            candidates = float(self.trees[row].size + len(self.anchors) + searched[row])
            self.ledger.charge(row, context + self.learner.work_score(row, candidates, clusters))

    def _state_bytes(self) -> FloatArray:
        parts = [
            self.learner.state_bytes(row) + tree.nbytes + self.mix.state_bytes
            for row, tree in enumerate(self.trees)
        ]
        watched = [self.watch.nbytes(row) * self.params.rollback for row in range(len(parts))]
        return np.array(parts, dtype=np.float64) + watched

    # --- learning ---

    def update_block(self, feedback: FeedbackBlock) -> None:
        """Learn from each row as one observation of the merge that it names."""
        sound = sound_rows(feedback)
        self.refused += int((~sound).sum())
        told = sound & (feedback.count.sum(axis=1) > 0.0)
        told &= feedback.decided >= self.ledger.epoch[feedback.row]
        points = [simplex_point(plan, self.experts) for plan in feedback.plans]
        used = [int(r) for r in np.flatnonzero(told) if points[r] is not None]
        if not used:
            return
        x = np.stack([point for r in used if (point := points[r]) is not None])
        reward, count = feedback.reward[used], feedback.count[used]
        if self.pooled:
            share = count / count.sum(axis=1, keepdims=True)
            reward = np.repeat((share * reward).sum(axis=1, keepdims=True), share.shape[1], axis=1)
        seen = Observations(feedback.row[used], x, reward, count, feedback.decided[used])
        self._learn(seen, self.learner.observe(seen), feedback.slot)

    def _learn(self, seen: Observations, surprise: Surprise, slot: int) -> None:
        """Draw the conclusions from observations: credit, charges, alarms, ways back."""
        alarmed, poor = np.zeros((2, len(self.nodes)), dtype=np.bool_)
        for i, row in enumerate(seen.row.tolist()):
            total = float(seen.count[i].sum())
            share = seen.count[i] / total
            noise, reward = self.learner.noise(total), float(share @ seen.reward[i])
            variance = surprise.variance[i]
            spread = float(variance[0] if self.pooled else (share * share) @ variance)
            error = float(share @ (seen.reward[i] - surprise.mean[i]))
            alarmed[row] |= self.params.alarm and self.cusum.test(row, error, spread, noise)
            if self.params.rollback:
                poor[row] |= self.watch.test(row, share, reward, noise)
            self._credit(row, int(seen.decided[i]))
            clusters = float((seen.count[i] > 0.0).sum())
            self.ledger.charge(row, self.learner.work_observe(row, clusters))
        self._begin_again(np.flatnonzero(alarmed), slot)
        self._go_back(np.flatnonzero(poor & ~alarmed), slot)

    def _credit(self, row: int, decided: int) -> None:
        """Count a choice for its cell at its first answer; later answers only teach the heads."""
        cell = self.ledger.open[row].pop(decided, None)
        if cell is not None:
            new = self.trees[row].credit(cell, self.rule, int(self.ledger.age[row]))
            self.ledger.new_cells += [(row, entry) for entry in new]

    def _begin_again(self, rows: IntArray, slot: int) -> None:
        """Answer an alarm: forget, learn from the last records, restart the tree, be safe once."""
        p, ledger = self.params, self.ledger
        for row in rows.tolist():
            self.learner.forget(row, p.alarm_keep, self.rngs[row])
            ledger.epoch[row] = self.learner.oldest(row)
            ledger.new_cells += [(row, cell) for cell in self.trees[row].restart(p.alarm_depth)]
            ledger.open[row] = {}
            self.cusum.restart(row)
            self.watch.restart(row)
            ledger.hurry[row] = ledger.fallback[row] = True
            ledger.events.append((slot, row, "alarm"))
        self._fit(rows, p.restart_steps)

    def _go_back(self, rows: IntArray, slot: int) -> None:
        """Put nodes back to what was saved, unless their surprise says that the world moved.

        Then the alarm is about to sound, and what was saved is no better.
        """
        for row in rows.tolist():
            calm = self.cusum.sum[row] <= self.cusum.height / 2.0
            if not (calm and self.watch.saved(row)):
                continue
            if self.learner.back(row):
                self.watch.replant(row, self.trees[row])
                self.watch.frozen[row] = self.params.rollback_freeze + 1
                self.ledger.fallback[row] = True
                self.ledger.events.append((slot, row, "rollback"))
                self.ledger.charge(row, self.learner.work_fit(row, 0.0))
            self.watch.leave(row)

    # --- checkpoints ---

    def snapshot(self) -> dict[str, AnyArray]:
        """Return a copy of all state that changes, as flat numpy arrays."""
        return save(self)

    def restore(self, state: dict[str, AnyArray]) -> None:
        """Put a snapshot of a router with the same setup back."""
        load(self, state)
