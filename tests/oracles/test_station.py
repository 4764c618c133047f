"""The station against a slow, obvious twin: one pass over time, one list of everything."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.config import ArrivalSpec, Batching, ServiceSpec
from sim.records import DROPS
from tests.sim.worlds import queue, requests, scripted

GRID = st.lists(st.integers(0, 24), min_size=1, max_size=25).map(sorted)


def twin(
    arrivals: list[float],
    service: list[float],
    servers: int,
    capacity: float,
    size: int,
    wait: float,
) -> list[tuple[float, float]]:
    """Return (start, finish) of each request, NaN when refused.

    Walks from instant to instant; at each one services end, then requests come, then batches start.
    """
    n = len(arrivals)
    start, finish = [np.nan] * n, [np.nan] * n
    waiting: list[int] = []
    running: list[tuple[float, list[int]]] = []
    instants = sorted(set(arrivals))
    refused = 0
    while instants:
        now = instants.pop(0)
        running = [(end, ids) for end, ids in running if end > now]
        for i in range(n):
            if arrivals[i] == now and np.isnan(start[i]) and i not in waiting:
                if len(waiting) + sum(len(ids) for _, ids in running) < capacity:
                    waiting.append(i)
                else:
                    refused += 1
        while waiting and len(running) < servers:
            due = arrivals[waiting[0]] + wait
            if len(waiting) < size and now < due:
                instants = sorted({*instants, due})
                break
            ids, waiting = waiting[:size], waiting[size:]
            end = now + max(service[i] for i in ids)
            running.append((end, ids))
            instants = sorted({*instants, end})
            for i in ids:
                start[i], finish[i] = now, end
    return list(zip(start, finish, strict=True))


def check(table: dict[str, np.ndarray], expected: list[tuple[float, float]]) -> None:
    start, finish = np.array(expected).T
    np.testing.assert_array_equal(table["t_start_s"], start)
    np.testing.assert_array_equal(table["t_finish_s"], finish)
    refused = np.where(np.isnan(start), DROPS.index("queue_full"), -1)
    np.testing.assert_array_equal(table["drop"], refused)


@settings(max_examples=150, deadline=None)
@given(times=GRID, servers=st.integers(1, 3), capacity=st.integers(1, 8))
def test_fifo_matches_its_twin_even_with_ties(
    times: list[int], servers: int, capacity: int
) -> None:
    capacity = max(capacity, servers)
    instants = [t / 4 for t in times]
    table = requests(scripted(instants, 60.0, servers=servers, capacity=capacity))
    check(table, twin(instants, [1.0] * len(times), servers, capacity, 1, 0.0))


@settings(max_examples=150, deadline=None)
@given(
    times=GRID,
    servers=st.integers(1, 3),
    size=st.integers(1, 5),
    wait=st.sampled_from([0.0, 0.25, 0.5, 2.0]),
    capacity=st.integers(5, 12),
)
def test_batches_match_their_twin(
    times: list[int], servers: int, size: int, wait: float, capacity: int
) -> None:
    instants = [t / 4 for t in times]
    world = scripted(
        instants, 60.0, servers=servers, capacity=capacity, batching=Batching(size, wait)
    )
    check(requests(world), twin(instants, [1.0] * len(times), servers, capacity, size, wait))


def test_random_services_match_the_twin() -> None:
    for seed in range(5):
        table = requests(queue(9.0, 0.3, 20.0, seed=seed, servers=3, capacity=9))
        draws = table["t_finish_s"] - table["t_start_s"]
        served = ~np.isnan(draws)
        service = np.where(served, table["service_s"], 0.0).tolist()
        check(table, twin(table["t_emit_s"].tolist(), service, 3, 9, 1, 0.0))


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
