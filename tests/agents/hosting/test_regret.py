from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pytest

from agents.hosting.blocks import make_specs
from agents.hosting.regret import CHEAP, sample_uniform, table_rewards
from agents.hosting.shard import Shard
from sim.config import PolicySpec
from sim.plans import Merged, Plan, Single, TopK, merge_weights, uniform
from sim.ports import AssessReply, NewPlan
from tests.agents.hosting.tiny import (
    TINY_ROUTERS,
    E,
    M,
    TinyModel,
    query_of,
    served_of,
    step_of,
    tiny_world,
)

Request = tuple[int, int, int, int]  # slot, node, plan id, task


def shard_with(plans: Iterable[Plan], sample: float = 0.5, model: TinyModel | None = None) -> Shard:
    """Return a shard that knows plan i of node 0..3 as its plan i."""
    policy = PolicySpec("still", "still")
    (spec,) = make_specs(tiny_world(sample=sample), policy, block_size=4)
    shard = Shard(spec, model or TinyModel(), TINY_ROUTERS)
    known = [NewPlan(i, i % 4, i, plan) for i, plan in enumerate(plans)]
    shard.step(step_of(plans=known))
    return shard


def merges(count: int) -> list[Plan]:
    rng = np.random.default_rng(2)
    return [Merged(tuple(rng.dirichlet(np.ones(E)).tolist())) for _ in range(count)]


def brute(requests: list[Request], plans: list[Plan]) -> dict[tuple[int, int], tuple[float, float]]:
    """Measure each node-slot by averaging over its requests, one by one."""
    model = TinyModel()
    assert model.oracle is not None
    found = {}
    for key in {(slot, node) for slot, node, _, _ in requests}:
        mine = [(plan, task) for slot, node, plan, task in requests if (slot, node) == key]
        best = max(
            math.fsum(row[task] for _, task in mine) / len(mine)
            for row in model.oracle.accuracy.tolist()
        )
        expected = math.fsum(slow_accuracy(model, plans[p], task) for p, task in mine) / len(mine)
        found[key] = (best, expected)
    return found


def slow_accuracy(model: TinyModel, plan: Plan, task: int) -> float:
    weights = merge_weights(plan, E)
    if weights is not None:
        return model.task_accuracy(weights, task)
    right = model.profile(plan).correct
    return float(np.mean([right[i] for i in range(len(right)) if model.task_of[i] == task]))


def measured(shard: Shard, requests: list[Request]) -> dict[tuple[int, int], tuple[float, float]]:
    query = query_of(requests)
    reply: AssessReply = shard.assess(query)
    keys = zip(query.row_slot.tolist(), query.row_node.tolist(), strict=True)
    values = zip(reply.reward_best.tolist(), reply.reward_expected.tolist(), strict=True)
    return dict(zip(keys, values, strict=True))


def test_rewards_equal_brute_force_over_requests() -> None:
    plans: list[Plan] = [*merges(6), TopK(2), Single(3), uniform(E), TopK(1)]
    rng = np.random.default_rng(4)
    requests = [
        (int(rng.integers(5)), p % 4, p, int(rng.integers(M)))
        for p in rng.integers(0, len(plans), 200).tolist()
    ]
    got, want = measured(shard_with(plans), requests), brute(requests, plans)
    assert got.keys() == want.keys()
    for key, values in want.items():
        assert got[key] == pytest.approx(values, abs=1e-12)


def many(plans: list[Plan]) -> list[Request]:
    """Serve each task once under each plan of nodes 0 to 2; node 3 runs one gated plan."""
    gated = next(i for i, plan in enumerate(plans) if isinstance(plan, TopK))
    served = [(i, i % 4, i, task) for i in range(len(plans)) for task in range(M) if i != gated]
    moved = [(slot, node, plan, task) for slot, node, plan, task in served if node != 3]
    return moved + [(slot, 3, gated, 0) for slot in range(len(plans))]


