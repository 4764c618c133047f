"""Generators give the graph they name, whatever the ids, and the same graph for the same stream."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from sim.errors import InputError
from sim.rng import Streams
from sim.topology.generators import barabasi_albert, ring, star, tree


def test_star_connects_every_leaf_to_the_hub() -> None:
    assert star(9, [3, 12, 0]) == [(0, 9), (3, 9), (9, 12)]


def test_tree_fills_levels_in_order() -> None:
    assert tree(0, [5, 1, 2, 3, 4], branching=2) == [(0, 1), (0, 5), (1, 4), (2, 5), (3, 5)]


def test_tree_with_one_child_is_a_line() -> None:
    assert tree(0, [1, 2, 3], branching=1) == [(0, 1), (1, 2), (2, 3)]


def test_ring_closes() -> None:
    assert ring([4, 7, 5]) == [(4, 5), (4, 7), (5, 7)]


@pytest.mark.parametrize("m", [1, 2, 4])
def test_barabasi_albert_has_the_right_size_and_is_connected(m: int) -> None:
    nodes = list(range(10, 60))
    edges = barabasi_albert(nodes, m, Streams(3).stream("topology"))
    graph = nx.Graph(edges)
    assert set(graph) == set(nodes)
    assert len(edges) == m * (len(nodes) - m)
    assert nx.is_connected(graph)


def test_barabasi_albert_depends_on_the_stream_only() -> None:
    nodes = list(range(40))
    first, again = (barabasi_albert(nodes, 2, Streams(3).stream("topology")) for _ in range(2))
    other = barabasi_albert(nodes, 2, Streams(4).stream("topology"))
    assert first == again
    assert first != other


def test_barabasi_albert_prefers_high_degrees() -> None:
    """The largest of 400 degrees is far above that of an equally dense random graph (< 20)."""
    edges = barabasi_albert(list(range(400)), 2, np.random.default_rng(0))
    assert max(dict(nx.Graph(edges).degree()).values()) > 25


def test_bad_arguments_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="star: node ids must be distinct"):
        star(1, [1, 2])
    with pytest.raises(InputError, match="expected at least 3 nodes, found 2"):
        ring([0, 1])
    with pytest.raises(InputError, match="branching >= 1, found 0"):
        tree(0, [1], branching=0)
    with pytest.raises(InputError, match=r"1 <= m < 3 \(nodes\), found m = 3"):
        barabasi_albert([0, 1, 2], 3, rng)
