"""Keep every expert in memory: fetched when a gated plan takes force, never evicted."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sim.ports import ExpertKey


class KeepAll:
    """Preload all experts that a plan may touch and evict none; a node too small refuses it."""

    preload: ClassVar[bool] = True

    def __init__(self, layers: int, experts: int) -> None:
        self.layers, self.experts = layers, experts

    def touch(self, key: ExpertKey) -> None:
        """Do nothing: the order of use does not matter."""

    def victim(self, pinned: Mapping[ExpertKey, int]) -> ExpertKey | None:
        """Return None: nothing is ever given up."""
        return None

    def drop(self, key: ExpertKey) -> None:
        """Do nothing: nothing is remembered."""
