"""Worlds with a model: `slots` leaves the same bits as `events`, whoever serves a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.caches import CACHES
from agents.dispatchers import DISPATCHERS
from sim.audits import Audits
from sim.clock import Clock
from sim.compute.cost import CostModel
from sim.config import Batching, FeedbackSpec, ModelSpec, NodeSpec, PolicySpec, StreamSpec, World
from sim.errors import LawViolation
from sim.fast import think
from sim.fast.decide import decide
from sim.fast.facade import Facade
from sim.fast.layout import ASK, BATCH, MASK, MIND, PRICE, REQUEST, USED
from sim.fast.minds import MindFleet
from sim.fast.outcomes import Ended, FastAudits
from sim.fast.state import State
from sim.parts import Parts
from sim.plans import Blend, ByTask, Single, TopK
from sim.ports import Message
from sim.records import Record
from tests.agents.hosting.tiny import TinyModel
from tests.campaign import draws
from tests.campaign.draws import chance, draw, pick
from tests.sim import minds

PLANS = (
    minds.SKEW, minds.OTHER, Single(2), TopK(1), TopK(2), ByTask((0, 1, 3)), Blend(2), Blend(3),
    None,
)  # fmt: skip


def both(world: World, policy: PolicySpec, shards: int = 1) -> tuple[Record, Record]:
    """Run a world on both engines."""

    def play(engine: Any, shards: int) -> Record:
        run = replace(world, engine=engine)
        return minds.run(run, policy, minds.Varied(), block_size=2, shards=shards).record

    return play("events", 1), play("slots", shards)


def assert_same(world: World, policy: PolicySpec, shards: int = 1) -> Record:
    events, slots = both(world, policy, shards)
    for name, table in events.tables.items():
        for column, values in table.items():
            found = slots.tables[name][column]
            assert values.tobytes() == found.tobytes(), f"{name}.{column}"
    assert events.digest == slots.digest
    ignored = {"events", "engine"}
    assert _meta(events, ignored) == _meta(slots, ignored)
    return slots


def _meta(record: Record, ignored: set[str]) -> str:
    return repr({k: v for k, v in record.meta.items() if k not in ignored})


def tame(world: World) -> World:
    """Leave out what `slots` refuses: fair and lossy links."""
    links = [
        replace(x, sharing="fifo" if x.sharing == "fair" else x.sharing, loss=0.0)
        for x in world.links
    ]
    faults = tuple(f for f in world.faults if f.kind != "link-lossy")
    return replace(world, links=tuple(links), faults=faults)


def calm(seed: int) -> tuple[World, PolicySpec]:
    """Draw a world whose nodes keep all experts in memory: most batches are the kernel's."""
    rng = np.random.default_rng([77, seed])
    count = int(rng.integers(1, 5))
    shape, links = draws.wires(rng, count, (1e8, 1e9, np.inf))
    nodes = [_node(rng, number) for number in range(count)]
    plans = {slot: pick(rng, PLANS) for slot in range(16)}
    state = {slot: pick(rng, (0.0, 0.0, 1.5 * minds.MB)) for slot in range(1, 16)}
    architecture = replace(
        minds.ARCHITECTURE,
        kv_bytes=pick(rng, (0.0, 3e4)),
        tokens_per_request=pick(rng, (1.0, 4.0)),
    )
    world = minds.world(
        nodes, draws.streams(rng, count), duration_s=draws.DURATION_S, name=shape, drain_s=600.0,
        slot_s=pick(rng, (0.25, 1.0)), links=links, transport=draws.transport(rng), seed=seed,
        feedback=FeedbackSpec(pick(rng, (0.0, 0.3)), pick(rng, (0.5, 1.0))),
        decision_delay_slots=int(rng.integers(0, 3)), dispatch=draws.dispatch(rng),
        model=ModelSpec("tiny", architecture),
    )  # fmt: skip
    policy = minds.script(plans, flop=pick(rng, (0.0, 1e10)), state_from=state)
    return tame(replace(world, faults=draws.faults(rng, world, over=True))), policy


def _node(rng: np.random.Generator, number: int) -> NodeSpec:
    hardware = minds.chip(
        minds.BACKBONE + minds.MERGED + pick(rng, (4, 12, 40)) * minds.MB,
        flop_per_s=1e12, bytes_per_s=1e12, kernel_s=pick(rng, (0.001, 0.0003)),
        storage_bytes_per_s=pick(rng, (1e7, 1e8, 1e9)),
    )  # fmt: skip
    return minds.node(
        number, hardware=hardware, servers=int(rng.integers(1, 4)), cache="all",
        swap=pick(rng, ("double-buffer", "stop-the-world")), capacity=pick(rng, (20.0, np.inf)),
        batching=draws.batching(rng), setup=draws.setup(rng) if chance(rng, 0.3) else None,
        discipline=pick(rng, ("fifo", "priority")),
        plan=minds.SKEW if chance(rng, 0.3) else None,
    )  # fmt: skip


