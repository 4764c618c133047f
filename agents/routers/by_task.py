"""Task-level routing: one expert per task, with true tags (an oracle) or with inferred clusters."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from agents.routers.params import refuse_params
from agents.routers.static import FixedPlan, best_expert, best_vertices
from sim.errors import InputError
from sim.plans import ByTask

if TYPE_CHECKING:
    from sim.arrays import FloatArray
    from sim.ports import BlockSetup, Calibration, ContextBlock, DecisionBlock


class TaskOracle(FixedPlan):
    """Serve every request by the expert that is best for its true task: task-level routing's bound.

    Source: Kudugunta et al. 2021 (task-MoE, arXiv 2110.03742). Deviation: one expert per task, the
    best of the oracle table, instead of a learned gate over tasks.
    """

    oracle: ClassVar[bool] = True
    gated: ClassVar[bool] = True

    def __init__(self, setup: BlockSetup) -> None:
        refuse_params(setup.params, "task-oracle")
        table = setup.oracle
        if table is None:
            raise InputError(
                "router task-oracle: needs the oracle table, and this model ships none"
            )
        experts = best_vertices(table.weights, table.accuracy)
        super().__init__(setup, ByTask(tuple(experts.tolist()), "task"), table.accuracy.size)


class TaskInferred(FixedPlan):
    """Serve every request by the expert that is best for its estimated cluster: no tags needed.

    Source: Kudugunta et al. 2021 (task-MoE, arXiv 2110.03742). Deviation: clusters stand in for
    tasks; each has the single expert that did best on its calibration items (a cluster without
    items: the expert that is best overall). Requests are assigned before they are served; the work
    is charged with the next decision, by the monitor's rule, since this router reports the mix.
    """

    oracle: ClassVar[bool] = False
    gated: ClassVar[bool] = True

    def __init__(self, setup: BlockSetup) -> None:
        refuse_params(setup.params, "task-inferred")
        known = setup.calibration
        self._prior = known.prior / known.prior.sum()
        super().__init__(setup, ByTask(cluster_experts(known)), known.reward.size)

    def decide_block(self, context: ContextBlock) -> DecisionBlock:
        """Decide the plan once per life of a node; report the last slot's shares."""
        return replace(super().decide_block(context), mix=self._mix(context.counts))

    def _mix(self, counts: FloatArray) -> FloatArray:
        total = counts.sum(axis=1, keepdims=True)
        shares: FloatArray = np.divide(
            counts, total, out=np.tile(self._prior, (len(counts), 1)), where=total > 0.0
        )
        return shares


def cluster_experts(calibration: Calibration) -> tuple[int, ...]:
    """Return the best single expert of every cluster, (V,)."""
    best = best_vertices(calibration.weights, calibration.reward)
    known = np.where(calibration.count > 0.0, best, best_expert(calibration))
    return tuple(known.tolist())
