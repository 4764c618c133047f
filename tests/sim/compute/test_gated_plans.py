"""Plans by task and by blend on a node: what is held, fetched, charged and written down."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sim.compute.cost import CostModel
from sim.config import Batching
from sim.errors import PlanRefused, ShapeError
from sim.plans import Blend, ByTask, TopK, limited, reachable
from sim.records import DECISIONS
from tests.agents.hosting.tiny import L
from tests.sim.compute.test_cost import BOX, CARD, TOY
from tests.sim.minds import (
    BACKBONE,
    SKEW,
    UNIT,
    WORKING,
    Varied,
    category,
    chip,
    node,
    run,
    script,
    timed,
    world,
)

PAIR = ByTask((0, 2, 0))


def test_a_blend_worked_out_by_hand() -> None:
    cost = CostModel(TOY, CARD, BOX).blended(4, 3)
    # per small layer: 6 M backbone parameters, 2 layers of experts of 1 M, 4 requests of 10 tokens
    dense_s = max(2 * 6e6 * 40 / 1e12, 6e6 * 2 / 1e10) + 3e-5
    flop = 2 * (2 * 1e6 * 40 + 4 * 2 * 3 * 1e6)
    read_bytes = 2 * 4 * (3 + 1 + 1) * 1e6 * 2
    layer_s = dense_s + max(flop / 1e12, read_bytes / 1e10) + 2 * 4 * 1e-5
    assert cost.per_layer_s == pytest.approx((layer_s,) * 2)
    assert cost.flop == pytest.approx(2 * 12e6 * 40 + 2 * flop)
    assert cost.read_bytes == pytest.approx(12e6 * 2 + 2 * read_bytes)


def test_a_blend_of_one_request_costs_more_than_its_merged_expert_alone() -> None:
    costs = CostModel(TOY, CARD, BOX)
    for k in range(1, 8):
        assert costs.merged(1).service_s < costs.blended(1, k).service_s
        assert costs.blended(1, k).flop < costs.blended(1, k + 1).flop
    with pytest.raises(ShapeError, match=r"blend: expected k in 1\.\.8, found 9"):
        costs.blended(1, 9)


def test_by_task_costs_what_top_1_costs_on_the_experts_of_the_tasks_in_the_batch() -> None:
    costs = CostModel(TOY, CARD, BOX)
    assert costs.priced(PAIR, 8, (2, 2)) == costs.gated(8, 1, (2, 2))
    assert costs.priced(TopK(2, capacity=1.0), 8, (5, 2)) == costs.gated(8, 2, (5, 2))
    assert costs.priced(Blend(8), 8, (8, 8)) == costs.blended(8, 8)


def test_a_merged_expert_of_ones_own_is_working_memory() -> None:
    costs = CostModel(TOY, CARD, BOX)
    assert costs.activation_bytes(3, Blend(2)) == 3 * (3e4 + 1e6 * 2)
    assert costs.activation_bytes(3, TopK(2)) == costs.activation_bytes(3)
    blended = node(plan=Blend(2), batching=Batching(2))
    seen = run(world([blended], [timed([0.5, 0.5])]), script(), Varied())
    # 2 requests of 0.1 MB and a merged expert of 1 MB each
    assert [mb for _, mb in category(seen, "activations")] == [2.2, 0.0]


def test_only_the_experts_that_a_plan_names_are_reachable() -> None:
    assert reachable(PAIR, 4) == (0, 2)
    assert reachable(Blend(2), 4) == reachable(TopK(1), 4) == (0, 1, 2, 3)
    assert limited(TopK(1, capacity=1.25))
    assert not any(map(limited, (TopK(1), PAIR, Blend(2))))


def test_a_node_holds_the_experts_of_its_tasks_only() -> None:
    tight = node(memory_bytes=BACKBONE + 2 * L * UNIT + WORKING, plan=PAIR)
    seen = run(world([tight], [timed([0.5])]), script(), Varied())
    assert category(seen, "experts") == [(0.0, 2.0 * L)]
    whole = node(memory_bytes=BACKBONE + 2 * L * UNIT + WORKING, plan=TopK(1))
    with pytest.raises(PlanRefused, match=r"TopK.* needs .*try `cache: lru`"):
        run(world([whole], [timed([0.5])]), script(), Varied())


def test_a_cache_sees_the_experts_of_the_tasks_that_come() -> None:
    lru = node(cache="lru", plan=PAIR)
    seen = run(world([lru], [timed([0.1 * i for i in range(1, 40)])]), script(), Varied())
    fetched = seen["residency"]
    pairs = zip(fetched["layer"].tolist(), fetched["expert"].tolist(), strict=True)
    assert sorted(pairs) == [(layer, expert) for layer in range(L) for expert in (0, 2)]


def test_experts_of_the_tasks_before_are_let_go() -> None:
    plans = {1: PAIR, 2: ByTask((2, 3, 3)), 3: TopK(1)}
    seen = run(world([node()], [timed([0.5, 1.5, 2.5, 3.5])]), script(plans), Varied())
    force_s = [t for t in seen["decisions"]["t_force_s"].tolist() if t > 0.0]
    # 2 experts per layer, then 1 more, then the 2 that are missing from storage
    assert force_s == pytest.approx([1 + 0.01 * 2 * L, 2 + 0.01 * L, 3 + 0.01 * 2 * L])
    held = [mb for t, mb in category(seen, "experts") if t < 4.0]
    assert held[0] == 2.0 * L
    assert 3.0 * L in held
    assert (held[-1], max(held)) == (4.0 * L, 4.0 * L)
    after_second = [mb for t, mb in category(seen, "experts") if 2.0 < t < 3.0]
    assert after_second[-1] == 2.0 * L
    kinds = seen["decisions"]["kind"].tolist()
    assert [DECISIONS[kind] for kind in kinds if DECISIONS[kind] != "keep"][1:] == [
        "by-task",
        "by-task",
        "top-k",
    ]
    assert [k for k in seen["decisions"]["k"].tolist() if k > 0] == [1, 1, 1]


def test_requests_of_more_tasks_touch_more_experts_and_take_longer() -> None:
    slow = node(plan=PAIR, batching=Batching(4, 0.0), hardware=chip(kernel_s=1e-3))
    seen = run(world([slow], [timed([0.5] * 40)]), script(), Varied())
    rows, cluster_of = seen["requests"], Varied().cluster_of
    experts = np.array(PAIR.experts)[cluster_of[rows["input"]]]
    found = set()
    for batch in np.unique(rows["batch"]):
        mine = rows["batch"] == batch
        distinct = len(set(experts[mine].tolist()))
        # 8 ms of arithmetic a request; per layer a kernel for the backbone and one per expert
        expected_s = 0.008 * mine.sum() + 1e-3 * L * (1 + distinct)
        assert rows["service_s"][mine] == pytest.approx(expected_s)
        found.add(distinct)
    assert found == {1, 2}


def test_experts_that_a_plan_on_its_way_counts_on_are_not_let_go() -> None:
    """The last batch by task ends while top-k fetches what is missing beside its experts."""
    crowd = [1.98] * 130  # served from 1.98 s to 3.02 s by task
    wide = node(servers=2, capacity=200, batching=Batching(130))
    plans = {1: PAIR, 2: SKEW, 3: TopK(1)}
    seen = run(world([wide], [timed(crowd)]), script(plans), Varied())
    assert seen["requests"]["t_finish_s"][0] == pytest.approx(3.02)
    # the experts of the pair are there, two more per layer come from storage
    assert np.nanmax(seen["decisions"]["t_force_s"]) == pytest.approx(3 + 0.01 * 2 * L)
    assert max(mb for _, mb in category(seen, "experts")) == 4.0 * L
    assert category(seen, "experts")[-1][1] == 4.0 * L


def test_experts_kept_for_a_plan_that_never_came_are_let_go() -> None:
    wide = node(servers=3, capacity=200, batching=Batching(150))
    slow = replace(wide, hardware=chip(storage_bytes_per_s=1e6))  # a second for each expert
    plans = {1: PAIR, 7: SKEW, 16: TopK(1), 17: SKEW}
    crowd = [14.9] * 150  # by task until 16.1 s
    there = world([slow], [timed(crowd)], duration_s=25.0)
    seen = run(there, script(plans), Varied())
    kinds = [DECISIONS[kind] for kind in seen["decisions"]["kind"].tolist()]
    assert kinds.count("top-k") == 1
    assert category(seen, "experts")[-1][1] == 0.0
