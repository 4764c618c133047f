"""What is no reward is kept from routers: outcome by outcome, and row by row as a last resort."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import inf, nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.hosting.blocks import make_specs
from agents.hosting.feedback import NOBODY, Outcomes, group, refuse, screen, sound
from agents.hosting.inline import InlineExecutor
from agents.hosting.shard import Shard
from sim.arrays import BoolArray, FloatArray, IntArray
from sim.config import PolicySpec
from sim.plans import Merged, Single, uniform
from sim.ports import FeedbackBlock, NewPlan, StepInput
from sim.refusals import Refusal
from tests.agents.hosting.tiny import (
    TINY_ROUTERS,
    E,
    Engine,
    TinyModel,
    V,
    ints,
    load_tiny,
    routers_of,
    served_of,
    step_of,
    tiny_world,
)

NODES = ints([4, 5, 7])
BAD = (nan, inf, -inf, 1e9, -1.0, 1.0000001)
REWARDS = st.sampled_from([0.0, 0.5, 1.0, *BAD])


def outcomes(rows: Sequence[tuple[int, float]]) -> Outcomes:
    row, reward = zip(*rows, strict=True) if rows else ((), ())
    n = len(rows)
    return Outcomes(
        ints(range(n)), ints(row), ints([-1] * n), ints([0] * n), np.array(reward, np.float64)
    )


def test_the_bounds_are_rewards() -> None:
    values = np.array([0.0, 1.0, 0.3, -0.0, *BAD])
    assert sound(values).tolist() == [True] * 4 + [False] * len(BAD)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from([NOBODY, 0, 1, 2]), REWARDS), max_size=20))
def test_refusing_equals_a_walk_over_the_outcomes(rows: list[tuple[int, float]]) -> None:
    kept, refused = refuse(outcomes(rows), NODES)
    good = [i for i, (_, reward) in enumerate(rows) if 0.0 <= reward <= 1.0]
    assert kept.id.tolist() == good
    told = []
    for row, node in enumerate(NODES.tolist()):
        bad = [reward for mine, reward in rows if mine == row and not 0.0 <= reward <= 1.0]
        if bad:
            told.append(repr(Refusal(node, len(bad), bad[-1])))
    assert [repr(r) for r in refused] == told


def feedback(reward: Any, count: Any) -> FeedbackBlock:
    rows = len(reward)
    return FeedbackBlock(
        3, ints(range(rows)), ints([2] * rows), [Single(i) for i in range(rows)],
        np.array(reward, np.float64), np.array(count, np.float64),
    )  # fmt: skip


def test_a_row_that_no_router_may_be_told_is_taken_out() -> None:
    block = feedback([[0.5, 0.0], [0.5, nan], [1.0, 1.0]], [[2, 0], [1, 1], [3, 3]])
    kept, refused = screen(block, NODES)
    assert kept is not None
    assert kept.row.tolist() == [0, 2]
    assert list(kept.plans) == [Single(0), Single(2)]
    assert kept.reward.tolist() == [[0.5, 0.0], [1.0, 1.0]]
    assert kept.count.tolist() == [[2, 0], [3, 3]]
    assert kept.decided.tolist() == [2, 2]
    assert [(r.node, r.count) for r in refused] == [(5, 1)]
    assert np.isnan(refused[0].reward)


@pytest.mark.parametrize("count", [nan, inf, -1.0])
def test_a_count_that_is_none_is_refused_too(count: float) -> None:
    assert screen(feedback([[0.5]], [[count]]), NODES) == (None, [Refusal(4, 1, 0.5)])


def test_good_feedback_passes_untouched() -> None:
    block = group(outcomes([(0, 1.0), (2, 0.0)]), 1, V, {(0, -1): Single(0), (2, -1): Single(0)})
    assert screen(block, NODES) == (block, [])
    assert screen(None, NODES) == (None, [])


# --- in a host


def shard(model: TinyModel | None = None) -> Shard:
    (spec,) = make_specs(tiny_world(), PolicySpec("listener", "listener"), block_size=4)
    made = Shard(spec, model or TinyModel(), TINY_ROUTERS)
    made.step(step_of(0, plans=[NewPlan(node, node, -1, uniform(E)) for node in range(15)]))
    return made


def heard(host: Shard) -> list[FeedbackBlock]:
    return [b for block in host._blocks if block._steering for b in router(block).learned]


def router(block: Any) -> Any:
    return block._steering._router


ROWS = [(i, 1 + i % 2, i, 1 + i % 2, True) for i in range(8)]  # nodes 1 and 2, all audited


def spoiled_step(slot: int, values: Sequence[float], ids: Sequence[int]) -> StepInput:
    return step_of(
        slot, served=served_of(ROWS), feedback=ints(range(8)),
        spoiled=ints(ids), spoiled_reward=np.array(values),
    )  # fmt: skip


def test_a_spoiled_outcome_is_taken_out_and_the_others_are_heard() -> None:
    host, clean = shard(), shard()
    reply = host.step(spoiled_step(1, [nan, 0.5, 1e9], [0, 3, 4]))
    truth = clean.step(step_of(1, served=served_of(ROWS), feedback=ints(range(8))))
    assert reply.correct.tolist() == truth.correct.tolist()
    assert [(r.node, r.count, r.reward) for r in reply.refused] == [(1, 2, 1e9)]
    (block,) = heard(host)
    assert block.count.sum() == 6
    (known,) = heard(clean)
    assert known.count.sum() == 8
    mine = {"table": "drift", "slot": 1, "node": 1, "kind": "refused"}
    assert [dict(row) for row in reply.telemetry if row["kind"] == "refused"] == [mine]
    # request 3 of node 2 counts half
    right = truth.correct.astype(float)
    right[3] = 0.5
    assert (block.reward * block.count).sum() == pytest.approx(right[[1, 2, 3, 5, 6, 7]].sum())


def test_a_block_in_which_all_is_refused_is_told_nothing() -> None:
    host = shard()
    reply = host.step(spoiled_step(1, [nan] * 8, range(8)))
    assert heard(host) == []
    assert [(r.node, r.count) for r in reply.refused] == [(1, 4), (2, 4)]


class Nonsense(TinyModel):
    """Answers with numbers that are no answers."""

    def score_merged(
        self, weights: Sequence[float], inputs: IntArray
    ) -> tuple[BoolArray, FloatArray]:
        right, near = super().score_merged(weights, inputs)
        odd: Any = np.where(inputs % 2 == 0, nan, right.astype(float))
        return odd, near


def test_a_model_that_answers_nonsense_teaches_nobody() -> None:
    host = shard(Nonsense())
    plan = NewPlan(50, 1, 0, Merged((0.4, 0.3, 0.2, 0.1)))
    rows = [(i, 1, i, 50, True) for i in range(6)]
    reply = host.step(step_of(1, plans=[plan], served=served_of(rows), feedback=ints(range(6))))
    assert not reply.correct[::2].any()
    assert [(r.node, r.count) for r in reply.refused] == [(1, 3)]
    (block,) = heard(host)
    assert block.count.sum() == 3


class Spoiling(Engine):
    """The small engine, every third of whose served requests of three nodes comes back spoiled."""

    def spoil(self, step: StepInput) -> StepInput:
        served = step.served
        hit = served.audited & (served.id % 3 == 0) & np.isin(served.node, [1, 5, 9])
        values = np.where(served.id[hit] % 2 == 0, nan, 7.0)
        return replace(step, spoiled=served.id[hit], spoiled_reward=values)


class Between:
    """Spoils what an engine sends to its hosts, and keeps what they refused."""

    def __init__(self, executor: Any, engine: Spoiling, seen: list[Any]) -> None:
        self._executor, self._engine, self.seen = executor, engine, seen

    def start(self, specs: Any) -> list[Any]:
        return [_Handle(handle, self) for handle in self._executor.start(specs)]

    def note(self, slot: int, refused: Any) -> None:
        self.seen += [(slot, r.node, r.count, f"{r.reward:g}") for r in refused]


class _Handle:
    def __init__(self, handle: Any, between: Between) -> None:
        self._handle, self._between = handle, between

    def call(self, method: str, *args: Any) -> Any:
        if method != "step":
            return self._handle.call(method, *args)
        (step,) = args
        future = self._handle.call(method, self._between._engine.spoil(step))
        self._between.note(step.slot, future.result().refused)
        return future


def drive(executor: Any, shards: int) -> tuple[Any, list[Any]]:
    engine, seen = Spoiling(tiny_world()), list[Any]()
    said = engine.drive(Between(executor, engine, seen), shards)  # type: ignore[arg-type]
    return said, sorted(seen)


def test_refusals_do_not_depend_on_the_shards() -> None:
    runs = [
        drive(InlineExecutor(load=load_tiny, routers=TINY_ROUTERS, strict=k == 2), k)
        for k in (1, 2, 3)
    ]
    assert runs[0] == runs[1] == runs[2]
    assert {node for _, node, _, _ in runs[0][1]} == {1, 5, 9}
    assert {reward for *_, reward in runs[0][1]} == {"nan", "7"}


@pytest.mark.ray
def test_ray_refuses_what_inline_refuses() -> None:
    from agents.hosting.ray_actor import RayExecutor

    executor = RayExecutor(load=load_tiny, routers=TINY_ROUTERS)
    try:
        assert drive(executor, 2) == drive(InlineExecutor(load=load_tiny, routers=TINY_ROUTERS), 3)
    finally:
        executor.close()


def test_no_router_of_a_spoiled_engine_hears_anything_odd() -> None:
    executor = InlineExecutor(load=load_tiny, routers=TINY_ROUTERS)
    engine = Spoiling(tiny_world())
    engine.drive(Between(executor, engine, []), 1)  # type: ignore[arg-type]
    blocks = [b for h in engine.handles for r in routers_of(h._handle) for b in r.learned]  # type: ignore[attr-defined]
    assert len(blocks) > 10
    for block in blocks:
        assert ((block.reward >= 0) & (block.reward <= 1)).all()
