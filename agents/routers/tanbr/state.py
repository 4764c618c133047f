"""The state of a Tanbr router as flat numpy arrays, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from agents.routers.tanbr.learner import below
from agents.routers.tanbr.tree import NewCell

if TYPE_CHECKING:
    from agents.routers.tanbr.router import Tanbr
    from sim.arrays import AnyArray

_LEDGERS = ("age", "epoch", "hurry", "fallback", "last", "since", "cell", "flop", "read_bytes")
_WORD = (1 << 64) - 1


def save(router: Tanbr) -> dict[str, AnyArray]:
    """Copy everything that changes during a run."""
    state: dict[str, AnyArray] = {name: getattr(router, name).copy() for name in _LEDGERS}
    state |= {f"learner.{k}": v for k, v in router.learner.snapshot().items()}
    for row, tree in enumerate(router.trees):
        state |= {f"tree{row}.{k}": v for k, v in tree.snapshot().items()}
        state[f"open{row}"] = np.array(list(router.open[row].items()), dtype=np.int64).reshape(
            -1, 2
        )
    state["refused"] = np.array(router.refused)
    state["mix"] = router.mix.mix.copy()
    state["cusum.sum"], state["cusum.age"] = router.cusum.sum.copy(), router.cusum.age.copy()
    state["rngs"] = np.array([_words(rng) for rng in router.rngs], dtype=np.uint64)
    cells = [(row, new.cell, new.parent, new.depth, new.pulls) for row, new in router.new_cells]
    state["new_cells"] = np.array(cells, dtype=np.int64).reshape(-1, 5)
    state["alarms"] = np.array(router.alarms, dtype=np.int64).reshape(-1, 2)
    return state


def load(router: Tanbr, state: dict[str, AnyArray]) -> None:
    """Put a copy back into a router that was built from the same setup."""
    for name in _LEDGERS:
        setattr(router, name, np.array(state[name]))
    router.learner.restore(below(state, "learner"))
    for row, tree in enumerate(router.trees):
        tree.restore(below(state, f"tree{row}"))
        router.open[row] = {int(slot): int(cell) for slot, cell in state[f"open{row}"]}
    router.refused = int(state["refused"])
    router.mix.mix = np.array(state["mix"])
    router.cusum.sum, router.cusum.age = np.array(state["cusum.sum"]), np.array(state["cusum.age"])
    for rng, words in zip(router.rngs, state["rngs"], strict=True):
        rng.bit_generator.state = _generator_state([int(word) for word in words])
    cells = state["new_cells"].tolist()
    router.new_cells = [(row, NewCell(*rest)) for row, *rest in cells]
    router.alarms = [(slot, row) for slot, row in state["alarms"].tolist()]


def _words(rng: np.random.Generator) -> list[int]:
    """Cut the 128-bit numbers of PCG64 into 64-bit words, which numpy can hold."""
    state: dict[str, Any] = dict(rng.bit_generator.state)
    number, step = state["state"]["state"], state["state"]["inc"]
    halves = [number >> 64, number & _WORD, step >> 64, step & _WORD]
    return [*halves, state["has_uint32"], state["uinteger"]]


def _generator_state(words: list[int]) -> dict[str, Any]:
    number, step = words[0] << 64 | words[1], words[2] << 64 | words[3]
    return {
        "bit_generator": "PCG64",
        "state": {"state": number, "inc": step},
        "has_uint32": words[4],
        "uinteger": words[5],
    }
