"""Where Tanbr searches: merges of all experts, or of a few groups of them."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Protocol

import numpy as np

from agents.routers.grouping import GROUPINGS, group_experts
from agents.routers.params import check_word
from agents.routers.simplex import sparsify
from sim.errors import InputError

if TYPE_CHECKING:
    from sim.arrays import FloatArray
    from sim.ports import Calibration

_DIGITS = 12  # two points that agree so far are one
PLAIN_EXPERTS = 8  # more than these make a tree too deep to grow within a run


class Space:
    """The simplex that is searched, z in (G,), and the merge x = z M that a point stands for.

    Args:
        experts: K.
        max_active: Most experts in a merge.
        groups: M, (G, K), or None: z is the merge itself.
    """

    def __init__(self, experts: int, max_active: int, groups: FloatArray | None = None) -> None:
        self.max_active, self.groups = max_active, groups
        self.size = experts if groups is None else len(groups)
        # without groups the tree and the search keep to the cap themselves
        self.tree_active = max_active if groups is None else self.size

    def served(self, points: FloatArray) -> FloatArray:
        """Return the merges that points stand for, (..., G) to (..., K)."""
        if self.groups is None:
            return points
        return sparsify(np.asarray(points @ self.groups), self.max_active)

    def place(self, merges: FloatArray) -> FloatArray:
        """Return the points nearest in kind to some merges, (N, K) to (N', G), doubles left out.

        A merge of whole groups comes back unchanged; others keep each group's total weight.
        """
        if self.groups is None:
            return merges
        members = (self.groups > 0.0).T.astype(np.float64)
        return np.unique((merges @ members).round(_DIGITS), axis=0)


class SpaceParams(Protocol):
    """What the parameters of a router say of the space."""

    @property
    def max_active(self) -> int:
        """Return the most experts in a merge, 0: all."""
        ...

    @property
    def groups(self) -> int:
        """Return how many super-experts, 0: 8 for more than 8 experts, -1: off."""
        ...

    @property
    def grouping(self) -> str:
        """Return how experts are put together."""
        ...


def space_for(
    calibration: Calibration, params: SpaceParams, experts: int, router: str = "tanbr"
) -> Space:
    """Return the space that the parameters of a router ask for.

    Raises:
        InputError: Groups are asked for, but the calibration does not hold every expert alone.
        UnknownName: No such way to group.
    """
    check_word(f"grouping of router {router}", params.grouping, GROUPINGS)
    active = min(params.max_active or experts, experts)
    count = params.groups or (PLAIN_EXPERTS if experts > PLAIN_EXPERTS else -1)
    if 0 < count < experts:
        try:
            groups = group_experts(calibration, count, params.grouping)
            return Space(experts, active, groups)
        except InputError:
            if params.groups > 0:
                raise
    if experts > PLAIN_EXPERTS:
        warnings.warn(
            f"router {router}: searching merges of {experts} experts one by one learns slowly "
            f"(at most {PLAIN_EXPERTS} are advised); set `groups: {PLAIN_EXPERTS}` and calibrate "
            f"every expert alone",
            stacklevel=3,
        )
    return Space(experts, active)
