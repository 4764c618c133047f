"""Plans: what the model on a node runs. Frozen, hashable, free of torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from sim.errors import InputError

if TYPE_CHECKING:
    from typing_extensions import TypeIs

_SIMPLEX_SLACK = 1e-6


@dataclass(frozen=True, slots=True)
class TopK:
    """Every token visits its k best experts by a gate (the sparse MoE as trained).

    Source: Shazeer et al. 2017 (arXiv 1701.06538); Fedus et al. 2021 (k = 1). Deviation: none.
    """

    k: int
    gate: str = "learned"
    # most tokens per expert and batch, as a multiple of an even share; None: no limit. A token
    # over it skips that expert (Fedus et al. 2021), so what is answered depends on the batch.
    capacity: float | None = None

    def __post_init__(self) -> None:
        if self.k < 1:
            raise InputError(f"top-k: expected k >= 1, found {self.k}")
        if self.capacity is not None and not 0.0 < self.capacity < math.inf:
            raise InputError(f"top-k: expected capacity > 0, found {self.capacity}")

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


@dataclass(frozen=True, slots=True)
class ByTask:
    """Every request is served by one expert, chosen by its task or by its estimated cluster.

    `experts[i]` serves task (or cluster) i. Tags name the true task, which only declared oracles
    may use.

    Source: task-level routing, Kudugunta et al. 2021 (arXiv 2110.03742). Deviation: one expert
    per task instead of a gate over tasks.
    """

    experts: tuple[int, ...]
    tags: Literal["cluster", "task"] = "cluster"

    @property
    def k(self) -> int:
        """Return the experts per token."""
        return 1

    @property
    def kind(self) -> str:
        """Return the word that the scenario file and the tables use."""
        return "by-task"


@dataclass(frozen=True, slots=True)
class Blend:
    """Every request is served by its own merge: its k best experts, weighted by the mean gate.

    Source: SMEAR (Muqeeth et al. 2023, arXiv 2306.03745) with k = E; MEO (He et al. 2023, arXiv
    2310.09832) with small k. Deviation: MEO's token-level attention is left out.
    """

    k: int

    def __post_init__(self) -> None:
        if self.k < 1:
            raise InputError(f"blend: expected k >= 1, found {self.k}")

    @property
    def kind(self) -> str:
        """Return the word that the scenario file and the tables use."""
        return "blend"


Gated: TypeAlias = TopK | ByTask | Blend
Plan: TypeAlias = TopK | Merged | Single | ByTask | Blend
PLAN_KINDS = ("top-k", "merged", "single", "by-task", "blend")


def is_gated(plan: Plan) -> TypeIs[Gated]:
    """Tell whether a plan chooses experts per token or request: cost follows those touched."""
    return isinstance(plan, TopK | ByTask | Blend)


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


def reachable(plan: Gated, experts: int) -> tuple[int, ...]:
    """Return the experts that some request may need under a gated plan, ascending."""
    return tuple(sorted(set(plan.experts))) if isinstance(plan, ByTask) else tuple(range(experts))


def limited(plan: Plan) -> bool:
    """Tell whether what a plan answers depends on the other requests of the batch."""
    return isinstance(plan, TopK) and plan.capacity is not None
