"""Who may send to whom in a fleet that feeds forward, over which links; and whether a fleet does.

A fleet feeds forward when nothing that happens at one station can touch another: no faults, servers
chosen without a look at the load, and between source and server either nothing or one link each way
that carries requests or answers, not both. Then each station can be computed on its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sim.dispatch import candidates
from sim.fast.choose import KINDS, ONE_SERVER
from sim.fast.flow_state import WAY
from sim.topology.graph import Network
from sim.views import FleetView

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.arrays import AnyArray, IntArray
    from sim.config import DispatchSpec, LinkSpec, NodeSpec, World
    from sim.faults import Outage
    from sim.ports import Dispatcher

_MOST_PAIRS = 1_000_000
_MOST_SERVERS = 10_000_000


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of source and server, (P,), in the order in which choosers tell them (sim.fast.choose).

    Attributes:
        sources: Node ids of sources, ascending, (S,).
        source: Node id of each pair's source.
        server: Node id of each pair's server.
        up_link: Link from source to server, -1: they are one node.
        down_link: Link back.
    """

    sources: AnyArray
    source: AnyArray
    server: AnyArray
    up_link: AnyArray
    down_link: AnyArray


class NotForward(Exception):
    """A fleet does not feed forward; says why."""


def flow_fits(
    world: World, dispatch: DispatchSpec, dispatcher: Dispatcher, outages: Sequence[Outage]
) -> str:
    """Return "" where the flow pass computes a run, else why it cannot.

    Args:
        world: The run.
        dispatch: Who chooses servers.
        dispatcher: The same, built.
        outages: The timetable of faults.
    """
    try:
        _refuse_world(world, dispatch, outages)
        pairs_of(world, dispatch, dispatcher)
    except NotForward as reason:
        return str(reason)
    return ""


def pairs_of(world: World, dispatch: DispatchSpec, dispatcher: Dispatcher) -> Pairs:
    """Return all pairs of source and server that may meet, with their links.

    Raises:
        NotForward: A pair has no way of one sure link, or a link serves both directions.
    """
    sources = sorted({stream.node for stream in world.streams})
    if dispatch.kind in ONE_SERVER:
        at, to = sources, _only_servers(world, sources, dispatch, dispatcher)
    else:
        chosen = candidates(world, dispatch)
        if len(sources) * len(chosen) > _MOST_PAIRS:
            raise NotForward(f"more than {_MOST_PAIRS} pairs of source and server")
        at, to = [s for s in sources for _ in chosen], chosen * len(sources)
    wires, source, server = _Wires(world), np.array(at, np.int64), np.array(to, np.int64)
    up, down = wires.links(source, server), wires.links(server, source)
    pairs = Pairs(np.array(sources, np.int64), source, server, up, down)
    _refuse_both_ways(world, pairs)
    return pairs


def ways_of(world: World, pairs: Pairs) -> tuple[AnyArray, AnyArray]:
    """Return WAY of each pair, (P,), up and down; idle, and choices take no time."""
    table, ways = LinkTable(world.links), []
    for link in (pairs.up_link, pairs.down_link):
        way = np.zeros(len(link), WAY)
        way["bytes_per_s"], way["delay_s"] = table.bytes_per_s[link], table.delay_s[link]
        way["fifo"], way["here"] = table.fifo[link], link < 0
        ways.append(way)
    return ways[0], ways[1]


class LinkTable:
    """Links as columns, by id, with one more at the end that takes no time (for id -1)."""

    def __init__(self, links: Sequence[LinkSpec]) -> None:
        self.bytes_per_s = np.array([*(x.bytes_per_s for x in links), np.inf])
        self.delay_s = np.array([*(x.delay_s for x in links), 0.0])
        self.fifo = np.array([*(x.sharing == "fifo" for x in links), False])


