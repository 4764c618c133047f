"""A node's storage channel and the experts that are in its memory."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import TYPE_CHECKING

from sim.compute.memory import EXPERTS, Ledger
from sim.compute.supply import Load, Supply
from sim.pace import Pace
from sim.records import CAUSES, RESIDENCY

if TYPE_CHECKING:
    from sim.config import Hardware
    from sim.ports import ExpertCache, ExpertKey

FETCH, EVICT, WIPE = range(len(RESIDENCY))
BY_PLAN, BY_MISS, BY_CAPACITY, BY_CRASH, BY_FAULT = range(len(CAUSES))


class Storage:
    """One FIFO channel from flash: a delay per read, then bytes at the storage's bandwidth.

    Args:
        hardware: Delay and bandwidth.
        pace: When faults slow the bandwidth down (never the delay); None: they never do.
    """

    def __init__(self, hardware: Hardware, pace: Pace | None = None) -> None:
        self.delay_s, self.bytes_per_s = hardware.storage_delay_s, hardware.storage_bytes_per_s
        self.pace = pace or Pace()
        self.free_s = 0.0

    def book(self, size_bytes: float, now_s: float) -> float:
        """Queue a read and return when it ends."""
        start_s = max(now_s, self.free_s) + self.delay_s
        self.free_s = self.pace.finish(start_s, size_bytes / self.bytes_per_s)
        return self.free_s

    def clear(self, now_s: float) -> None:
        """Forget queued reads, as a crash does."""
        self.free_s = now_s


Waiter = Callable[[float], None]


class ExpertStore:
    """Experts in memory, unit (layer, expert).

    Fetched on a miss, evicted by the cache's choice, pinned in use.

    Equal concurrent fetches coalesce: the second asks for the first one's bytes.

    Args:
        ledger: The node's memory.
        supply: Where experts come from.
        cache: Who chooses victims.
        unit_bytes: Bytes of one (layer, expert).
    """

    def __init__(
        self, ledger: Ledger, supply: Supply, cache: ExpertCache, unit_bytes: float
    ) -> None:
        self.ledger, self.supply = ledger, supply
        self.cache, self.unit_bytes, self.log = cache, unit_bytes, ledger.log
        self.resident: dict[ExpertKey, None] = {}
        self.pinned: dict[ExpertKey, int] = {}
        self._coming: dict[ExpertKey, list[Waiter]] = {}
        self._doomed: dict[ExpertKey, None] = {}  # lost to a fault, but in use
        self.refill: Callable[[ExpertKey, float], None] = _nobody  # told of what a fault took
        self._starved: list[tuple[ExpertKey, Waiter]] = []
        self._epoch = 0

    def use(self, key: ExpertKey) -> bool:
        """Pin and touch an expert if it is here; False if it must be fetched."""
        if key not in self.resident:
            return False
        self.cache.touch(key)
        self.pinned[key] = self.pinned.get(key, 0) + 1
        return True

    def release(self, keys: list[ExpertKey], now_s: float) -> None:
        """Unpin experts; whoever waited for room tries again."""
        for key in keys:
            self.pinned[key] -= 1
            if not self.pinned[key]:
                del self.pinned[key]
                if key in self._doomed:
                    self.lose(key, now_s)
        if keys:
            self.retry(now_s)

    def retry(self, now_s: float) -> None:
        """Let fetches that found no room try again, because some memory may be free now."""
        waiting, self._starved = self._starved, []
        for key, waiter in waiting:
            self.fetch(key, waiter, now_s)

    def fetch(self, key: ExpertKey, waiter: Waiter, now_s: float) -> None:
        """Bring an expert into memory, then call the waiter with the time."""
        if key in self.resident:
            waiter(now_s)
        elif key in self._coming:
            self._coming[key].append(waiter)
        elif not self.make_room(self.unit_bytes, now_s):
            self._starved.append((key, waiter))
        else:
            self._coming[key] = [waiter]
            self.ledger.add(EXPERTS, self.unit_bytes, now_s)
            order = -1_000_000_000 - key[0] * 1_000_000 - key[1]
            epoch = self._epoch

            def fetched(at_s: float) -> None:
                if epoch == self._epoch:
                    self._fetched(key, at_s)

            load = Load((key,), self.unit_bytes, order, fetched, lambda: epoch == self._epoch)
            self.supply.bring(load, now_s)

    def _fetched(self, key: ExpertKey, now_s: float) -> None:
        self.admit(key, now_s, BY_MISS)
        for waiter in self._coming.pop(key):
            waiter(now_s)

    def admit(self, key: ExpertKey, now_s: float, cause: int) -> None:
        """Note that an expert is in memory now; its bytes are in the ledger already."""
        self.resident[key] = None
        self.cache.touch(key)
        self.log.residency(self.ledger.node, key, now_s, FETCH, self.unit_bytes, cause)

    def make_room(self, size_bytes: float, now_s: float) -> bool:
        """Evict until so many bytes fit; False, as a rule with nothing evicted, if they cannot."""
        spare_bytes = self.unit_bytes * (len(self.resident) - len(self.pinned))
        if not self.ledger.fits(size_bytes - spare_bytes):
            return False
        while not self.ledger.fits(size_bytes):
            victim = self.cache.victim(self.pinned)
            if victim is None:
                return False
            self._evict(victim, now_s, EVICT, BY_CAPACITY)
        return True

    def _evict(self, key: ExpertKey, now_s: float, event: int, cause: int) -> None:
        self.cache.drop(key)
        del self.resident[key]
        self.ledger.add(EXPERTS, -self.unit_bytes, now_s)
        self.log.residency(self.ledger.node, key, now_s, event, self.unit_bytes, cause)

    def empty(self, now_s: float, keep: Container[ExpertKey] = ()) -> None:
        """Evict everything but what to keep, because the plan in force needs no more."""
        for key in [k for k in self.resident if k not in self.pinned and k not in keep]:
            self._evict(key, now_s, EVICT, BY_PLAN)

    @property
    def settled(self) -> bool:
        """Tell whether nothing is on its way."""
        return not self._coming

    def coming(self, key: ExpertKey) -> bool:
        """Tell whether an expert is on its way, its bytes reserved."""
        return key in self._coming

    def lose(self, key: ExpertKey, now_s: float) -> bool:
        """Lose the copy in memory to a fault; one in use leaves when it is let go.

        Returns:
            Whether it left now.
        """
        if key not in self.resident:
            return False
        if key in self.pinned:
            self._doomed[key] = None
            return False
        self._doomed.pop(key, None)
        self._evict(key, now_s, EVICT, BY_FAULT)
        self.refill(key, now_s)
        return True

    def crash(self, now_s: float) -> None:
        """Lose everything."""
        self._epoch += 1
        self._doomed.clear()
        self.pinned.clear()
        self._coming.clear()
        self._starved.clear()
        for key in list(self.resident):
            self._evict(key, now_s, WIPE, BY_CRASH)


def _nobody(key: ExpertKey, now_s: float) -> None:
    """Take no notice."""
