"""Merging per request: every request is served by its own blend of experts, from the gate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from agents.routers.params import limited, parse, refuse_params
from agents.routers.static import FixedPlan, check_k
from sim.plans import Blend

if TYPE_CHECKING:
    from sim.ports import BlockSetup


class Smear(FixedPlan):
    """Merge all experts anew for every request, weighted by the gate at its mean token.

    Source: Muqeeth et al. 2023 (SMEAR, arXiv 2306.03745). Deviation: the gate is the sparse
    model's as trained, not one trained through the merge.
    """

    gated: ClassVar[bool] = True

    def __init__(self, setup: BlockSetup) -> None:
        refuse_params(setup.params, "smear")
        super().__init__(setup, Blend(setup.experts))


@dataclass(frozen=True, slots=True)
class MeoParams:
    """Parameters of `meo`: how many experts each request merges."""

    k: int = limited(2, 1)


class Meo(FixedPlan):
    """Merge the k experts that a request's gate likes best, anew for every request.

    Source: He et al. 2023 (MEO, arXiv 2310.09832). Deviation: per request, without the paper's
    token-level attention; the gate is the sparse model's as trained.
    """

    gated: ClassVar[bool] = True
    parameters: ClassVar[str] = "agents.routers.blend:MeoParams"

    def __init__(self, setup: BlockSetup) -> None:
        k = parse(MeoParams, setup.params, "meo").k
        super().__init__(setup, Blend(check_k(k, setup.experts, "meo")))
