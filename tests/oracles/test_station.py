"""Stations against their slow, obvious twins (sim.proofs.twins.stations), bit by bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.arrivals.workload import draw_workload
from sim.config import ArrivalSpec, Batching, ServiceSpec, Work
from sim.ports import DispatchSetup
from sim.proofs.twins.stations import Coming, Down, Fate, Rules, serve
from sim.views import FleetView
from tests.oracles.stations import agree, engine, live, spec, workload, world
from tests.sim.worlds import both_ways, queue, requests

GRID = st.lists(st.integers(0, 24), min_size=1, max_size=25).map(sorted)


@st.composite
def outages(draw: st.DrawFn) -> list[Down]:
    """Draw outages that may touch and overlap, none of them empty."""
    found = []
    for _ in range(draw(st.integers(0, 3))):
        from_s = draw(st.integers(0, 28)) / 4
        for_s = draw(st.sampled_from([0.25, 1.0, 2.0, 40.0]))
        works: list[Work] = ["drop", "keep", "resume", "migrate"]
        found.append(Down(from_s, from_s + for_s, draw(st.sampled_from(works))))
    return sorted(found, key=lambda o: (o.from_s, o.until_s))


@st.composite
def arrivals(draw: st.DrawFn, services: list[float]) -> list[Coming]:
    """Draw requests on a coarse grid, so that ties abound; half of the scripts are patient."""
    patience = draw(st.sampled_from([[np.inf], [np.inf, 0.0, 0.25, 1.0, 2.5]]))
    expires = draw(st.sampled_from([[np.inf], [np.inf, 0.0, 0.5, 1.5, 4.0]]))
    return [
        Coming(
            at_s=t / 4,
            service_s=draw(st.sampled_from(services)),
            priority=draw(st.integers(0, 2)),
            patience_s=draw(st.sampled_from(patience)),
            expires_s=t / 4 + draw(st.sampled_from(expires)),
        )
        for t in draw(GRID)
    ]


@st.composite
def scripts(draw: st.DrawFn) -> tuple[list[Coming], Rules, list[Down]]:
    """Draw all rules at once."""
    rules = Rules(
        servers=draw(st.integers(1, 3)),
        capacity=draw(st.sampled_from([2, 3, 5, 12, np.inf])),
        size=draw(st.sampled_from([1, 1, 2, 4])),
        wait_s=draw(st.sampled_from([0.0, 0.25, 0.5, 2.0])),
        each_s=draw(st.sampled_from([0.0, 0.25])),
        by_priority=draw(st.booleans()),
        setup_s=draw(st.sampled_from([None, None, 0.0, 0.25, 1.0, 2.5])),
        keep_s=draw(st.sampled_from([0.0, 0.25, 1.0, np.inf])),
    )
    return draw(arrivals([0.25, 0.5, 1.0, 1.75])), rules, draw(outages())


@settings(max_examples=300, deadline=None)
@given(script=scripts())
def test_random_mixtures_match_their_twin(script: tuple[list[Coming], Rules, list[Down]]) -> None:
    agree(engine(*script), serve(*script))


@settings(max_examples=150, deadline=None)
@given(coming=arrivals([0.25, 1.0]), servers=st.integers(1, 3), outages=outages())
def test_the_short_way_matches_too(coming: list[Coming], servers: int, outages: list[Down]) -> None:
    drops = [replace(o, work="drop") for o in outages]
    rules = Rules(servers, capacity=servers + 2)
    agree(engine(coming, rules, drops), serve(coming, rules, drops))


@settings(max_examples=150, deadline=None)
@given(script=scripts(), there=scripts())
def test_requests_that_move_match_a_chain_of_two_twins(
    script: tuple[list[Coming], Rules, list[Down]],
    there: tuple[list[Coming], Rules, list[Down]],
) -> None:
    """Node 0 migrates; whoever finds it down goes to node 1, which is 0.25 s away."""
    coming, rules, outages = script
    moves = [replace(o, work="migrate") for o in outages]
    after = replace(there[1], each_s=rules.each_s)  # one law of service for the whole world
    fates, late = chain(coming, rules, moves, after)
    base = world(rules, moves)
    links = both_ways(0, 1, 0, delay_s=0.25, bytes_per_s=np.inf, sharing="none")
    two = replace(base, nodes=(spec(rules), spec(after, 1)), links=links)
    fleet = live(two, workload(coming), Around)
    table = fleet.recorder.requests(fleet.requests)
    agree(table, fates)
    assert [row for row, server in enumerate(table["server"]) if server == 1] == late


def chain(
    coming: list[Coming], here: Rules, outages: list[Down], there: Rules
) -> tuple[list[Fate], list[int]]:
    """Return all fates, and the rows whose last node was the second."""
    away = [i for i, c in enumerate(coming) if any(o.from_s <= c.at_s < o.until_s for o in outages)]
    stay = [i for i in range(len(coming)) if i not in away]
    fates = dict(zip(stay, serve([coming[i] for i in stay], here, outages), strict=True))
    moved = {i: fates[i].left_s for i in stay if fates[i].gone == "moved"}
    sent = {**moved, **{i: coming[i].at_s for i in away}}
    order = sorted(sent, key=lambda i: (sent[i] + 0.25, i))  # links deliver ties by id
    second = serve([replace(coming[i], at_s=sent[i] + 0.25) for i in order], there)
    fates.update(zip(order, second, strict=True))
    return [fates[i] for i in range(len(coming))], sorted(order)


class Around:
    """Sends everything to the source, or to node 1 while that is down."""

    flop = 0.0

    def __init__(self, setup: DispatchSetup) -> None:
        """Need nothing."""

    def choose(self, source: int, view: FleetView) -> int:
        return source if view.up[source] else 1


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


def test_every_request_after_the_first_makes_a_batch_longer() -> None:
    coming = [Coming(0, 1), *(Coming(0.5, s) for s in (1.0, 2.0, 0.5, 1.0))]
    table = engine(coming, Rules(size=3, each_s=0.25))
    assert table["t_finish_s"].tolist() == [1, 3.5, 3.5, 3.5, 4.5]
    assert table["service_s"].tolist() == [1, 2.5, 2.5, 2.5, 1]


def test_service_times_are_those_drawn_at_emission() -> None:
    one, three = (requests(queue(9.0, 0.3, 20.0, servers=c)) for c in (1, 3))
    both = ~np.isnan(one["service_s"]) & ~np.isnan(three["service_s"])
    assert both.sum() > 50
    np.testing.assert_array_equal(one["service_s"][both], three["service_s"][both])
    assert ServiceSpec("deterministic", 1.0).mean_s == 1.0
    assert ArrivalSpec("poisson", 1.0).rate_per_s == 1.0
