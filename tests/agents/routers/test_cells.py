"""T1 for the other partitions: boxes, tightened boxes, the stick-breaking cube."""

from __future__ import annotations

import numpy as np
import pytest

from agents.routers.tanbr.cells import CELLS, TightBoxCells, cells_of
from agents.routers.tanbr.tree import Tree
from sim.errors import UnknownName


def grown(cells, experts, splits, active=99, seed=0):
    tree = Tree(experts, active, 10_000, cells)
    tree.restart(0)
    rng = np.random.default_rng(seed)
    for _ in range(splits):
        tree.split(int(rng.integers(tree.size)))
    return tree


def unbroken(points):
    """Undo the stick-breaking map, one division at a time."""
    experts = points.shape[1]
    cube = np.empty((len(points), experts - 1))
    rest = np.ones(len(points))
    for k in range(experts - 1):
        cube[:, k] = 1.0 - (1.0 - points[:, k] / rest) ** (experts - 1 - k)
        rest = rest - points[:, k]
    return cube


def holders(tree, points):
    """Count the leaves that hold each point, by their bounds."""
    low, high = tree.outline[: tree.size, 0], tree.outline[: tree.size, 1]
    inside = (points[:, None] >= low) & (points[:, None] < high)
    return inside.all(axis=2).sum(axis=1)


@pytest.mark.parametrize("experts", [2, 4, 8])
@pytest.mark.parametrize("cells", ["box", "tight-box"])
def test_every_merge_lies_in_exactly_one_box(cells, experts):
    tree = grown(cells, experts, 500)
    points = np.random.default_rng(1).dirichlet(np.ones(experts), 3_000)
    assert (holders(tree, points) == 1).all()


@pytest.mark.parametrize("experts", [2, 4, 8])
def test_every_merge_lies_in_exactly_one_cell_of_the_cube(experts):
    tree = grown("cube", experts, 500)
    points = np.random.default_rng(1).dirichlet(np.ones(experts), 3_000)
    assert tree.size == 501
    assert (holders(tree, unbroken(points)) == 1).all()


@pytest.mark.parametrize("cells", list(CELLS))
def test_representatives_are_merges(cells):
    tree = grown(cells, 4, 300)
    centre = tree.centre[: tree.size]
    assert (centre >= 0.0).all()
    np.testing.assert_allclose(centre.sum(axis=1), 1.0, atol=1e-12)


@pytest.mark.parametrize("cells", ["box", "tight-box"])
def test_a_box_is_represented_by_its_merge_nearest_the_middle(cells):
    tree = grown(cells, 4, 60)
    near = np.random.default_rng(2).dirichlet(np.ones(4), 20_000)
    for leaf in range(tree.size):
        low, high = tree.outline[leaf]
        middle, centre = (low + high) / 2.0, tree.centre[leaf]
        assert (centre >= low - 1e-12).all()
        assert (centre <= high + 1e-12).all()
        rivals = near[((near >= low) & (near <= high)).all(axis=1)]
        gap = ((rivals - middle) ** 2).sum(axis=1)
        assert (gap >= ((centre - middle) ** 2).sum() - 1e-12).all()


@pytest.mark.parametrize("cells", list(CELLS))
def test_a_cap_makes_representatives_sparse(cells):
    tree = grown(cells, 8, 60, active=3)
    centre = tree.centre[: tree.size]
    assert ((centre > 0.0).sum(axis=1) <= 3).all()
    np.testing.assert_allclose(centre.sum(axis=1), 1.0, atol=1e-12)


@pytest.mark.parametrize("cells", list(CELLS))
def test_no_two_points_of_a_small_cell_are_farther_apart_than_its_diameter(cells):
    tree = grown(cells, 4, 120)
    points = np.random.default_rng(3).dirichlet(np.ones(4), 2_000)
    where = unbroken(points) if cells == "cube" else points
    for leaf in range(tree.size):
        if cells == "simplex":
            mine = points[(points @ np.linalg.inv(tree.outline[leaf]) >= 0.0).all(axis=1)]
        else:
            low, high = tree.outline[leaf]
            mine = points[((where >= low) & (where < high)).all(axis=1)]
        if len(mine) > 1:
            gap = np.linalg.norm(mine[:, None] - mine, axis=2).max()
            # the diameter of a cell of the cube is exact only in the limit
            assert gap <= tree.diameter[leaf] * (1.5 if cells == "cube" else 1.0) + 1e-9


@pytest.mark.parametrize(("experts", "kept"), [(4, 168), (8, 64), (16, 56)])
def test_most_raw_boxes_of_depth_ten_hold_no_merge(experts, kept):
    boxes, cells = [cells_of("box", experts).root()], cells_of("box", experts)
    for depth in range(10):
        boxes = [half for box in boxes for half in cells.split(box, depth)]
    assert len(boxes) == kept  # of 1024, as measured for the specification


def test_a_split_that_leaves_one_half_puts_it_in_the_place_of_its_parent():
    tree = Tree(2, 2, 10, "box")
    tree.restart(0)
    tree.split(0)
    lower = tree.split(0)  # [0, 1/2] x [1/2, 1] holds merges, [0, 1/2] x [0, 1/2] only a corner
    upper = tree.split(int(np.flatnonzero(tree.outline[: tree.size, 0, 0] == 0.5)[0]))
    assert [len(lower), len(upper)] == [2, 2]
    corner = next(i for i in range(tree.size) if tree.outline[i].sum(axis=1).tolist() == [0, 1])
    before = tree.size
    assert len(tree.split(corner)) == 1
    assert tree.size == before


def test_every_bound_of_a_tight_box_is_reached_by_some_merge():
    cells = TightBoxCells(4)
    rng, box = np.random.default_rng(4), cells.root()
    for depth in range(12):
        box = cells.split(box, depth)[int(rng.integers(2))]
        low, high = box
        for k in range(4):  # the extremes of one weight when the others absorb the rest
            others = np.arange(4) != k
            assert low[k] + high[others].sum() >= 1.0
            assert high[k] + low[others].sum() <= 1.0


def test_the_simplex_cells_are_the_default():
    one, two = grown("simplex", 4, 50), Tree(4, 99, 10_000)
    two.restart(0)
    rng = np.random.default_rng(0)
    for _ in range(50):
        two.split(int(rng.integers(two.size)))
    np.testing.assert_array_equal(one.outline[:51], two.outline[:51])


def test_unknown_cells_are_refused():
    with pytest.raises(UnknownName, match=r"unknown cells of a tree 'boxes'.*did you mean 'box'"):
        Tree(4, 4, 10, "boxes")


@pytest.mark.parametrize("cells", list(CELLS))
def test_a_snapshot_brings_any_tree_back(cells):
    tree, other = grown(cells, 4, 40), Tree(4, 99, 10_000, cells)
    other.restore(tree.snapshot())
    for one in (tree, other):
        one.split(7)
        one.split(3)
    for name, value in tree.snapshot().items():
        np.testing.assert_array_equal(value, other.snapshot()[name])


@pytest.mark.parametrize("cells", list(CELLS))
def test_one_expert_has_one_cell_of_any_kind(cells):
    tree = Tree(1, 1, 10, cells)
    tree.restart(3)
    assert tree.size == 1
    np.testing.assert_allclose(tree.centre[0], [1.0])
