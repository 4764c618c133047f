"""Tanbr, the router: one object steers one block of nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from agents.routers.feedback import simplex_point, sound_rows
from agents.routers.params import parse
from agents.routers.simplex import sparsify
from agents.routers.tanbr.choice import POLISH_ROUNDS, Choice, Scorer, best_candidate, polish
from agents.routers.tanbr.config import TanbrParams
from agents.routers.tanbr.context import MixEstimate
from agents.routers.tanbr.cost import Costs, Work
from agents.routers.tanbr.drift import Cusum
from agents.routers.tanbr.learner import Learner
from agents.routers.tanbr.state import load, save
from agents.routers.tanbr.tree import NewCell, SplitRule, Tree
from sim.errors import InputError
from sim.plans import Merged, Plan
from sim.ports import BlockSetup, ContextBlock, DecisionBlock, FeedbackBlock, Receipts
from sim.rng import Streams

if TYPE_CHECKING:
    from sim.arrays import AnyArray, BoolArray, FloatArray, IntArray

_OPEN_DECISIONS = 512  # decisions per node that may still be answered
_TIE = 1e-12
_ANCHOR_REACH = 0.4  # how far the search around an anchor goes, as if it had a cell
Row = dict[str, float | int | str]


class Tanbr:
    """Tree of merges, neural features, exact heads, drift alarm; see the package.

    Every node is its own learner; the block only batches the arithmetic. All nodes start from one
    network and one set of heads, trained on the calibration split before the run ("in the cloud"),
    and a restarted node starts there again. Each node is charged for that work as if it had done
    it itself.

    Args:
        setup: The block. Parameters: see `TanbrParams`.

    Raises:
        InputError: A parameter is unknown or out of its limits, or the calibration does not fit.
    """

    oracle: ClassVar[bool] = False
    parameters: ClassVar[str] = "agents.routers.tanbr.config:TanbrParams"
    learns: ClassVar[bool] = True

    def __init__(self, setup: BlockSetup) -> None:
        self.params = p = parse(TanbrParams, setup.params, "tanbr")
        k, v, n = setup.experts, setup.clusters, len(setup.nodes)
        _check(setup)
        self.nodes = [int(node) for node in setup.nodes]
        self.max_active = min(p.max_active or k, k)
        self.rule = SplitRule(p.c, p.nu, p.rho or 2.0 ** (-1.0 / max(1, k - 1)))
        self.costs = Costs(k, v, p.width, p.batch)
        self.calibration = setup.calibration
        # beside a cold tree untried points cost more than they find, after a warm start never
        known = sparsify(np.asarray(setup.calibration.weights, dtype=np.float64), self.max_active)
        self.anchors = known[: len(known) * (p.anchors and p.warm_start)]
        self.safe = np.vstack([sparsify(np.full((1, k), 1.0 / k), self.max_active), known])
        self._build(Streams(setup.seed), n, k, v)
        self._build_ledgers(n, k)
        for row in range(n):
            self._start(row)

    def _build(self, streams: Streams, n: int, k: int, v: int) -> None:
        p = self.params
        self.rngs = [streams.stream("router", "tanbr", node) for node in self.nodes]
        cloud = streams.stream("router", "tanbr", "cloud")
        self.learner, self.template = Learner(n, k, v, p), Learner(1, k, v, p)
        self.template.nets.draw(0, cloud)
        if p.warm_start:
            self.template.warm_up(self.calibration, cloud)
        self.trees = [Tree(k, self.max_active, p.max_leaves) for _ in self.nodes]
        self.mix = MixEstimate(n, self.calibration.prior, p.alpha)
        self.cusum = Cusum(n, p.alarm_delta, p.alarm_height, p.alarm_warm)

    def _build_ledgers(self, n: int, k: int) -> None:
        self.refused = 0
        self.age: IntArray = np.zeros(n, dtype=np.int64)  # decisions since the start
        self.epoch: IntArray = np.zeros(n, dtype=np.int64)  # older decisions teach nothing
        self.hurry: BoolArray = np.zeros(n, dtype=np.bool_)  # trains at the early period
        self.fallback: BoolArray = np.zeros(n, dtype=np.bool_)  # next decision is the safe one
        self.last: FloatArray = np.full((n, k), np.nan)  # merge decided last
        self.since: IntArray = np.full(n, -1, dtype=np.int64)  # slot of that decision
        self.cell: IntArray = np.full(n, -1, dtype=np.int64)  # cell that proposed it last
        self.flop: FloatArray = np.zeros(n)  # work since the last decision
        self.read_bytes: FloatArray = np.zeros(n)
        self.open: list[dict[int, int]] = [{} for _ in range(n)]  # slot -> cell, unanswered
        self.new_cells: list[tuple[int, NewCell]] = []
        self.alarms: list[tuple[int, int]] = []  # (slot, row)

    def _start(self, row: int) -> None:
        """Put one node into the state in which it is deployed."""
        p = self.params
        self.learner.copy(row, self.template)
        self.new_cells = [entry for entry in self.new_cells if entry[0] != row]
        self.new_cells += [(row, cell) for cell in self.trees[row].restart(0)]
        self.mix.restart(row)
        self.cusum.restart(row)
        self.age[row], self.epoch[row], self.last[row] = 0, -1, np.nan
        self.since[row] = self.cell[row] = -1
        self.hurry[row], self.fallback[row] = not p.warm_start, False
        self.open[row] = {}
        self.flop[row] = self.read_bytes[row] = 0.0
        if p.warm_start:
            records = float(len(self.calibration.weights))
            self._charge(row, self.costs.train(p.restart_steps) + self.costs.refit(records))

    def _charge(self, row: int, work: Work) -> None:
        self.flop[row] += work.flop
        self.read_bytes[row] += work.read_bytes

    # --- deciding ---

    def decide_block(self, context: ContextBlock) -> DecisionBlock:
        """Choose a merge for every active node; None where the plan stays."""
        for row in np.flatnonzero(context.reset).tolist():
            self._start(row)
        self.mix.observe(context.counts, context.active)
        self._maintain(context.active)
        choice, explored = self._choose(context.active)
        rows = np.flatnonzero(context.active).tolist()
        plans: list[Plan | None] = [None] * len(self.nodes)
        for row in rows:
            plans[row] = self._issue(row, choice, context.slot)
        changed = np.array([plan is not None for plan in plans])
        self.age[context.active] += 1
        self.cusum.age[context.active] += 1
        telemetry = self._telemetry(context.slot, choice)
        receipts = self._receipts(context.active)
        return DecisionBlock(plans, receipts, explored & changed, self.mix.mix.copy(), telemetry)

    def _maintain(self, active: BoolArray) -> None:
        """Train and fit the nodes whose period is over and that have learned something since."""
        p = self.params
        early = self.hurry & (self.cusum.age < p.early_slots)
        for period in sorted({p.early_period, p.period}):
            mine = np.where(early, p.early_period, p.period) == period
            due = active & mine & (self.cusum.age > 0) & (self.cusum.age % period == 0)
            rows = np.flatnonzero(due & (self.learner.fresh > 0))
            self._fit(rows, p.steps * period)

    def _fit(self, rows: IntArray, steps: int) -> None:
        self.learner.fit(rows, self.rngs, steps)
        for row in rows.tolist():
            records = float(self.learner.memory.size[row])
            self._charge(row, self.costs.train(steps) + self.costs.refit(records))

    def _choose(self, active: BoolArray) -> tuple[Choice, BoolArray]:
        """Return the candidates of all nodes and where they are not the greedy ones."""
        mix = self.mix.relevant()
        scorer = Scorer(self.learner, mix, self.params.beta)
        choice = best_candidate(self.trees, self.anchors, scorer)
        if self.params.polish:
            reach = np.array([self._reach(row, choice) for row in range(len(self.nodes))])
            polish(choice, reach, self._draw(active), self.max_active, scorer)
        safe = active & self.fallback
        for row in np.flatnonzero(safe).tolist():
            self._play_safe(row, choice, scorer)
        explored = choice.mean < choice.greedy - _TIE
        if self.params.hysteresis:
            self._hold(choice, scorer, safe)
        self._charge_choice(active, mix)
        return choice, explored

    def _reach(self, row: int, choice: Choice) -> float:
        tree = self.trees[row]
        leaf = tree.leaf(int(choice.cell[row]))
        return _ANCHOR_REACH if leaf is None else float(tree.diameter[leaf])

    def _draw(self, active: BoolArray) -> FloatArray:
        """Draw every active node's search directions, (n, rounds, points, K)."""
        shape = (POLISH_ROUNDS, self.params.polish, self.costs.experts)
        noise = np.zeros((len(self.nodes), *shape))
        for row in np.flatnonzero(active).tolist():
            noise[row] = self.rngs[row].standard_normal(shape)
        return noise

    def _play_safe(self, row: int, choice: Choice, scorer: Scorer) -> None:
        """Choose the calibration point, or the plain average, with the best lower bound."""
        points = self.safe
        mean, deviation = (part[0] for part in scorer.both(points[None], np.array([row])))
        best = int((mean - deviation).argmax())
        choice.point[row], choice.cell[row], choice.mean[row] = points[best], -1, mean[best]
        self.fallback[row] = False
        self._charge(row, self.costs.score(float(len(points))))

    def _hold(self, choice: Choice, scorer: Scorer, safe: BoolArray) -> None:
        """Keep the last merge of a node unless the new one's bound is better by the hysteresis."""
        known = np.isfinite(self.last).all(axis=1) & ~safe
        old = np.where(known[:, None], self.last, choice.point)
        bound, _ = scorer.bounds(old[:, None, :])
        keep = known & (choice.bound - bound[:, 0] < self.params.hysteresis)
        choice.point = np.where(keep[:, None], old, choice.point)
        choice.cell = np.where(keep, self.cell, choice.cell)

    def _charge_choice(self, active: BoolArray, mix: FloatArray) -> None:
        searched = float(POLISH_ROUNDS * self.params.polish)
        for row in np.flatnonzero(active).tolist():
            clusters = float((mix[row] > 0.0).sum())
            candidates = self.trees[row].size + len(self.anchors) + searched
            candidates += bool(self.params.hysteresis)
            self._charge(row, self.costs.combine(clusters) + self.costs.score(candidates))

    def _issue(self, row: int, choice: Choice, slot: int) -> Plan | None:
        """Turn a node's choice into a plan, or None when the node was given that merge last."""
        point, kept = choice.point[row], np.array_equal(choice.point[row], self.last[row])
        if not kept:
            self.last[row], self.since[row] = point, slot
        self.cell[row] = choice.cell[row]
        # a merge that is chosen again keeps its old name, and is a choice of its cell all the same
        ledger = self.open[row]
        ledger[int(self.since[row])] = int(choice.cell[row])
        if len(ledger) > _OPEN_DECISIONS:
            del ledger[next(iter(ledger))]
        return None if kept else Merged(tuple(point.tolist()))

    def _telemetry(self, slot: int, choice: Choice) -> list[Row]:
        rows = [self._cell_row(slot, row, cell, choice) for row, cell in self.new_cells]
        for seen, row in self.alarms:
            node = self.nodes[row]
            rows.append({"table": "drift", "slot": seen, "node": node, "kind": "alarm"})
        self.new_cells, self.alarms = [], []
        return rows

    def _cell_row(self, slot: int, row: int, new: NewCell, choice: Choice) -> Row:
        leaf = self.trees[row].leaf(new.cell)
        value = float("nan") if leaf is None else float(choice.means[row, leaf])
        return {
            "table": "tree",
            "slot": slot,
            "node": self.nodes[row],
            "cell": new.cell,
            "parent": new.parent,
            "depth": new.depth,
            "n": new.pulls,
            "value": value,
        }

    def _receipts(self, active: BoolArray) -> Receipts:
        """Hand over the work since the last decision of each active node."""
        flop, read = np.where(active, self.flop, 0.0), np.where(active, self.read_bytes, 0.0)
        self.flop[active] = self.read_bytes[active] = 0.0
        state = [self.learner.state_bytes(r) + self.trees[r].nbytes for r in range(len(self.nodes))]
        return Receipts(flop, read, np.zeros(len(flop)), np.array(state, dtype=np.float64))

    # --- learning ---

    def update_block(self, feedback: FeedbackBlock) -> None:
        """Learn from each row as one observation of the merge that it names."""
        sound = sound_rows(feedback)
        self.refused += int((~sound).sum())
        told = (
            sound
            & (feedback.count.sum(axis=1) > 0.0)
            & (feedback.decided >= self.epoch[feedback.row])
        )
        points = [simplex_point(plan, self.costs.experts) for plan in feedback.plans]
        used = [int(r) for r in np.flatnonzero(told) if points[r] is not None]
        if not used:
            return
        x = np.stack([point for r in used if (point := points[r]) is not None])
        phi = self.learner.nets.embed(x[:, None, :], feedback.row[used])
        alarmed = np.zeros(len(self.nodes), dtype=np.bool_)
        for i, r in enumerate(used):
            row, decided = int(feedback.row[r]), int(feedback.decided[r])
            y, count = feedback.reward[r], feedback.count[r]
            surprise = self.learner.observe(row, phi[i, 0], x[i], y, count, decided)
            alarmed[row] |= self._alarmed(row, y, count, surprise.mean, surprise.variance)
            self._credit(row, decided)
            self._charge(row, self.costs.observe(float((count > 0.0).sum())))
        self._begin_again(np.flatnonzero(alarmed), feedback.slot)

    def _alarmed(
        self, row: int, y: FloatArray, count: FloatArray, mean: FloatArray, variance: FloatArray
    ) -> bool:
        """Test the mean reward of the row's requests against what was expected of their own mix."""
        if not self.params.alarm:
            return False
        total = float(count.sum())
        share = count / total
        error = float(share @ (y - mean))
        return self.cusum.test(
            row, error, float((share * share) @ variance), self.learner.noise(total)
        )

    def _credit(self, row: int, decided: int) -> None:
        """Count a choice for its cell at its first answer; later answers only teach the heads."""
        cell = self.open[row].pop(decided, None)
        if cell is not None:
            new = self.trees[row].credit(cell, self.rule, int(self.age[row]))
            self.new_cells += [(row, entry) for entry in new]

    def _begin_again(self, rows: IntArray, slot: int) -> None:
        """Answer an alarm: forget, learn from the last records, restart the tree, be safe once."""
        p = self.params
        for row in rows.tolist():
            self.learner.forget(row, p.alarm_keep, self.rngs[row])
            self.epoch[row] = self.learner.memory.oldest(row)
            self.new_cells += [(row, cell) for cell in self.trees[row].restart(p.alarm_depth)]
            self.open[row] = {}
            self.cusum.restart(row)
            self.hurry[row] = self.fallback[row] = True
            self.alarms.append((slot, row))
        self._fit(rows, p.restart_steps)

    # --- checkpoints ---

    def snapshot(self) -> dict[str, AnyArray]:
        """Return a copy of all state that changes, as flat numpy arrays."""
        return save(self)

    def restore(self, state: dict[str, AnyArray]) -> None:
        """Put a snapshot of a router with the same setup back."""
        load(self, state)


def _check(setup: BlockSetup) -> None:
    weights, reward = setup.calibration.weights, setup.calibration.reward
    found, wanted = (weights.shape[1:], reward.shape[1:]), ((setup.experts,), (setup.clusters,))
    if found != wanted:
        raise InputError(f"router tanbr: calibration: expected {wanted} columns, found {found}")
    if not len(weights):
        raise InputError("router tanbr: calibration: expected at least one point, found none")
