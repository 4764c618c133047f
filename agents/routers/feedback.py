"""What every router asks of feedback and calibration before it believes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim.errors import InputError, ShapeError
from sim.plans import Plan, merge_weights

if TYPE_CHECKING:
    from sim.arrays import BoolArray, FloatArray
    from sim.ports import BlockSetup, FeedbackBlock


def sound_rows(feedback: FeedbackBlock) -> BoolArray:
    """Tell which rows may be learned from, (r,): all numbers finite, no negative count.

    A NaN reward would spread through a regression for ever, so a router refuses the row, counts it
    and goes on.
    """
    finite = np.isfinite(feedback.reward).all(axis=1) & np.isfinite(feedback.count).all(axis=1)
    return np.asarray(finite & (np.nan_to_num(feedback.count) >= 0.0).all(axis=1))


def simplex_point(plan: Plan, experts: int) -> FloatArray | None:
    """Return the merge weights of a plan, (E,), or None for a gated one.

    Raises:
        ShapeError: The plan merges another number of experts.
    """
    weights = merge_weights(plan, experts)
    if weights is None:
        return None
    if len(weights) != experts:
        raise ShapeError(
            f"feedback: expected a plan over {experts} experts, found {len(weights)} weights"
        )
    return np.asarray(weights, dtype=np.float64)


def check_calibration(setup: BlockSetup, router: str) -> None:
    """Raise InputError unless the calibration holds a point and fits experts and clusters."""
    weights, reward = setup.calibration.weights, setup.calibration.reward
    found, wanted = (weights.shape[1:], reward.shape[1:]), ((setup.experts,), (setup.clusters,))
    if found != wanted:
        raise InputError(f"router {router}: calibration: expected {wanted} columns, found {found}")
    if not len(weights):
        raise InputError(f"router {router}: calibration: expected at least one point, found none")
