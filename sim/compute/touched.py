"""Which experts a batch touches, from replayed gate choices: bit masks per (input, layer)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Masks = tuple[int, ...]  # one bit mask of experts per layer


def union(rows: Iterable[Masks]) -> Masks:
    """Return the experts that any row touches, per layer."""
    found = iter(rows)
    total = list(next(found))
    for row in found:
        for layer, mask in enumerate(row):
            total[layer] |= mask
    return tuple(total)


def counts(masks: Masks) -> tuple[int, ...]:
    """Count the experts in each layer's mask."""
    return tuple(mask.bit_count() for mask in masks)


def members(mask: int) -> list[int]:
    """List the experts in a mask, ascending."""
    return [e for e in range(mask.bit_length()) if mask >> e & 1]


def as_rows(masks: Sequence[Sequence[int]]) -> list[Masks]:
    """Turn masks (P, L) into tuples of Python integers, faster to combine few at a time."""
    return [tuple(int(m) for m in row) for row in masks]
