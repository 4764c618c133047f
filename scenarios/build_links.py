"""From the words of a topology to directed links."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from scenarios.build_graphml import edges as edges_of_file
from scenarios.schema_names import Names, center, connections, members, pairs
from scenarios.schema_network import (
    BarabasiAlbert,
    Explicit,
    GraphML,
    Grid,
    Ring,
    Star,
    TwoWayLink,
    Waxman,
)
from sim.config import LinkSpec
from sim.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scenarios.schema import Scenario
    from scenarios.schema_network import Link, Sharing, Way
    from sim.rng import Streams


@dataclass(frozen=True, slots=True)
class _Direction:
    """What one direction of a link is, its words merged."""

    delay_s: float
    bytes_per_s: float
    sharing: Sharing
    loss: float


def links(scenario: Scenario, names: Names, streams: Streams) -> tuple[LinkSpec, ...]:
    """Return every link, each way on its own: those of the shape, then those that the file lists.

    Args:
        scenario: The words.
        names: Its nodes.
        streams: Of the run's seed; a drawn shape uses the stream "topology".

    Raises:
        InputError: Two nodes are joined twice.
    """
    specs: list[LinkSpec] = []
    joined: set[tuple[int, int]] = set()
    for a, b, link in [*_shape(scenario, names, streams), *_listed(scenario, names)]:
        if (a, b) in joined:
            said = f"{names.name(a)!r} and {names.name(b)!r} are joined twice"
            raise InputError(f"topology: {said} (by its shape and a link of the list)")
        joined |= {(a, b), (b, a)}
        for src, dst, way in ((a, b, _direction(link, "up")), (b, a, _direction(link, "down"))):
            specs.append(LinkSpec(len(specs), src, dst, **asdict(way)))
    return tuple(specs)


def _shape(scenario: Scenario, names: Names, streams: Streams) -> Iterator[tuple[int, int, Link]]:
    """Return (lower, upper, link): the first end is where `up` starts."""
    topology = scenario.topology
    if isinstance(topology, Explicit):
        return
    if isinstance(topology, GraphML):
        yield from edges_of_file(scenario, names)
        return
    from sim.topology import generators

    nodes = members(topology, names)
    if isinstance(topology, Ring):
        edges = generators.ring(nodes)
    elif isinstance(topology, BarabasiAlbert):
        edges = generators.barabasi_albert(nodes, topology.m, streams.stream("topology"))
    elif isinstance(topology, Grid):
        edges = generators.grid(nodes, topology.width)
    elif isinstance(topology, Waxman):
        rng = streams.stream("topology")
        edges = generators.waxman(nodes, topology.alpha, topology.beta, rng)
    else:
        top = names.ids(center(topology))[0]
        below = [node for node in nodes if node != top]
        if isinstance(topology, Star):
            edges = generators.star(top, below)
        else:
            edges = generators.tree(top, below, topology.branching)
        rank = {node: i for i, node in enumerate([top, *below])}
        edges = [(a, b) if rank[a] > rank[b] else (b, a) for a, b in edges]
    for a, b in edges:
        yield a, b, topology.link


def _listed(scenario: Scenario, names: Names) -> Iterator[tuple[int, int, Link]]:
    for _, connection in connections(scenario.topology):
        for a, b in pairs(connection, names):
            yield a, b, connection


def _direction(link: Link, key: str) -> _Direction:
    way: Way | None = getattr(link, key) if isinstance(link, TwoWayLink) else None
    base = _Direction(link.delay_s, link.bytes_per_s, link.sharing, link.loss)
    if way is None:
        return base
    return _Direction(
        base.delay_s if way.delay_s is None else way.delay_s,
        base.bytes_per_s if way.bytes_per_s is None else way.bytes_per_s,
        base.sharing if way.sharing is None else way.sharing,
        base.loss if way.loss is None else way.loss,
    )
