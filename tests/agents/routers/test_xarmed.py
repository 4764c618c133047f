"""HCT and truncated HOO: the trees, the formulas, PyXAB as outside twin, and the routers."""

from __future__ import annotations

import importlib.util
import math

import numpy as np
import pytest

from agents.conformance import example_setup
from agents.routers.boxtree import BoxTree
from agents.routers.hct import Hct, HctBandit, HctParams
from agents.routers.hoo import Hoo, HooBandit, HooParams
from agents.routers.landscapes import Arena, Game, draw, play, setup_for
from agents.routers.static import RandomWeights
from sim.errors import InputError
from sim.ports import ContextBlock, FeedbackBlock

RHO = 2.0 ** (-1.0 / 2.0)


def hill(point):
    """Return a reward in [0, 1] with its top at (0.3, 0.7)."""
    return 1.0 - float(np.abs(np.asarray(point) - [0.3, 0.7]).max())


def test_cells_are_halved_in_turn_and_fill_the_cube():
    tree = BoxTree(3)
    rng = np.random.default_rng(0)
    for _ in range(60):
        leaves = [cell for cell in range(len(tree)) if tree.child[cell] < 0]
        tree.split(int(rng.choice(leaves)))
    leaves = [cell for cell in range(len(tree)) if tree.child[cell] < 0]
    assert sum(float(tree.sides(cell).prod()) for cell in leaves) == pytest.approx(1.0, abs=1e-12)
    low = np.stack([tree.centre(cell) - tree.sides(cell) / 2 for cell in leaves])
    high = np.stack([tree.centre(cell) + tree.sides(cell) / 2 for cell in leaves])
    points = rng.random((2000, 1, 3))
    assert (((points >= low) & (points < high)).all(axis=2).sum(axis=1) == 1).all()
    assert max(tree.sides(cell).max() / tree.sides(cell).min() for cell in leaves) == 2.0


def test_a_tree_over_nothing_is_one_point():
    tree = BoxTree(0)
    assert tree.centre(tree.split(0)).shape == (0,)


# --- formulas


def test_hct_bounds_by_hand():
    bandit = HctBandit(2, HctParams(nu=0.5, c=0.3, delta=0.05), RHO)
    one, _ = bandit.choose()
    bandit.credit(one, 0.4)
    log = -math.log((RHO / 1.5) ** 0.125 * 0.05 / 1.0)  # t = 1
    want = 0.4 + 0.5 * RHO + math.sqrt(0.09 * log)
    assert bandit.upper[one] == pytest.approx(want, abs=1e-12)
    assert bandit.threshold(3) == math.ceil(
        0.09 * -math.log((RHO / 1.5) ** 0.125 * 0.05 / 2.0) * RHO**-6 / 0.25
    )


def test_hoo_bounds_by_hand():
    bandit = HooBandit(2, HooParams(nu=0.5, horizon=100), RHO)
    for reward in (0.2, 0.6):
        bandit.credit(bandit.choose()[0], reward)
    want = 0.4 + math.sqrt(2 * math.log(100) / 2) + 0.5  # the root has heard both
    assert bandit.upper[0] == pytest.approx(want, abs=1e-12)
    assert bandit.deepest == math.ceil((math.log(100) / 2 - math.log(2)) / -math.log(RHO))


@pytest.mark.parametrize("kind", ["hct", "hoo"])
def test_values_along_the_way_equal_values_computed_everywhere(kind):
    bandit = (
        HctBandit(2, HctParams(), RHO)
        if kind == "hct"
        else HooBandit(2, HooParams(horizon=300), RHO)
    )
    for _ in range(150):
        cell, _ = bandit.choose()
        bandit.credit(cell, hill(bandit.tree.centre(cell)))
        for above in range(len(bandit.tree)):
            first = bandit.tree.child[above]
            below = max(bandit.bound[first : first + 2]) if first >= 0 else math.inf
            assert bandit.bound[above] == min(bandit.upper[above], below)


@pytest.mark.parametrize("kind", ["hct", "hoo"])
def test_an_amended_reward_is_as_good_as_the_right_one(kind):
    def make():
        return HctBandit(2, HctParams(), RHO) if kind == "hct" else HooBandit(2, HooParams(), RHO)

    right, mended = make(), make()
    for _ in range(40):
        cell, _ = right.choose()
        assert mended.choose()[0] == cell
        reward = hill(right.tree.centre(cell))
        right.credit(cell, reward)
        mended.credit(cell, reward - 0.25)
        mended.amend(cell, 0.25)
    np.testing.assert_allclose(mended.total, right.total, atol=1e-9)


