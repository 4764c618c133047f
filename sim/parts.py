"""What the composition root hands to a run: plug-in look-ups, hosts and the model card."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sim.ports import Dispatcher, DispatchSetup, ExpertCache, ModelCard

if TYPE_CHECKING:
    from sim.executors import HostHandle

MakeDispatcher = Callable[[DispatchSetup], Dispatcher]
MakeCache = Callable[[int, int], ExpertCache]


@dataclass(slots=True)
class Parts:
    """Plug-ins and hosts of one run.

    Args:
        dispatcher: Registry look-up: kind -> class (see sim.ports.Dispatcher).
        cache: Registry look-up: kind -> class (see sim.ports.ExpertCache).
        hosts: One started handle per shard, none for `model: none`.
        shard_of: Shard by node id.
        card: The checkpoint's card, None for `model: none`.
        on_slot: Called with (slot, slots) after every boundary, for progress only.
        oracle: The policy sees what no deployable one may see; the report marks it.
        notes: What the report must say about this run.
    """

    dispatcher: Callable[[str], MakeDispatcher]
    cache: Callable[[str], MakeCache]
    hosts: Sequence[HostHandle] = ()
    shard_of: Sequence[int] = ()
    card: ModelCard | None = None
    on_slot: Callable[[int, int], None] | None = None
    oracle: bool = False
    notes: list[str] = field(default_factory=list)
