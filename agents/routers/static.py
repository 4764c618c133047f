"""Routers that learn nothing, fixed plans and random weights: the floor of every comparison."""

from __future__ import annotations

import math
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
    from sim.arrays import BoolArray, FloatArray, IntArray

_VERTEX_SLACK = 1e-6
_LEAST_CAPACITY = 0.01
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
    """Merge all experts with equal weights (the plain average, "soup").

    Source: Wortsman et al. 2022 (uniform soup, arXiv 2203.05482). Deviation: experts of one MoE.
    """

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
    """Parameters of `top-k`: k experts per token, chosen by a gate.

    `capacity` limits the tokens per expert and batch to so many even shares; left out: no limit.
    """

    k: int = limited(2, 1)
    gate: str = "learned"
    capacity: float = limited(math.inf, _LEAST_CAPACITY)


class TopKPlan(FixedPlan):
    """The sparse MoE as trained: every token visits its k best experts by the gate.

    Source: Shazeer et al. 2017 (arXiv 1701.06538). Deviation: none.
    """

    gated: ClassVar[bool] = True
    parameters: ClassVar[str] = "agents.routers.static:TopKParams"

    def __init__(self, setup: BlockSetup) -> None:
        chosen = parse(TopKParams, setup.params, "top-k")
        capacity = chosen.capacity if math.isfinite(chosen.capacity) else None
        k = check_k(chosen.k, setup.experts, "top-k")
        super().__init__(setup, TopK(k, chosen.gate, capacity))


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


@dataclass(frozen=True, slots=True)
class CapacityParams:
    """Parameters of `top1-capacity`: tokens per expert and batch, in even shares."""

    capacity: float = limited(1.25, _LEAST_CAPACITY)


class Top1Capacity(FixedPlan):
    """Top-1 gating with experts that take only so many tokens of a batch; others skip their FFN.

    Source: Fedus et al. 2021 (Switch Transformer), capacity factor 1.25. Deviation: first come,
    first served by position in the batch.
    """

    gated: ClassVar[bool] = True
    parameters: ClassVar[str] = "agents.routers.static:CapacityParams"

    def __init__(self, setup: BlockSetup) -> None:
        chosen = parse(CapacityParams, setup.params, "top1-capacity")
        super().__init__(setup, TopK(1, capacity=chosen.capacity))


class BestFixed(FixedPlan):
    """Serve the merge that does best on the calibration split, weighted by cluster shares."""

    def __init__(self, setup: BlockSetup) -> None:
        refuse_params(setup.params, "best-fixed")
        known = setup.calibration
        weights = known.weights[int((known.reward @ known.prior).argmax())]
        plan = Merged(tuple((weights / weights.sum()).tolist()))
        super().__init__(setup, plan, 2.0 * known.reward.size)


class RandomWeights:
    """Merge with weights drawn anew in every slot, uniform on the simplex, per node.

    Source: Dirichlet(1, ..., 1) is uniform on the simplex. Deviation: none.
    """

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
    value = calibration.reward @ calibration.prior
    return int(best_vertices(calibration.weights, value[:, None])[0])


def best_vertices(weights: FloatArray, value: FloatArray) -> IntArray:
    """Return the single experts that are best by each column of a table.

    Args:
        weights: Merges, (C, E).
        value: What each is worth, (C, V).

    Returns:
        Expert ids, (V,).

    Raises:
        InputError: The table holds no single expert.
    """
    pure = np.flatnonzero(weights.max(axis=1) > 1.0 - _VERTEX_SLACK)
    if not len(pure):
        raise InputError("the table of merges holds no single expert; calibrate with the vertices")
    chosen: IntArray = weights[pure[value[pure].argmax(axis=0)]].argmax(axis=1)
    return chosen


def check_k(k: int, experts: int, router: str) -> int:
    """Return k.

    Raises:
        InputError: There are fewer experts.
    """
    if k > experts:
        raise InputError(f"router {router}: k: expected at most {experts} experts, found {k}")
    return k


def _receipts(flop: FloatArray | BoolArray | Any) -> Receipts:
    free = Receipts.free(len(flop))
    return Receipts(
        np.asarray(flop, dtype=np.float64), free.read_bytes, free.moved_bytes, free.state_bytes
    )
