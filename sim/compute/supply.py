"""Where a node's expert bytes come from: its own storage, or another node's copies over the links.

A node with `experts_from` keeps no copies and fetches all over the links. Any other node reads its
storage; what a fault took from it, or spoiled, comes over the links until the fault is over or a
good copy has come, which repairs the stored one. A spoiled copy is found when it has been read. A
fetch over the links that is lost is tried again, after a wait that doubles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from sim.clock import END, Clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sim.compute.storage import Storage
    from sim.ports import ExpertKey

ASK_BYTES = 256.0  # of the message that asks another node for experts
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0


class Bill(Protocol):
    """Who pays for bytes: a row of the table `decisions`."""

    read_bytes: float
    moved_bytes: float


@dataclass(slots=True, eq=False)
class Load:
    """Experts that somebody waits for, as one transfer of their bytes (from each place).

    Args:
        keys: The experts.
        size_bytes: Of all of them, equal shares.
        order: The key of the alarm when a read ends.
        done: Called with the time when all are here.
        wanted: Tells whether a lost transfer is still worth another try.
        bill: Charged with bytes as they are read, and as they come over links.
    """

    keys: Sequence[ExpertKey]
    size_bytes: float
    order: int
    done: Callable[[float], None]
    wanted: Callable[[], bool]
    bill: Bill | None = None
    open: int = 0  # parts under way


@dataclass(slots=True, eq=False)
class Crate:
    """Expert bytes on their way between nodes; one of `came` and `lost` is called with the time."""

    node: int
    keys: Sequence[ExpertKey]
    size_bytes: float
    came: Callable[[float], None]
    lost: Callable[[float], None]
    source: int = -1


class _Part(NamedTuple):
    """Some experts of a load from one place; `wait_s` is the next wait, should it be lost."""

    load: Load
    keys: Sequence[ExpertKey]
    size_bytes: float
    wait_s: float
    epoch: int


class Supply:
    """Brings experts to one node and knows which stored copies are good.

    Args:
        clock: The run's clock.
        node: The node's id.
        storage: The node's storage channel.
        stored: The node keeps copies of all experts (`experts_from` is None).
        first_wait_s: How long after a lost transfer the next is tried.

    Attributes:
        haul: Asks another node for experts; set by who builds the network.
        bad: Stored copies that are no good; True: spoiled, and nobody has noticed.
    """

    def __init__(
        self,
        clock: Clock,
        node: int,
        storage: Storage,
        *,
        stored: bool = True,
        first_wait_s: float = FIRST_WAIT_S,
    ) -> None:
        self.clock, self.node, self.storage, self.stored = clock, node, storage, stored
        self.first_wait_s = first_wait_s
        self.haul: Callable[[Crate, float], None] = _no_network
        self.bad: dict[ExpertKey, bool] = {}
        self._holding: dict[ExpertKey, int] = {}  # faults that hold, by expert
        self._epoch = 0

    @property
    def whole(self) -> bool:
        """Tell whether the node stores a good copy of every expert."""
        return self.stored and not self.bad

    def bring(self, load: Load, now_s: float) -> None:
        """Fetch a load's experts; those of a call before have come first from the same place."""
        if not self.whole:
            self._start(load, load.keys, load.size_bytes, self.first_wait_s, now_s)
            return
        if load.bill is not None:
            load.bill.read_bytes += load.size_bytes
        done_s = self.storage.book(load.size_bytes, now_s)
        self.clock.at(done_s, END, load.order, self._was_read_whole, (load, self._epoch))

    def _was_read_whole(self, item: tuple[Load, int], now_s: float) -> None:
        load, epoch = item
        if epoch != self._epoch:
            return
        if not self.bad:
            load.done(now_s)
            return
        load.open += 1
        part = _Part(load, load.keys, load.size_bytes, self.first_wait_s, epoch)
        self._was_read(part, now_s)

    def _start(
        self, load: Load, keys: Sequence[ExpertKey], size_bytes: float, wait_s: float, now_s: float
    ) -> None:
        near = [key for key in keys if self._readable(key)]
        far = [key for key in keys if not self._readable(key)]
        share_bytes = size_bytes / len(keys)
        if near:
            part = _Part(load, near, share_bytes * len(near), wait_s, self._epoch)
            self._read(part, now_s)
        if far:
            self._ask(_Part(load, far, share_bytes * len(far), wait_s, self._epoch), now_s)

    def _readable(self, key: ExpertKey) -> bool:
        return self.stored and self.bad.get(key, True)

    # --- from storage

    def _read(self, part: _Part, now_s: float) -> None:
        load = part.load
        load.open += 1
        if load.bill is not None:
            load.bill.read_bytes += part.size_bytes
        done_s = self.storage.book(part.size_bytes, now_s)
        self.clock.at(done_s, END, load.order, self._was_read, part)

    def _was_read(self, part: _Part, now_s: float) -> None:
        if part.epoch != self._epoch:
            return
        spoiled = [key for key in part.keys if key in self.bad]
        if spoiled:
            self.bad.update(dict.fromkeys(spoiled, False))
            size_bytes = part.size_bytes / len(part.keys) * len(spoiled)
            self._ask(part._replace(keys=spoiled, size_bytes=size_bytes), now_s)
        self._close(part.load, now_s)

    def _close(self, load: Load, now_s: float) -> None:
        load.open -= 1
        if not load.open:
            load.done(now_s)

    # --- over the links

    def _ask(self, part: _Part, now_s: float) -> None:
        part.load.open += 1

        def came(at_s: float) -> None:
            if part.epoch == self._epoch:
                self._came(part, at_s)

        def lost(at_s: float) -> None:
            self.clock.at(at_s + part.wait_s, END, part.load.order, self._again, part)

        self.haul(Crate(self.node, part.keys, part.size_bytes, came, lost), now_s)

    def _came(self, part: _Part, now_s: float) -> None:
        for key in part.keys:
            self.bad.pop(key, None)
        if part.load.bill is not None:
            part.load.bill.moved_bytes += part.size_bytes
        self._close(part.load, now_s)

    def _again(self, part: _Part, now_s: float) -> None:
        """Try a lost transfer once more, from storage if that is good again."""
        if part.epoch != self._epoch or not part.load.wanted():
            return
        part.load.open -= 1
        wait_s = min(2.0 * part.wait_s, LONGEST_WAIT_S)
        self._start(part.load, part.keys, part.size_bytes, wait_s, now_s)

    # --- faults

    def lose(self, keys: Iterable[ExpertKey], *, corrupt: bool) -> None:
        """Let a fault take stored copies, or spoil them."""
        for key in keys:
            self._holding[key] = self._holding.get(key, 0) + 1
            self.bad[key] = corrupt and self.bad.get(key, True)

    def restore(self, keys: Iterable[ExpertKey]) -> None:
        """End a fault: copies are good again when no other fault holds."""
        for key in keys:
            self._holding[key] -= 1
            if not self._holding[key]:
                del self._holding[key]
                self.bad.pop(key, None)

    def crash(self) -> None:
        """Forget what was on its way; stored copies stay as they are."""
        self._epoch += 1


def _no_network(crate: Crate, now_s: float) -> None:
    """Lose everything: nobody has built a network."""
    crate.lost(now_s)
