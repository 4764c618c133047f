"""Cold starts: which of a station's idle servers are warm, and which are being set up.

A cold server takes a while before it can work. An idle one stays warm for a while; the last to have
become idle is taken first. When work waits and no warm server is free, cold ones begin their
set-up, as long as more waits than the servers being set up will take.

Source: M/G/1 with set-up, Welch 1964 (doi 10.1287/opre.12.5.736); servers that turn off when idle,
Gandhi, Doroudi, Harchol-Balter and Scheller-Wolf 2013 (doi 10.1145/2465529.2465760), here with a
time to stay on.
Deviation: a set-up once begun is completed, though what it was for may be served elsewhere.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from sim.clock import END
from sim.compute.station import Station

if TYPE_CHECKING:
    from sim.compute.floor import Floor
    from sim.config import NodeSpec, Setup


class ColdStation(Station):
    """A station whose servers need a set-up before they can work.

    The set-up takes the server's time, the node's own work needs a warm server, too, and a crash
    turns all servers cold but those whose work is resumed.

    Args:
        floor: What all stations share.
        spec: The node.
        setup: How long a set-up takes, and how long an idle server stays warm.
    """

    __slots__ = ("_warm_until_s", "_warming", "setup")

    def __init__(self, floor: Floor, spec: NodeSpec, setup: Setup) -> None:
        super().__init__(floor, spec)
        self.setup = setup
        self._warming = 0
        self._warm_until_s: deque[float] = deque()  # of idle servers; the last has just become idle

    def _may_work(self, now_s: float) -> bool:
        """Tell whether a warm server is free; else let cold ones begin their set-up."""
        warm = self._warm_until_s
        while warm and warm[0] < now_s:
            warm.popleft()
        if warm:
            return True
        wanted = len(self._jobs) * self.max_size + self._ready(now_s)
        while self.free and wanted > self._warming * self.max_size:
            self._warming += 1
            self._take_server(now_s)
            key = -1 - self.node
            self.clock.at(now_s + self.setup.time_s, END, key, self._warmed, self.epoch)
        return False

    def _warmed(self, epoch: int, now_s: float) -> None:
        if epoch == self.epoch:
            self._warming -= 1
            self._release(now_s)
            self.wake(now_s)

    def _take_server(self, now_s: float) -> None:
        if self._warm_until_s:  # there is none for a set-up, nor for work that is resumed
            self._warm_until_s.pop()
        super()._take_server(now_s)

    def _release(self, now_s: float) -> None:
        super()._release(now_s)
        self._warm_until_s.append(now_s + self.setup.keep_s)

    def _go_down(self, now_s: float) -> None:
        super()._go_down(now_s)
        self._warming = 0
        self._warm_until_s.clear()
