"""Which policy to deploy: ranks that admit ties, over policies that keep the targets.

A rank is a range. Policy A is better than B when the 95 % interval of their difference, paired by
seed, leaves zero out. The best rank that a policy can claim is one more than the policies that are
better than it, the worst is the number of policies minus those that it is better than. So
policies between which no difference was shown share ranks, and a single seed ranks nobody.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.stats import Paired, paired

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from analysis.compare import Cell, CompareRow, CompareTable
    from analysis.metrics import Metric


@dataclass(frozen=True, slots=True)
class Place:
    """One policy's place."""

    policy: str
    first: int  # best rank that it can claim, from 1; 0: not ranked
    last: int  # worst rank, the number of ranked policies at most
    kept: int  # targets
    targets: int
    oracle: bool  # sees what no deployed policy can, so it has no rank
    versus: Paired | None  # minus the leader; None for the leader itself

    @property
    def rank(self) -> str:
        """Write the rank: `1`, `2-4`, or a dash."""
        if not self.first:
            return "-"
        return f"{self.first}" if self.first == self.last else f"{self.first}\N{EN DASH}{self.last}"

    @property
    def fit(self) -> bool:
        """Tell whether it could be deployed: no oracle, and every target kept."""
        return not self.oracle and self.kept == self.targets


@dataclass(frozen=True, slots=True)
class Ranking:
    """Places by mean, those that cannot be deployed last."""

    metric: Metric
    places: tuple[Place, ...]

    @property
    def leader(self) -> Place | None:
        """Return the best mean among what can be deployed, None when nothing can."""
        return next((place for place in self.places if place.fit), None)

    @property
    def unbeaten(self) -> tuple[Place, ...]:
        """Return what can be deployed and was beaten by nobody, the leader first."""
        return tuple(place for place in self.places if place.fit and place.first == 1)


def ranking(
    table: CompareTable,
    metric: Metric,
    targets: Mapping[str, Sequence[bool]] | None = None,
    oracles: Collection[str] = (),
) -> Ranking:
    """Rank the policies of a comparison by one metric.

    Args:
        table: The comparison; its baseline does not matter.
        metric: What to rank by; it has a better side.
        targets: Policy -> whether each of its targets was kept. Policies that break one are ranked
            among themselves, after those that keep all.
        oracles: Policies that are shown without a rank.

    Source: the range of ranks of a set of pairwise comparisons (as in Goldstein and Spiegelhalter
    1996). Deviation: intervals of paired differences, not corrected for their number.
    """
    kept = targets or {}
    sign = -1.0 if metric.direction == "higher" else 1.0

    def order(row: CompareRow) -> tuple[bool, bool, float, str]:
        interval = row.cells[metric.key].interval
        mean = math.inf if interval is None else sign * interval.mean
        return row.policy in oracles, not all(kept.get(row.policy, ())), mean, row.policy

    rows = sorted(table.rows, key=order)
    fit = [r for r in rows if not any(order(r)[:2])]
    unfit = [r for r in rows if order(r)[:2] == (False, True)]
    ranks = _ranks(fit, metric, 0) | _ranks(unfit, metric, len(fit))
    head = rows[0].cells[metric.key]
    return Ranking(metric, tuple(
        Place(
            row.policy, *ranks.get(row.policy, (0, 0)), sum(kept.get(row.policy, ())),
            len(kept.get(row.policy, ())), row.policy in oracles,
            None if row is rows[0] else _versus(row.cells[metric.key], head, metric),
        )
        for row in rows
    ))  # fmt: skip


def _ranks(rows: Sequence[CompareRow], metric: Metric, after: int) -> dict[str, tuple[int, int]]:
    """Return policy -> range of ranks, counted from `after`; no value: no rank."""
    cells = {row.policy: row.cells[metric.key] for row in rows}
    known = {policy: cell for policy, cell in cells.items() if cell.interval is not None}
    found = {}
    for policy, cell in known.items():
        said = [_versus(cell, other, metric) for p, other in known.items() if p != policy]
        worse = sum(versus is not None and versus.verdict == "worse" for versus in said)
        better = sum(versus is not None and versus.verdict == "better" for versus in said)
        found[policy] = (after + 1 + worse, after + len(known) - better)
    return found


def _versus(cell: Cell, other: Cell, metric: Metric) -> Paired | None:
    return paired(cell.values, other.values, metric.direction)
