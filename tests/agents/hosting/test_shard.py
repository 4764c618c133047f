from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from agents.hosting.blocks import make_specs
from agents.hosting.inline import InlineExecutor
from agents.hosting.shard import Shard
from sim.config import PolicySpec
from sim.errors import HostError, InputError
from sim.plans import Blend, ByTask, Merged, Single, TopK, limited, uniform
from sim.ports import NewPlan
from tests.agents.hosting.tiny import (
    TINY_ROUTERS,
    E,
    Engine,
    M,
    TinyModel,
    V,
    ints,
    load_tiny,
    routers_of,
    served_of,
    step_of,
    tiny_world,
)

W = Merged((0.4, 0.3, 0.2, 0.1))
KINDS = {type(None), TopK, Single, Merged, ByTask, Blend}


@pytest.fixture
def make() -> Callable[..., Shard]:
    def build(kind: str = "listener", model: TinyModel | None = None, **params: Any) -> Shard:
        policy = PolicySpec(kind, kind, params)
        (spec,) = make_specs(tiny_world(), policy, block_size=4)
        return Shard(spec, model or TinyModel(), TINY_ROUTERS)

    return build


def start_plans() -> list[NewPlan]:
    return [NewPlan(node, node, -1, uniform(E)) for node in range(15)]


def router(shard: Shard, block: int) -> Any:
    steering = shard._blocks[block]._steering
    assert steering is not None
    return steering._router


@pytest.mark.parametrize("kind", ["listener", "peeker"])
def test_the_replies_do_not_depend_on_the_shards(kind: str) -> None:
    one, two, three = (
        Engine(tiny_world()).drive(
            InlineExecutor(load=load_tiny, routers=TINY_ROUTERS), shards, kind
        )
        for shards in (1, 2, 3)
    )
    assert len(one.correct) > 1000
    assert {type(d.plan) for _, d in one.decisions} == KINDS
    assert any(d.plan is not None and limited(d.plan) for _, d in one.decisions)
    assert one.telemetry
    assert one == two == three


def test_the_moody_model_shows_a_wrong_grouping() -> None:
    """The invariance test can fail: inputs scored together get other answers than apart."""
    model = TinyModel(moody=True)
    whole = model.score_merged(W.weights, np.arange(8))[0]
    halves = [model.score_merged(W.weights, np.arange(4) + 4 * i)[0] for i in range(2)]
    assert whole.tolist() != np.concatenate(halves).tolist()


def test_requests_are_scored_by_plan_all_nodes_of_a_block_together(
    make: Callable[..., Shard],
) -> None:
    model = TinyModel(moody=True)
    shard = make(model=model)
    plans = [NewPlan(20, 0, 0, W), NewPlan(21, 1, 0, W), NewPlan(22, 3, -1, TopK(2))]
    rows = [
        (1, 1, 9, 21, False), (2, 0, 8, 20, False), (3, 3, 7, 22, False), (4, 0, 6, 20, False),
    ]  # fmt: skip
    reply = shard.step(step_of(1, plans=plans, served=served_of(rows)))
    twin = TinyModel(moody=True)
    six, eight, nine = twin.score_merged(W.weights, ints([6, 8, 9]))[0].tolist()
    gated = twin.profile(TopK(2)).correct[[7]].tolist()
    assert reply.correct.tolist() == [nine, eight, gated[0], six]


def test_a_router_hears_what_is_due_and_sees_what_was_served(make: Callable[..., Shard]) -> None:
    model = TinyModel()
    shard = make(model=model)
    rows = [(1, 4, 10, 4, True), (2, 6, 11, 6, True), (3, 4, 40, 4, False), (4, 4, 10, 4, True)]
    served = served_of(rows)
    first = shard.step(step_of(1, plans=start_plans(), served=served, feedback=ints([2])))
    second = shard.step(step_of(2, feedback=ints([1, 4])))
    told = router(shard, 1).learned
    assert [feedback.slot for feedback in told] == [1, 2]
    assert told[0].row.tolist() == [2]  # node 6 is the third of nodes 4, 5, 6
    assert told[1].row.tolist() == [0]
    assert told[1].decided.tolist() == [-1]
    assert told[1].plans == (uniform(E),)
    assert told[1].count[0, model.cluster_of[10]] == 2.0
    assert told[1].reward[0, model.cluster_of[10]] == float(first.correct[0])
    assert second.correct.shape == (0,)
    counts = router(shard, 1).seen[0].counts
    expected = np.zeros((3, V))
    for _, node, item, _, _ in rows:
        expected[{4: 0, 6: 2}[node], model.cluster_of[item]] += 1.0
    assert counts.tolist() == expected.tolist()
    assert not router(shard, 1).seen[1].counts.any()


