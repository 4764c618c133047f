"""Laws, counted once more from the tables: nothing is lost, and time is spent once.

Every simulation checks its laws at its end by its own meters (sim.laws); here they are added up
from what the run leaves behind, over fleets with links, batches, full queues and faults.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.config import (
    ArrivalSpec,
    Batching,
    DispatchSpec,
    FaultSpec,
    LinkSpec,
    MixSpec,
    StreamSpec,
    TransportSpec,
    World,
)
from sim.proofs.farms import EXPONENTIAL, box
from sim.proofs.faults import down_share
from sim.proofs.proof import Proof
from sim.proofs.verdict import Result, exact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.proofs.proof import Lab
    from sim.records import Table, Tables

_FLEETS, _NODES = 12, 6
_RULES: tuple[dict[str, Any], ...] = (
    {"batching": Batching(2, 0.01)}, {"batching": Batching()}, {"discipline": "sharing"},
)  # fmt: skip


def _fleet(seed: int) -> World:
    """Return a ring of nodes that send requests to each other over lossy links, with faults.

    Seeds take turns at batches, single requests and shared servers, and at FIFO and fair links.
    """
    links: list[LinkSpec] = []
    for i in range(_NODES):
        there, sharing = (i + 1) % _NODES, "fair" if seed % 2 else "fifo"
        for src, dst in ((i, there), (there, i)):
            links.append(LinkSpec(len(links), src, dst, 0.01, 1e6, sharing, 0.05))  # type: ignore[arg-type]
    streams = tuple(
        StreamSpec(
            i, f"stream-{i}", i, ArrivalSpec("poisson", 20.0), MixSpec("uniform"),
            up_bytes=2e4, down_bytes=5e3,
        )
        for i in range(_NODES)
    )  # fmt: skip
    faults = (
        FaultSpec("node-crash", 1, mtbf_s=8.0, mttr_s=1.0),
        FaultSpec("link-down", 3, mtbf_s=8.0, mttr_s=1.0),
    )
    return World(
        name="accounts", seed=seed, duration_s=40.0, drain_s=60.0, slot_s=1.0,
        nodes=tuple(box(i, servers=2, capacity=12.0, **_RULES[seed % 3]) for i in range(_NODES)),
        links=tuple(links), streams=streams, dispatch=DispatchSpec("random"), faults=faults,
        service=replace(EXPONENTIAL, mean_s=0.08), transport=TransportSpec(3, 0.01),
    )  # fmt: skip


def unaccounted(requests: Table, end_s: float) -> int:
    """Count requests that have not ended once, back or dropped, when all must have ended."""
    back = ~np.isnan(requests["t_return_s"]) & (requests["t_return_s"] <= end_s)
    return int((back.astype(int) + (requests["drop"] >= 0) != 1).sum())


def little_gap(requests: Table, node: int) -> float:
    """Return the relative gap between the integral of the number at a node and the summed stays.

    The number is rebuilt from the sorted instants at which served requests join and leave.
    """
    here = (requests["server"] == node) & ~np.isnan(requests["t_finish_s"])
    joined, left = requests["t_enqueue_s"][here], requests["t_finish_s"][here]
    instants = np.concatenate((joined, left))
    steps = np.concatenate((np.ones(len(joined)), -np.ones(len(left))))
    order = np.argsort(instants, kind="stable")
    number = np.cumsum(steps[order])
    area = float(number[:-1] @ np.diff(instants[order]))
    stays = float((left - joined).sum())
    return abs(area - stays) / max(1.0, stays)


def busy_gap(tables: Tables) -> float:
    """Return the relative gap between server seconds by slots and by the batches that ran.

    What shared servers did for a request is its stay without its stall. Only nodes without crashes:
    a crash keeps the server seconds of what it lost.
    """
    requests, slots = tables["requests"], tables["slots"]
    served = ~np.isnan(requests["t_finish_s"])
    _, first = np.unique(requests["batch"][served], return_index=True)
    ran = requests["t_finish_s"] - requests["t_start_s"] - requests["stall_s"]
    ran = ran[served][first]
    server = requests["server"][served][first]
    by_batch = np.bincount(server, ran, minlength=_NODES)
    by_slot = np.bincount(slots["node"], slots["busy_s"], minlength=_NODES)
    steady = np.arange(_NODES) != 1
    return float((np.abs(by_batch - by_slot) / np.maximum(1.0, by_batch))[steady].max())


def energy_gap(world: World, tables: Tables, end_s: float) -> float:
    """Return the relative gap between energy by slots and by the faults and server time of a run.

    A node draws its idle power while it is up, and its busy servers' share of the rest.
    """
    slots, power = (
        tables["slots"],
        np.array([(n.hardware.idle_w, n.hardware.busy_w, n.servers) for n in world.nodes]).T,
    )
    up_s = end_s * (1.0 - down_share(tables["faults"], len(world.nodes), 0.0, end_s))
    busy_s = np.bincount(slots["node"], slots["busy_s"])
    expected_j = power[0] * up_s + (power[1] - power[0]) * busy_s / power[2]
    found_j = np.bincount(slots["node"], slots["energy_j"])
    return float((np.abs(found_j - expected_j) / expected_j).max())


def _accounts(lab: Lab) -> Sequence[Result]:
    lost, gaps, total = 0, [], 0
    for seed in range(_FLEETS):
        world = _fleet(seed)
        record = lab.run(world)
        requests, end_s = record.tables["requests"], record.meta["end_s"]
        lost += unaccounted(requests, end_s)
        little = np.max([little_gap(requests, node) for node in range(_NODES)])
        gaps.append((little, busy_gap(record.tables), energy_gap(world, record.tables, end_s)))
        total += len(requests["id"])
    little, busy, energy = np.max(gaps, axis=0).tolist()  # NaN stays NaN
    what = f"requests in {_FLEETS} fleets"
    return [
        exact("requests without one end", float(lost), total, what),
        exact("Little: area and stays, relative", little, total, what),
        exact("server time by slots, batches, rel.", busy, total, what),
        exact("energy by slots, up and busy, rel.", energy, total, what),
    ]


PROOFS = (
    Proof("accounts", "laws", "conservation, Little, server time, energy", _accounts,
          quick=True),
)  # fmt: skip
