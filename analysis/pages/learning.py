"""What the page of learning reads of a case: curves, parts and answers to drift, trial by trial."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from analysis.drift import aligned, changes, delays, detections
from analysis.quality import arrival_slots
from analysis.queries import curves_table, drift_table, drifts
from analysis.regret import Curve, curve, part_counts, part_means, parts
from analysis.summary import routed_nodes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.load import Trial
    from analysis.pages.context import Case, Context
    from sim.arrays import FloatArray
    from sim.records import Table

Part = Literal["task", "node"]
BY: tuple[tuple[Part, str], ...] = (("task", "context"), ("node", "node"))
MOST_LINES = 8  # parts drawn as lines


@dataclass(frozen=True, slots=True)
class Lesson:
    """One trial, digested."""

    curve: Curve
    grown: dict[str, dict[int, FloatArray]]  # by -> part -> cumulative regret
    means: dict[str, dict[int, float]]  # by -> part -> mean regret
    counts: dict[str, dict[int, int]]  # by -> part -> node-slots that the mean is over
    aligned: FloatArray
    delays: FloatArray  # per change, NaN missed
    looks: bool  # it keeps an estimate of the mix, or reported something


@dataclass(frozen=True, slots=True)
class Lessons:
    """One case: policy -> its trials by seed."""

    case: Case
    of: dict[str, list[Lesson]]
    marks: list[tuple[float, str]]
    names: dict[str, dict[int, str]] = field(default_factory=dict)  # by -> part -> what it is

    @property
    def curves(self) -> dict[str, list[Curve]]:
        """Return policy -> curves by seed."""
        return {policy: [lesson.curve for lesson in made] for policy, made in self.of.items()}

    @property
    def drifted(self) -> bool:
        """Tell whether the world of any trial changed."""
        return any(len(lesson.delays) for made in self.of.values() for lesson in made)

    def mean(self, by: str, policy: str) -> dict[int, float]:
        """Return part -> mean regret over the node-slots of all seeds, equal weight each.

        A seed that met a context once must not say as much as one that met it all the time.
        """
        count, total = self.counts(by, policy), dict[int, float]()
        for lesson in self.of[policy]:
            for part, mean in lesson.means[by].items():
                total[part] = total.get(part, 0.0) + mean * lesson.counts[by][part]
        return {part: total[part] / count[part] for part in sorted(total)}

    def counts(self, by: str, policy: str) -> dict[int, int]:
        """Return part -> node-slots over all seeds."""
        found: dict[int, int] = {}
        for lesson in self.of[policy]:
            for part, count in lesson.counts[by].items():
                found[part] = found.get(part, 0) + count
        return found

    def lines(self, by: str, policy: str) -> dict[str, list[FloatArray]]:
        """Return the lines to draw: all parts, or those that have cost most, and the least one."""
        grown = [lesson.grown[by] for lesson in self.of[policy]]
        known = sorted({part for g in grown for part in g})
        if by == "task":  # a context that a seed never met lost nothing there: the parts add up
            nothing = np.zeros(len(self.of[policy][0].curve.slot))
            grown = [{part: g.get(part, nothing) for part in known} for g in grown]
        cost = {part: float(np.mean([g[part][-1] for g in grown if part in g])) for part in known}
        shown = sorted(known, key=lambda part: (-cost[part], part))
        if len(shown) > MOST_LINES:
            shown = [*shown[: MOST_LINES - 1], shown[-1]]
        return {
            self.names[by].get(part, str(part)): [g[part] for g in grown if part in g]
            for part in shown
        }


def learn(ctx: Context, case: Case) -> Lessons:
    """Read all trials of a case."""
    longest = max(int(trial.meta["slots"]) for trial in case.trials)
    of = {
        policy: [_lesson(ctx, trial, longest) for trial in case.of(policy)]
        for policy in case.policies()
    }
    nodes = {int(node["id"]): str(node["name"]) for node in case.meta["nodes"]}
    names = {"task": dict(enumerate(map(str, case.meta["tasks"]))), "node": nodes}
    return Lessons(case, of, _marks(ctx, case), names)


def _lesson(ctx: Context, trial: Trial, longest: int) -> Lesson:
    slots, meta = curves_table(ctx.run, trial), trial.meta
    known = [by for by, _ in BY if by in slots]
    noticed = drift_table(ctx.run, trial)
    routed = routed_nodes(meta)
    found = changes(noticed, routed, arrival_slots(meta))
    node, slot = detections(noticed, routed)
    looks = bool(len(node)) or bool(np.isfinite(slots["context_tv"]).any())
    return Lesson(
        curve=curve(slots, meta, longest),
        grown={by: parts(slots, meta, by, longest) for by in known},
        means={by: part_means(slots, meta, by) for by in known},
        counts={by: part_counts(slots, meta, by) for by in known},
        aligned=aligned(found, _of(slots, routed)),
        delays=delays(found, node, slot),
        looks=looks,
    )


def _of(slots: Table, nodes: Sequence[int]) -> Table:
    kept = np.isin(slots["node"], nodes)
    return {name: values[kept] for name, values in slots.items()}


def _marks(ctx: Context, case: Case) -> list[tuple[float, str]]:
    trial = next(iter(case.shown().values()))
    return [
        (slot + 1.0, "drift" if place == 0 else "")
        for place, slot in enumerate(drifts(ctx.run, trial))
    ]
