"""What batches cost, as tables that kernels read; the twin is `sim.compute.cost`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sim.fast.layout import MASK, PRICE, TARIFF
from sim.plans import Blend, is_gated

if TYPE_CHECKING:
    from sim.compute.cost import BatchCost, CostModel
    from sim.compute.inforce import Touches
    from sim.fast.state import State
    from sim.plans import Gated, Plan

_MOST_EXPERTS = 62  # that a mask of a kernel holds


class Tariffs:
    """Prices of batches as tables for kernels: filled when a batch of a kind first runs.

    Args:
        state: Of the run.
        layers: MoE layers of the small model.
        experts: Its experts.
    """

    def __init__(self, state: State, layers: int, experts: int) -> None:
        self._state, self._layers, self._experts = state, layers, experts
        self._tariffs: dict[tuple[object, ...], int] = {}
        self._masks: dict[Gated, int] = {}
        self._tables: dict[str, int] = {"tariffs": 0, "prices": 0, "masks": 0}

    def _append(self, name: str, values: list[float] | list[int], dtype: np.dtype[Any]) -> int:
        """Append to a table, which doubles when it is full; return where that begins."""
        first, array = self._tables[name], getattr(self._state, name)
        end = self._tables[name] = first + len(values)
        if end > len(array):
            wider = np.zeros(2 * end, dtype)
            wider[:first] = array[:first]
            self._state.put(name, wider)
            array = wider
        array[(dtype.names or ("",))[0]][first:end] = values
        return first

    def tariff(self, cost: CostModel, plan: Plan, max_size: int) -> int:
        """Return where the places of a plan's prices by size begin."""
        k = (plan.k, isinstance(plan, Blend)) if is_gated(plan) else ()
        key = (cost.hardware, *k, max_size)
        if key not in self._tariffs:
            self._tariffs[key] = self._append("tariffs", [-1] * (max_size + 1), TARIFF)
        return self._tariffs[key]

    def learn(self, tariff: int, size: int, cost: CostModel, plan: Plan) -> None:
        """Enter the price of a batch of a size, unless it is known."""
        if self._state.tariffs[tariff + size]["at"] >= 0:
            return
        if is_gated(plan) and not isinstance(plan, Blend):
            layers, each = self._layers, range(1, self._experts + 1)
            found = [cost.gated(size, plan.k, (number,) * layers) for number in each]
            values = [found[0].flop, *(price.per_layer_s[0] for price in found)]
        else:
            price = _flat(cost, size, plan)
            values = [price.flop, price.service_s]
        self._state.tariffs[tariff + size]["at"] = self._append("prices", values, PRICE)

    def learn_masks(self, plan: Gated, touches: Touches) -> None:
        """Enter what the inputs touch under a plan, unless it is known or too wide for kernels."""
        if plan not in self._masks and self._experts <= _MOST_EXPERTS:
            flat = [mask for row in touches(plan) for mask in row]
            self._masks[plan] = self._append("masks", flat, MASK)

    def masks(self, plan: Gated) -> int | None:
        """Return where a plan's masks begin, None if they are not known."""
        return self._masks.get(plan)


def _flat(cost: CostModel, size: int, plan: Plan) -> BatchCost:
    """Return a price that depends on the size only."""
    return cost.blended(size, plan.k) if isinstance(plan, Blend) else cost.merged(size)
