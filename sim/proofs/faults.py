"""Drawn faults against renewal theory: how long nodes are up, and what requests see of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from sim.config import FaultSpec, ServiceSpec
from sim.proofs.farms import Kind, Seen, Size, farm
from sim.proofs.forms_general import availability
from sim.proofs.proof import Proof
from sim.proofs.verdict import Result, count, judge
from sim.records import DROPS, FAULTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.arrays import FloatArray
    from sim.proofs.proof import Lab
    from sim.records import Table

_MTBF_S, _MTTR_S, _WARM_S = 3.0, 2.0, 60.0


def down_share(table: Table, nodes: int, from_s: float, until_s: float) -> FloatArray:
    """Return the share of an interval in which each node is down, from the table of faults."""
    down_s = np.zeros(nodes)
    t_s = np.clip(table["t_s"], from_s, until_s)
    begins = table["kind"] == FAULTS.index("node-crash")
    ends = table["kind"] == FAULTS.index("node-restart")
    np.add.at(down_s, table["target"][begins], until_s - t_s[begins])
    np.add.at(down_s, table["target"][ends], t_s[ends] - until_s)
    return down_s / (until_s - from_s)


def _crashes(lab: Lab) -> Sequence[Result]:
    kinds, size = (Kind(1.5, ServiceSpec("deterministic", 1e-6)),), Size(keep=2700, skip=90)
    world = farm(kinds, size, 131)
    world = replace(
        world,
        faults=tuple(
            FaultSpec("node-crash", node.id, mtbf_s=_MTBF_S, mttr_s=_MTTR_S) for node in world.nodes
        ),
    )
    seen = Seen(lab.run, world, kinds, size)
    faults = seen.record.tables["faults"]
    share = down_share(faults, size.copies, _WARM_S, world.duration_s)
    refused = (seen.table["drop"][seen.ids()] == DROPS.index("node_down")).mean(axis=1)
    down = 1.0 - availability(_MTBF_S, _MTTR_S)
    note = f"{count(len(faults['t_s']))} events of {size.copies} nodes"
    return [
        judge("time down, MTTR/(MTBF+MTTR)", down, share, note=note),
        judge("share of requests that find it down", down, refused, note=note),
    ]


PROOFS = (Proof("crashes", "faults", "drawn crashes: availability", _crashes),)
