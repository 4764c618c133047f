"""Reward landscapes over merges, and a loop that plays routers on them, no simulator.

`ground` says what a landscape is, `smooth` and `mlp` hold the kinds, which `kinds` draws by name,
`search` finds the best merge of a mix, `arena` plays. Letters: K experts, V clusters, P mixes in
the pool, n nodes, T slots.
Torch is imported by `mlp` alone, and only where it is needed.
"""

from __future__ import annotations

from agents.routers.landscapes.arena import Arena, Game, Played, play, setup_for
from agents.routers.landscapes.ground import Landscape, calibration_points
from agents.routers.landscapes.kinds import KINDS, draw, shifted
from agents.routers.landscapes.search import Effort, best_merges, search_best

__all__ = [
    "KINDS",
    "Arena",
    "Effort",
    "Game",
    "Landscape",
    "Played",
    "best_merges",
    "calibration_points",
    "draw",
    "play",
    "search_best",
    "setup_for",
    "shifted",
]