def _only_servers(
    world: World, sources: Sequence[int], dispatch: DispatchSpec, dispatcher: Dispatcher
) -> list[int]:
    """Ask the dispatcher once per source where it always says the same."""
    if dispatch.kind == "local" and any(world.nodes[source].servers < 1 for source in sources):
        raise NotForward("a source has no servers")
    nodes = world.nodes
    everybody = FleetView(0.0, [0] * len(nodes), [True] * len(nodes), [n.servers for n in nodes])
    return [dispatcher.choose(source, everybody) for source in sources]


def _refuse_world(world: World, dispatch: DispatchSpec, outages: Sequence[Outage]) -> None:
    serving = [node for node in world.nodes if node.servers]
    reasons = {
        "a model": world.model is not None or world.service is None,
        "faults": bool(outages),
        f"dispatcher {dispatch.kind}": dispatch.kind not in KINDS,
        "a station that is not plain": not all(map(_plain, serving)),
        f"more than {_MOST_SERVERS} servers": sum(n.servers for n in serving) > _MOST_SERVERS,
    }
    for reason, so in reasons.items():
        if so:
            raise NotForward(reason)


def _plain(node: NodeSpec) -> bool:
    simple = node.discipline == "fifo" and node.batching.max_size == 1 and node.setup is None
    return simple and node.job_share == 1.0


def _refuse_both_ways(world: World, pairs: Pairs) -> None:
    both = np.intersect1d(pairs.up_link, pairs.down_link)
    both = both[both >= 0]
    if any(world.links[link].sharing == "fifo" for link in both):
        raise NotForward("a FIFO link carries requests and answers")
    if len(both) and not _whole_sizes(world):
        raise NotForward("a link carries requests and answers whose sizes are not whole bytes")


def _whole_sizes(world: World) -> bool:
    """Tell whether sums of sizes are exact, whatever their order."""
    return all(
        stream.size_law == "fixed"
        and all(float(size).is_integer() for size in (stream.up_bytes, stream.down_bytes))
        and not (stream.arrivals.up_bytes or stream.arrivals.down_bytes)
        for stream in world.streams
    )


class _Wires:
    """Finds the one link between two nodes, where the shortest way is one link.

    Most ways need no search: none of more links is shorter than the shortest first and the shortest
    last link together.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._network: Network | None = None
        links, count = world.links, len(world.nodes)
        src, dst = np.array([(x.src, x.dst) for x in links], np.int64).reshape(-1, 2).T
        self._delay_s = np.array([x.delay_s for x in links])
        self._sure = np.array([x.sharing != "fair" and x.loss == 0.0 for x in links], np.bool_)
        self._out_s, self._in_s = np.full((2, count), np.inf)
        np.minimum.at(self._out_s, src, self._delay_s)
        np.minimum.at(self._in_s, dst, self._delay_s)
        # of links side by side the first of the shortest is taken
        order = np.lexsort([np.arange(len(links)), self._delay_s, dst, src])
        ends, first = np.unique((src * count + dst)[order], return_index=True)
        self._ends, self._best, self._count = ends, order[first], count

    def links(self, here: IntArray, goal: IntArray) -> IntArray:
        """Return the links from nodes to nodes, -1 from a node to itself.

        Raises:
            NotForward: There is no way of one sure link.
        """
        key, away = here * self._count + goal, here != goal
        place = np.minimum(np.searchsorted(self._ends, key), len(self._ends) - 1)
        if away.any() and (not len(self._ends) or (self._ends[place] != key)[away].any()):
            raise NotForward("a way of several links, or none")
        found = np.where(away, self._best[place] if len(self._best) else -1, -1)
        delay_s = np.where(away, self._delay_s[found] if len(self._best) else 0.0, 0.0)
        longer = np.flatnonzero(delay_s > self._out_s[here] + self._in_s[goal])
        if not all(self._shortest(int(here[i]), int(goal[i])) for i in longer):
            raise NotForward("a way of several links, or none")
        if not self._sure[found[away]].all():
            raise NotForward("fair or lossy links")
        return found

    def _shortest(self, here: int, goal: int) -> bool:
        """Tell whether the shortest way between neighbours is one link, by search."""
        if self._network is None:
            self._network = Network(self._world.links)
        route = self._network.route(here, goal)
        return route is not None and len(route) == 1
