"""T1: the leaves partition the simplex."""

from __future__ import annotations

import math

import numpy as np
import pytest

from agents.routers.tanbr.tree import SplitRule, Tree


def planted(experts, most, active=99):
    tree = Tree(experts, active, most)
    tree.restart(0)
    return tree


def grown(experts, splits, seed=0, active=99):
    tree = planted(experts, 10_000, active)
    rng = np.random.default_rng(seed)
    for _ in range(splits):
        tree.split(int(rng.integers(tree.size)))
    return tree


@pytest.mark.parametrize("experts", [2, 4, 8])
def test_leaves_partition_the_simplex(experts):
    tree = grown(experts, 500)
    cells = tree.outline[: tree.size]
    assert tree.size == 501
    volumes = np.abs(np.linalg.det(cells))  # the whole simplex has 1
    assert volumes.sum() == pytest.approx(1.0, abs=1e-9)
    np.testing.assert_allclose(volumes, 0.5 ** tree.depth[: tree.size], rtol=1e-9)
    points = np.random.default_rng(1).dirichlet(np.ones(experts), 10_000)
    inside = np.zeros(len(points), int)
    for cell in cells:
        inside += (points @ np.linalg.inv(cell) >= 0.0).all(axis=1)
    assert (inside == 1).all()


@pytest.mark.parametrize("experts", [2, 4, 8])
def test_centres_are_merges_and_diameters_shrink(experts):
    tree = grown(experts, 300)
    centre = tree.centre[: tree.size]
    assert (centre >= 0.0).all()
    np.testing.assert_allclose(centre.sum(axis=1), 1.0, atol=1e-12)
    assert tree.diameter[: tree.size].max() <= math.sqrt(2.0)


def test_diameters_shrink_as_measured():
    tree = Tree(4, 4, 10_000)
    tree.restart(12)
    assert set(tree.depth[: tree.size].tolist()) == {12}
    assert tree.diameter[: tree.size].max() < 0.2 < math.sqrt(2.0) * 0.794**8


def test_a_cap_makes_centres_sparse():
    tree = grown(8, 50, active=3)
    assert ((tree.centre[: tree.size] > 0.0).sum(axis=1) <= 3).all()


def test_threshold_against_the_formula_written_out():
    rule = SplitRule(c=0.1, nu=1.0, rho=2 ** (-1 / 3))
    delta = min(0.5, (rule.rho / 3) ** (1 / 8) * 0.01 / 2 ** math.ceil(math.log2(101)))
    for depth in (0, 5, 20):
        want = math.ceil(0.01 * math.log(1 / delta) * rule.rho ** (-2 * depth))
        assert rule.threshold(depth, 100) == want
    assert rule.threshold(20, 100) > rule.threshold(5, 100)


def test_credit_splits_a_ripe_leaf_once_and_names_its_children():
    rule = SplitRule(c=0.5, nu=1.0, rho=0.7)
    need = rule.threshold(0, 1)
    assert need > 1
    tree = planted(3, 10)
    for _ in range(need - 1):
        assert tree.credit(0, rule, 1) == []
    left, right = tree.credit(0, rule, 1)
    assert (left.parent, right.parent, left.depth, right.pulls) == (0, 0, 1, need)
    assert {left.cell, right.cell} == {1, 2}
    assert tree.leaf(0) is None
    assert tree.credit(0, rule, 1) == []  # an answer to a decision of a cell that is gone
    assert tree.pulls[: tree.size].tolist() == [0, 0]


def test_the_tree_stops_at_its_limit():
    rule = SplitRule(c=1e-6, nu=1.0, rho=0.9)
    tree = planted(3, 4)
    for _ in range(20):
        tree.credit(int(tree.cell[0]), rule, 1)
    assert tree.size == 4


def test_one_expert_has_nothing_to_split():
    tree = planted(1, 10)
    assert tree.credit(0, SplitRule(1e-6, 1.0, 0.5), 1) == []
    assert tree.restart(3)
    assert tree.size == 1


def test_restart_makes_a_shallow_even_tree_and_ids_go_on():
    tree = grown(4, 40)
    last = tree.next_cell
    new = tree.restart(3)
    assert tree.size == 8
    assert set(tree.depth[:8].tolist()) == {3}
    assert [cell.cell for cell in new] == list(range(last, last + 15))


def test_a_snapshot_brings_the_tree_back():
    tree, other = grown(4, 40), Tree(4, 99, 10_000)
    other.restore(tree.snapshot())
    for one in (tree, other):
        one.split(17)
        one.split(3)
    for name, value in tree.snapshot().items():
        np.testing.assert_array_equal(value, other.snapshot()[name])
