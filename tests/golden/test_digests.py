"""Digests of three tiny runs of `model: none`, each beside a law that a mistake would break.

Digests of runs with a model hold for one type of CPU and set of wheels, so none is committed; nor
is one of a lognormal service, because numpy's exponential function depends on the CPU, too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from sim.config import Batching, DispatchSpec, FaultSpec, ServiceSpec
from sim.records import DROPS
from tests.sim.worlds import fleet, node, queue, run

if TYPE_CHECKING:
    from tests.golden.conftest import Golden


def test_one_queue(golden: Golden) -> None:
    record = run(queue(7.0, 0.1, 60.0))
    table = record.tables["requests"]
    # Lindley: w[n+1] = max(0, w[n] + s[n] - (a[n+1] - a[n]))
    wait_s, arrive_s, service_s = 0.0, table["t_enqueue_s"], table["service_s"]
    for i in range(1, len(arrive_s)):
        wait_s = max(0.0, wait_s + service_s[i - 1] - (arrive_s[i] - arrive_s[i - 1]))
        assert table["t_start_s"][i] - arrive_s[i] == pytest.approx(wait_s, abs=1e-9)
    golden.check("one-queue", record.digest, record.workload_digest)


def test_a_ring_with_batches(golden: Golden) -> None:
    record = run(fleet(3, duration_s=10.0, dispatch="power-of-two"))
    table, slots = record.tables["requests"], record.tables["slots"]
    laws = record.meta["laws"]
    assert laws["emitted"] == laws["returned"] + laws["queue_full"] + laws["in_flight"]
    first = np.unique(table["batch"], return_index=True)[1]
    served = first[~np.isnan(table["service_s"][first])]
    assert slots["busy_s"].sum() == pytest.approx(table["service_s"][served].sum())
    golden.check("ring-with-batches", record.digest, record.workload_digest)


def test_crashes_and_cuts(golden: Golden) -> None:
    world = fleet(4, duration_s=10.0, service=ServiceSpec("hyperexponential", 0.03, 1.5))
    faults = (
        FaultSpec("node-crash", 1, 2.0, 3.0),
        FaultSpec("node-crash", 2, mtbf_s=4.0, mttr_s=1.0),
        FaultSpec("link-down", 0, 5.0, 2.0),
    )
    nodes = tuple(
        node(i, servers=1 + i % 2, capacity=6, batching=Batching(1 + i)) for i in range(4)
    )
    record = run(
        replace(world, nodes=nodes, faults=faults, dispatch=DispatchSpec("least-loaded", 0.5))
    )
    table = record.tables["requests"]
    ended = ~np.isnan(table["t_return_s"]) ^ (table["drop"] >= 0)
    assert ended.all()
    assert {DROPS[d] for d in np.unique(table["drop"]) if d >= 0} >= {"queue_full", "node_down"}
    golden.check("crashes-and-cuts", record.digest, record.workload_digest)
