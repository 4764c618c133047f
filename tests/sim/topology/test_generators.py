"""Generators give the graph they name, whatever the ids, and the same graph for the same stream."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from sim.errors import InputError
from sim.rng import Streams
from sim.topology.generators import barabasi_albert, grid, ring, star, tree, waxman


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


def test_grid_links_neighbours_and_may_end_early() -> None:
    # 9 5 7
    # 1 2
    assert grid([9, 5, 7, 1, 2], width=3) == [(1, 2), (1, 9), (2, 5), (5, 7), (5, 9)]


@pytest.mark.parametrize(("count", "width"), [(12, 4), (12, 1), (12, 12), (35, 5), (2, 2)])
def test_a_full_grid_is_that_of_networkx(count: int, width: int) -> None:
    edges = grid(list(range(count)), width)
    named = {(r, c): r * width + c for r in range(count // width) for c in range(width)}
    known = nx.relabel_nodes(nx.grid_2d_graph(count // width, width), named)
    assert edges == sorted(tuple(sorted(edge)) for edge in known.edges())


@pytest.mark.parametrize(("alpha", "beta"), [(0.01, 0.05), (0.15, 0.4), (5.0, 1.0)])
def test_waxman_is_connected_and_depends_on_the_stream_only(alpha: float, beta: float) -> None:
    nodes = list(range(100, 160))
    draw = [waxman(nodes, alpha, beta, Streams(seed).stream("topology")) for seed in (3, 3, 4)]
    assert draw[0] == draw[1] != draw[2]
    for edges in draw:
        graph = nx.Graph(edges)
        assert set(graph) == set(nodes)
        assert nx.is_connected(graph)
        assert edges == sorted(set(edges))


def test_waxman_adds_no_more_links_than_it_takes_to_join() -> None:
    sparse = waxman(list(range(60)), 1e-3, 0.5, np.random.default_rng(1))
    assert len(sparse) == 59  # nothing drawn: the shortest tree that joins all
    places = np.random.default_rng(1).random((60, 2))
    tree = nx.Graph()
    tree.add_weighted_edges_from(
        (a, b, float(np.hypot(*(places[a] - places[b])))) for a in range(60) for b in range(a)
    )
    shortest = nx.minimum_spanning_tree(tree)
    assert sparse == sorted(tuple(sorted(edge)) for edge in shortest.edges())


def test_waxman_draws_as_many_links_as_the_formula_says() -> None:
    alpha, beta, count, expected, found = 0.4, 0.6, 80, 0.0, 0
    for seed in range(20):
        places = np.random.default_rng(seed).random((count, 2))
        near, far = np.triu_indices(count, 1)
        apart = np.hypot(*(places[near] - places[far]).T)
        expected += float((beta * np.exp(-apart / (alpha * apart.max()))).sum())
        found += len(waxman(list(range(count)), alpha, beta, np.random.default_rng(seed)))
    assert found == pytest.approx(expected, abs=4.0 * expected**0.5)  # no joining is needed here


def test_bad_arguments_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="star: node ids must be distinct"):
        star(1, [1, 2])
    with pytest.raises(InputError, match="barabasi-albert: node ids must be distinct"):
        barabasi_albert([0, 1, 1], 1, rng)
    with pytest.raises(InputError, match="expected at least 3 nodes, found 2"):
        ring([0, 1])
    with pytest.raises(InputError, match="branching >= 1, found 0"):
        tree(0, [1], branching=0)
    with pytest.raises(InputError, match=r"1 <= m < 3 \(nodes\), found m = 3"):
        barabasi_albert([0, 1, 2], 3, rng)
    with pytest.raises(InputError, match=r"1 <= width <= 3 \(nodes\), found width = 4"):
        grid([0, 1, 2], 4)
    with pytest.raises(InputError, match="grid: expected at least 2 nodes, found 1"):
        grid([0], 1)
    with pytest.raises(InputError, match=r"waxman: expected alpha > 0, found 0\.0"):
        waxman([0, 1], 0.0, 0.5, rng)
    with pytest.raises(InputError, match=r"waxman: expected 0 < beta <= 1, found 1\.5"):
        waxman([0, 1], 0.1, 1.5, rng)
