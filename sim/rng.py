"""Named random streams from one seed.

A stream depends on (seed, name) only, never on the order in which streams are made, so a new
consumer disturbs no old one and two policies meet identical worlds (common random numbers).

Source: numpy SeedSequence with a spawn key; names are hashed with BLAKE2b because `hash()` differs
between processes.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

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
