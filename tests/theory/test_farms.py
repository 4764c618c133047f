"""What the proofs look at: samples of farms, sums of accounts, scripts; and that each can fail."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agents.caches import CACHES
from agents.dispatchers import DISPATCHERS
from sim.config import ServiceSpec
from sim.errors import SimError
from sim.parts import Parts
from sim.proofs.accounts import _fleet, busy_gap, energy_gap, little_gap, unaccounted
from sim.proofs.farms import Kind, Seen, Size, farm, observe
from sim.proofs.faults import down_share
from sim.proofs.proof import Lab
from sim.proofs.stations import difference, engine, scripts, station_world
from sim.proofs.twins.stations import serve
from sim.records import DROPS, FAULTS

LAB = Lab(Parts(DISPATCHERS.load, CACHES.load))
FAST, SLOW = ServiceSpec("exponential", 0.5), ServiceSpec("erlang", 1.0, 0.5)


def test_a_sample_holds_a_fixed_number_of_requests_of_each_stream_after_the_warm_up() -> None:
    kinds = (Kind(0.6, FAST), Kind(0.2, SLOW))
    seen = observe(LAB.run, kinds, Size(copies=6, keep=400, skip=40), 1)
    for kind, (kept, skipped) in enumerate(((300, 30), (100, 10))):
        ids = seen.ids(kind)
        assert ids.shape == (6, kept)
        for copy in range(6):
            own = np.flatnonzero(seen.table["stream"] == copy * 2 + kind)
            np.testing.assert_array_equal(ids[copy], own[skipped : skipped + kept])
            gaps = np.diff(seen.table["t_emit_s"][own])
            np.testing.assert_array_equal(
                seen.gap_s(kind)[copy], gaps[skipped - 1 : skipped + kept - 1]
            )


def test_controls_are_zero_on_average_and_copies_are_independent() -> None:
    seen = observe(LAB.run, (Kind(0.5, SLOW),), Size(copies=256, keep=200, skip=20), 2)
    controls = seen.controls()
    assert controls.shape == (256, 12)  # two means, two squares, four products at two lags
    errors = controls.std(axis=0, ddof=1) / 16.0
    assert (np.abs(controls.mean(axis=0)) < 4.5 * errors).all()
    halves = controls[::2, 1], controls[1::2, 1]
    assert abs(np.corrcoef(*halves)[0, 1]) < 4.5 / np.sqrt(128)


def test_a_stream_that_sent_too_little_is_an_error() -> None:
    kinds, size = (Kind(0.5, FAST),), Size(copies=2, keep=50, skip=5)
    world = replace(farm(kinds, size, 1), duration_s=20.0)
    with pytest.raises(SimError, match=r"a stream sent \d+ of 55"):
        Seen(LAB.run, world, kinds, size).ids()


def test_accounts_find_what_is_wrong() -> None:
    world = replace(_fleet(1), duration_s=10.0)
    record = LAB.run(world)
    tables, end_s = record.tables, record.meta["end_s"]
    requests = dict(tables["requests"])
    assert unaccounted(requests, end_s) == 0
    back = np.flatnonzero(~np.isnan(requests["t_return_s"]))
    twice = {**requests, "drop": requests["drop"].copy()}
    twice["drop"][back[0]] = DROPS.index("loss")
    assert unaccounted(twice, end_s) == 1
    never = {**requests, "t_return_s": requests["t_return_s"].copy()}
    never["t_return_s"][back[0]] = end_s + 1.0
    assert unaccounted(never, end_s) == 1
    never["t_return_s"][back[0]] = np.nan  # forgotten
    assert unaccounted(never, end_s) == 1
    busier = {**tables, "slots": {**tables["slots"], "busy_s": tables["slots"]["busy_s"] * 1.01}}
    assert busy_gap(tables) < 1e-9 < busy_gap(busier)
    assert little_gap(requests, 0) < 1e-12
    steady = {**tables, "faults": {name: rows[:0] for name, rows in tables["faults"].items()}}
    assert energy_gap(world, tables, end_s) < 1e-9 < energy_gap(world, busier, end_s)
    assert energy_gap(world, steady, end_s) > 1e-3  # a node that is down draws nothing


def test_time_down_is_clipped_to_the_interval() -> None:
    crash, restart = FAULTS.index("node-crash"), FAULTS.index("node-restart")
    table = {
        "t_s": np.array([1.0, 3.0, 4.0, 9.0, 0.5]),
        "kind": np.array([crash, restart, crash, restart, crash]),
        "target": np.array([0, 0, 0, 0, 1]),
    }
    np.testing.assert_allclose(down_share(table, 3, 2.0, 7.0), [0.8, 1.0, 0.0])


def test_scripts_have_ties_crashes_and_every_fate_and_another_node_shows() -> None:
    drawn = scripts("stations", 80)
    fates, works, differ, tied = set(), set(), 0, 0
    for script in drawn:
        coming, outages, rules = script.coming(), script.outages(), script.rules()
        works |= {outage.work for outage in outages}
        expected = serve(coming, rules, outages)
        fates |= {fate.gone for fate in expected}
        times = [each.at_s for each in coming]
        tied += script.ties and len(set(times)) < len(times)
        table = engine(station_world(rules, outages), coming, LAB.parts)
        assert difference(table, expected) == 0.0
        wider = replace(rules, servers=rules.servers + 1)
        differ += difference(table, serve(coming, wider, outages)) > 0.0
    assert fates == {"", "queue_full", "node_down", "moved", "patience", "deadline"}
    assert works == {"drop", "keep", "resume", "migrate"}
    assert tied > 20
    assert differ > 40
