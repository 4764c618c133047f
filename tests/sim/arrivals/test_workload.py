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
    ArrivalSpec("mmpp", rates_per_s=(2.0, 30.0), stays_s=(1.0, 0.5)),
    ArrivalSpec("diurnal", 20.0, amplitude=1.0, period_s=3.0),
    ArrivalSpec("hawkes", 10.0, branching=0.5, decay_s=0.1),
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


SERVICE = ServiceSpec("exponential", 0.3)
CHANGES: list[tuple[dict[str, Any], set[str]]] = [
    ({"service": ServiceSpec("erlang", 0.1, 0.5)}, {"service_s"}),
    ({"service": ServiceSpec("hyperexponential", 0.3, 3.0)}, {"service_s"}),
    ({"patience": ServiceSpec("exponential", 0.5)}, {"patience_s"}),
    ({"size_law": "exponential"}, {"up_bytes", "down_bytes"}),
    ({"size_law": "lognormal", "size_cv": 2.0}, {"up_bytes", "down_bytes"}),
    ({"late": "drop"}, {"expires_s"}),
    ({"late": "drop", "deadline_s": 0.4}, {"expires_s", "deadline_s"}),
    ({"priority": 7}, {"priority"}),
]


@pytest.mark.parametrize(("change", "columns"), CHANGES)
def test_one_law_changes_its_own_columns_of_its_own_stream(
    change: dict[str, Any], columns: set[str]
) -> None:
    w = world(stream(0), stream(5), service=SERVICE)
    other = replace(w, streams=(stream(0), replace(stream(5), **change)))
    first, second = draw_workload(w, None), draw_workload(other, None)
    assert of_stream(first, 0) == of_stream(second, 0)
    before, after = of_stream(first, 5), of_stream(second, 5)
    assert {name for name in NAMES if before[name] != after[name]} == columns


def test_a_stream_may_have_a_service_law_and_patience_of_its_own() -> None:
    own = replace(stream(1), service=ServiceSpec("deterministic", 0.05), patience=SERVICE)
    drawn = draw_workload(replace(world(stream(0), own, service=SERVICE), duration_s=900.0), None)
    mine = drawn.stream == 1
    assert set(drawn.service_s[mine].tolist()) == {0.05}
    assert stats.kstest(drawn.service_s[~mine], "expon", args=(0, 0.3)).pvalue > 1e-3
    assert stats.kstest(drawn.patience_s[mine], "expon", args=(0, 0.3)).pvalue > 1e-3
    assert np.isinf(drawn.patience_s[~mine]).all()
    both = np.corrcoef(
        drawn.service_s[~mine][: mine.sum()], drawn.patience_s[mine][: (~mine).sum()]
    )
    assert abs(both[0, 1]) < 4.5 / np.sqrt(mine.sum())


def test_patience_has_luck_of_its_own() -> None:
    one = world(replace(stream(1), patience=SERVICE), service=SERVICE)
    drawn = draw_workload(replace(one, duration_s=100.0), None)
    assert len(drawn) > 1500
    alike = np.corrcoef(drawn.service_s, drawn.patience_s)[0, 1]
    assert abs(alike) < 4.5 / np.sqrt(len(drawn))


def test_late_requests_expire_at_their_deadline_where_streams_drop_them() -> None:
    drawn = draw_workload(world(stream(0), replace(stream(1), late="drop")), POOLS)
    mine = drawn.stream == 1
    assert (drawn.expires_s[mine] == drawn.t_emit_s[mine] + 0.2).all()
    assert np.isinf(drawn.expires_s[~mine]).all()


TOLD = ArrivalSpec(
    "trace",
    times_s=(2.0, 1.0, 9.0),
    up_bytes=(10.0, float("nan"), 1.0),
    down_bytes=(0.0, 5.0, 1.0),
    services_s=(0.7, float("nan"), 1.0),
    priorities=(None, -4, 1),
    deadlines_s=(float("nan"), 3.0, 1.0),
)


def test_what_a_trace_says_stands_in_place_of_its_stream() -> None:
    law = ServiceSpec("deterministic", 0.05)
    drawn = draw_workload(world(replace(stream(2, TOLD), late="drop"), service=law), None)
    assert drawn.t_emit_s.tolist() == [1.0, 2.0]
    assert drawn.up_bytes.tolist() == [2048.0, 10.0]
    assert drawn.down_bytes.tolist() == [5.0, 0.0]
    assert drawn.service_s.tolist() == [0.05, 0.7]
    assert drawn.priority.tolist() == [-4, 2]
    assert drawn.deadline_s.tolist() == [3.0, 0.2]
    assert drawn.expires_s.tolist() == [4.0, 2.2]


def test_what_a_trace_says_moves_no_draw() -> None:
    """Rows that say nothing keep the sizes and service times that they had."""
    times = tuple(np.linspace(0.1, 7.9, 40).tolist())
    silent = tuple([float("nan")] * 39 + [3.0])
    plain = replace(stream(2, ArrivalSpec("trace", times_s=times)), size_law="exponential")
    told = replace(plain, arrivals=replace(plain.arrivals, up_bytes=silent, services_s=silent))
    first, second = (draw_workload(world(s, service=SERVICE), None) for s in (plain, told))
    for name in ("up_bytes", "down_bytes", "service_s"):
        assert getattr(first, name)[:39].tolist() == getattr(second, name)[:39].tolist()
    assert second.up_bytes[39] == second.service_s[39] == 3.0


def test_columns_have_the_types_of_the_record() -> None:
    sized = replace(TOLD, services_s=())
    drawn = draw_workload(world(stream(0), stream(1, sized)), POOLS)
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
        (world(stream(0, TOLD)), POOLS, "s0.arrivals.services_s: expected none with a model"),
        (
            world(stream(0, replace(TOLD, up_bytes=(1.0,))), service=SERVICE),
            None,
            "arrivals.up_bytes: expected none or 3, one per time, found 1",
        ),
        (
            world(stream(0, replace(TOLD, down_bytes=(1.0, -1.0, 0.0))), service=SERVICE),
            None,
            "arrivals.down_bytes: expected finite numbers >= 0, found -1",
        ),
        (
            world(stream(0, replace(TOLD, down_bytes=(1.0, float("inf"), 0.0))), service=SERVICE),
            None,
            "arrivals.down_bytes: expected finite numbers >= 0, found inf",
        ),
        (
            world(stream(0, replace(TOLD, services_s=(1.0, 0.0, 0.0))), service=SERVICE),
            None,
            "arrivals.services_s: expected finite numbers > 0, found 0",
        ),
    ],
)
def test_bad_worlds_are_refused(w: World, pools: tuple[int, ...] | None, words: str) -> None:
    with pytest.raises(InputError, match=words):
        draw_workload(w, pools)