def test_a_full_tree_grows_no_further():
    bandit = HooBandit(2, HooParams(max_cells=7), RHO)
    for _ in range(20):
        cell, _ = bandit.choose()
        bandit.credit(cell, 0.5)
    assert len(bandit.tree) == 7


# --- the outside twin

needs_pyxab = pytest.mark.skipif(
    importlib.util.find_spec("PyXAB") is None,
    reason="PyXAB is not installed (pip install -c constraints.txt PyXAB, or the dev extra)",
)


def halving_in_turn():
    """Return a partition for PyXAB that picks the side as ours does; its own picks at random."""
    from PyXAB.partition.BinaryPartition import BinaryPartition

    class InTurn(BinaryPartition):
        def make_children(self, parent, newlayer=False):
            box = parent.get_domain()
            axis = parent.get_depth() % len(box)
            middle = sum(box[axis]) / 2.0
            sides = ([box[axis][0], middle], [middle, box[axis][1]])
            children = [
                self.node(
                    depth=parent.get_depth() + 1,
                    index=2 * parent.get_index() - 1 + i,
                    parent=parent,
                    domain=[*box[:axis], side, *box[axis + 1 :]],
                )
                for i, side in enumerate(sides)
            ]
            parent.update_children(children)
            if newlayer:
                self.node_list.append(list(children))
                self.depth += 1
            else:
                self.node_list[parent.get_depth() + 1] += children

    return InTurn


def same_cells(ours, theirs, rounds):
    for time in range(1, rounds + 1):
        point = theirs.pull(time)
        cell, _ = ours.choose()
        np.testing.assert_array_equal(ours.tree.centre(cell), point, err_msg=f"round {time}")
        reward = hill(point)
        theirs.receive_reward(time, reward)
        ours.credit(cell, reward)


@needs_pyxab
@pytest.mark.parametrize("nu", [0.5, 1.0])
def test_hct_plays_the_cells_of_pyxab(nu):
    from PyXAB.algos.HCT import HCT

    class Once(HCT):
        """PyXAB 0.3.0 splits a cell again when its threshold has grown: the paper does not."""

        def expand(self, parent):
            if parent.get_children() is None:
                super().expand(parent)

    ours = HctBandit(2, HctParams(nu=nu), RHO)
    domain = [[0.0, 1.0], [0.0, 1.0]]
    theirs = Once(nu, RHO, c=0.1, delta=0.01, domain=domain, partition=halving_in_turn())
    same_cells(ours, theirs, 600)
    assert max(ours.tree.depth) >= 8


@needs_pyxab
def test_hoo_plays_the_cells_of_pyxab():
    from PyXAB.algos.HOO import T_HOO

    ours = HooBandit(2, HooParams(nu=1.0, horizon=300), RHO)
    domain = [[0.0, 1.0], [0.0, 1.0]]
    theirs = T_HOO(1.0, RHO, rounds=300, domain=domain, partition=halving_in_turn())
    same_cells(ours, theirs, 300)


# --- the routers


@pytest.mark.parametrize("make", [Hct, Hoo])
def test_it_beats_random_merges(make):
    lands = [draw("bump", 4, 4, seed=s, mixes=1) for s in (1, 2)]
    ours = play(make, lands, Game(300), 7).regret.sum()
    floor = play(RandomWeights, lands, Game(300), 7).regret.sum()
    assert ours <= {Hct: 0.25, Hoo: 0.8}[make] * floor  # measured 0.11, 0.61


def test_a_tree_per_dominant_cluster_unless_told_otherwise():
    lands = [draw("bump", 4, 4, seed=1)]
    trees = {}
    for per_cluster in (True, False):
        setup = setup_for(lands, Game(200), 7, {"context": per_cluster})
        arena, router = Arena(lands, Game(200), 7), Hct(setup)
        for slot in range(200):
            arena.take(slot, router)
        trees[per_cluster] = set(router.trees[0])
    assert trees[True] == set(lands[0].mixes.argmax(axis=1).tolist())
    assert trees[False] == {0}


