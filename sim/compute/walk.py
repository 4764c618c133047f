"""Serving a batch whose experts are not all in memory.

Layer by layer, misses in id order, one expert in use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.clock import END, Clock
from sim.compute.touched import Masks, members

if TYPE_CHECKING:
    from sim.compute.floor import Batch
    from sim.compute.station import Station
    from sim.compute.storage import ExpertStore
    from sim.ports import ExpertKey


class Walk:
    """One batch on its way through the layers.

    Experts that are here cost compute time only; a missing one stalls the batch until storage has
    delivered it. A layer's time is shared equally by the experts that the batch touches in it.
    Deviation: experts that are here in a row are pinned together until the last of them is done,
    so another server may wait a little longer for room than if each were let go by itself.

    Args:
        clock: The run's clock.
        station: Whose server the batch holds.
        store: The node's experts.
        batch: The batch; its `service_s` and `stall_s` grow as it goes.
        touched: Masks of experts per layer.
        layer_s: Compute time of each layer.
    """

    def __init__(
        self,
        clock: Clock,
        station: Station,
        store: ExpertStore,
        batch: Batch,
        touched: Masks,
        layer_s: tuple[float, ...],
    ) -> None:
        self.clock, self.station, self.store, self.batch = clock, station, store, batch
        self._units: list[tuple[ExpertKey, float]] = []
        for layer, mask in enumerate(touched):
            needed = members(mask)
            share_s = layer_s[layer] / len(needed)
            self._units += [((layer, expert), share_s) for expert in needed]
        self._next = 0
        self._compute_s = 0.0  # of experts found since the last pause
        self._held: list[ExpertKey] = []
        self._asked_s = 0.0

    @property
    def over(self) -> bool:
        """Tell whether no unit is left to go through."""
        return self._next == len(self._units)

    def ahead(self, key: ExpertKey) -> int | None:
        """Return how many units come before an expert's, None if it is not needed any more."""
        left = self._units[self._next :]
        return next((steps for steps, (unit, _) in enumerate(left) if unit == key), None)

    def go(self, now_s: float) -> None:
        """Advance until an expert is missing or the batch ends."""
        while self._next < len(self._units):
            key, share_s = self._units[self._next]
            if self.store.use(key):
                self._held.append(key)
                self._compute_s += share_s
                self._next += 1
            elif self._held:
                self._elapse(now_s, last=False)
                return
            else:
                self._asked_s = now_s
                self.store.fetch(key, self._fetched, now_s)
                return
        self._elapse(now_s, last=True)

    def _elapse(self, now_s: float, *, last: bool) -> None:
        self.batch.service_s += self._compute_s
        at_s = now_s + self._compute_s
        self._compute_s = 0.0
        self.clock.at(at_s, END, self.batch.ids[0], self._wake, last)

    def _wake(self, last: bool, now_s: float) -> None:
        if self.batch.epoch != self.station.epoch:
            return
        held, self._held = self._held, []
        self.store.release(held, now_s)
        if last:
            self.station.finish(self.batch, now_s)
        else:
            self.go(now_s)

    def _fetched(self, now_s: float) -> None:
        if self.batch.epoch != self.station.epoch:
            return
        self.batch.stall_s += now_s - self._asked_s
        self.go(now_s)
