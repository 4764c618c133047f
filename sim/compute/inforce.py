"""The plan in force on a node, what its batches run under, and what all deployments share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.compute.memory import STAGING, Ledger
from sim.compute.touched import Masks
from sim.plans import Gated, Plan, is_gated, merge_weights, reachable

if TYPE_CHECKING:
    from sim.clock import Clock
    from sim.compute.supply import Supply
    from sim.config import NodeSpec
    from sim.ports import ExpertKey
    from sim.request import Requests

Touches = Callable[[Gated], list[Masks]]  # replayed gate choices of a gated plan, by service input


@dataclass(frozen=True, slots=True)
class InForce:
    """The plan that the next batch takes."""

    plan_id: int  # of the decision that brought its weights
    plan: Plan
    # of the last decision that wanted it, which outcomes answer; None: the one that brought it
    confirmed: int | None = None

    @property
    def name(self) -> int:
        """Return the plan id that the next batch is served under."""
        return self.plan_id if self.confirmed is None else self.confirmed


@dataclass(frozen=True, slots=True)
class Common:
    """What all deployments of a run share.

    `touches` gives a gated plan's replayed choices; layers and experts are the small model's;
    `supply` makes what brings experts to a node.
    """

    clock: Clock
    requests: Requests
    touches: Touches
    layers: int
    experts: int
    supply: Callable[[NodeSpec], Supply]


class Units:
    """The (layer, expert) pairs that plans need.

    Args:
        layers: MoE layers of the small model.
        experts: Its experts.
    """

    def __init__(self, layers: int, experts: int) -> None:
        self.layers, self.experts = layers, experts
        self._gated: dict[tuple[int, ...], dict[ExpertKey, None]] = {}

    def of(self, plan: Gated) -> dict[ExpertKey, None]:
        """Return the pairs that a gated plan may touch, in order."""
        experts = reachable(plan, self.experts)
        if experts not in self._gated:
            layers = range(self.layers)
            self._gated[experts] = {(layer, e): None for layer in layers for e in experts}
        return self._gated[experts]

    def merged(self, plan: Plan) -> list[ExpertKey]:
        """List the pairs that a merge reads."""
        weights = merge_weights(plan, self.experts) or ()
        active = [expert for expert, weight in enumerate(weights) if weight > 0.0]
        return [(layer, expert) for layer in range(self.layers) for expert in active]


class Running:
    """Batches by the decision whose weights they use.

    Merged weights that a newer plan replaced stay, as part of the staging, until the last of their
    batches ends.

    Args:
        ledger: The node's memory.
        merged_bytes: Bytes of one merged expert in every layer.
    """

    def __init__(self, ledger: Ledger, merged_bytes: float) -> None:
        self.ledger, self.merged_bytes = ledger, merged_bytes
        self._batches: dict[int, int] = {}
        self._retired: dict[int, None] = {}

    def __bool__(self) -> bool:
        return bool(self._batches)

    def enter(self, plan_id: int) -> None:
        """Note a batch that starts."""
        self._batches[plan_id] = self._batches.get(plan_id, 0) + 1

    def leave(self, plan_id: int, now_s: float) -> None:
        """Note a batch that ends, and free weights that nobody needs any more."""
        self._batches[plan_id] -= 1
        if self._batches[plan_id]:
            return
        del self._batches[plan_id]
        if plan_id in self._retired:
            del self._retired[plan_id]
            self.ledger.add(STAGING, -self.merged_bytes, now_s)

    def retire(self, before: InForce | None, now_s: float) -> None:
        """Hold on to the weights of the plan before, if batches run under them."""
        if before is None or is_gated(before.plan) or before.plan_id not in self._batches:
            return
        self._retired[before.plan_id] = None
        self.ledger.add(STAGING, self.merged_bytes, now_s)

    def clear(self) -> None:
        """Forget all, as a crash does (it empties the ledger, too)."""
        self._batches.clear()
        self._retired.clear()
