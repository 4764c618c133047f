"""The state of a random generator as numpy words, for snapshots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.arrays import AnyArray

_WORD = (1 << 64) - 1


def save_rngs(rngs: Sequence[np.random.Generator]) -> AnyArray:
    """Return the states of some PCG64 generators, (n, 6) uint64."""
    return np.array([_words(rng) for rng in rngs], dtype=np.uint64)


def load_rngs(rngs: Sequence[np.random.Generator], words: AnyArray) -> None:
    """Put states back into as many generators."""
    for rng, row in zip(rngs, words, strict=True):
        rng.bit_generator.state = _state([int(word) for word in row])


def _words(rng: np.random.Generator) -> list[int]:
    """Cut the 128-bit numbers of PCG64 into 64-bit words, which numpy can hold."""
    state: dict[str, Any] = dict(rng.bit_generator.state)
    number, step = state["state"]["state"], state["state"]["inc"]
    halves = [number >> 64, number & _WORD, step >> 64, step & _WORD]
    return [*halves, state["has_uint32"], state["uinteger"]]


def _state(words: list[int]) -> dict[str, Any]:
    number, step = words[0] << 64 | words[1], words[2] << 64 | words[3]
    return {
        "bit_generator": "PCG64",
        "state": {"state": number, "inc": step},
        "has_uint32": words[4],
        "uinteger": words[5],
    }
