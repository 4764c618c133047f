"""Super-experts: disjoint groups of experts, so that a search over merges stays low-dimensional.

Letters: K experts, G groups, V clusters, C calibration points.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim.errors import InputError, UnknownName

if TYPE_CHECKING:
    from sim.arrays import FloatArray
    from sim.ports import Calibration

GROUPINGS = ("profile", "usage")
_VERTEX_SLACK = 1e-6
_YES_NO_DEVIATION = 0.5  # the largest standard deviation of one right-or-wrong answer


def group_experts(calibration: Calibration, groups: int, how: str = "profile") -> FloatArray:
    """Return the merge of each group, (G, K): equal weights on its members, 0 elsewhere.

    A merge z over groups is the merge z @ rows over experts. Groups stand in the order of their
    first members; with `groups` >= K every expert is its own.

    Args:
        calibration: Must hold every expert alone.
        groups: G.
        how: `profile` puts experts together that are good at the same; `usage` leaves the G-1 most
            useful experts alone and pools the rest.

    Raises:
        InputError: No group at all, or the calibration does not hold some expert alone.
        UnknownName: No such way to group.
    """
    if how not in GROUPINGS:
        raise UnknownName("grouping of experts", how, GROUPINGS)
    if groups < 1:
        raise InputError(f"grouping: groups: expected at least 1, found {groups}")
    rewards = expert_rewards(calibration)
    if groups >= len(rewards):
        return np.eye(len(rewards))
    split = _by_profile if how == "profile" else _by_usage
    return _rows(split(calibration, rewards, groups), len(rewards))


def expert_rewards(calibration: Calibration) -> FloatArray:
    """Return the calibration reward of every expert alone, (K, V).

    Raises:
        InputError: No calibration point isolates some expert.
    """
    weights = np.asarray(calibration.weights, dtype=np.float64)
    alone = (weights > 1.0 - _VERTEX_SLACK).astype(np.float64).T  # (K, C)
    missing = np.flatnonzero(alone.sum(axis=1) == 0.0)
    if len(missing):
        raise InputError(
            f"grouping: expected calibration points for each of the {len(alone)} experts alone, "
            f"found none for experts {missing.tolist()}; calibrate with the vertices"
        )
    return np.asarray(alone @ calibration.reward / alone.sum(axis=1, keepdims=True))


def _shares(calibration: Calibration) -> FloatArray:
    prior = np.asarray(calibration.prior, dtype=np.float64)
    return np.asarray(prior / prior.sum()) if prior.sum() > 0.0 else np.full_like(prior, 1.0)


def _by_profile(calibration: Calibration, rewards: FloatArray, groups: int) -> list[list[int]]:
    """Cluster the experts by their rewards per cluster, agglomeratively.

    Source: HC-SMoE (Chen et al. 2024, arXiv 2410.08589), average linkage. Deviation: reward
    profiles, clusters weighted by their share, instead of mean expert outputs.
    """
    profile = rewards * np.sqrt(_shares(calibration))
    gap = profile[:, None, :] - profile
    return average_linkage(np.sqrt((gap * gap).sum(axis=2)), groups)


def average_linkage(distance: FloatArray, groups: int) -> list[list[int]]:
    """Join the two groups with the least mean distance until so many are left, (K, K).

    Ties go to the first pair.

    Source: Sokal and Michener 1958 (UPGMA), updated as Lance and Williams 1967. Deviation: none.
    """
    members = [[k] for k in range(len(distance))]
    far = distance.astype(np.float64)
    np.fill_diagonal(far, np.inf)
    while len(members) > groups:
        i, j = sorted(divmod(int(far.argmin()), len(members)))
        m, n = len(members[i]), len(members[j])
        far[i] = far[:, i] = (m * far[i] + n * far[j]) / (m + n)
        far[i, i] = np.inf
        far = np.delete(np.delete(far, j, axis=0), j, axis=1)
        members[i] = sorted(members[i] + members.pop(j))
    return members


def _by_usage(calibration: Calibration, rewards: FloatArray, groups: int) -> list[list[int]]:
    useful, mean = usefulness(calibration, rewards), rewards @ _shares(calibration)
    order = np.lexsort((-mean, -useful)).tolist()
    return [[k] for k in order[: groups - 1]] + [sorted(order[groups - 1 :])]


def usefulness(calibration: Calibration, rewards: FloatArray) -> FloatArray:
    """Return the share of traffic at which each expert is best, or as good as best, (K,).

    A cluster's share is split evenly among the experts within one standard error of its best.

    Source: our own (frequency of use, as M-SMoE (Li et al. 2023, arXiv 2310.01334) groups).
    Deviation: use is not counted but follows from the calibration rewards.
    """
    count = np.maximum(np.asarray(calibration.count, dtype=np.float64), 1.0)
    near = rewards >= rewards.max(axis=0) - _YES_NO_DEVIATION / np.sqrt(count)
    return np.asarray(near / near.sum(axis=0) @ _shares(calibration))


def _rows(members: list[list[int]], experts: int) -> FloatArray:
    rows = np.zeros((len(members), experts))
    for row, group in zip(rows, sorted(members), strict=True):
        row[group] = 1.0 / len(group)
    return rows
