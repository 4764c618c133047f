"""The memory ledger of one node: every byte has a category, and the sum never passes the budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sim.errors import LawViolation
from sim.records import MEMORY
from sim.units import format_bytes

if TYPE_CHECKING:
    from sim.ports import ExpertKey

BACKBONE, EXPERTS, MERGED, STAGING, ACTIVATIONS, ROUTER, KV = range(len(MEMORY))


class NodeLog(Protocol):
    """Where a node's changes are written."""

    def memory(self, node: int, t_s: float, category: int, size_bytes: float) -> None:
        """Append one change of the ledger."""
        ...

    def residency(
        self, node: int, key: ExpertKey, t_s: float, event: int, size_bytes: float, cause: int
    ) -> None:
        """Append one fetch or eviction."""
        ...


class Ledger:
    """Bytes in use on one node, by category; changes are logged.

    Args:
        node: The node's id.
        budget_bytes: What the node has.
        log: Where changes go.
    """

    def __init__(self, node: int, budget_bytes: float, log: NodeLog) -> None:
        self.node, self.budget_bytes, self.log = node, budget_bytes, log
        self.used_bytes = [0.0] * len(MEMORY)

    @property
    def total_bytes(self) -> float:
        """Sum over categories."""
        return sum(self.used_bytes)

    def fits(self, extra_bytes: float) -> bool:
        """Tell whether that much more may be taken."""
        return self.total_bytes + extra_bytes <= self.budget_bytes

    def set(self, category: int, size_bytes: float, now_s: float) -> None:
        """Make a category hold so many bytes.

        Raises:
            LawViolation: The budget would be passed (L3); callers must ask `fits` first.
        """
        if size_bytes == self.used_bytes[category]:
            return
        self.used_bytes[category] = size_bytes
        if self.total_bytes > self.budget_bytes:
            raise LawViolation(
                f"L3 memory: node {self.node} at t={now_s}: {format_bytes(self.total_bytes)} used, "
                f"budget {format_bytes(self.budget_bytes)} ({MEMORY[category]})"
            )
        self.log.memory(self.node, now_s, category, size_bytes)

    def add(self, category: int, delta_bytes: float, now_s: float) -> None:
        """Change a category by so many bytes."""
        self.set(category, self.used_bytes[category] + delta_bytes, now_s)

    def clear(self, now_s: float) -> None:
        """Empty everything, as a crash does."""
        for category in range(len(MEMORY)):
            self.set(category, 0.0, now_s)
