"""Stations against their slow, obvious twins (sim.proofs.twins.stations), bit by bit."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.arrivals.workload import draw_workload
from sim.config import ArrivalSpec, Batching, ServiceSpec
from sim.proofs.twins.stations import Coming, Down, Rules, serve
from tests.oracles.stations import agree, engine
from tests.sim.worlds import queue, requests

GRID = st.lists(st.integers(0, 24), min_size=1, max_size=25).map(sorted)


@st.composite
def scripts(draw: st.DrawFn, *, features: str = "") -> tuple[list[Coming], Rules, list[Down]]:
    """Draw a script on a coarse grid, so that ties abound."""
    coming = [
        Coming(
            at_s=t / 4,
            service_s=draw(st.sampled_from([0.25, 0.5, 1.0, 1.75])),
            priority=draw(st.integers(0, 2)),
            patience_s=draw(st.sampled_from([np.inf, 0.0, 0.25, 1.0, 2.5])),
            expires_s=t / 4 + draw(st.sampled_from([np.inf, 0.0, 0.5, 1.5])),
        )
        for t in draw(GRID)
    ]
    rules = Rules(
        servers=draw(st.integers(1, 3)),
        capacity=draw(st.sampled_from([3, 5, 12, np.inf])),
        size=draw(st.sampled_from([1, 1, 2, 4])),
        wait_s=draw(st.sampled_from([0.0, 0.25, 0.5, 2.0])),
        by_priority=draw(st.booleans()),
    )
    return coming, rules, []


@settings(max_examples=200, deadline=None)
@given(script=scripts())
def test_random_mixtures_match_their_twin(script: tuple[list[Coming], Rules, list[Down]]) -> None:
    agree(engine(*script), serve(*script))


def test_random_services_match_the_twin() -> None:
    for seed in range(5):
        drawn = draw_workload(queue(9.0, 0.3, 20.0, seed=seed), None)
        coming = [
            Coming(t, s)
            for t, s in zip(drawn.t_emit_s.tolist(), drawn.service_s.tolist(), strict=True)
        ]
        rules = Rules(servers=3, capacity=9)
        agree(engine(coming, rules), serve(coming, rules))


def test_a_batch_lasts_as_long_as_its_longest_request() -> None:
    table = requests(queue(20.0, 0.2, 10.0, batching=Batching(4, 0.5)))
    sizes, service = table["batch_size"], table["t_finish_s"] - table["t_start_s"]
    assert sizes.max() == 4
    for batch in np.unique(table["batch"]):
        members = table["batch"] == batch
        assert np.ptp(service[members]) == 0.0
        assert (sizes[members] == members.sum()).all()


def test_service_times_are_those_drawn_at_emission() -> None:
    one, three = (requests(queue(9.0, 0.3, 20.0, servers=c)) for c in (1, 3))
    both = ~np.isnan(one["service_s"]) & ~np.isnan(three["service_s"])
    assert both.sum() > 50
    np.testing.assert_array_equal(one["service_s"][both], three["service_s"][both])
    assert ServiceSpec("deterministic", 1.0).mean_s == 1.0
    assert ArrivalSpec("poisson", 1.0).rate_per_s == 1.0
