"""The workload against a request-by-request twin; streams and purposes never disturb each other."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sim.arrivals.emission import emit
from sim.arrivals.mix import MixSchedule
from sim.arrivals.workload import Workload, draw_workload
from sim.compute.hardware import HARDWARE
from sim.config import (
    ArrivalSpec,
    DriftSpec,
    MixSpec,
    NodeSpec,
    ServiceSpec,
    StreamSpec,
    World,
)
from sim.errors import InputError
from sim.records import SCHEMA
from sim.rng import Streams

POOLS = (5, 1, 30, 7)
NODE = NodeSpec(0, "n0", "edge", HARDWARE["jetson-orin-nano"])
MIXES = (
    MixSpec("explicit", (0.5, 0.0, 0.5, 0.0)),
    MixSpec("dirichlet", tasks=2),
    MixSpec("uniform"),
)
ARRIVALS = (
    ArrivalSpec("poisson", 20.0),
    ArrivalSpec("deterministic", 10.0),
    ArrivalSpec("profile", profile=((0.0, 5.0), (3.0, 50.0))),
    ArrivalSpec("trace", times_s=(0.5, 0.5, 4.0), tasks=(3, -1, 0)),
)
NAMES = [f.name for f in fields(Workload) if f.init]


def stream(id: int, arrivals: ArrivalSpec = ARRIVALS[0], mix: MixSpec = MIXES[0]) -> StreamSpec:
    drift = (DriftSpec("switch", 4.0, weights=(0.0, 1.0, 0.0, 1.0)),)
    return StreamSpec(id, f"s{id}", 0, arrivals, mix, drift, 0.2, 2048.0, 256.0, id % 3)


def world(*streams: StreamSpec, service: ServiceSpec | None = None, seed: int = 7) -> World:
    return World("w", seed, 8.0, 1.0, 1.0, (NODE,), (), streams, service=service)


def slow_workload(w: World) -> list[dict[str, Any]]:
    """Obvious twin: one request at a time, then sort by (time, stream, index)."""
    rows = []
    for spec in w.streams:
        rng = {name: Streams(w.seed).stream(name, spec.id) for name in ("tasks", "inputs", "audit")}
        mixes = MixSchedule(spec, len(POOLS), Streams(w.seed).stream("mix", spec.id))
        times, given_tasks = emit(
            spec.arrivals, w.duration_s, Streams(w.seed).stream("arrivals", spec.id)
        )
        for index, (t, task) in enumerate(zip(times.tolist(), given_tasks.tolist(), strict=True)):
            u, shares = rng["tasks"].random(), mixes.at(np.array([t]))[0].tolist()
            drawn = next((i for i in range(4) if u < sum(shares[: i + 1])), None)
            chosen = drawn if task < 0 else task
            place = sum(POOLS[:chosen]) + int(rng["inputs"].random() * POOLS[chosen])
            rows.append(
                {
                    "key": (t, spec.id, index),
                    "stream": spec.id,
                    "source": spec.node,
                    "task": chosen,
                    "input": place,
                    "t_emit_s": t,
                    "deadline_s": spec.deadline_s,
                    "priority": spec.priority,
                    "up_bytes": spec.up_bytes,
                    "down_bytes": spec.down_bytes,
                    "audit": rng["audit"].random(),
                    "patience_s": np.inf,
                    "expires_s": np.inf,
                }
            )
    return sorted(rows, key=lambda row: row["key"])


streams = st.lists(
    st.tuples(st.sampled_from(ARRIVALS), st.sampled_from(MIXES)), min_size=1, max_size=4
).map(lambda kinds: [stream(3 * i, *kind) for i, kind in enumerate(kinds)])


@settings(max_examples=25, deadline=None)
@given(specs=streams, seed=st.integers(0, 2**32), salt=st.randoms())
def test_columns_equal_one_request_at_a_time(specs: list[StreamSpec], seed: int, salt: Any) -> None:
    salt.shuffle(specs)
    w = world(*specs, seed=seed)
    drawn, slow = draw_workload(w, POOLS), slow_workload(w)
    assert len(drawn) == len(slow)
    assert np.all(np.isnan(drawn.service_s))
    for name in NAMES:
        if name != "service_s":
            assert getattr(drawn, name).tolist() == [row[name] for row in slow], name


def of_stream(drawn: Workload, id: int) -> dict[str, list[float]]:
    rows = drawn.stream == id
    return {name: getattr(drawn, name)[rows].tolist() for name in NAMES}


def test_another_stream_changes_no_request_of_the_first() -> None:
    alone = draw_workload(world(stream(2)), POOLS)
    among = draw_workload(world(stream(1), stream(2), stream(4)), POOLS)
    assert str(of_stream(alone, 2)) == str(of_stream(among, 2))
    assert len(among) > len(alone)


def test_purposes_do_not_disturb_each_other() -> None:
    """Another mix changes tasks and inputs, and nothing else."""
    base = draw_workload(world(stream(0)), POOLS)
    other = draw_workload(world(stream(0, mix=MIXES[2])), POOLS)
    changed = {
        n for n in NAMES if str(getattr(base, n).tolist()) != str(getattr(other, n).tolist())
    }
    assert changed == {"task", "input"}


def test_a_longer_run_repeats_the_shorter_one() -> None:
    w = world(stream(0), stream(1))
    short, long = draw_workload(w, POOLS), draw_workload(replace(w, duration_s=20.0), POOLS)
    for name in NAMES:
        assert np.array_equal(
            getattr(long, name)[: len(short)], getattr(short, name), equal_nan=True
        )


def test_streams_are_uncorrelated() -> None:
    """Correlation of the counts of 2000 seconds, 4.5 standard errors."""
    w = replace(world(stream(0), stream(1)), duration_s=2000.0)
    drawn = draw_workload(w, POOLS)
    first, second = (
        np.histogram(drawn.t_emit_s[drawn.stream == i], bins=2000, range=(0, 2000))[0]
        for i in (0, 1)
    )
    assert abs(np.corrcoef(first, second)[0, 1]) < 4.5 / np.sqrt(2000)


def test_tasks_follow_the_mix_and_inputs_are_uniform_over_the_pool() -> None:
    """Chi-square at 0.1 % with about 20 000 requests: detects a share that is off by 0.012."""
    mix = MixSpec("explicit", (0.1, 0.2, 0.3, 0.4))
    spec = replace(stream(0, mix=mix), drift=())
    drawn = draw_workload(replace(world(spec), duration_s=1000.0), POOLS)
    counts = np.bincount(drawn.task, minlength=4)
    assert stats.chisquare(counts, len(drawn) * np.array(mix.weights)).pvalue > 1e-3
    third = drawn.input[drawn.task == 2]
    assert (third.min(), third.max()) == (6, 35)
    assert stats.chisquare(np.bincount(third - 6, minlength=30)).pvalue > 1e-3
    assert stats.kstest(drawn.audit, "uniform").pvalue > 1e-3


def test_without_a_model_service_times_are_drawn_at_emission() -> None:
    service = ServiceSpec("hyperexponential", 0.3, 2.0)
    drawn = draw_workload(world(stream(0), stream(5), service=service), None)
    assert set(drawn.task.tolist()) == set(drawn.input.tolist()) == {-1}
    assert np.all(drawn.service_s > 0.0)
    again = draw_workload(world(stream(5), service=service), None)
    assert of_stream(drawn, 5) == of_stream(again, 5)


def test_columns_have_the_types_of_the_record() -> None:
    drawn = draw_workload(world(stream(0)), POOLS)
    schema = {column.name: column.dtype for column in SCHEMA["requests"]}
    for name in NAMES:
        assert getattr(drawn, name).dtype == schema.get(name, "float64")


def test_digest_names_the_workload() -> None:
    w = world(stream(0), stream(1))
    first = draw_workload(w, POOLS).digest
    assert draw_workload(w, POOLS).digest == first
    assert draw_workload(replace(w, seed=8), POOLS).digest != first
    assert (
        draw_workload(world(stream(0), replace(stream(1), deadline_s=0.3)), POOLS).digest != first
    )


def test_no_emission_is_possible() -> None:
    late = ArrivalSpec("trace", times_s=(9.0,))
    drawn = draw_workload(world(stream(0, late)), POOLS)
    assert len(drawn) == 0
    assert len(drawn.digest) == 64


@pytest.mark.parametrize(
    ("w", "pools", "words"),
    [
        (world(stream(0)), None, "expected a service law"),
        (world(stream(0), stream(0)), POOLS, "ids must be distinct"),
        (world(stream(0)), (5, 0, 3, 1), "expected inputs for each task"),
        (
            world(stream(0, ArrivalSpec("trace", times_s=(1.0,), tasks=(4,)))),
            POOLS,
            "expected tasks below 4, found 4",
        ),
    ],
)
def test_bad_worlds_are_refused(w: World, pools: tuple[int, ...] | None, words: str) -> None:
    with pytest.raises(InputError, match=words):
        draw_workload(w, pools)
