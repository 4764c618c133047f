"""The state of a Tanbr router as flat numpy arrays, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from agents.routers.tanbr.learner import below

if TYPE_CHECKING:
    from agents.routers.tanbr.router import Tanbr
    from sim.arrays import AnyArray

_PARTS = ("learner", "ledger", "watch", "mix", "cusum")
_WORD = (1 << 64) - 1


def save(router: Tanbr) -> dict[str, AnyArray]:
    """Copy everything that changes during a run."""
    state: dict[str, AnyArray] = {}
    for name in _PARTS:
        state |= {f"{name}.{k}": v for k, v in getattr(router, name).snapshot().items()}
    for row, tree in enumerate(router.trees):
        state |= {f"tree{row}.{k}": v for k, v in tree.snapshot().items()}
    state["refused"] = np.array(router.refused)
    state["rngs"] = np.array([_words(rng) for rng in router.rngs], dtype=np.uint64)
    return state


def load(router: Tanbr, state: dict[str, AnyArray]) -> None:
    """Put a copy back into a router that was built from the same setup."""
    for name in _PARTS:
        getattr(router, name).restore(below(state, name))
    for row, tree in enumerate(router.trees):
        tree.restore(below(state, f"tree{row}"))
    router.refused = int(state["refused"])
    for rng, words in zip(router.rngs, state["rngs"], strict=True):
        rng.bit_generator.state = _generator_state([int(word) for word in words])


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
