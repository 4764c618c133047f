"""Rewards that were none: how many, of which node, when; for the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_MOST_NOTES = 20  # lines that name a node each; the rest of a big fleet shares one


@dataclass(frozen=True, slots=True)
class Refusal:
    """Rewards that a host kept from a node's router because they are no rewards."""

    node: int
    count: int
    reward: float  # the last of them


@dataclass(slots=True)
class _Refused:
    """What was kept from the router of one node so far."""

    first_s: float
    last_s: float
    count: int
    reward: float  # the last of them


class Refusals:
    """Counts by node what hosts kept from their routers."""

    def __init__(self) -> None:
        self._nodes: dict[int, _Refused] = {}

    def add(self, refused: Iterable[Refusal], now_s: float) -> None:
        """Note what was refused at one boundary."""
        for each in refused:
            known = self._nodes.setdefault(each.node, _Refused(now_s, now_s, 0, 0.0))
            known.last_s, known.reward = now_s, each.reward
            known.count += each.count

    def rows(self, router: str) -> list[dict[str, Any]]:
        """Return one row per node, ascending, JSON-ready (a reward is text: JSON has no NaN)."""
        return [
            {
                "node": node, "router": router, "count": known.count,
                "first_s": known.first_s, "last_s": known.last_s, "reward": f"{known.reward:g}",
            }
            for node, known in sorted(self._nodes.items())
        ]  # fmt: skip

    def notes(self, router: str, names: Sequence[str]) -> list[str]:
        """Return one line per node, and one for all nodes beyond twenty.

        Args:
            router: Its kind.
            names: Of the nodes, by id.
        """
        rows = self.rows(router)
        lines = [
            f"router {router}: reward {row['reward']} at t={row['last_s']:g} from node "
            f"{names[row['node']]}, ignored ({row['count']} so far)"
            for row in rows[:_MOST_NOTES]
        ]
        if more := rows[_MOST_NOTES:]:
            count = sum(row["count"] for row in more)
            lines.append(f"router {router}: {count} more such rewards from {len(more)} more nodes")
        return lines
