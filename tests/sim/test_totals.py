"""Totals of blocks against all rows at once, in numpy and in the compiled loop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import outcomes, totals
from analysis.summary import summarise, unstable_nodes
from sim.config import ArrivalSpec, ServiceSpec, World
from sim.records import DROPS, Record, Table, columns, dtype
from sim.totals import Totals
from tests.sim.worlds import fleet, queue, run, stream

FACTS = ("latency_mean_s", "latency_p50_s", "latency_p95_s", "latency_p99_s")


def world(nodes: int = 3) -> World:
    base = fleet(nodes, duration_s=10.0)
    named = [replace(s, name=f"s{s.id % 2}.edge-{s.node}") for s in base.streams]
    return replace(base, streams=tuple(named))


def rows(luck: np.random.Generator, n: int) -> Table:
    """Return n made-up requests that end in all sorts of ways, with many ties."""
    emit = luck.integers(0, 100, n) / 10.0
    took = luck.choice([0.0, 1e-12, 0.1, 0.2, 0.3, 5.0, np.nan], n)
    drop = np.where(np.isnan(took), luck.integers(-1, len(DROPS), n), -1)
    enqueue = np.where(luck.random(n) < 0.9, emit + luck.choice([0.0, 0.1], n), np.nan)
    made = {
        "id": luck.permutation(n),
        "stream": luck.integers(0, 3, n),
        "server": np.where(np.isnan(enqueue), -1, luck.integers(0, 3, n)),
        "priority": luck.choice([-32768, -1, 0, 32767], n),
        "t_emit_s": emit,
        "t_enqueue_s": enqueue,
        "t_finish_s": np.where(luck.random(n) < 0.9, enqueue + luck.choice([0.0, 4.0], n), np.nan),
        "t_return_s": emit + took,
        "deadline_s": luck.choice([0.1, 0.2, np.inf], n),
        "drop": drop,
        "correct": luck.integers(-1, 2, n),
    }
    empty = {c.name: np.zeros(n, dtype(c)) for c in columns("requests")}
    return {name: made.get(name, values).astype(values.dtype) for name, values in empty.items()}


def counted(table: Table, cuts: list[int], compiled: bool) -> dict[str, Any]:
    found = Totals(world(), compiled)
    for part in np.split(np.arange(len(table["id"])), sorted(cuts)):
        found.add({name: values[part] for name, values in table.items()})
    assert found.requests == len(table["id"])
    return found.facts()


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 999), n=st.integers(1, 400), cuts=st.lists(st.integers(0, 400), max_size=4)
)
def test_totals_depend_neither_on_cuts_nor_on_order_nor_on_the_way(
    seed: int, n: int, cuts: list[int]
) -> None:
    luck = np.random.default_rng(seed)
    table, order = rows(luck, n), luck.permutation(n)
    shuffled = {name: values[order] for name, values in table.items()}
    whole = counted(table, [], compiled=False)
    assert counted(shuffled, cuts, compiled=False) == whole
    assert counted(shuffled, cuts, compiled=True) == whole


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), n=st.integers(1, 300))
def test_totals_say_what_rows_say(seed: int, n: int) -> None:
    table = rows(np.random.default_rng(seed), n)
    found = totals.ends([{"totals": counted(table, [], compiled=False)}])
    check(totals.stream_facts(found), outcomes.stream_facts(table))
    for (label, priority), part in totals.parted(found, "stream", "priority").items():
        mine = (table["stream"] % 2 == int(label[1:])) & (table["priority"] == priority)
        expected = outcomes.stream_facts({name: values[mine] for name, values in table.items()})
        check(totals.stream_facts(part), expected)


def check(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert list(found) == list(expected)
    for name, value in expected.items():
        within = 0.005 if name.startswith("latency_p") else 1e-12
        wanted = pytest.approx(
            value, rel=within, abs=2e-9 if within > 1e-3 else 2.0**-52, nan_ok=True
        )
        assert found[name] == wanted, name


@pytest.mark.parametrize("law", ["exponential", "hyperexponential"])
def test_quantiles_of_a_queue_are_within_their_bound(law: str) -> None:
    record = run(queue(8.0, 0.1, 2000.0, kind=law, cv=1.0 if law == "exponential" else 3.0))
    took_s = record.tables["requests"]["t_return_s"] - record.tables["requests"]["t_emit_s"]
    found = Totals(queue(8.0, 0.1, 2000.0))
    found.add(record.tables["requests"])
    levels = np.concatenate(([0.0, 1.0], np.linspace(0.001, 0.999, 400)))
    measured = totals.ends([{"totals": found.facts()}]).quantiles_s(levels)
    exact = np.quantile(took_s, levels)
    assert np.abs(measured / exact - 1.0).max() <= 1.0 / 256.0
    assert measured[:2].tolist() == [took_s.min(), took_s.max()]


def cut(w: World, every: float = 7.0) -> tuple[Record, Record]:
    """Return a run with all rows, and the same with about one in `every`."""
    whole = run(w)
    size = sum(dtype(c).itemsize for c in columns("requests")) * len(whole.tables["requests"]["id"])
    return whole, run(replace(w, rows_bytes=size / every))


def test_a_summary_of_a_sample_is_that_of_all() -> None:
    base = world()
    crowd = replace(base.streams[1], arrivals=ArrivalSpec("poisson", 90.0), priority=2)
    other = stream(9, 2, ArrivalSpec("hawkes", 20.0, branching=0.5), deadline_s=0.05)
    w = replace(
        base, streams=(*base.streams[::2], crowd, other), service=ServiceSpec("erlang", 0.02, 0.5)
    )
    whole, part = cut(w)
    assert 20 < len(part.tables["requests"]["id"]) < len(whole.tables["requests"]["id"]) / 6
    found, expected = summarise(part.tables, part.meta), summarise(whole.tables, whole.meta)
    assert list(found) == list(expected)
    for name, value in expected.items():
        if isinstance(value, float):
            within = 0.005 if name.startswith("latency_p") else 1e-12
            assert found[name] == pytest.approx(value, rel=within, nan_ok=True), name
        else:
            assert found[name] == value, name


def test_an_unstable_node_is_found_without_its_rows() -> None:
    whole, part = cut(queue(20.0, 0.1, 100.0))
    assert unstable_nodes(whole.tables["requests"], whole.meta) == [0]
    assert part.meta["totals"]["unstable"] == [0]
    assert not summarise(part.tables, part.meta)["stable"]


def test_rows_that_fit_leave_a_record_as_it_is() -> None:
    w = queue(8.0, 0.1, 50.0)
    whole, same = run(w), run(replace(w, rows_bytes=1e9))
    assert whole.digest == same.digest
    assert set(whole.meta) == set(same.meta)


def test_more_streams_than_a_file_can_name_count_as_one() -> None:
    w = queue(8.0, 0.1, 10.0)
    many = tuple(stream(i, 0, ArrivalSpec("poisson", 0.1)) for i in range(1001))
    whole, part = cut(replace(w, streams=many))
    (group,) = part.meta["totals"]["groups"]
    assert group["requests"] == len(whole.tables["requests"]["id"])
    found, expected = summarise(part.tables, part.meta), summarise(whole.tables, whole.meta)
    assert list(found) == list(expected)
    assert not any("[" in key for key in found)
