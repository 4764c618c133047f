"""The state of a Tanbr router as flat numpy arrays, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from agents.routers.rngs import load_rngs, save_rngs
from agents.routers.snapshots import below, flat

if TYPE_CHECKING:
    from agents.routers.tanbr.router import Tanbr
    from sim.arrays import AnyArray

_PARTS = ("learner", "ledger", "watch", "mix", "cusum")


def save(router: Tanbr) -> dict[str, AnyArray]:
    """Copy everything that changes during a run."""
    state = flat({name: getattr(router, name).snapshot() for name in _PARTS})
    state |= flat({f"tree{row}": tree.snapshot() for row, tree in enumerate(router.trees)})
    state["refused"] = np.array(router.refused)
    state["rngs"] = save_rngs(router.rngs)
    return state


def load(router: Tanbr, state: dict[str, AnyArray]) -> None:
    """Put a copy back into a router that was built from the same setup."""
    for name in _PARTS:
        getattr(router, name).restore(below(state, name))
    for row, tree in enumerate(router.trees):
        tree.restore(below(state, f"tree{row}"))
    router.refused = int(state["refused"])
    load_rngs(router.rngs, state["rngs"])
