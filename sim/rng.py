"""Named random streams from one seed.

A stream depends on (seed, name) only, never on the order in which streams are made, so a new
consumer disturbs no old one and two policies meet identical worlds (common random numbers).

Source: numpy SeedSequence with a spawn key; names are hashed with BLAKE2b because `hash()` differs
between processes.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.random.bit_generator import ISpawnableSeedSequence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.arrays import AnyArray

_WORD_BITS = 32
_WORDS = 4


def spawn_key(*name: str | int) -> tuple[int, ...]:
    """Hash a stream's name into four 32-bit words."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in name)
    digest = blake2b(text.encode(), digest_size=4 * _WORDS).digest()
    return tuple(int.from_bytes(digest[4 * i : 4 * i + 4], "little") for i in range(_WORDS))


class Streams:
    """Factory of independent generators, one per name.

    Args:
        seed: The run's only seed, >= 0.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def stream(self, *name: str | int) -> np.random.Generator:
        """Return a fresh generator for a name such as ("arrivals", 3)."""
        sequence = np.random.SeedSequence(self.seed, spawn_key=spawn_key(*name))
        return np.random.Generator(np.random.PCG64(sequence))

    def integer(self, *name: str | int) -> int:
        """Return one 63-bit integer for a name, to seed a generator that is not numpy's."""
        sequence = np.random.SeedSequence(self.seed, spawn_key=spawn_key(*name))
        return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


class Family:
    """The same generators as `Streams` makes, for many streams of each purpose at a time.

    A fleet has tens of thousands of them, and a SeedSequence takes longer than most draw.

    Args:
        seed: The run's only seed, >= 0.
        ids: Streams.
    """

    def __init__(self, seed: int, ids: Sequence[int]) -> None:
        self.seed = seed
        self._place = {number: place for place, number in enumerate(ids)}
        self._states: dict[str, AnyArray] = {}

    def stream(self, purpose: str, number: int) -> np.random.Generator:
        """Return a fresh generator for a purpose and one of the ids."""
        if purpose not in self._states:
            keys = [spawn_key(purpose, one) for one in self._place]
            self._states[purpose] = _states(self.seed, np.array(keys, dtype=np.uint32))
        words = self._states[purpose][self._place[number]]
        ready: Any = _Ready(words, self.seed, purpose, number)
        return np.random.Generator(np.random.PCG64(ready))


class _Ready(ISpawnableSeedSequence):
    """A seed sequence whose first words are known."""

    def __init__(self, words: AnyArray, seed: int, *name: str | int) -> None:
        self._words, self._seed, self._name = words, seed, name

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> AnyArray:
        """Return the four words that PCG64 starts from."""
        assert (n_words, np.dtype(dtype)) == (_WORDS, np.dtype(np.uint64))
        return self._words

    def spawn(self, n_children: int) -> Any:
        """Return the children that the full sequence has."""
        full = np.random.SeedSequence(self._seed, spawn_key=spawn_key(*self._name))
        return full.spawn(n_children)


_INIT_A, _MULT_A, _INIT_B, _MULT_B = 0x43B0D7E5, 0x931E8875, 0x8B51F9DD, 0x58F38DED
_MIX_L, _MIX_R = np.uint32(0xCA01F9DD), np.uint32(0x4973F715)
_HALF, _MASK = np.uint32(16), 2**32 - 1


class _Hash:
    """A hash of words whose constant changes with every use."""

    def __init__(self, constant: int, factor: int) -> None:
        self._constant, self._factor = constant, factor

    def __call__(self, words: AnyArray) -> AnyArray:
        found: AnyArray = words ^ np.uint32(self._constant)
        self._constant = self._constant * self._factor & _MASK
        found = found * np.uint32(self._constant)
        found ^= found >> _HALF
        return found


def _mix(words: AnyArray, others: AnyArray) -> AnyArray:
    found: AnyArray = _MIX_L * words - _MIX_R * others
    found ^= found >> _HALF
    return found


def _states(seed: int, keys: AnyArray) -> AnyArray:
    """Return what `SeedSequence(seed, spawn_key=key)` starts PCG64 from, (N, 4), for keys (N, 4).

    Source: O'Neill 2015, Developing a seed_seq alternative, as numpy.random.SeedSequence has it.
    Deviation: all keys at once.
    """
    count = len(keys)
    run = [seed >> shift & _MASK for shift in range(0, max(seed.bit_length(), 1), _WORD_BITS)]
    run += [0] * (_WORDS - len(run))
    entropy = [np.full(count, word, np.uint32) for word in run] + list(keys.T)
    hashed = _Hash(_INIT_A, _MULT_A)
    pool = [hashed(words) for words in entropy[:_WORDS]]
    for source in range(_WORDS):
        for target in range(_WORDS):
            if source != target:
                pool[target] = _mix(pool[target], hashed(pool[source]))
    for words in entropy[_WORDS:]:
        for target in range(_WORDS):
            pool[target] = _mix(pool[target], hashed(words))
    last = _Hash(_INIT_B, _MULT_B)
    halves = np.stack([last(pool[i % _WORDS]) for i in range(2 * _WORDS)], axis=1)
    pairs = np.ascontiguousarray(halves).astype(np.uint64)
    found: AnyArray = pairs[:, ::2] | pairs[:, 1::2] << np.uint64(_WORD_BITS)
    return np.ascontiguousarray(found)
