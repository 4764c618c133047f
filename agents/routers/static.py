"""Routers that learn nothing, fixed plans and random weights: the floor of every comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from agents.routers.feedback import sound_rows
from agents.routers.params import limited, parse, refuse_params
from sim.errors import InputError
from sim.plans import Merged, Plan, Single, TopK, uniform
from sim.ports import BlockSetup, Calibration, ContextBlock, DecisionBlock, FeedbackBlock, Receipts
from sim.rng import Streams

if TYPE_CHECKING:
    from sim.arrays import BoolArray, FloatArray

_VERTEX_SLACK = 1e-6
_DRAW_FLOP = 20.0  # one exponential draw and its share of the normalisation


class FixedPlan:
    """Base of routers whose plan never changes: decided once, and again after a restart.

    Args:
        setup: The block.
        plan: What every node runs.
        work_flop: Work of finding it, charged to each node's first decision.
    """

    oracle: ClassVar[bool] = False
    learns: ClassVar[bool] = False

    def __init__(self, setup: BlockSetup, plan: Plan, work_flop: float = 0.0) -> None:
        self.plan, self.work_flop = plan, work_flop
        self.refused = 0
        self._decided = np.zeros(len(setup.nodes), dtype=np.bool_)

    def decide_block(self, context: ContextBlock) -> DecisionBlock:
        """Decide the plan for nodes that have none from this router, keep it for the others."""
        self._decided &= ~context.reset
        fresh = context.active & ~self._decided
        self._decided |= fresh
        plans = [self.plan if f else None for f in fresh.tolist()]
        return DecisionBlock(
            plans, _receipts(fresh * self.work_flop), np.zeros(len(fresh), dtype=np.bool_)
        )

    def update_block(self, feedback: FeedbackBlock) -> None:
        """Learn nothing; count the rows that no router could use."""
        self.refused += int((~sound_rows(feedback)).sum())


class Uniform(FixedPlan):
    """Merge all experts with equal weights (the plain average, "soup")."""

    def __init__(self, setup: BlockSetup) -> None:
        refuse_params(setup.params, "uniform")
        super().__init__(setup, uniform(setup.experts))


class BestSingle(FixedPlan):
    """Serve the expert that does best on the calibration split, weighted by cluster shares."""

    def __init__(self, setup: BlockSetup) -> None:
        refuse_params(setup.params, "single")
        super().__init__(
            setup, Single(best_expert(setup.calibration)), 2.0 * setup.calibration.reward.size
        )


@dataclass(frozen=True, slots=True)
class TopKParams:
    """Parameters of `top-k`: k experts per token, chosen by a gate."""

    k: int = limited(2, 1)
    gate: str = "learned"


class TopKPlan(FixedPlan):
    """The sparse MoE as trained: every token visits its k best experts by the gate."""

    gated: ClassVar[bool] = True
    parameters: ClassVar[str] = "agents.routers.static:TopKParams"

    def __init__(self, setup: BlockSetup) -> None:
        chosen = parse(TopKParams, setup.params, "top-k")
        if chosen.k > setup.experts:
            raise InputError(
                f"router top-k: k: expected at most {setup.experts} experts, found {chosen.k}"
            )
        super().__init__(setup, TopK(chosen.k, chosen.gate))


class Top1(FixedPlan):
    """Top-1 gating.

    Source: Fedus et al. 2021 (Switch Transformer). Deviation: none.
    """

    gated: ClassVar[bool] = True

    def __init__(self, setup: BlockSetup) -> None:
        refuse_params(setup.params, "top1")
        super().__init__(setup, TopK(1))


class Top2(FixedPlan):
    """Top-2 gating.

    Source: Jiang et al. 2024 (Mixtral, arXiv 2401.04088). Deviation: none.
    """

    gated: ClassVar[bool] = True

    def __init__(self, setup: BlockSetup) -> None:
        refuse_params(setup.params, "top2")
        super().__init__(setup, TopK(min(2, setup.experts)))


class RandomWeights:
    """Merge with weights drawn anew in every slot, uniform on the simplex, per node."""

    oracle: ClassVar[bool] = False
    learns: ClassVar[bool] = False

    def __init__(self, setup: BlockSetup) -> None:
        refuse_params(setup.params, "random")
        streams = Streams(setup.seed)
        self.refused = 0
        self._experts = setup.experts
        self._rngs = [streams.stream("router", "random", int(node)) for node in setup.nodes]

    def decide_block(self, context: ContextBlock) -> DecisionBlock:
        """Draw one point of the simplex per active node."""
        plans = [self._draw(i) if a else None for i, a in enumerate(context.active.tolist())]
        receipts = _receipts(context.active * (_DRAW_FLOP * self._experts))
        return DecisionBlock(plans, receipts, np.array(context.active, dtype=np.bool_))

    def _draw(self, row: int) -> Plan:
        weights = self._rngs[row].dirichlet(np.ones(self._experts))
        return Merged(tuple(weights.tolist()))

    def update_block(self, feedback: FeedbackBlock) -> None:
        """Learn nothing; count the rows that no router could use."""
        self.refused += int((~sound_rows(feedback)).sum())


def best_expert(calibration: Calibration) -> int:
    """Return the expert whose vertex has the best prior-weighted calibration reward.

    Raises:
        InputError: The calibration holds no single expert.
    """
    pure = calibration.weights.max(axis=1) > 1.0 - _VERTEX_SLACK
    if not pure.any():
        raise InputError(
            "router single: the calibration holds no single expert; calibrate with the vertices"
        )
    value = np.where(pure, calibration.reward @ calibration.prior, -np.inf)
    return int(calibration.weights[int(value.argmax())].argmax())


def _receipts(flop: FloatArray | BoolArray | Any) -> Receipts:
    free = Receipts.free(len(flop))
    return Receipts(
        np.asarray(flop, dtype=np.float64), free.read_bytes, free.moved_bytes, free.state_bytes
    )
