"""Links against their twins on random scripts: fair ones exactly, others with faults and ties."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.errors import LawViolation
from sim.proofs.hops import Draw, Ends, hop_engine, hop_gap, hop_script, worst_hop_gap
from sim.proofs.maxmin import fluid_engine, fluid_gap, fluid_instance, worst_fluid_gap
from sim.proofs.twins.fluid import FlowSpec, FluidInstance, check_fair, fluid_twin, water_fill
from sim.proofs.twins.links import Script
from sim.topology.graph import Network
from tests.oracles.test_links import line
from tests.sim.worlds import run


def test_fair_links_end_flows_when_the_exact_solver_does() -> None:
    assert worst_fluid_gap(500) <= 1e-9


def test_random_instances_share_meet_and_are_cut() -> None:
    rng = np.random.default_rng(3)
    drawn = [fluid_instance(rng) for _ in range(200)]
    ends = [fluid_twin(instance) for instance in drawn]
    assert sum(len(set(e)) < len(e) for e in ends) > 50  # flows that end together
    assert sum(bool(i.cuts) for i in drawn) > 50
    assert sum(bool(i.changes) for i in drawn) > 50
    alone = [
        max(f.size_bytes / i.bytes_per_s[link] for link in f.links) + f.start_s
        for i in drawn
        for f in i.flows
    ]
    shared = [end for e in ends for end in e]
    assert np.mean(np.array(shared) > np.array(alone) + 1e-9) > 0.5


def test_the_twin_refuses_rates_that_are_not_fair() -> None:
    routes = {0: (0, 1), 1: (0,), 2: (1,)}
    rates = water_fill([1.0, 4.0], routes)
    assert [float(rates[i]) for i in routes] == [0.5, 0.5, 3.5]
    with pytest.raises(LawViolation, match=r"flow 2 at 3\.25 bytes/s has no bottleneck"):
        check_fair([1.0, 4.0], routes, {**rates, 2: rates[2] - rates[0] / 2})
    with pytest.raises(LawViolation, match=r"link 1 carries 4\.5 of 4\.0"):
        check_fair([1.0, 4.0], routes, {**rates, 2: rates[2] + rates[0]})


def test_whole_fleets_with_fair_links_agree_with_the_exact_solver() -> None:
    world = replace(line("fair"), duration_s=2.0)
    table = run(world).tables["requests"]
    network, flows, delays_s, arrived = Network(world.links), [], [], []
    for rid in range(len(table["id"])):
        here, there = int(table["source"][rid]), int(table["server"][rid])
        for way, name, begin, end in (
            (network.route(here, there), "up", "dispatch", "enqueue"),
            (network.route(there, here), "down", "finish", "return"),
        ):
            if way:
                start_s = float(table[f"t_{begin}_s"][rid])
                flows.append(FlowSpec(start_s, way, float(table[f"{name}_bytes"][rid])))
                delays_s.append(sum(world.links[link].delay_s for link in way))
                arrived.append(table[f"t_{end}_s"][rid])
    assert len(flows) > 200
    bandwidths = tuple(link.bytes_per_s for link in world.links)
    gone = fluid_twin(FluidInstance(bandwidths, tuple(flows)))
    np.testing.assert_allclose(np.add(gone, delays_s), arrived, rtol=0.0, atol=1e-9)


@st.composite
def scripts(draw: st.DrawFn) -> Script:
    """Draw scripts of dyadic numbers: whatever should happen at one instant does."""
    return hop_script(Draw(lambda low, high: draw(st.integers(low, high))), ("fifo", "none"))


@settings(max_examples=150, deadline=None)
@given(script=scripts())
def test_every_try_goes_as_in_the_twin(script: Script) -> None:
    assert hop_gap(script) == 0.0


def test_mixed_links_go_as_in_the_twin() -> None:
    assert worst_hop_gap(500) <= 1e-9


@settings(max_examples=60, deadline=None)
@given(script=scripts())
def test_a_longer_script_changes_nothing_before(script: Script) -> None:
    """Trips that start after all others have ended leave their fate as it was."""
    before = hop_engine(script)
    late_s = max([1.0, *before.ended_s]) + 1.0
    later = [trip._replace(start_s=late_s) for trip in script.trips]
    after = hop_engine(replace(script, trips=(*script.trips, *later)))
    assert after.ended_s[: len(later)] == before.ended_s
    assert after.drop[: len(later)] == before.drop


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 12))
def test_many_more_instances(seed: int) -> None:
    assert worst_fluid_gap(2000, seed) <= 1e-9
    assert worst_hop_gap(4000, seed) <= 1e-9


def test_gaps_are_not_blind() -> None:
    """An engine that is wrong somewhere is found out: its capacity is another one."""
    instance = fluid_instance(np.random.default_rng(5))
    wider = replace(instance, bytes_per_s=tuple(c * 1.01 for c in instance.bytes_per_s))
    assert fluid_gap(instance) <= 1e-9
    assert not np.allclose(fluid_engine(wider), fluid_twin(instance), rtol=1e-4)


def test_an_answer_that_never_comes_back_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    draw = Draw(lambda low, high: int(rng.integers(low, high + 1)))
    drawn = [hop_script(draw, ("fifo", "none")) for _ in range(30)]
    assert max(hop_gap(script) for script in drawn) == 0.0
    monkeypatch.setattr(Ends, "returned", lambda self, rid, now_s: None)
    assert sum(hop_gap(script) == np.inf for script in drawn) > 20