# --- identity


@pytest.mark.parametrize("seed", [3, 7, 15, 23, 31, 35, 47, 59])
def test_worlds_of_the_campaign_leave_the_same_bits(seed: int) -> None:
    run = draw(seed)
    assert run.policy is not None
    assert_same(tame(run.world), run.policy, 1 + seed % 3)


@pytest.mark.parametrize("seed", range(12))
def test_calm_worlds_leave_the_same_bits(seed: int) -> None:
    world, policy = calm(seed)
    assert_same(world, policy, 1 + seed % 3)


@pytest.mark.slow
def test_many_worlds_leave_the_same_bits() -> None:
    for seed in range(100, 300):
        assert_same(*calm(seed), 1 + seed % 3)
        run = draw(4 * seed + 3)
        assert run.policy is not None
        assert_same(tame(run.world), run.policy, 1 + seed % 3)


def test_judges_experts_and_mail_go_over_the_links() -> None:
    """Messages of all three kinds share the links with requests."""
    mail = {slot: [Message(0, 2, 2e5, "hello"), Message(1, 0, 1e5, "you")] for slot in range(1, 5)}
    policy = minds.script({0: TopK(2), 2: minds.OTHER, 3: TopK(1)}, mail=mail)
    links = [
        replace(draws.link(np.random.default_rng(0), number, ends, "fifo"), loss=0.0, delay_s=0.01)
        for number, ends in enumerate([(0, 1), (1, 0), (1, 2), (2, 1)])
    ]
    nodes = [
        minds.node(0),
        minds.node(1, cache="lru", experts_from=0),
        minds.node(2, 6.5 * minds.MB, cache="lru", experts_from=0),
    ]
    world = minds.world(
        nodes, _streams(3), links=tuple(replace(x, bytes_per_s=1e8) for x in links),
        feedback=FeedbackSpec(0.05, 0.7, via=0, up_bytes=1e4, down_bytes=1e2),
    )  # fmt: skip
    record = assert_same(world, policy)
    assert record.meta["audits"]["heard"] > 20
    assert len(record.tables["residency"]["t_s"]) > 20
    assert (record.tables["decisions"]["moved_bytes"] > 0.0).any()


def _streams(count: int, rate: float = 20.0) -> list[StreamSpec]:
    return [replace(minds.poisson(rate, at), up_bytes=1e4, down_bytes=1e3) for at in range(count)]


# --- who serves


