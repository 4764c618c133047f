"""From the words of a fixed plan to the plan that a node runs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scenarios.schema_fleet import (
    BlendPlan,
    ByTaskPlan,
    MergedPlan,
    RouterPlan,
    SinglePlan,
    TopKPlan,
)
from sim.plans import Blend, ByTask, Gated, Merged, Plan, Single, TopK, uniform

if TYPE_CHECKING:
    from scenarios.schema_fleet import PlanField
    from sim.ports import ModelCard


def gated_plan(words: PlanField) -> Gated | None:
    """Return the gated plan that words stand for, None for any other."""
    match words:
        case TopKPlan():
            return TopK(words.k, words.gate, words.capacity)
        case ByTaskPlan():
            return ByTask(words.experts, words.tags)
        case BlendPlan():
            return Blend(words.k)
    return None


def fixed_plan(words: PlanField, card: ModelCard | None) -> Plan | None:
    """Return a group's fixed plan, None where a router decides or no model runs."""
    if card is None or isinstance(words, RouterPlan):
        return None
    if isinstance(words, SinglePlan):
        return Single(words.expert)
    if isinstance(words, MergedPlan):
        total = math.fsum(words.weights)
        return Merged(tuple(weight / total for weight in words.weights))
    return gated_plan(words) or uniform(card.experts)
