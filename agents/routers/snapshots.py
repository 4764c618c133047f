"""Snapshots of routers: flat dicts of numpy arrays, with the names of their parts before a dot."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sim.arrays import AnyArray


def flat(parts: Mapping[str, Mapping[str, AnyArray]]) -> dict[str, AnyArray]:
    """Return the entries of all parts, each under the name of its part, a dot and its own."""
    return {f"{name}.{key}": value for name, part in parts.items() for key, value in part.items()}


def below(state: Mapping[str, AnyArray], part: str) -> dict[str, AnyArray]:
    """Return the entries of a flat snapshot that belong to one part, without its name."""
    start = f"{part}."
    return {key[len(start) :]: value for key, value in state.items() if key.startswith(start)}
