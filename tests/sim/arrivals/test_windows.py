"""Windows are slices of the workload, bit for bit, whatever is drawn and however it is cut."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.arrivals.drawn import NONE, Fingerprint
from sim.arrivals.emission import cumulative, emit, expected, pieces
from sim.arrivals.windows import Windows, expected_requests
from sim.arrivals.workload import draw_workload
from sim.config import ArrivalSpec, DriftSpec, MixSpec, ServiceSpec, StreamSpec, World
from sim.errors import InputError
from sim.rng import Streams
from tests.sim.arrivals.test_workload import ARRIVALS, NODE, POOLS

NAN = float("nan")
GRID = tuple(0.5 * (i // 3) for i in range(48))  # many emissions at once, in several streams
TOLD = ArrivalSpec(
    "trace",
    times_s=GRID,
    tasks=tuple(i % 5 - 1 for i in range(48)),
    up_bytes=tuple(NAN if i % 2 else float(i) for i in range(48)),
    priorities=tuple(None if i % 3 else i for i in range(48)),
    deadlines_s=tuple(NAN if i % 4 else 0.5 + i for i in range(48)),
)
SERVED = replace(TOLD, services_s=tuple(NAN if i % 5 else 0.1 * i + 1.0 for i in range(48)))
KINDS = (
    *ARRIVALS,
    ArrivalSpec("deterministic", 2.0),
    ArrivalSpec("profile", profile=((2.0, 9.0),)),
)
DRIFTS = (
    DriftSpec("switch", 3.0, weights=(0.0, 1.0, 0.0, 1.0)),
    DriftSpec("gradual", 1.0, over_s=4.0, weights=(1.0, 1.0, 1.0, 1.0)),
    DriftSpec("recurring", 2.0, every_s=0.7, weights=(0.0, 0.0, 0.0, 1.0)),
    DriftSpec("new-task", 2.0, share=0.3),
)
LAWS = tuple(
    ServiceSpec(kind, 0.1, cv)  # type: ignore[arg-type]
    for kind, cv in (
        ("exponential", 1.0), ("deterministic", 0.0), ("lognormal", 2.0), ("erlang", 0.6),
        ("hyperexponential", 2.0),
    )
)  # fmt: skip


SIZES = ("fixed", "exponential", "lognormal")


def specs(served: bool) -> st.SearchStrategy[list[StreamSpec]]:
    """Return lists of streams of all sorts; `served`: with service times, without a model."""
    traces = (SERVED, TOLD) if served else (TOLD,)
    one = st.builds(
        StreamSpec,
        id=st.just(0), name=st.just("s"), node=st.integers(0, 2),
        arrivals=st.sampled_from((*KINDS, *traces)),
        mix=st.just(MixSpec("explicit", (0.5, 0.5, 0.0, 0.0))),
        drift=st.lists(st.sampled_from(DRIFTS), max_size=1).map(tuple),
        deadline_s=st.sampled_from((np.inf, 0.5)), late=st.sampled_from(("serve", "drop")),
        up_bytes=st.sampled_from((0.0, 100.0)), down_bytes=st.just(7.0),
        priority=st.integers(-1, 1), size_law=st.sampled_from(SIZES),
        service=st.sampled_from((None, *LAWS) if served else (None,)),
        patience=st.sampled_from((None, *LAWS)),
    )  # fmt: skip
    some = st.lists(one, min_size=1, max_size=4)
    return some.map(lambda found: [replace(s, id=3 * i) for i, s in enumerate(found)])


def world(streams: list[StreamSpec], service: ServiceSpec | None, seed: int = 3) -> World:
    return World("w", seed, 8.0, 1.0, 1.0, (NODE,), (), tuple(streams), service=service)


def check(w: World, pools: tuple[int, ...] | None, target: int, batch: int) -> None:
    whole, windows = draw_workload(w, pools), Windows(w, pools, target, batch)
    reached = 0
    for window in windows:
        assert (window.first, 0 < len(window) <= target) == (reached, True)
        for name in NONE:
            part, expected = getattr(window, name), getattr(whole, name)
            rows = slice(reached, reached + len(window))
            assert part.dtype == expected.dtype
            assert part.tobytes() == expected[rows].tobytes(), name
        reached += len(window)
    assert reached == len(whole) == windows.drawn
    assert windows.digest == whole.digest


@settings(max_examples=40, deadline=None)
@given(
    streams=specs(served=True), seed=st.integers(0, 99), batch=st.sampled_from((1, 5, 40)),
    target=st.sampled_from((1, 7, 64)), law=st.sampled_from(LAWS),
)  # fmt: skip
def test_windows_without_a_model(
    streams: list[StreamSpec], seed: int, batch: int, target: int, law: ServiceSpec
) -> None:
    check(world(streams, law, seed), None, target, batch)


@settings(max_examples=25, deadline=None)
@given(
    streams=specs(served=False), seed=st.integers(0, 99), batch=st.sampled_from((1, 40)),
    target=st.sampled_from((7, 64)),
)  # fmt: skip
def test_windows_with_a_model(
    streams: list[StreamSpec], seed: int, batch: int, target: int
) -> None:
    check(world(streams, None, seed), POOLS, target, batch)


def test_many_batches_of_long_streams() -> None:
    """Chunks of every size take part: 70 000 draws of one stream, pieces of 256."""
    stream = StreamSpec(1, "s", 0, ArrivalSpec("poisson", 9000.0), MixSpec("uniform"))
    other = replace(stream, id=2, arrivals=ArrivalSpec("diurnal", 200.0, amplitude=0.5, period_s=3))
    check(world([stream, other], LAWS[0]), None, 4096, 8192)


@pytest.mark.parametrize("spec", [*KINDS, TOLD], ids=lambda spec: spec.kind)
@pytest.mark.parametrize("most", [1, 100])
def test_pieces_make_the_whole(spec: ArrivalSpec, most: int) -> None:
    times, _ = emit(spec, 8.0, Streams(5).stream("arrivals", 0))
    found = list(pieces(spec, 8.0, Streams(5).stream("arrivals", 0), most))
    assert np.concatenate(found).tobytes() == times.tobytes()
    assert spec.kind == "trace" or max(map(len, found)) <= most


@pytest.mark.parametrize("spec", [*KINDS, TOLD], ids=lambda spec: spec.kind)
def test_expected_counts_add_up(spec: ArrivalSpec) -> None:
    at = np.array([0.0, 0.7, 3.0, 8.0])
    one_by_one = [expected(spec, 0.0, t) for t in at.tolist()]
    assert cumulative(spec, at) == pytest.approx(one_by_one)


def test_expected_requests_are_those_of_all_streams() -> None:
    rate, told = ArrivalSpec("poisson", 20.0), TOLD
    streams = [
        StreamSpec(i, "s", 0, spec, MixSpec("uniform")) for i, spec in enumerate((rate, told, rate))
    ]
    assert expected_requests(world(streams, LAWS[0])) == 2 * 160.0 + 48.0


def test_nothing_is_emitted() -> None:
    late = StreamSpec(0, "s", 0, ArrivalSpec("trace", times_s=(9.0,)), MixSpec("uniform"))
    windows = Windows(world([late], LAWS[0]), None)
    assert list(windows) == []
    assert windows.digest == draw_workload(world([late], LAWS[0]), None).digest


def test_bad_worlds_are_refused_before_anything_is_drawn() -> None:
    twice = [StreamSpec(0, "s", 0, KINDS[0], MixSpec("uniform"))] * 2
    with pytest.raises(InputError, match="ids must be distinct"):
        Windows(world(twice, LAWS[0]), None)
    with pytest.raises(InputError, match=r"arrivals.rate_per_s: expected > 0"):
        Windows(world([replace(twice[0], arrivals=ArrivalSpec("poisson", 0.0))], LAWS[0]), None)


# --- the digest -----------------------------------------------------------------------------------


def fingerprint(*blocks: Any, dtype: str = "f8") -> str:
    found = Fingerprint()
    for block in blocks:
        found.feed({"x": np.array(block, dtype=dtype)})
    return found.hexdigest()


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.sampled_from((0.0, -0.0, 1.0, NAN)), min_size=1, max_size=12),
    cuts=st.lists(st.integers(0, 12), max_size=4),
)
def test_a_digest_does_not_depend_on_the_blocks(values: list[float], cuts: list[int]) -> None:
    parts = np.split(np.array(values), sorted(cuts))
    assert fingerprint(*parts) == fingerprint(values)


def test_a_digest_tells_columns_apart() -> None:
    different = [
        fingerprint([1.0, 1.0]), fingerprint([1.0, 1.0, 1.0]), fingerprint([2.0, 2.0]),
        fingerprint([1.0, 2.0]), fingerprint([2.0, 1.0]), fingerprint([0.0]), fingerprint([-0.0]),
        fingerprint([1, 1], dtype="i8"), fingerprint([1, 1], dtype="i4"), fingerprint([]),
    ]  # fmt: skip
    assert len(set(different)) == len(different)
