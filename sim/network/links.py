"""The state of every directed link: when it is free, whether it is up, what it carried."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.config import LinkSpec


class Links:
    """FIFO store-and-forward channels (or uncontended ones), by link id.

    A FIFO link needs no queue events: with `free_s` the time at which it runs dry, a transfer that
    is put on it at `now` starts at max(now, free_s). `epoch` counts the link's failures, so that
    what was in flight when it went down is recognised on arrival.

    Source: Lindley's recursion. Deviation: none.

    Args:
        specs: Links with ids 0..n-1.
    """

    def __init__(self, specs: Sequence[LinkSpec]) -> None:
        n = len(specs)
        self.specs = tuple(specs)
        self.dst = [s.dst for s in specs]
        self.delay_s = [s.delay_s for s in specs]
        self.bytes_per_s = [s.bytes_per_s for s in specs]
        self.fifo = [s.sharing == "fifo" for s in specs]
        self.up = [True] * n
        self.epoch = [0] * n
        self.free_s = [0.0] * n
        self.sent_bytes = [0.0] * n  # since the last flush
        self.lost = [0] * n
        self.total_sent_bytes = [0.0] * n  # up to the last flush
        self.total_landed_bytes = [0.0] * n
        self.total_lost_bytes = [0.0] * n

    def put(self, link: int, size_bytes: float, now_s: float) -> float:
        """Put a transfer on a link and return when its last bit arrives at the other end."""
        transmit_s = size_bytes / self.bytes_per_s[link]
        self.sent_bytes[link] += size_bytes
        if not self.fifo[link]:
            return now_s + transmit_s + self.delay_s[link]
        free_s = self.free_s[link]
        self.free_s[link] = gone_s = (free_s if free_s > now_s else now_s) + transmit_s
        return gone_s + self.delay_s[link]

    def landed(self, link: int, size_bytes: float, epoch: int) -> bool:
        """Note that a transfer is due at the far end; False when the link failed meanwhile."""
        if self.epoch[link] == epoch:
            self.total_landed_bytes[link] += size_bytes
            return True
        self.lost[link] += 1
        self.total_lost_bytes[link] += size_bytes
        return False

    def fail(self, link: int) -> None:
        """Take a link down: everything in flight on it is lost."""
        self.up[link] = False
        self.epoch[link] += 1

    def repair(self, link: int, now_s: float) -> None:
        """Bring a link up, empty."""
        self.up[link] = True
        self.free_s[link] = now_s

    def flush(self) -> list[tuple[int, float, float, int]]:
        """Return (link, sent_bytes, busy_s, lost) of links used since the last flush."""
        rows = [
            (i, sent, sent / self.bytes_per_s[i], self.lost[i])
            for i, sent in enumerate(self.sent_bytes)
            if sent or self.lost[i]
        ]
        for i, sent, *_ in rows:
            self.total_sent_bytes[i] += sent
        n = len(self.specs)
        self.sent_bytes, self.lost = [0.0] * n, [0] * n
        return rows
