"""The state of every directed link: when it is free, whether it is up, what it carried."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.network.luck import uniform
from sim.network.weather import Weather
from sim.records import DROPS
from sim.rng import Streams

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.config import LinkSpec
    from sim.faults import Outage
    from sim.topology.graph import Route

LINK_DOWN, LOSS = DROPS.index("link_down"), DROPS.index("loss")
LANDED = -1

_FREE, _FIFO, _SLOWED = range(3)  # how `put` finds the end of a transmission


class Links:
    """Channels by link id: FIFO store-and-forward, uncontended, or fair (see sim.network.fluid).

    A FIFO link needs no queue events: with `free_s` the time at which it runs dry, a transfer that
    is put on it at `now` starts at max(now, free_s). The timetable of faults is known beforehand,
    so a slowed link needs none either. `epoch` counts the link's failures, so that what was in
    flight when it went down is recognised on arrival.

    Source: Lindley's recursion. Deviation: none.

    Args:
        specs: Links with ids 0..n-1.
        outages: The timetable of faults.
        seed: The run's, for the luck of lossy links.
    """

    def __init__(
        self, specs: Sequence[LinkSpec], outages: Sequence[Outage] = (), seed: int = 0
    ) -> None:
        n = len(specs)
        self.specs = tuple(specs)
        self.dst = [s.dst for s in specs]
        self.delay_s = [s.delay_s for s in specs]
        self.bytes_per_s = [s.bytes_per_s for s in specs]
        self.fair = [s.sharing == "fair" for s in specs]
        self.weather = weathers_of(specs, outages)
        self.lossy = [w.lossy for w in self.weather]
        self._luck = [
            Streams(seed).integer("loss", i) if x else 0 for i, x in enumerate(self.lossy)
        ]
        self._kind = [
            _SLOWED if w.slow else _FREE if s.sharing == "none" else _FIFO
            for s, w in zip(specs, self.weather, strict=True)
        ]
        self.up = [True] * n
        self.epoch = [0] * n
        self.free_s = [0.0] * n
        self.sent_bytes = [0.0] * n  # since the last flush
        self.slowed_s = [0.0] * n  # transmission that faults added since the last flush
        self.lost = [0] * n
        self.total_sent_bytes = [0.0] * n  # up to the last flush
        self.total_landed_bytes = [0.0] * n
        self.total_lost_bytes = [0.0] * n

    def sure(self, link: int) -> bool:
        """Tell whether the end of a transfer is known when it begins, if the link never fails."""
        return not self.fair[link] and not self.lossy[link]

    def free(self, link: int) -> bool:
        """Tell whether transfers neither wait on a link nor ever find it slower."""
        return self._kind[link] == _FREE

    def put(self, link: int, size_bytes: float, now_s: float) -> float:
        """Put a transfer on a link and return when its last bit arrives at the other end."""
        transmit_s = size_bytes / self.bytes_per_s[link]
        self.sent_bytes[link] += size_bytes
        kind = self._kind[link]
        if not kind:
            return now_s + transmit_s + self.delay_s[link]
        if kind == _SLOWED:
            return self._put_slowed(link, transmit_s, now_s)
        free_s = self.free_s[link]
        self.free_s[link] = gone_s = (free_s if free_s > now_s else now_s) + transmit_s
        return gone_s + self.delay_s[link]

    def _put_slowed(self, link: int, transmit_s: float, now_s: float) -> float:
        fifo = self.specs[link].sharing == "fifo"
        begin_s = max(now_s, self.free_s[link]) if fifo else now_s
        gone_s = self.weather[link].pace.finish(begin_s, transmit_s)
        self.free_s[link] = gone_s
        self.slowed_s[link] += gone_s - begin_s - transmit_s
        return gone_s + self.delay_at(link, gone_s)

    def delay_at(self, link: int, gone_s: float) -> float:
        """Return the propagation delay of what leaves a link's near end at `gone_s`."""
        if not self.weather[link].slow:
            return self.delay_s[link]
        return self.delay_s[link] + self.weather[link].delay_s.at(gone_s)

    def capacity(self, link: int, now_s: float) -> float:
        """Return the bandwidth of a link from now on, in bytes/s."""
        return self.bytes_per_s[link] * self.weather[link].pace.speed(now_s)

    def fill(self, way: Route, size_bytes: float) -> None:
        """Note that a transfer begins to flow over fair links."""
        for link in way:
            self.sent_bytes[link] += size_bytes

    def loses(self, link: int, key: int, nth: int, now_s: float) -> bool:
        """Tell whether a link loses the nth try of a transfer that is put on it now."""
        return uniform(self._luck[link], key, nth) < self.weather[link].loss.at(now_s)

    def settle(self, way: Route, epochs: Sequence[int], size_bytes: float, loser: int) -> int:
        """Note that a transfer is due at the far end of its way.

        Args:
            way: The links that it took at once.
            epochs: Theirs when it was put on them.
            size_bytes: Its size.
            loser: The link that loses it by bad luck, -1: none.

        Returns:
            LANDED, or the reason why it did not.
        """
        cut = next((k for k, e in zip(way, epochs, strict=True) if self.epoch[k] != e), -1)
        culprit = cut if cut >= 0 else loser
        total_bytes = self.total_landed_bytes if culprit < 0 else self.total_lost_bytes
        for link in way:
            total_bytes[link] += size_bytes
        if culprit < 0:
            return LANDED
        self.lost[culprit] += 1
        return LINK_DOWN if cut >= 0 else LOSS

    def fail(self, link: int) -> None:
        """Take a link down: everything in flight on it is lost."""
        self.up[link] = False
        self.epoch[link] += 1

    def repair(self, link: int, now_s: float) -> None:
        """Bring a link up, empty."""
        self.up[link] = True
        self.free_s[link] = now_s

    def flush(self) -> list[tuple[int, float, float, int]]:
        """Return (link, sent_bytes, busy_s, lost) of links used since the last flush.

        Transfers count as sent when they are put on a link, with all the time that they take. That
        of a fair link is its bytes over its whole bandwidth, slowed or not.
        """
        rows = [
            (i, sent, sent / self.bytes_per_s[i] + self.slowed_s[i], self.lost[i])
            for i, sent in enumerate(self.sent_bytes)
            if sent or self.lost[i]
        ]
        for i, sent, *_ in rows:
            self.total_sent_bytes[i] += sent
        n = len(self.specs)
        self.sent_bytes[:] = [0.0] * n  # in place: ways hold on to the list
        self.slowed_s, self.lost = [0.0] * n, [0] * n
        return rows


def weathers_of(specs: Sequence[LinkSpec], outages: Sequence[Outage]) -> list[Weather]:
    """Return the weather of each link; those without faults and losses share one."""
    by_link: dict[int, list[Outage]] = {}
    for outage in outages:
        if outage.kind in {"link-slow", "link-lossy"}:
            by_link.setdefault(outage.target, []).append(outage)
    fine = Weather(0.0, ())
    return [
        Weather(spec.loss, by_link[i]) if i in by_link
        else Weather(spec.loss, ()) if spec.loss else fine
        for i, spec in enumerate(specs)
    ]  # fmt: skip
