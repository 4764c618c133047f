"""Choices of servers for many requests at once, where no dispatcher looks at any load.

Each chooser makes the very choices that the dispatcher of its name (`agents.dispatchers`) makes one
by one while no node is ever down: same draws, same turns. A choice is told as a pair of source and
server, source * servers + server where a source has several, the source where it has one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from sim.fast.jit import lean

if TYPE_CHECKING:
    from sim.arrays import AnyArray, IntArray

ONE_SERVER = ("local", "cloud")  # every source has one server for good
KINDS = (*ONE_SERVER, "random", "round-robin")


class Chooser(Protocol):
    """Chooses for requests in the order of their emission."""

    def choose(self, source: AnyArray) -> AnyArray:
        """Return the pair of each request, (R,) int32, from its source's number, (R,) int32."""
        ...


class Always:
    """Sends whatever a source emits to its only server."""

    def choose(self, source: AnyArray) -> AnyArray:
        """Return the sources: they stand for their pairs."""
        return source


class Uniform:
    """Sends each request to a server drawn uniformly.

    Args:
        servers: How many there are.
        sources: Node ids of the sources.
        rng: The dispatcher's own generator.
    """

    def __init__(self, servers: int, sources: AnyArray, rng: np.random.Generator) -> None:
        self._servers, self._rng, self._alone = servers, rng, len(sources) == 1

    def choose(self, source: AnyArray) -> AnyArray:
        """Draw a number for each request (numpy draws the same one by one or all at once)."""
        drawn = self._rng.random(len(source))
        drawn *= self._servers
        pair = drawn.astype(np.int32)
        if not self._alone:
            pair += source * np.int32(self._servers)
        return pair


class Turns:
    """Sends the requests of each source to the servers in turn, source number s from server s on.

    Args:
        servers: How many there are.
        sources: Node ids of the sources.
    """

    def __init__(self, servers: int, sources: AnyArray) -> None:
        self._servers = servers
        self._next = np.asarray(sources, np.int64) % servers

    def choose(self, source: AnyArray) -> AnyArray:
        """Take the next server of each request's source."""
        pair = np.empty(len(source), np.int32)
        _turns(source, self._servers, self._next, pair)
        return pair


@lean
def _turns(source: AnyArray, servers: int, following: IntArray, pair: AnyArray) -> None:
    for i in range(len(source)):
        s = source[i]
        pair[i] = s * servers + following[s]
        following[s] = (following[s] + 1) % servers


def chooser(kind: str, servers: int, sources: AnyArray, rng: np.random.Generator) -> Chooser:
    """Return the chooser of a kind of dispatcher.

    Args:
        kind: One of `KINDS`.
        servers: Candidates of the dispatcher.
        sources: Node ids of the sources, (S,), by number.
        rng: The dispatcher's own generator, fresh.
    """
    if kind in ONE_SERVER:
        return Always()
    return Uniform(servers, sources, rng) if kind == "random" else Turns(servers, sources)
