"""The laws that every run obeys; checked at its end, those of stations at every slot boundary.

L1  conservation: emitted = returned + dropped (by reason) + in flight, in total, and per node
    arrived = finished + lost + moved on by a crash + present; bytes likewise.
L2  causality: a request's stamps never go back.
L3  capacity: never more running than servers (where they are shared, never more speed in use),
    never more bytes than memory (checked while the run goes on, too).
L7  every policy's own cost is charged: server time that decisions and merges ask for is done, lost
    in a crash, or still open.
L8  Little: the event-time integral of N(t) equals the summed stays, per node.

L4 (same seed, same bits), L5 (the world does not depend on the policy) and L6 (oracle boundary)
need several runs; they live in tests/laws.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sim.errors import LawViolation
from sim.records import DROPS, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.compute.floor import Meters
    from sim.network.links import Links

REL = 1e-9  # rounding of sums in event order


@dataclass(frozen=True, slots=True)
class NodeLedger:
    """What one station counted, and what is still there at the end."""

    node: int
    servers: int
    meters: Meters
    present: Sequence[int]  # ids of requests in the system
    stays_open_s: float  # their stays so far
    asked_s: float  # server time that receipts and merges asked for
    open_s: float  # of it still waiting or running


def conservation(requests: Table, in_flight: int) -> dict[str, int]:
    """Check L1 over the fleet and return the counts.

    Args:
        requests: The table.
        in_flight: Requests that stations, links and choosing dispatchers hold at the end, counted
            there, never derived from the table.
    """
    returned = ~np.isnan(requests["t_return_s"])
    dropped = requests["drop"] >= 0
    both = np.flatnonzero(returned & dropped)
    if both.size:
        raise LawViolation(f"L1: request {both[0]} both returned and dropped")
    counts = {"emitted": len(returned), "returned": int(returned.sum()), "in_flight": in_flight}
    by_code = np.bincount(requests["drop"][dropped], minlength=len(DROPS))
    return balance(counts | dict(zip(DROPS, by_code.tolist(), strict=True)))


def balance(counts: dict[str, int]) -> dict[str, int]:
    """Check L1 on counts of requests and return them."""
    if counts["emitted"] != sum(v for k, v in counts.items() if k != "emitted"):
        raise LawViolation(f"L1: requests are not conserved: {counts}")
    return counts


def causality(requests: Table) -> None:
    """Check L2: emit <= dispatch <= enqueue <= start <= finish <= return, where stamped."""
    names = ("t_emit_s", "t_dispatch_s", "t_enqueue_s", "t_start_s", "t_finish_s", "t_return_s")
    before = requests[names[0]]
    for name in names[1:]:
        after = requests[name]
        wrong = np.flatnonzero(after < before)
        if wrong.size:
            rid = int(wrong[0])
            raise LawViolation(f"L2: request {rid}: {name} = {after[rid]} is before {before[rid]}")
        before = np.fmax(before, after)  # (where nothing is stamped, what was before)


def stations(ledgers: Sequence[NodeLedger]) -> None:
    """Check L1, L3, L7 and L8 per node."""
    for ledger in ledgers:
        meters, node = ledger.meters, ledger.node
        left = meters.finished + meters.lost + meters.moved
        if meters.arrived != left + len(ledger.present):
            raise LawViolation(
                f"L1: node {node}: {meters.arrived} arrived, {meters.finished} finished, "
                f"{meters.lost} lost, {meters.moved} moved, {len(ledger.present)} present"
            )
        if meters.most_running > ledger.servers * (1.0 + REL):
            raise LawViolation(f"L3: node {node} ran {meters.most_running} of {ledger.servers}")
        _close(f"L8 Little: node {node}", meters.area, meters.stays_s + ledger.stays_open_s)
        done_s = meters.job_s + meters.job_lost_s + ledger.open_s
        _close(f"L7 own cost asked and charged: node {node}", ledger.asked_s, meters.job_asked_s)
        _close(f"L7 own cost charged and done: node {node}", meters.job_asked_s, done_s)


def link_bytes(links: Links, flying_bytes: Sequence[float]) -> None:
    """Check that every byte put on a link landed, was lost, or is on its way."""
    for link, flushed in enumerate(links.total_sent_bytes):
        sent = flushed + links.sent_bytes[link]
        gone = links.total_landed_bytes[link] + links.total_lost_bytes[link] + flying_bytes[link]
        _close(f"L1 bytes: link {link}", sent, gone)


def _close(what: str, left: float, right: float) -> None:
    if abs(left - right) > REL * max(1.0, abs(left), abs(right)):
        raise LawViolation(f"{what}: {left} is not {right}")
