"""Dispatchers that look at no load: local, cloud, random, round-robin.

Common rule: a node that the view shows down is skipped; if all are down the first candidate is
named, and the engine drops the request there.
"""

from __future__ import annotations

from itertools import chain, repeat
from typing import TYPE_CHECKING

from sim.errors import InputError, nearest
from sim.rules import DispatchRule

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from sim.config import Params
    from sim.ports import DispatchSetup
    from sim.views import FleetView

_BATCH = 4096  # draws made at once: one by one they would cost more than the choice


def allow(kind: str, params: Params, known: Sequence[str] = ()) -> None:
    """Refuse parameters that a dispatcher does not have.

    Raises:
        InputError: A key of `params` is not in `known`.
    """
    for key in params:
        if key not in known:
            near = nearest(key, known)
            hint = f"; did you mean {near!r}?" if near else ""
            has = f"takes {', '.join(known)}" if known else "takes no parameters"
            raise InputError(f"dispatch {kind}.{key}: unknown parameter{hint} ({kind} {has})")


def require(kind: str, candidates: Sequence[int]) -> tuple[int, ...]:
    """Return the candidates as a tuple.

    Raises:
        InputError: There is none.
    """
    if not candidates:
        raise InputError(f"dispatch {kind}: expected at least one node with servers, found none")
    return tuple(candidates)


def first_up(candidates: Sequence[int], view: FleetView) -> int:
    """Return the first candidate that the view shows up, else the first."""
    up = view.up
    return next((node for node in candidates if up[node]), candidates[0])


class Draws:
    """Uniform numbers on [0, 1) from one generator, drawn in batches.

    Args:
        rng: The dispatcher's own generator.

    Attributes:
        uniforms: The numbers, without end.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        batches = (rng.random(_BATCH).tolist() for _ in repeat(None))
        self.uniforms = chain.from_iterable(batches)

    def below(self, n: int) -> int:
        """Return an integer uniform on 0..n-1 (to within n / 2^53)."""
        return int(next(self.uniforms) * n)


class Local:
    """Serve every request where it is emitted, up or down."""

    flop = 0.0

    def __init__(self, setup: DispatchSetup) -> None:
        allow("local", setup.params)
        self._nodes = {node.id: node for node in setup.nodes}
        self.rule = DispatchRule("local")

    def choose(self, source: int, view: FleetView) -> int:
        """Return the source.

        Raises:
            InputError: The source only forwards.
        """
        if self._nodes[source].servers < 1:
            raise InputError(
                f"dispatch local: node {self._nodes[source].name} emits requests but has no"
                " servers; choose another dispatcher or give it servers"
            )
        return source


class Cloud:
    """Send everything to one group: its first node that is up.

    The group is the parameter `group`, else the only one among the candidates (`to` names one),
    else the group called "cloud".
    """

    flop = 0.0

    def __init__(self, setup: DispatchSetup) -> None:
        allow("cloud", setup.params, ("group",))
        group_of = {node.id: node.group for node in setup.nodes}
        groups = sorted({group_of[node] for node in require("cloud", setup.candidates)})
        group = setup.params.get("group", groups[0] if len(groups) == 1 else "cloud")
        self._members = tuple(node for node in setup.candidates if group_of[node] == group)
        if not self._members:
            raise InputError(
                f"dispatch cloud: no node with servers in group {group!r}; groups are"
                f" {', '.join(groups)}; name one with `to` or `group`"
            )
        self.rule = DispatchRule("first-up", self._members)

    def choose(self, source: int, view: FleetView) -> int:
        """Return the group's first node that is up."""
        return first_up(self._members, view)


class RandomChoice:
    """Send each request to a uniformly drawn candidate that is up."""

    flop = 1.0

    def __init__(self, setup: DispatchSetup) -> None:
        allow("random", setup.params)
        self._candidates = require("random", setup.candidates)
        self._count = float(len(self._candidates))
        self.rule = DispatchRule("random", self._candidates)
        self._draws = Draws(setup.rng)
        self._uniforms = self._draws.uniforms

    def choose(self, source: int, view: FleetView) -> int:
        """Return a random node; a draw that hits one that is down is made again among the rest."""
        node = self._candidates[int(next(self._uniforms) * self._count)]  # `below` is a call more
        if view.up[node]:
            return node
        alive = [other for other in self._candidates if view.up[other]]
        return alive[self._draws.below(len(alive))] if alive else self._candidates[0]


class RoundRobin:
    """Send the requests of each source to the candidates in turn.

    Source number s starts with candidate s (counted round), so that a fleet does not start in step.
    """

    flop = 1.0

    def __init__(self, setup: DispatchSetup) -> None:
        allow("round-robin", setup.params)
        self._candidates = require("round-robin", setup.candidates)
        self._next: dict[int, int] = {}
        self.rule = DispatchRule("round-robin", self._candidates)

    def choose(self, source: int, view: FleetView) -> int:
        """Return the source's next candidate that is up."""
        count = len(self._candidates)
        start = self._next.get(source, source) % count
        for step in range(count):
            place = (start + step) % count
            if view.up[self._candidates[place]]:
                self._next[source] = place + 1
                return self._candidates[place]
        return self._candidates[0]
