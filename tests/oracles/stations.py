"""Runs one engine station by the script of its slow twin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from agents.caches import CACHES
from sim.arrivals.workload import Workload
from sim.config import Batching, DispatchSpec, FaultSpec, NodeSpec, ServiceSpec, Setup, World
from sim.fleet import Fleet
from sim.parts import Parts
from sim.proofs.twins.stations import Coming, Down, Fate, Rules
from sim.records import DROPS, Table
from tests.sim.worlds import node, parts, queue


def workload(coming: Sequence[Coming], **columns: object) -> Workload:
    n = len(coming)
    made = {
        "stream": np.zeros(n, np.int32),
        "source": np.zeros(n, np.int32),
        "task": np.full(n, -1, np.int16),
        "input": np.full(n, -1, np.int32),
        "t_emit_s": np.array([c.at_s for c in coming], float),
        "service_s": np.array([c.service_s for c in coming], float),
        "deadline_s": np.full(n, np.inf),
        "priority": np.array([c.priority for c in coming], np.int16),
        "up_bytes": np.zeros(n),
        "down_bytes": np.zeros(n),
        "audit": np.ones(n),
        "patience_s": np.array([c.patience_s for c in coming], float),
        "expires_s": np.array([c.expires_s for c in coming], float),
    }
    return Workload(**{**made, **columns})


def spec(rules: Rules, number: int = 0, *, sharing: bool = False) -> NodeSpec:
    setup = None if rules.setup_s is None else Setup(rules.setup_s, rules.keep_s)
    discipline = "sharing" if sharing else "priority" if rules.by_priority else "fifo"
    return node(
        number, servers=rules.servers, capacity=rules.capacity, job_share=rules.job_share,
        batching=Batching(rules.size, rules.wait_s), discipline=discipline, setup=setup,
    )  # fmt: skip


def world(rules: Rules, outages: Sequence[Down] = (), *, sharing: bool = False) -> World:
    faults = tuple(
        FaultSpec("node-crash", 0, o.from_s, o.until_s - o.from_s, work=o.work) for o in outages
    )
    return replace(
        queue(1.0, 1.0, 1000.0), drain_s=1000.0, slot_s=1.5, streams=(), faults=faults,
        service=ServiceSpec("deterministic", 1.0, each_s=rules.each_s),
        nodes=(spec(rules, sharing=sharing),), dispatch=DispatchSpec("local"),
    )  # fmt: skip


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
    fleet = live(world(rules, outages, sharing=sharing), workload(coming))
    return fleet.recorder.requests(fleet.requests)


def agree(table: Table, fates: Sequence[Fate], atol: float = 0.0) -> None:
    """Compare bit by bit, or up to a rounding; "moved" means lost where there is but one node."""
    reasons = [f.gone.replace("moved", "node_down") for f in fates]
    assert [DROPS[d] if d >= 0 else "" for d in table["drop"]] == reasons
    for name in ("start", "finish"):
        stamps = [getattr(f, f"{name}_s") for f in fates]
        np.testing.assert_allclose(table[f"t_{name}_s"], stamps, rtol=0.0, atol=atol, err_msg=name)