def test_fixed_nodes_get_no_decision_and_their_feedback_reaches_nobody(
    make: Callable[..., Shard],
) -> None:
    shard = make()
    step = step_of(
        1, plans=[NewPlan(3, 3, -1, TopK(2))], served=served_of([(1, 3, 5, 3, True)]),
        feedback=ints([1]),
    )  # fmt: skip
    reply = shard.step(step)
    assert router(shard, 0).learned == []
    assert [d.node for d in reply.decisions] == [n for n in range(15) if n not in (3, 7, 11)]
    with pytest.raises(HostError, match="feedback is due for 1 requests, but only 0"):
        shard.step(step_of(2, feedback=ints([1])))  # answered before


def test_a_node_that_is_down_decides_nothing(make: Callable[..., Shard]) -> None:
    reply = make().step(step_of(active=ints([0, 2, 12])))
    assert [decision.node for decision in reply.decisions] == [0, 2, 12]


def test_a_restart_is_told_and_what_was_pending_is_forgotten(make: Callable[..., Shard]) -> None:
    shard = make()
    served = served_of([(1, 4, 10, 4, True), (2, 5, 10, 5, True)])
    shard.step(step_of(1, plans=start_plans(), served=served))
    shard.step(step_of(2, reset=ints([4]), feedback=ints([1, 2])))
    heard = router(shard, 1)
    assert heard.seen[1].reset.tolist() == [True, False, False]
    assert [feedback.row.tolist() for feedback in heard.learned] == [[1]]


def test_the_true_mix_reaches_declared_oracles_only(make: Callable[..., Shard]) -> None:
    mix = np.random.default_rng(1).dirichlet(np.ones(M), 16)
    for kind in ("listener", "peeker"):
        shard = make(kind)
        shard.step(step_of(true_mix=mix))
        seen, setup = router(shard, 1).seen[0].true_mix, router(shard, 1).setup
        if kind == "listener":
            assert seen is None
            assert setup.oracle is None
        else:
            assert seen.tolist() == mix[4:7].tolist()
            assert setup.oracle is not None


def test_an_oracle_router_needs_an_oracle_table(make: Callable[..., Shard]) -> None:
    with pytest.raises(InputError, match="router 'peeker' is an oracle, but checkpoint 'moody'"):
        make("peeker", TinyModel(table=False))


def test_the_estimate_is_carried_over_to_tasks(make: Callable[..., Shard]) -> None:
    model = TinyModel()
    served = served_of([(1, 4, 10, 4, False)])
    reply = make(model=model).step(step_of(1, plans=start_plans(), served=served))
    mix = np.full(V, 0.5)
    mix[model.cluster_of[10]] += 1.0
    tasks = mix @ model.cluster_to_task
    (decision,) = [d for d in reply.decisions if d.node == 4]
    assert decision.task_mix == pytest.approx(tuple(tasks / tasks.sum()))
    assert sum(decision.task_mix or ()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("nan", r"router 'broken', slot 0: flop of node 1 is nan"),
        ("mix", r"router 'broken', slot 0: mix of node 0 is \[inf"),
        ("short", r"2 plans for 3 nodes"),
        ("tags", r"tags='task'\) reads true tasks; declare `oracle = True`"),
        ("kinds", r"ByTask\(experts=\(0, 0, 0, 0\).* does not fit 4 experts"),
        ("expert", r"Single\(expert=4\) does not fit 4 experts"),
        ("telemetry", r"telemetry row .*'node': 999"),
    ],
)
def test_nonsense_from_a_router_never_leaves(
    make: Callable[..., Shard], how: str, said: str
) -> None:
    with pytest.raises(HostError, match=said):
        make("broken", how=how).step(step_of())


