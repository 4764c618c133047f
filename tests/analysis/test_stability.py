"""Both errors of the stability test, on M/M/1 queues of known load."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.summary import summarise
from sim.stability import Levels, kendall_tau
from tests.analysis.folder import Shape, record


def keeps_growing(enter_s: np.ndarray, leave_s: np.ndarray, duration_s: float) -> bool:
    """Tell whether one node's number in system grows all over [0, duration_s]."""
    levels = Levels(1, duration_s)
    order = np.random.default_rng(0).permutation(len(enter_s))
    for part in np.array_split(order, 3):
        nobody = np.zeros(len(part), np.int32)
        rows = {"server": nobody, "drop": nobody - 1}
        levels.add({**rows, "t_enqueue_s": enter_s[part], "t_finish_s": leave_s[part]})
    return levels.growing().tolist() == [0]


def mm1(rho: float, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Arrivals and departures of an M/M/1 queue with unit service (Lindley, unrolled)."""
    arrive = np.cumsum(rng.exponential(1.0 / rho, n))
    work = np.cumsum(rng.exponential(1.0, n))
    return arrive, work + np.maximum.accumulate(arrive - np.append(0.0, work[:-1]))


def share_called_unstable(rho: float, n: int, runs: int = 200) -> float:
    rng = np.random.default_rng([int(100 * rho), n])
    called = 0
    for _ in range(runs):
        arrive, leave = mm1(rho, n, rng)
        called += keeps_growing(arrive, leave, float(arrive[-1]))
    return called / runs


@pytest.mark.parametrize(
    ("rho", "n", "most"),
    [(0.7, 300, 0.02), (0.7, 5000, 0.01), (0.9, 1000, 0.05), (0.9, 5000, 0.01)],
)
def test_stable_queues_are_rarely_called_unstable(rho: float, n: int, most: float) -> None:
    assert share_called_unstable(rho, n) <= most


@pytest.mark.parametrize(
    ("rho", "n", "least"), [(1.1, 1000, 0.75), (1.1, 5000, 0.99), (1.3, 1000, 0.99)]
)
def test_overloaded_queues_are_found(rho: float, n: int, least: float) -> None:
    assert share_called_unstable(rho, n) >= least


def test_a_crowd_that_clears_is_stable() -> None:
    rng = np.random.default_rng(1)
    arrive = np.sort(np.concatenate((rng.uniform(0, 1000, 500), rng.uniform(400, 500, 400))))
    work = np.cumsum(np.full(900, 0.9))
    leave = work + np.maximum.accumulate(arrive - np.append(0.0, work[:-1]))
    assert not keeps_growing(arrive, leave, 1000.0)


def test_what_never_leaves_counts_as_inside_and_few_arrivals_prove_nothing() -> None:
    arrive = np.linspace(0.0, 100.0, 400)
    assert keeps_growing(arrive, np.full(400, np.nan), 100.0)
    assert not keeps_growing(arrive[:90], np.full(90, np.nan), 100.0)


def test_tau_of_a_rising_falling_and_flat_series() -> None:
    rising = np.arange(10.0)
    assert [kendall_tau(x) for x in (rising, -rising, np.zeros(10))] == [1.0, -1.0, 0.0]


def test_an_overloaded_run_names_its_nodes() -> None:
    made = record(Shape(edges=2, slots=60, fault=False, rate_per_s=10.0, load=2.2), "tanbr", 1)
    found = summarise(made.tables, made.meta)
    assert not found["stable"]
    assert found["unstable_nodes"] == "edge-0; edge-1"
