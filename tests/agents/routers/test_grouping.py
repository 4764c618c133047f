"""Super-experts: disjoint, complete, deterministic, and sensible on experts that are alike."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from agents.routers.grouping import (
    GROUPINGS,
    average_linkage,
    expert_rewards,
    group_experts,
    usefulness,
)
from sim.errors import InputError, UnknownName
from sim.ports import Calibration


def known(rewards, prior=None, count=400.0):
    """A calibration that holds every expert alone, and an average that belongs to none."""
    rewards = np.asarray(rewards, float)
    experts, clusters = rewards.shape
    points = np.vstack([np.eye(experts), np.full((1, experts), 1.0 / experts)])
    reward = np.vstack([rewards, np.full((1, clusters), 0.5)])
    prior = np.full(clusters, 1.0 / clusters) if prior is None else np.array(prior, float)
    return Calibration(points, reward, np.full(clusters, count), prior)


def random_rewards(experts, clusters=5, seed=0):
    return np.random.default_rng(seed).random((experts, clusters))


def members(rows):
    return [np.flatnonzero(row).tolist() for row in rows]


@pytest.mark.parametrize("how", GROUPINGS)
@pytest.mark.parametrize("groups", [1, 2, 7, 15])
def test_groups_are_disjoint_complete_and_merges(how, groups):
    rows = group_experts(known(random_rewards(16)), groups, how)
    assert rows.shape == (groups, 16)
    np.testing.assert_allclose(rows.sum(axis=1), 1.0)
    assert ((rows > 0.0).sum(axis=0) == 1).all()
    firsts = [group[0] for group in members(rows)]
    assert firsts == sorted(firsts)


@pytest.mark.parametrize("how", GROUPINGS)
def test_as_many_groups_as_experts_change_nothing(how):
    np.testing.assert_array_equal(group_experts(known(random_rewards(4)), 9, how), np.eye(4))


@pytest.mark.parametrize("seed", range(4))
def test_average_linkage_equals_scipy(seed):
    points = np.random.default_rng(seed).random((20, 3))
    far = np.linalg.norm(points[:, None] - points, axis=2)
    for groups in (2, 5, 11):
        label = fcluster(linkage(squareform(far), "average"), groups, "maxclust")
        want = {tuple(np.flatnonzero(label == g).tolist()) for g in set(label.tolist())}
        assert {tuple(group) for group in average_linkage(far, groups)} == want


def test_profile_joins_experts_that_are_good_at_the_same():
    rewards = [[0.9, 0.1], [0.2, 0.8], [0.88, 0.12], [0.22, 0.81], [0.5, 0.5]]
    assert members(group_experts(known(rewards), 3, "profile")) == [[0, 2], [1, 3], [4]]


def test_profile_ignores_clusters_without_traffic():
    rewards = [[0.9, 0.0], [0.9, 1.0], [0.1, 0.0], [0.1, 1.0]]
    assert members(group_experts(known(rewards, [1.0, 0.0]), 2)) == [[0, 1], [2, 3]]
    assert members(group_experts(known(rewards, [0.0, 1.0]), 2)) == [[0, 2], [1, 3]]


def test_usage_leaves_the_useful_alone_and_pools_the_rest():
    rewards = np.full((5, 3), 0.3)
    rewards[1, 0] = rewards[4, 1] = rewards[2, 2] = 0.9
    rows = group_experts(known(rewards, [0.5, 0.3, 0.2]), 3, "usage")
    assert members(rows) == [[0, 2, 3], [1], [4]]


def test_usefulness_is_a_share_of_traffic_split_among_the_near_best():
    rewards = [[0.9, 0.2], [0.89, 0.8], [0.5, 0.1]]  # 0.89 is within 0.5/sqrt(400) of 0.9
    share = usefulness(known(rewards, [0.6, 0.4]), np.array(rewards))
    np.testing.assert_allclose(share, [0.3, 0.3 + 0.4, 0.0])


def test_equally_useful_experts_are_ranked_by_their_mean_reward():
    rewards = [[0.2, 0.1], [0.2, 0.3], [0.9, 0.9]]
    assert members(group_experts(known(rewards), 2, "usage")) == [[0, 1], [2]]
    assert members(group_experts(known(rewards[:2] * 2), 3, "usage"))[1] == [1]


def test_repeated_vertices_are_averaged():
    one = known(random_rewards(3))
    twice = Calibration(
        np.vstack([one.weights, np.eye(3)]),
        np.vstack([one.reward, one.reward[:3] + 0.2]),
        one.count,
        one.prior,
    )
    np.testing.assert_allclose(expert_rewards(twice), one.reward[:3] + 0.1)


def test_experts_that_were_never_alone_are_named():
    full = known(random_rewards(4))
    part = Calibration(full.weights[[0, 3, 4]], full.reward[[0, 3, 4]], full.count, full.prior)
    with pytest.raises(InputError, match=r"4 experts alone, found none for experts \[1, 2\]"):
        group_experts(part, 2)


def test_no_groups_and_unknown_ways_are_refused():
    with pytest.raises(InputError, match="groups: expected at least 1, found 0"):
        group_experts(known(random_rewards(4)), 0)
    with pytest.raises(UnknownName, match="unknown grouping of experts 'random'"):
        group_experts(known(random_rewards(4)), 2, "random")
