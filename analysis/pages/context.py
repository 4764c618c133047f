"""What all pages share: the run, its cases, the looks of the policies, words for people."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis.compare import CompareTable, compare_table
from analysis.figures.style import Looks, looks
from analysis.metrics import BY_KEY, Metric
from analysis.pages.html import Choice, Page, notice, slugs
from analysis.pages.svg import swatch
from sim.errors import InputError
from sim.units import format_s

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from analysis.load import Run, Trial


@dataclass(frozen=True, slots=True)
class Case:
    """One combination of axis values: all that varies within it is the policy and the seed."""

    slug: str
    label: str
    trials: tuple[Trial, ...]  # finished ones
    rows: tuple[Mapping[str, Any], ...]  # their summaries
    problem: str  # why its policies cannot be compared; empty when they can

    @property
    def meta(self) -> Mapping[str, Any]:
        """Return the facts of the world, the same for all its trials but for the seed."""
        return self.trials[0].meta

    def policies(self) -> list[str]:
        """Return the labels of the policies, sorted."""
        return sorted({trial.policy for trial in self.trials})

    def of(self, policy: str) -> list[Trial]:
        """Return a policy's trials by seed."""
        return sorted((t for t in self.trials if t.policy == policy), key=lambda t: t.seed)

    def first_seed(self) -> int:
        """Return the lowest seed that the most policies have, for figures of one trial each."""
        counts: dict[int, int] = {}
        for trial in self.trials:
            counts[trial.seed] = counts.get(trial.seed, 0) + 1
        return min(counts, key=lambda seed: (-counts[seed], seed))

    def shown(self) -> dict[str, Trial]:
        """Return policy -> its trial of the shown seed."""
        seed = self.first_seed()
        return {t.policy: t for t in sorted(self.trials, key=lambda t: t.policy) if t.seed == seed}

    def deadlines_s(self) -> list[float]:
        """Return the different deadlines of the streams, at most three."""
        found = {s["deadline_s"] for s in self.meta["streams"] if s.get("deadline_s")}
        return sorted(d for d in found if math.isfinite(d))[:3]


class Context:
    """A run as the pages see it.

    Args:
        run: The opened run folder.
        baseline: The policy that differences are taken against; by default the first of the trials.
    """

    def __init__(self, run: Run, baseline: str | None = None) -> None:
        self.run = run
        self.policies = sorted({trial.policy for trial in run.done})
        self.looks: Looks = looks([trial.policy for trial in run.trials])
        order = list(dict.fromkeys(trial.policy for trial in run.done))
        if baseline is not None and baseline not in order and order:
            raise InputError(
                f"baseline {baseline!r} has no finished trial (finished: {', '.join(order)})"
            )
        self.baseline = baseline or (order[0] if order else "")
        self.ordered = [p for p in [self.baseline] if p]
        self.ordered += [p for p in self.policies if p != self.baseline]
        self.cases = _cases(run)
        self._tables: dict[tuple[str, str], CompareTable] = {}

    @property
    def case_choice(self) -> Choice:
        """Return the choice between the experiment's cases."""
        return Choice("case", "Case", tuple((case.slug, case.label) for case in self.cases))

    def baseline_choice(self) -> Choice:
        """Return the choice of the baseline, the default one first."""
        return Choice.of("baseline", "Baseline", self.ordered[:8])

    def table(self, case: Case, baseline: str | None = None) -> CompareTable:
        """Return a case's comparison; a baseline that it lacks gives way to its first policy."""
        wanted = baseline or self.baseline
        if wanted not in case.policies():
            wanted = case.policies()[0]
        key = (case.slug, wanted)
        if key not in self._tables:
            rows = (
                [dict(row, workload_digest="") for row in case.rows] if case.problem else case.rows
            )
            self._tables[key] = compare_table(rows, wanted)
        return self._tables[key]

    def is_oracle(self, policy: str) -> bool:
        """Tell whether a policy sees what no deployed one could."""
        mine = [t.meta for t in self.run.done if t.policy == policy]
        return any(m.get("oracle", str(m.get("kind")).endswith("oracle")) for m in mine)

    def swatch(self, policy: str) -> str:
        """Return a policy's marker as inline SVG."""
        return swatch(self.looks[policy])

    def facts(self) -> dict[str, str]:
        """Return the run in a few numbers, for the head of every page."""
        if not self.cases:
            return {"finished trials": "0"}
        meta = self.cases[0].meta
        seeds = sorted({trial.seed for trial in self.run.done})
        requests = sum(int(row.get("requests") or 0) for case in self.cases for row in case.rows)
        found = {
            _plural("policy", "policies", len(self.policies)): str(len(self.policies)),
            _plural("seed", "seeds", len(seeds)): str(len(seeds)),
            _plural("node", "nodes", len(meta["nodes"])): str(len(meta["nodes"])),
            "simulated per trial": format_s(float(meta["duration_s"])),
            "requests in all": f"{requests:,}",
        }
        return found if len(self.cases) == 1 else {**found, "cases": str(len(self.cases))}


def _cases(run: Run) -> tuple[Case, ...]:
    rows = {str(row["id"]): row for row in run.summaries()}
    varying = [name for name in _axes(run) if len({str(t.axes[name]) for t in run.done}) > 1]
    grouped: dict[tuple[str, ...], list[Trial]] = {}
    for trial in run.done:
        grouped.setdefault(tuple(_value(trial, name) for name in varying), []).append(trial)
    labels = [_label(varying, key) for key in grouped]
    return tuple(
        Case(
            slug,
            label,
            tuple(trials),
            tuple(rows[t.id] for t in trials),
            _problem([rows[t.id] for t in trials]),
        )
        for slug, label, trials in zip(slugs(labels), labels, grouped.values(), strict=True)
    )


def _axes(run: Run) -> list[str]:
    return list(run.trials[0].axes) if run.trials else []


def _plural(one: str, many: str, count: int) -> str:
    return one if count == 1 else many


def _label(names: Sequence[str], values: Sequence[str]) -> str:
    if not names:
        return "all"
    return ", ".join(f"{name} = {value}" for name, value in zip(names, values, strict=True))


def _value(trial: Trial, axis: str) -> str:
    """Return a trial's value on an axis; a command without the axis left the scenario's own."""
    value = trial.axes[axis]
    return "as in the scenario" if value is None else str(value)


def _problem(rows: list[Mapping[str, Any]]) -> str:
    try:
        compare_table(rows)
    except InputError as error:
        return str(error)
    return ""


def present(table: CompareTable, keys: Sequence[str]) -> list[Metric]:
    """Return the metrics among `keys` that some policy of the table has."""
    known = {metric.key for metric in table.metrics}
    return [BY_KEY[key] for key in keys if key in known]


def nothing(slug: str, title: str, question: str) -> Page:
    """Return a page for a run without a finished trial: it says what to run."""
    from analysis.pages.html import Html

    text = (
        "No trial has finished yet. Run <code>moedge compare</code> on the scenario again: "
        "finished trials "
        "are kept, failed ones are repeated with <code>--retry-failed</code>. Then <code>moedge "
        "report</code>."
    )
    return Page(slug, title, question, (Html(notice(text, "bad")),))


def shown_seed_note(case: Case) -> str:
    """Say which seed a figure of single trials shows."""
    return f"Shown: seed {case.first_seed()}, one of {len({t.seed for t in case.trials})}."
