"""Generators of topologies: undirected edges over node ids, sorted, decided by the arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import networkx as nx

from sim.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np

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
