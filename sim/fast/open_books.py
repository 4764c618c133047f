"""Stamps and changes of memory where kernels write them, for those who do so meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim.fast.access import all_floats, all_ints, word
from sim.fast.layout import NOTE, RUN
from sim.fast.stamps import Stamps
from sim.recorder import Recorder
from sim.records import columns, dtype

if TYPE_CHECKING:
    from sim.arrays import AnyArray
    from sim.arrivals.workload import Workload
    from sim.fast.state import State

_NOTED = word(RUN, "noted")
_NOTES = 1 << 16  # changes of memory that are kept together


class LiveStamps(Stamps):
    """Stamps of which some can be read while the run goes on, where kernels keep them.

    Args:
        workload: Everything fixed at emission.
    """

    state: State | None = None

    def __init__(self, workload: Workload) -> None:
        super().__init__(workload)
        self.input = workload.input

    def stamp(self, name: str) -> AnyArray:
        """Return one column of stamps, to be read and written."""
        if self.state is not None and name in {"server", "batch"}:
            live: AnyArray = self.state.requests[name]
            return live
        if self.state is not None and name == "plan":
            plans: AnyArray = self.state.asks["plan"]
            return plans
        return super().stamp(name)


class LiveRecorder(Recorder):
    """Collects what the physics reports; changes of memory stand where kernels add theirs.

    Args:
        experts: Experts of the small model.
        state: Of the run.
    """

    def __init__(self, experts: int, state: State) -> None:
        super().__init__(experts)
        self._state = state
        state.put("notes", np.zeros(_NOTES, NOTE))
        self._ints, self._reals = all_ints(state.notes), all_floats(state.notes)

    def memory(self, node: int, t_s: float, category: int, size_bytes: float) -> None:
        """Append one change of the memory ledger."""
        facts = self._state.ints
        if facts[_NOTED] + 2 > _NOTES:
            self.keep()
        at = 4 * facts[_NOTED]
        self._ints[at], self._ints[at + 1] = node, category
        self._reals[at + 2], self._reals[at + 3] = t_s, size_bytes
        facts[_NOTED] += 1

    def keep(self) -> None:
        """Make room for more changes."""
        notes = self._state.notes[: int(self._state.facts["noted"])]
        self.block("memory", {c.name: notes[c.name].astype(dtype(c)) for c in columns("memory")})
        self._state.facts["noted"] = 0