def test_a_costly_block_measures_the_sample_only_and_its_gated_nodes_wholly() -> None:
    plans = merges(CHEAP)
    plans[3] = TopK(2)
    shard, requests = shard_with(plans), many(plans)
    got, want = measured(shard, requests), brute(requests, plans)
    for (slot, node), (best, expected) in want.items():
        drawn = sample_uniform(tiny_world().seed, slot, node) < 0.5
        assert got[slot, node][0] == pytest.approx(best, abs=1e-12)
        if node == 3 or drawn:
            assert got[slot, node][1] == pytest.approx(expected, abs=1e-12)
        else:
            assert math.isnan(got[slot, node][1])
    kept = [not math.isnan(value) for (_, node), (_, value) in got.items() if node != 3]
    assert 0 < sum(kept) < len(kept)


@pytest.mark.parametrize(("pairs", "whole"), [(CHEAP, True), (CHEAP + 1, False)])
def test_a_block_with_few_merges_measures_all_rows_without_a_sample(
    pairs: int, whole: bool
) -> None:
    requests = [(slot, slot % 3, slot, 1) for slot in range(pairs)]
    got = measured(shard_with(merges(pairs), sample=0.0), requests)
    assert all(math.isnan(value) is not whole for _, value in got.values())


def test_each_pair_of_merge_and_task_is_evaluated_once() -> None:
    model, (plan,) = TinyModel(), merges(1)
    shard = shard_with([plan], model=model)
    requests = [(slot, 0, 0, task) for slot in range(30) for task in (0, 2)]
    measured(shard, requests)
    measured(shard, requests)
    assert [name for name, _ in model.calls].count("task_accuracy") == 2


def test_no_rows_are_no_work() -> None:
    assert measured(shard_with(merges(1)), []) == {}


def test_without_an_oracle_table_the_best_is_unknown() -> None:
    got = measured(shard_with(merges(1), model=TinyModel(table=False)), [(0, 0, 0, 1)])
    assert math.isnan(got[0, 0][0])
    assert not math.isnan(got[0, 0][1])


def test_the_sample_is_uniform_and_depends_on_seed_slot_and_node() -> None:
    draws = np.array([sample_uniform(1, slot, node) for slot in range(100) for node in range(30)])
    assert draws.min() >= 0.0
    assert draws.max() < 1.0
    assert draws.mean() == pytest.approx(0.5, abs=4 / math.sqrt(12 * len(draws)))
    assert (draws < 0.05).mean() == pytest.approx(0.05, abs=4 * math.sqrt(0.05 / len(draws)))
    assert len(set(draws.tolist())) == len(draws)
    assert sample_uniform(1, 2, 3) != sample_uniform(2, 2, 3)
    assert sample_uniform(1, 2, 3) == draws[2 * 30 + 3]


def test_of_a_limited_plan_the_realised_rate_is_expected() -> None:
    plan, shard = TopK(1, capacity=1.25), shard_with([uniform(E)])
    served = served_of([(i, 2, i, 7, False) for i in range(50)])  # 30 of task 0, 20 of task 1
    reply = shard.step(step_of(1, plans=[NewPlan(7, 2, 0, plan)], served=served))
    got = measured(shard, [(0, 2, 7, 0), (1, 2, 7, 0), (1, 2, 7, 1)])
    first, second = reply.correct[:30].mean(), reply.correct[30:].mean()
    assert got[0, 2][1] == pytest.approx(first)
    assert got[1, 2][1] == pytest.approx((first + second) / 2)


@pytest.mark.parametrize("tasks", [1, 2, 3, 5, 8, 13])
def test_rewards_of_the_table_are_its_products_with_the_mix_row_by_row(tasks: int) -> None:
    rng = np.random.default_rng(tasks)
    table, mix = rng.random((40, tasks)), rng.dirichlet(np.ones(tasks), 70)
    got = table_rewards(table, mix)
    np.testing.assert_allclose(got, mix @ table.T, rtol=1e-13)
    for row in (0, 31, 69):  # bit by bit, whoever else is there
        assert got[row].tolist() == table_rewards(table, mix[row : row + 1])[0].tolist()
    if tasks == 8:  # as numpy sums a row of eight
        assert got.tolist() == [(table * each).sum(axis=1).tolist() for each in mix]
