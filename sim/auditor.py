"""Holds the stations of a run to the laws, at slot boundaries and at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim import laws
from sim.laws import NodeLedger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sim.compute.station import Station
    from sim.request import Requests


class Auditor:
    """Checks conservation, capacity, own cost and Little's identity, node by node (L1 L3 L7 L8).

    Every slot boundary is a checkpoint, so a broken law is found within a slot of its cause. A
    node is skipped there while more requests wait than came since its last check: each check walks
    over the requests present, and so all of them together take at most one step per request that
    came, however long the queues of an overloaded fleet grow. At the end every node is checked.

    Args:
        stations: By node.
        requests: Columns of all requests.
        asked_s: Returns the server time that receipts and merges asked a node for.
    """

    def __init__(
        self,
        stations: Mapping[int, Station],
        requests: Requests,
        asked_s: Callable[[int], float],
    ) -> None:
        self.stations, self.requests, self.asked_s = stations, requests, asked_s
        self._checked = dict.fromkeys(stations, 0)  # arrivals up to a node's last check

    def checkpoint(self, now_s: float) -> None:
        """Check every node that is due.

        Raises:
            LawViolation: A law is broken.
        """
        due = []
        for node, station in self.stations.items():
            arrived = station.meters.arrived
            if station.in_system[node] <= arrived - self._checked[node]:
                self._checked[node] = arrived
                due.append(self.ledger(node, now_s))
        laws.stations(due)

    def ledger(self, node: int, now_s: float) -> NodeLedger:
        """Return what a station counted up to now, and what is there."""
        station, enqueue_s = self.stations[node], self.requests.t_enqueue_s
        present = station.present()
        return NodeLedger(
            node=node,
            servers=station.spec.servers,
            meters=station.settle(now_s),
            present=present,
            stays_open_s=sum(now_s - enqueue_s[rid] for rid in present),
            asked_s=self.asked_s(node),
            open_s=station.open_job_s(),
        )