@pytest.fixture
def by_python(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the batches that Python starts and ends."""
    seen: Counter[str] = Counter()
    for name in ("_start_batch", "_end"):
        step = getattr(Facade, name)

        def counted(self: Facade, *args: Any, name: str = name, step: Any = step) -> None:
            seen[name] += 1
            step(self, *args)

        monkeypatch.setattr(Facade, name, counted)
    return seen


@pytest.mark.parametrize("plan", [minds.SKEW, TopK(2), Blend(2), Single(1)])
def test_a_calm_node_asks_once_for_every_size(plan: Any, by_python: Counter[str]) -> None:
    node = minds.node(0, plan=plan, servers=2, batching=Batching(4))
    world = minds.world([node], [minds.poisson(400.0)])
    record = assert_same(world, minds.script())
    sizes = np.unique(record.tables["requests"]["batch_size"])
    assert len(record.tables["requests"]["id"]) > 1500
    assert by_python["_start_batch"] <= len(sizes) + 1
    assert by_python["_end"] == 0


def test_a_cache_that_evicts_is_left_to_python(by_python: Counter[str]) -> None:
    node = minds.node(0, 6.5 * minds.MB, plan=TopK(2), cache="lru")
    record = assert_same(minds.world([node], [minds.poisson(10.0)]), minds.script())
    served = int((record.tables["requests"]["plan"] >= 0).sum())
    assert by_python["_start_batch"] == by_python["_end"] == served > 20


def test_memory_full_drops_who_cannot_fit() -> None:
    room = minds.BACKBONE + minds.MERGED + minds.WORKING
    node = minds.node(0, room, servers=3, batching=Batching(8))
    state = {slot: (0.0, 0.05 * minds.MB)[slot % 2] for slot in range(5)}
    with pytest.raises(Exception, match="does not fit beside one request"):
        both(minds.world([node], [minds.poisson(50.0)]), minds.script(state_from=state))
    record = assert_same(minds.world([node], [minds.poisson(50.0)]), minds.script())
    assert record.tables["requests"]["batch_size"].max() == 1  # no more fit


def test_a_node_that_holds_more_than_it_has_breaks_a_law(monkeypatch: pytest.MonkeyPatch) -> None:
    def stuff(self: MindFleet, slot: int, now_s: float) -> None:
        if slot == 1:
            self.state.used["bytes"][1] = 1e12  # while a batch runs

    monkeypatch.setattr(MindFleet, "_decide", stuff)
    world = minds.world([minds.node(0)], [minds.timed([0.999])], engine="slots")
    with pytest.raises(LawViolation, match=r"L3 memory: node 0 at t=1\.007"):
        minds.run(world, minds.script())


# --- parts of kernels and their twins


@given(st.lists(st.floats(0.0, 1e12), min_size=7, max_size=7))
@settings(max_examples=50)
def test_memory_adds_up_as_sum_does(sizes: list[float]) -> None:
    state = State()
    used = np.zeros(7, USED)
    used["bytes"] = sizes
    state.put("used", used)
    assert think.total_bytes(state.facts, 0) == sum(sizes)


def test_lost_bits_are_those_of_a_compensated_sum() -> None:
    """From Python 3.12 on, `sum` keeps what rounding takes (Neumaier): 1 + 1e100 + 1 - 1e100."""
    total = rest = 0.0
    for value in (1.0, 1e100, 1.0, -1e100):
        rest += think._lost_bits(total, value, total + value)
        total += value
    assert (total, total + rest) == (0.0, 2.0)


@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_layers_cost_what_the_cost_model_says(seed: int, size: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    masks = rng.integers(1, 16, (20, 2))
    cost = CostModel(minds.ARCHITECTURE, TinyModel().card, minds.chip(kernel_s=0.001))
    union = np.bitwise_or.reduce(masks[:size], axis=0)
    wanted = cost.gated(size, k, [int(m).bit_count() for m in union])
    state = _batch_of(size, masks, [cost.gated(size, k, (d, d)) for d in range(1, 5)])
    assert think._service_s(state.facts, 0, 0, 0) == wanted.service_s


def _batch_of(size: int, masks: np.ndarray, prices: Sequence[Any]) -> State:
    state = State()
    requests, batch = np.zeros(size, REQUEST), np.zeros(1, BATCH)
    requests["id"], requests["mate"] = np.arange(size), [*range(1, size), -1]
    table, mask = np.zeros(5, PRICE), np.zeros(masks.size, MASK)
    table["value"] = [prices[0].flop, *(price.per_layer_s[0] for price in prices)]
    mask["experts"] = masks.ravel()
    asks = np.zeros(size, ASK)
    asks["input"] = np.arange(size)
    for name, array in (
        ("requests", requests), ("batches", batch), ("prices", table), ("masks", mask),
        ("asks", asks), ("minds", np.zeros(1, MIND)),
    ):  # fmt: skip
        state.put(name, array)
    state.facts["layers"] = masks.shape[1]
    return state


@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.5]))
@settings(max_examples=30)
def test_audits_of_many_are_those_of_each(seed: int, delay_s: float) -> None:
    """Muted and spoiled nodes come and go; both hear of the same, each once."""
    rng = np.random.default_rng(seed)
    drawn, listens = (rng.random(60) < 0.6).tolist(), [True, True, False]
    each, many = (
        kind(FeedbackSpec(delay_s, 0.6), drawn, listens, Clock(), lambda _: 0)
        for kind in (Audits, FastAudits)
    )
    assert isinstance(many, FastAudits)
    first = 0
    for step in range(6):
        ids = np.arange(first, first + 10)
        first += 10
        ended = Ended(ids, rng.integers(0, 3, 10), np.sort(rng.choice(np.arange(5) / 4, 10)) + step)
        for rid, node, t_s in zip(*(column.tolist() for column in ended), strict=True):
            each.served(node, [rid], t_s)
        many.served_all(ended)
        for audits in (each, many):
            _change(audits, step)
        now_s = step + 0.75
        assert sorted(each.collect(now_s)) == sorted(many.collect(now_s))
        assert sorted(each.collect_lost()) == sorted(many.collect_lost())
        assert sorted(each.collect_spoiled()) == sorted(many.collect_spoiled())
    assert sorted(each.collect(99.0)) == sorted(many.collect(99.0))
    assert each.counts == many.counts


def _change(audits: Audits, step: int) -> None:
    if step == 1:
        audits.mute(0)
        audits.spoil(1, 5.0)
        audits.spoil(1, 7.0)
    if step == 3:
        audits.unmute(0)
        audits.unspoil(1, 7.0)


# --- who is asked to run it


def test_auto_leaves_streamed_experts_to_events() -> None:
    """A cache that evicts is Python's in both engines, and events have less to carry over."""
    node = minds.node(0, plan=TopK(1), cache="lru")
    world = minds.world([node], [minds.poisson(1e6)], duration_s=1.0, engine="auto")
    parts = Parts(DISPATCHERS.load, CACHES.load, [], [0], None)
    decision = decide(world, parts, world.dispatch)
    assert decision.engine == "events"
    assert decision.why == "nodes.0 streams experts (cache: lru), which events do faster"
    kept = replace(world, nodes=(replace(node, cache="all"),))
    assert "streams" not in decide(kept, parts, world.dispatch).why
    asked = decide(replace(world, engine="slots"), parts, world.dispatch)
    assert asked.engine == "slots"
