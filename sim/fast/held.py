"""What batches and weights hold in a node's memory, where kernels read and change it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from sim.compute.inforce import Running
from sim.compute.memory import Ledger
from sim.fast.access import all_floats, ints_of, word
from sim.fast.layout import MIND
from sim.fast.think import CATEGORIES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sim.arrays import AnyArray
    from sim.compute.inforce import InForce
    from sim.fast.state import State

_RUNNING = word(MIND, "running")


class Used:
    """Bytes in use by category, in the kernel's array.

    Args:
        records: Those of one node, (categories,).
    """

    def __init__(self, records: AnyArray) -> None:
        self._values = all_floats(records)

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, category: int) -> float:
        return self._values[category]

    def __setitem__(self, category: int, size_bytes: float) -> None:
        self._values[category] = size_bytes

    def __iter__(self) -> Iterator[float]:
        return iter(self._values)


class FastLedger(Ledger):
    """A node's memory, of which kernels change what running batches hold.

    Args:
        ledger: The same, still empty.
        state: Of the run.
    """

    def __init__(self, ledger: Ledger, state: State) -> None:
        super().__init__(ledger.node, ledger.budget_bytes, ledger.log)
        first = ledger.node * CATEGORIES
        records = state.used[first : first + CATEGORIES]
        self.used_bytes = cast("list[float]", Used(records))
        state.minds[ledger.node]["budget_bytes"] = ledger.budget_bytes


class FastRunning(Running):
    """Batches by the decision whose weights they use, as the kernel's records tell.

    Args:
        ledger: The node's memory.
        merged_bytes: Bytes of one merged expert in every layer.
        state: Of the run.
    """

    def __init__(self, ledger: Ledger, merged_bytes: float, state: State) -> None:
        super().__init__(ledger, merged_bytes)
        self._mind = ints_of(state.minds, ledger.node)
        self._state, node = state, state.nodes[ledger.node]
        self._places = slice(
            int(node["first_batch"]), int(node["first_batch"] + node["all_servers"])
        )

    def __bool__(self) -> bool:
        return bool(self._mind[_RUNNING])

    @property
    def retired(self) -> bool:
        """Tell whether weights stay only until their last batch ends."""
        return bool(self._retired)

    def _in_use(self, weights: int) -> bool:
        batches = self._state.batches[self._places]
        return bool(((batches["weights"] == weights) & (batches["live"] == 1)).any())

    def enter(self, plan_id: int) -> None:
        """Do nothing: the batch has its record."""

    def leave(self, plan_id: int, now_s: float) -> None:
        """Free weights that nobody needs any more."""
        if plan_id in self._retired and not self._in_use(plan_id):
            self._batches[plan_id] = 1
            super().leave(plan_id, now_s)

    def retire(self, before: InForce | None, now_s: float) -> None:
        """Hold on to the weights of the plan before, if batches run under them."""
        if before is not None and self._in_use(before.plan_id):
            self._batches[before.plan_id] = 1
            super().retire(before, now_s)
            del self._batches[before.plan_id]
