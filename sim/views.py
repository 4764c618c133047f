"""Dated, frozen views: all that a policy may ever see of the fleet (the oracle boundary)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class FleetView:
    """What a dispatcher sees. Sequences are indexed by node id and must be read only.

    With `view: live` the sequences are the engine's own and `t_s` is now; with `view: every <t>`
    they are a copy taken at `t_s`.
    """

    t_s: float
    in_system: Sequence[int]  # requests queued and running
    up: Sequence[bool]
    servers: Sequence[int]