def test_a_fixed_plan_by_true_tasks_is_refused_and_an_oracle_may_have_it(
    make: Callable[..., Shard],
) -> None:
    tagged = ByTask((0, 1, 2), "task")
    for kind in ("listener", "peeker"):
        with pytest.raises(HostError, match=r"node 3: fixed plan .* reads true tasks"):
            make(kind).step(step_of(plans=[NewPlan(0, 3, -1, tagged)]))
    make("peeker").step(step_of(plans=[NewPlan(0, 4, 2, tagged)]))


def test_a_plan_with_a_capacity_is_scored_by_real_batches(make: Callable[..., Shard]) -> None:
    model, plan = TinyModel(), TopK(1, capacity=1.25)
    plans = [NewPlan(20, 0, 0, plan), NewPlan(21, 1, 0, plan)]
    rows = [(1, 0, 9, 20, False), (2, 1, 8, 21, False), (3, 0, 7, 20, False), (4, 0, 6, 20, False)]
    served = replace(served_of(rows), batch=ints([5, 6, 7, 5]))
    reply = make(model=model).step(step_of(1, plans=plans, served=served))
    asked = [inputs for name, (_, inputs) in model.calls if name == "score_batch"]
    assert asked == [[9, 6], [7], [8]]
    twin = TinyModel()
    pair, alone, other = (twin.score_batch(plan, ints(inputs)).tolist() for inputs in asked)
    assert reply.correct.tolist() == [pair[0], other[0], alone[0], pair[1]]


def test_foreign_nodes_and_unknown_feedback_are_refused(make: Callable[..., Shard]) -> None:
    with pytest.raises(HostError, match="shard 0 was sent node 15, which it does not host"):
        make().step(step_of(plans=[NewPlan(0, 15, -1, W)]))
    served = served_of([(1, 4, 10, 4, False), (2, 4, 10, 4, True)])
    shard = make()
    shard.step(step_of(1, plans=start_plans(), served=served, feedback=ints([2])))
    for due in (1, 2):  # never audited; answered before
        with pytest.raises(HostError, match="feedback is due for 1 requests, but only 0"):
            shard.step(step_of(2, feedback=ints([due])))


def test_one_decision_is_one_plan(make: Callable[..., Shard]) -> None:
    plans = [NewPlan(1, 0, 2, W), NewPlan(2, 0, 2, W)]
    make().step(step_of(plans=plans))
    with pytest.raises(HostError, match="node 0, decision of slot 2: registered as"):
        make().step(step_of(plans=[plans[0], replace(plans[1], plan=Single(0))]))


def test_card_and_profiles_come_from_the_model_and_profiles_only_once(
    make: Callable[..., Shard],
) -> None:
    model = TinyModel()
    shard = make(model=model)
    assert shard.describe() == model.card
    assert shard.profile(TopK(1)) is shard.profile(TopK(1))
    assert model.calls == [("profile", TopK(1))]


def test_hosts_share_routers_with_nobody() -> None:
    executor = InlineExecutor(load=load_tiny, routers=TINY_ROUTERS)
    specs = make_specs(tiny_world(), PolicySpec("still", "s"), shards=2, block_size=4)
    routers = [r for handle in executor.start(specs) for r in routers_of(handle)]
    assert [r.setup.block for r in routers] == [0, 2, 1, 3]
    assert routers[0].setup.nodes.tolist() == [0, 1, 2]


def test_a_router_that_estimates_pays_for_its_monitor(make: Callable[..., Shard]) -> None:
    model = TinyModel()
    served = served_of([(1, 4, 10, 4, False), (2, 4, 11, 4, False), (3, 6, 40, 6, False)])
    shard = make(model=model)
    reply = shard.step(step_of(1, plans=start_plans(), served=served))
    # the listener says FLOP x and x + 1 bytes; the difference is what the host adds
    added = {d.node: d.flop - (d.read_bytes - 1.0) for d in reply.decisions}
    one = model.card.d_model * (2.0 * model.card.tokens + 3.0 * V)
    assert one > 0.0
    assert {node: flop for node, flop in added.items() if flop} == {4: 2 * one, 6: one}
