"""Declared oracles: they see the true mix, which no real router can, and bound the rest."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from agents.routers.feedback import sound_rows
from agents.routers.params import refuse_params
from sim.errors import InputError
from sim.plans import Merged, Plan
from sim.ports import BlockSetup, ContextBlock, DecisionBlock, FeedbackBlock, Oracle, Receipts

if TYPE_CHECKING:
    from collections.abc import Callable

    from sim.arrays import FloatArray

_FLOAT_BYTES = 8.0


class _OracleRouter(ABC):
    """Base: turn the true mix of each active node into a merge; without a true mix, keep."""

    oracle: ClassVar[bool] = True
    learns: ClassVar[bool] = False

    def __init__(self, setup: BlockSetup, name: str, table: Callable[[Oracle], FloatArray]) -> None:
        refuse_params(setup.params, name)
        if setup.oracle is None:
            raise InputError(f"router {name}: needs the oracle table, and this model ships none")
        self.refused = 0
        self._oracle = setup.oracle
        self._size = float(table(setup.oracle).size)

    @abstractmethod
    def choose(self, mix: FloatArray) -> FloatArray:
        """Return merge weights, (E,), for one true mix, (M,)."""

    def decide_block(self, context: ContextBlock) -> DecisionBlock:
        """Choose for every active node whose true mix is known."""
        known = context.active & (context.true_mix is not None)
        plans = [self._plan(context, row) if k else None for row, k in enumerate(known.tolist())]
        free = Receipts.free(len(known))
        receipts = Receipts(
            np.array(known * (2.0 * self._size), dtype=np.float64),
            np.array(known * (_FLOAT_BYTES * self._size), dtype=np.float64),
            free.moved_bytes,
            free.state_bytes,
        )
        return DecisionBlock(plans, receipts, np.zeros(len(known), dtype=np.bool_))

    def _plan(self, context: ContextBlock, row: int) -> Plan | None:
        assert context.true_mix is not None
        mix = context.true_mix[row]
        if not (np.isfinite(mix).all() and mix.sum() > 0.0):
            return None  # a node without traffic has no mix: keep
        weights = np.maximum(self.choose(mix / mix.sum()), 0.0)
        return Merged(tuple((weights / weights.sum()).tolist()))

    def update_block(self, feedback: FeedbackBlock) -> None:
        """Learn nothing; count the rows that no router could use."""
        self.refused += int((~sound_rows(feedback)).sum())


class MixOracle(_OracleRouter):
    """Weight every expert by the true share of its own task: w = mix @ task_to_expert."""

    def __init__(self, setup: BlockSetup) -> None:
        super().__init__(setup, "mix-oracle", lambda oracle: oracle.task_to_expert)

    def choose(self, mix: FloatArray) -> FloatArray:
        """Carry the mix over to experts, (M,) to (E,)."""
        return np.asarray(mix @ self._oracle.task_to_expert, dtype=np.float64)


class BestOracle(_OracleRouter):
    """Take the best merge of the oracle table for the true mix: the zero line of regret."""

    def __init__(self, setup: BlockSetup) -> None:
        super().__init__(setup, "best-oracle", lambda oracle: oracle.accuracy)

    def choose(self, mix: FloatArray) -> FloatArray:
        """Return the row of the table with the best accuracy for the mix, (M,) to (E,)."""
        row = int((self._oracle.accuracy @ mix).argmax())
        return np.asarray(self._oracle.weights[row], dtype=np.float64)
