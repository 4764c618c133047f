"""Draws landscapes by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.routers.landscapes.mlp import MergedNets, draw_mlp, shift_mlp
from agents.routers.landscapes.smooth import SMOOTH, Smooth, draw_smooth, shift_smooth
from sim.errors import UnknownName

if TYPE_CHECKING:
    from agents.routers.landscapes.ground import Landscape

KINDS = (*SMOOTH, "mlp")


def draw(kind: str, experts: int, clusters: int, seed: int, mixes: int = 10) -> Landscape:
    """Draw a landscape with a pool of mixes from Dirichlet(0.6).

    Raises:
        UnknownName: No such kind.
    """
    if kind not in KINDS:
        raise UnknownName("landscape", kind, KINDS)
    if kind == "mlp":
        return draw_mlp(experts, clusters, seed, mixes)
    return draw_smooth(kind, experts, clusters, seed, mixes)


def shifted(land: Landscape, seed: int) -> Landscape:
    """Return a landscape after an abrupt drift, with the same mixes.

    Smooth kinds: all optima are drawn anew. mlp: the clusters trade their questions.
    """
    if isinstance(land, Smooth):
        return shift_smooth(land, seed)
    assert isinstance(land, MergedNets), "every kind drifts in its own way"
    return shift_mlp(land, seed)
