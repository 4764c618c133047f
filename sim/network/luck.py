"""Luck of lossy links: a number for every try, whoever asks for it, and whenever."""

from __future__ import annotations

_MASK = (1 << 64) - 1
_GAMMA = 0x9E3779B97F4A7C15  # odd, nearest to 2^64 / golden ratio


def mix(word: int) -> int:
    """Scramble 64 bits so that each input bit changes half of the output bits.

    Source: Steele, Lea and Flood 2014 (doi 10.1145/2660193.2660195), finaliser of SplitMix64
    (Stafford's variant 13). Deviation: none.
    """
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _MASK
    return word ^ (word >> 31)


def uniform(seed: int, key: int, nth: int) -> float:
    """Return the number on [0, 1) that belongs to the nth try of a transfer on one link.

    A function of its arguments alone: neither the order of events nor what else is sent moves it,
    so that a try has the same luck under every policy (law L5).

    Args:
        seed: The link's, from its named stream.
        key: The transfer's.
        nth: 1 for its first try on this link.

    Source: SplitMix64 as a counter-based generator; the key picks a state, the try walks from it.
    Deviation: all walks share one increment, while the paper's `split` draws one for each.
    """
    state = mix((seed + key * _GAMMA) & _MASK)
    return (mix((state + nth * _GAMMA) & _MASK) >> 11) * 2.0**-53
