"""Dispatchers that follow the load they see: all candidates, or two drawn at random.

Load is requests in the system per server, as the view shows it: with an old view the whole fleet
may run to the node that was empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from agents.dispatchers.fixed import Draws, allow, require
from sim.rules import DispatchRule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.ports import DispatchSetup
    from sim.views import FleetView


class LeastLoaded:
    """Send each request to the least loaded candidate; ties go to the source, then the lowest id.

    Source: join the shortest queue, Winston 1977 (doi 10.2307/3213270). Deviation: load per
    server, so that unequal nodes compare.
    """

    def __init__(self, setup: DispatchSetup) -> None:
        allow("least-loaded", setup.params)
        self._candidates = require("least-loaded", sorted(setup.candidates))
        self._members = dict.fromkeys(self._candidates, True)
        self.flop = 2.0 * len(self._candidates)  # a division and a comparison each
        self.rule = DispatchRule("least-loaded", self._candidates)

    def choose(self, source: int, view: FleetView) -> int:
        """Return the least loaded node that is up."""
        in_system, up, servers = view.in_system, view.up, view.servers
        best, least = -1, np.inf
        if source in self._members and up[source]:
            best, least = source, in_system[source] / servers[source]
            if least == 0.0:
                return source
        for node in self._candidates:
            if up[node]:
                load = in_system[node] / servers[node]
                if load < least:
                    best, least = node, load
                    if load == 0.0:
                        break  # none can be lower, and the ids that follow are higher
        return best if best >= 0 else self._candidates[0]


class PowerOfTwo:
    """Draw two different candidates that are up, take the less loaded; the first drawn wins ties.

    Source: Mitzenmacher 2001 (doi 10.1109/71.963420). Deviation: load per server.
    """

    flop = 6.0  # two draws, two divisions, one comparison, one selection

    def __init__(self, setup: DispatchSetup) -> None:
        allow("power-of-two", setup.params)
        self._candidates = require("power-of-two", setup.candidates)
        self.rule = DispatchRule("power-of-two", self._candidates)
        self._draws = Draws(setup.rng)

    def choose(self, source: int, view: FleetView) -> int:
        """Return the less loaded of two random nodes."""
        first, second = self._pair(self._candidates)
        up = view.up
        if not (up[first] and up[second]):
            alive = [node for node in self._candidates if up[node]]
            if not alive:
                return self._candidates[0]
            first, second = self._pair(alive)
        in_system, servers = view.in_system, view.servers
        # loads compared crosswise: no division, and no node twice as wide loses by rounding
        if in_system[second] * servers[first] < in_system[first] * servers[second]:
            return second
        return first

    def _pair(self, nodes: Sequence[int]) -> tuple[int, int]:
        """Draw two nodes without replacement (the same one twice if there is only one)."""
        count = len(nodes)
        first = self._draws.below(count)
        if count == 1:
            return nodes[first], nodes[first]
        second = self._draws.below(count - 1)
        return nodes[first], nodes[second + (second >= first)]
