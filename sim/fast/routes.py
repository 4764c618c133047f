"""The table of first links that kernels read: filled when a pair of nodes is first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim.fast.layout import ROUTE_ENTRY
from sim.fast.move import depart_all, find_route
from sim.topology.graph import Network

if TYPE_CHECKING:
    from sim.arrays import AnyArray
    from sim.config import World
    from sim.fast.state import State


def empty(size: int) -> AnyArray:
    """Return an empty table; its size is a power of two."""
    table = np.zeros(size, ROUTE_ENTRY)
    table["key"] = -1
    return table


class Routes:
    """Finds routes for the kernel, and forgets them when the topology changes.

    Args:
        world: The run.
        state: Its state.
        sure: By link: the end of a transfer is known when it begins.
    """

    def __init__(self, world: World, state: State, sure: list[bool]) -> None:
        self.network, self._state, self._sure = Network(world.links), state, sure
        self._known = 0

    def settle(self) -> None:
        """Let all leave who line up for a route."""
        facts, requests = self._state.facts, self._state.requests
        while facts["unrouted"] >= 0:
            first = requests[int(facts["unrouted"])]
            self._enter(int(first["here"]), int(first["goal"]))
            depart_all(self._state.run)

    def _enter(self, here: int, goal: int) -> None:
        state = self._state
        if 2 * (self._known + 1) > len(state.routes):
            self._widen()
        entry = state.routes[-1 - find_route(state.run, here, goal)]
        route = self.network.route(here, goal)
        entry["key"] = here * len(state.nodes) + goal
        entry["link"] = route[0] if route else -1
        entry["direct"] = bool(route) and len(route or ()) == 1 and self._sure[(route or (0,))[0]]
        self._known += 1

    def _widen(self) -> None:
        state, old = self._state, self._state.routes
        state.put("routes", empty(4 * len(old)))
        for entry in old[old["key"] >= 0]:
            here, goal = divmod(int(entry["key"]), len(state.nodes))
            state.routes[-1 - find_route(state.run, here, goal)] = entry

    def set_link(self, link: int, *, up: bool) -> None:
        """Take a link down or up: no route is sure any longer."""
        self.network.set_link(link, up)
        self._state.routes["key"] = -1
        self._known = 0
