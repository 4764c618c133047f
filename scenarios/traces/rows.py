"""What a trace says, column by column."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class TraceRows:
    """A trace, row by row, ascending in time.

    `tasks` are words or indices ("" unknown), `nodes` names ("" any). Every other column is empty
    where the file has none; a row that says nothing has NaN, or None for its priority.
    """

    times_s: tuple[float, ...]
    tasks: tuple[str, ...]
    nodes: tuple[str, ...]
    up_bytes: tuple[float, ...] = ()
    down_bytes: tuple[float, ...] = ()
    services_s: tuple[float, ...] = ()
    priorities: tuple[int | None, ...] = ()
    deadlines_s: tuple[float, ...] = ()

    def of(self, node: str) -> TraceRows:
        """Return the rows of one node."""
        kept = [i for i, name in enumerate(self.nodes) if name in {"", node}]
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        return TraceRows(
            **{
                name: tuple(found[i] for i in kept) if found else ()
                for name, found in columns.items()
            }
        )

    @property
    def has_deadlines(self) -> bool:
        """Tell whether any row has a deadline."""
        return not all(math.isnan(deadline_s) for deadline_s in self.deadlines_s)

    @property
    def mean_rate_per_s(self) -> float:
        """Return the declared mean rate: gaps per second between the first row and the last.

        NaN when there is no gap.
        """
        span_s = self.times_s[-1] - self.times_s[0] if self.times_s else 0.0
        return (len(self.times_s) - 1) / span_s if span_s > 0.0 else math.nan
