"""Generators of topologies: undirected edges over node ids, sorted, decided by the arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import networkx as nx
import numpy as np
from networkx.utils import UnionFind

from sim.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Edge = tuple[int, int]


def _edges(graph: nx.Graph[int], nodes: Sequence[int]) -> list[Edge]:
    """Rename 0..n-1 to node ids and sort, smaller end first."""
    pairs: Iterable[Edge] = graph.edges()
    return sorted((min(nodes[a], nodes[b]), max(nodes[a], nodes[b])) for a, b in pairs)


def _distinct(nodes: Sequence[int], least: int, kind: str) -> None:
    if len(set(nodes)) != len(nodes):
        raise InputError(f"topology {kind}: node ids must be distinct, found {list(nodes)}")
    if len(nodes) < least:
        raise InputError(f"topology {kind}: expected at least {least} nodes, found {len(nodes)}")


def star(hub: int, leaves: Sequence[int]) -> list[Edge]:
    """Connect every leaf to the hub.

    Raises:
        InputError: Ids repeat, or there is no leaf.
    """
    nodes = [hub, *leaves]
    _distinct(nodes, 2, "star")
    return _edges(nx.star_graph(len(leaves)), nodes)


def tree(root: int, nodes: Sequence[int], branching: int) -> list[Edge]:
    """Hang nodes below the root level by level, `branching` children each, in the order given.

    Raises:
        InputError: Ids repeat, there is no node below the root, or `branching` < 1.
    """
    if branching < 1:
        raise InputError(f"topology tree: expected branching >= 1, found {branching}")
    names = [root, *nodes]
    _distinct(names, 2, "tree")
    return _edges(nx.full_rary_tree(branching, len(names)), names)


def ring(nodes: Sequence[int]) -> list[Edge]:
    """Connect each node to the next and the last to the first.

    Raises:
        InputError: Ids repeat, or there are fewer than three nodes.
    """
    _distinct(nodes, 3, "ring")
    return _edges(nx.cycle_graph(len(nodes)), nodes)


def grid(nodes: Sequence[int], width: int) -> list[Edge]:
    """Lay nodes out in rows of `width`, each linked to its right and lower neighbour.

    The last row may be shorter.

    Raises:
        InputError: Ids repeat, there are fewer than two nodes, or not 1 <= width <= their number.
    """
    _distinct(nodes, 2, "grid")
    count = len(nodes)
    if not 1 <= width <= count:
        raise InputError(
            f"topology grid: expected 1 <= width <= {count} (nodes), found width = {width}"
        )
    graph: nx.Graph[int] = nx.Graph()
    for place in range(count):
        if (place + 1) % width and place + 1 < count:
            graph.add_edge(place, place + 1)
        if place + width < count:
            graph.add_edge(place, place + width)
    return _edges(graph, nodes)


def waxman(nodes: Sequence[int], alpha: float, beta: float, rng: np.random.Generator) -> list[Edge]:
    """Draw nodes in a square and links between them, near ones more often; connected.

    Nodes u and v are linked with probability beta * exp(-d(u, v) / (alpha * L)), where d is their
    distance and L the largest one.

    Args:
        nodes: Ids.
        alpha: Reach of links, as a share of L; > 0.
        beta: Density of links, 0 < beta <= 1.
        rng: Named stream of the topology.

    Raises:
        InputError: Ids repeat, there are fewer than two nodes, or a parameter is out of range.

    Source: Waxman 1988 (doi 10.1109/49.12889), section II. Deviation: parts that no drawn link
    joins are joined by the shortest links that do it (Kruskal 1956, doi 10.2307/2033241), since a
    fleet that is not connected has requests without a way; drawing anew until the graph is
    connected would favour dense graphs, and might not end.
    """
    _distinct(nodes, 2, "waxman")
    if not alpha > 0.0:
        raise InputError(f"topology waxman: expected alpha > 0, found {alpha}")
    if not 0.0 < beta <= 1.0:
        raise InputError(f"topology waxman: expected 0 < beta <= 1, found {beta}")
    count = len(nodes)
    places = rng.random((count, 2))
    near, far = np.triu_indices(count, 1)
    apart = np.hypot(*(places[near] - places[far]).T)
    drawn = rng.random(len(apart)) < beta * np.exp(-apart / (alpha * apart.max()))
    graph: nx.Graph[int] = nx.Graph()
    graph.add_nodes_from(range(count))
    graph.add_edges_from(zip(near[drawn].tolist(), far[drawn].tolist(), strict=True))
    parts = UnionFind(range(count))
    for a, b in graph.edges():
        parts.union(a, b)
    for pair in np.argsort(apart, kind="stable"):
        a, b = int(near[pair]), int(far[pair])
        if parts[a] != parts[b]:
            parts.union(a, b)
            graph.add_edge(a, b)
    return _edges(graph, nodes)


def barabasi_albert(nodes: Sequence[int], m: int, rng: np.random.Generator) -> list[Edge]:
    """Draw a scale-free graph: each newcomer links to m nodes, preferring those of high degree.

    Args:
        nodes: Ids in order of arrival; the first m + 1 form the seed star around the first.
        m: Links that a newcomer brings.
        rng: Named stream of the topology.

    Raises:
        InputError: Ids repeat, or not 1 <= m < number of nodes.

    Source: Barabasi and Albert 1999 (doi 10.1126/science.286.5439.509), as networkx draws it.
    Deviation: none; the graph is drawn from one integer of the given stream.
    """
    _distinct(nodes, 2, "barabasi-albert")
    if not 1 <= m < len(nodes):
        raise InputError(
            f"topology barabasi-albert: expected 1 <= m < {len(nodes)} (nodes), found m = {m}"
        )
    seed = int(rng.integers(2**32))
    return _edges(nx.barabasi_albert_graph(len(nodes), m, seed=seed), nodes)