@pytest.mark.parametrize("make", [Hct, Hoo])
def test_a_restored_router_goes_on_as_if_nothing_had_happened(make):
    lands, game = [draw("quad", 3, 3, seed=s) for s in (1, 2)], Game(60, delay=2)
    setup = setup_for(lands, game, 3, {})
    whole, half = make(setup), make(setup)
    arenas = [Arena(lands, game, 3) for _ in range(2)]
    for slot in range(30):
        arenas[0].take(slot, whole)
        arenas[1].take(slot, half)
    again = make(setup)
    again.restore(half.snapshot())
    for slot in range(30, 60):
        arenas[0].take(slot, whole)
        arenas[1].take(slot, again)
    np.testing.assert_array_equal(arenas[0].points, arenas[1].points)
    for key, value in whole.snapshot().items():
        np.testing.assert_array_equal(value, again.snapshot()[key], err_msg=key)


def context(slot, counts, reset=(False,), renewed=None):
    return ContextBlock(
        slot,
        float(slot),
        np.ones(len(counts), bool),
        np.array(counts, float),
        np.array(reset),
        renewed=None if renewed is None else np.array(renewed),
    )


def answer(slot, decided, plan, reward, count):
    return FeedbackBlock(
        slot, np.array([0]), np.array([decided]), [plan], np.array([reward]), np.array([count])
    )


def test_the_reward_is_the_mean_over_all_requests_even_in_parts():
    router = Hct(example_setup(nodes=1))
    plan = router.decide_block(context(0, [[9.0, 0.0, 0.0]])).plans[0]
    router.update_block(answer(1, 0, plan, [1.0, 0.0, 0.5], [3.0, 1.0, 0.0]))
    router.update_block(answer(2, 0, plan, [0.0, 0.0, 0.5], [0.0, 0.0, 4.0]))
    ((_, bandit),) = router.trees[0].values()
    assert sum(bandit.pulls) == 1
    assert sum(bandit.total) == pytest.approx((3.0 + 0.0 + 2.0) / 8.0)


def test_late_feedback_is_credited_to_the_cell_of_its_decision():
    router = Hct(example_setup(nodes=1))
    plan = router.decide_block(context(0, [[9.0, 0.0, 0.0]])).plans[0]
    other = router.decide_block(context(1, [[0.0, 90.0, 0.0]])).plans[0]
    assert other is None  # another tree, the same first cell: the plan keeps its name
    reward, count = [0.7, 0.7, 0.7], [1.0, 1.0, 1.0]
    router.update_block(answer(2, 0, plan, reward, count))
    router.update_block(answer(3, 0, plan, reward, count))
    assert [sum(bandit.pulls) for _, bandit in router.trees[0].values()] == [1, 1]


def test_a_reset_and_a_renewed_cluster_forget_their_trees():
    router = Hct(example_setup(nodes=1))
    router.decide_block(context(0, [[9.0, 0.0, 0.0]]))
    router.decide_block(context(1, [[0.0, 90.0, 0.0]]))
    assert set(router.trees[0]) == {0, 1}
    counts = [[0.0, 90.0, 0.0]]
    router.decide_block(context(2, counts, renewed=[[True, False, False]]))
    assert set(router.trees[0]) == {1}
    plan = router.decide_block(context(3, counts, reset=[True])).plans[0]
    assert plan is not None
    router.update_block(answer(4, 1, plan, [0.5] * 3, [1.0] * 3))  # from before the restart
    assert sum(sum(bandit.pulls) for _, bandit in router.trees[0].values()) == 0


def test_few_experts_in_a_merge():
    router = Hct(example_setup(nodes=1, max_active=2))
    plan = router.decide_block(context(0, [[9.0, 0.0, 0.0]])).plans[0]
    assert sum(weight > 0.0 for weight in plan.weights) == 2


def test_one_expert_is_no_choice():
    router = Hoo(example_setup(nodes=1, experts=1))
    assert router.decide_block(context(0, [[9.0, 0.0, 0.0]])).plans[0].weights == (1.0,)


def test_wrong_parameters_say_what_is_allowed():
    with pytest.raises(InputError, match=r"router hct: delta: expected a number in \[1e-12, 0.5\]"):
        Hct(example_setup(delta=0.9))
    with pytest.raises(InputError, match="did you mean 'horizon'"):
        Hoo(example_setup(horizn=3))
