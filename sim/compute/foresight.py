"""The future of one node's experts, for caches that know it (bounds, never policies).

What lies ahead are the units that running batches still have to go through, and after them the
requests of the node's own streams that have not started, in id order, each going through its
layers under the plan in force. That is exact where these requests and no others are served here in
that order, one at a time and none dropped: `dispatch: local`, one server, batches of one, first
come first served, an unlimited queue and a plan that stays. Elsewhere it is a good guess.
"""

from __future__ import annotations

from bisect import bisect_left
from math import inf
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sim.compute.inforce import Common
    from sim.compute.touched import Masks
    from sim.compute.walk import Walk
    from sim.plans import Gated
    from sim.ports import ExpertKey


class Foresight:
    """Tells how far ahead the next use of an expert lies.

    Args:
        mine: Ids of the requests that the node's own streams emit, ascending.
        inputs: Service input of every request of the run.
        touches: Replayed gate choices of a gated plan, by service input.
        plan: Returns the gated plan that requests to come are served under, None without one.
        experts: Experts of the small model.
    """

    def __init__(
        self,
        mine: Sequence[int],
        inputs: Sequence[int],
        touches: Callable[[Gated], list[Masks]],
        plan: Callable[[], Gated | None],
        experts: int,
    ) -> None:
        self.mine, self.inputs, self.touches, self.plan = mine, inputs, touches, plan
        self.experts = experts
        self._started = 0  # of `mine`: requests before this place have started, or never will
        self._walks: list[Walk] = []
        self._uses: dict[tuple[Gated, ExpertKey], list[int]] = {}

    def begin(self, ids: Sequence[int], walk: Walk) -> None:
        """Note a batch that starts."""
        self._walks = [w for w in self._walks if not w.over] + [walk]
        for rid in ids:
            place = bisect_left(self.mine, rid)
            if place < len(self.mine) and self.mine[place] == rid:
                self._started = max(self._started, place + 1)

    def crash(self) -> None:
        """Forget the batches that ran."""
        self._walks.clear()

    def next_use(self, key: ExpertKey) -> float:
        """Return how far ahead an expert's next use lies, in uses, infinite if there is none.

        Uses by running batches are negative: they come before all others.
        """
        steps = [ahead for walk in self._walks if (ahead := walk.ahead(key)) is not None]
        if steps:
            return float(min(steps) - 1_000_000_000)
        plan = self.plan()
        if plan is None:
            return inf
        uses = self._places(plan, key)
        index = bisect_left(uses, self._started)
        if index == len(uses):
            return inf
        # within a request, experts go by layer and id; 2^20 of them are enough for any model
        return float((uses[index] - self._started) * 1_048_576 + key[0] * self.experts + key[1])

    def _places(self, plan: Gated, key: ExpertKey) -> list[int]:
        """List the places in `mine` of requests that touch an expert."""
        found = self._uses.get((plan, key))
        if found is None:
            rows, (layer, expert) = self.touches(plan), key
            found = self._uses[plan, key] = [
                place
                for place, rid in enumerate(self.mine)
                if rows[self.inputs[rid]][layer] >> expert & 1
            ]
        return found


def look_ahead(common: Common, node: int, plan: Callable[[], Gated | None]) -> Foresight:
    """Make the foresight of a node."""
    requests = common.requests
    mine = np.flatnonzero(requests.workload.source == node).tolist()
    return Foresight(mine, requests.input, common.touches, plan, common.experts)
