"""Plans: what the model on a node runs. Frozen, hashable, free of torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

from sim.errors import InputError

_SIMPLEX_SLACK = 1e-6


@dataclass(frozen=True, slots=True)
class TopK:
    """Every token visits its k best experts by a gate (the sparse MoE as trained).

    Source: Shazeer et al. 2017 (arXiv 1701.06538); Fedus et al. 2021 (k = 1). Deviation: none.
    """

    k: int
    gate: str = "learned"

    def __post_init__(self) -> None:
        if self.k < 1:
            raise InputError(f"top-k: expected k >= 1, found {self.k}")

    @property
    def kind(self) -> str:
        """Return the word that the scenario file and the tables use."""
        return "top-k"


@dataclass(frozen=True, slots=True)
class Merged:
    """One expert per layer, the average of all experts' parameters with weights w on the simplex.

    Source: Han et al. 2025 (arXiv 2509.19781). Deviation: one w for all layers, as that paper has
    it.
    """

    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        total = math.fsum(self.weights)
        if not abs(total - 1.0) <= _SIMPLEX_SLACK or min(self.weights) < -_SIMPLEX_SLACK:
            raise InputError(
                f"merge weights must lie on the simplex, found sum {total}: {self.weights}"
            )

    @property
    def kind(self) -> str:
        """Return the word that the scenario file and the tables use."""
        return "merged"


@dataclass(frozen=True, slots=True)
class Single:
    """One expert serves every token; the others are not loaded."""

    expert: int

    @property
    def kind(self) -> str:
        """Return the word that the scenario file and the tables use."""
        return "single"


Plan: TypeAlias = TopK | Merged | Single
PLAN_KINDS = ("top-k", "merged", "single")


def is_gated(plan: Plan) -> bool:
    """Tell whether a plan chooses experts per token, so that cost follows the experts touched."""
    return isinstance(plan, TopK)


def uniform(experts: int) -> Merged:
    """Return the plan that every node starts with: the plain average of all experts."""
    return Merged((1.0 / experts,) * experts)


def merge_weights(plan: Plan, experts: int) -> tuple[float, ...] | None:
    """Return a plan's point on the simplex, (E,), or None for a gated plan."""
    if isinstance(plan, Merged):
        return plan.weights
    if isinstance(plan, Single):
        return tuple(1.0 if e == plan.expert else 0.0 for e in range(experts))
    return None


def active_experts(plan: Plan, experts: int) -> int:
    """Count the experts whose parameters a plan needs to read when it is put in force."""
    weights = merge_weights(plan, experts)
    return experts if weights is None else sum(w > 0.0 for w in weights)
