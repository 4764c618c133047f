"""Runs one engine station by the script of its slow twin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from agents.caches import CACHES
from sim.arrivals.workload import Workload
from sim.config import NodeSpec, World
from sim.fleet import Fleet
from sim.parts import Parts
from sim.proofs import stations
from sim.proofs.stations import station_world as world
from sim.proofs.twins.stations import Coming, Down, Fate, Rules
from sim.records import DROPS, Table
from tests.sim.worlds import parts


def workload(coming: Sequence[Coming], **columns: object) -> Workload:
    return replace(stations.workload(coming), **columns)


def spec(rules: Rules, number: int = 0) -> NodeSpec:
    return replace(world(rules).nodes[0], id=number, name=f"node-{number}")


def live(world: World, drawn: Workload, dispatcher: type | None = None) -> Fleet:
    """Return a fleet after a lawful run."""
    plugged = parts() if dispatcher is None else Parts(lambda _: dispatcher, CACHES.load)
    fleet = Fleet(world, drawn, plugged, world.dispatch)
    fleet.run()
    fleet.audit()
    return fleet


def engine(
    coming: Sequence[Coming], rules: Rules, outages: Sequence[Down] = (), *, sharing: bool = False
) -> Table:
    return stations.engine(world(rules, outages, sharing=sharing), coming, parts())


def agree(table: Table, fates: Sequence[Fate], atol: float = 0.0) -> None:
    """Compare bit by bit, or up to a rounding; "moved" means lost where there is but one node."""
    reasons = [f.gone.replace("moved", "node_down") for f in fates]
    assert [DROPS[d] if d >= 0 else "" for d in table["drop"]] == reasons
    for name in ("start", "finish"):
        stamps = [getattr(f, f"{name}_s") for f in fates]
        np.testing.assert_allclose(table[f"t_{name}_s"], stamps, rtol=0.0, atol=atol, err_msg=name)
