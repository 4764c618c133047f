"""When a node clusters its traffic anew, what stays the same, and who pays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest

from agents.hosting.blocks import make_specs
from agents.hosting.feedback import NOBODY
from agents.hosting.inline import InlineExecutor
from agents.hosting.monitor import RING, Monitor, Watch, monitor_flop
from agents.hosting.recluster import nearest, recluster
from agents.hosting.shard import Shard
from sim.arrays import FloatArray, IntArray
from sim.config import ClusterSpec, PolicySpec
from sim.plans import uniform
from sim.ports import NewPlan, StepReply
from tests.agents.hosting.tiny import (
    POOL,
    TINY_ROUTERS,
    D,
    E,
    Engine,
    M,
    P,
    TinyModel,
    V,
    ints,
    served_of,
    step_of,
    tiny_world,
)

REFIT = ClusterSpec(refit=True)
PER_SLOT = 20


class Foreign(TinyModel):
    """Task 2 was unknown when the clusters were fitted: its inputs lie far from all centroids.

    Inputs of tasks 0 and 1 lie about centroids 0 and 1 at a distance of about sqrt(D); those of
    task 2 about a point of their own, nearest to centroid 0; nothing lies about centroid 2.
    """

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        rng = np.random.default_rng(9)
        middles = np.stack([self.centroids[0], self.centroids[1], self.centroids[0] * 1.8])
        self.embeddings = middles[self.task_of] + rng.standard_normal((P, D))
        self.cluster_of = nearest(self.embeddings, self.centroids)[0]


def of_tasks(*shares: float, count: int = PER_SLOT, seed: int = 0) -> IntArray:
    """Draw inputs of tasks by their shares."""
    rng, model = np.random.default_rng(seed), TinyModel()
    tasks = rng.choice(M, count, p=np.array(shares) / sum(shares))
    return ints(rng.choice(np.flatnonzero(model.task_of == task)) for task in tasks)


def watch(monitor: Monitor, inputs: IntArray, row: int = 0, awake: bool = True) -> Watch:
    return monitor.observe(np.full(len(inputs), row), inputs, np.array([awake, False]))


def settle(monitor: Monitor, slots: int = 10, first: int = 0) -> None:
    for slot in range(first, first + slots):
        assert watch(monitor, of_tasks(1, 1, 0, seed=slot)).renewed is None


def alarm(monitor: Monitor, first: int = 100) -> tuple[int, Watch]:
    """Let task 2 take half of the traffic; return how many slots it took, and the last of them."""
    for slot in range(1, 20):
        seen = watch(monitor, of_tasks(1, 1, 2, seed=first + slot))
        if seen.renewed is not None:
            return slot, seen
    raise AssertionError("never")


# --- without refit


def test_without_refit_the_shipped_clusters_stay_and_cost_no_state() -> None:
    model = Foreign()
    monitor = Monitor(model, 2, refit=False)
    for slot in range(30):
        inputs = of_tasks(0, 0, 1, seed=slot)
        seen = watch(monitor, inputs)
        np.testing.assert_array_equal(
            seen.counts[0], np.bincount(model.cluster_of[inputs], minlength=V)
        )
        assert seen.renewed is None
        assert seen.cost.state_bytes.tolist() == [0.0, 0.0]
        assert seen.cost.flop.tolist() == [PER_SLOT * monitor_flop(model.card), 0.0]
    assert seen.to_task[0] is model.cluster_to_task


# --- when it triggers


def test_a_new_task_is_noticed_in_the_third_slot() -> None:
    monitor = Monitor(Foreign(), 2, refit=True)
    settle(monitor)
    slots, seen = alarm(monitor)
    assert slots == 3
    assert seen.refitted == [0]
    assert seen.renewed is not None
    assert seen.renewed.tolist() == [[False, False, True], [False, False, False]]


def test_stationary_traffic_never_triggers() -> None:
    """2,000 slots of Poisson traffic with a mix of its own each: no false alarm."""
    rng, monitor = np.random.default_rng(1), Monitor(TinyModel(), 2, refit=True)
    for slot in range(2000):
        shares = rng.dirichlet(np.ones(M))
        inputs = of_tasks(*shares, count=int(rng.poisson(PER_SLOT)), seed=slot)
        assert watch(monitor, inputs).renewed is None


def test_slots_with_few_requests_neither_count_nor_break_the_row() -> None:
    monitor = Monitor(Foreign(), 2, refit=True)
    settle(monitor)
    for seed in range(50):
        assert watch(monitor, of_tasks(0, 0, 1, count=7, seed=seed)).renewed is None
    for seed in (101, 102):
        assert watch(monitor, of_tasks(1, 1, 2, seed=seed)).renewed is None
    assert watch(monitor, of_tasks(1, 0, 0, count=7, seed=1)).renewed is None
    assert watch(monitor, of_tasks(1, 1, 2, seed=103)).renewed is not None


def test_one_usual_slot_breaks_the_row() -> None:
    monitor = Monitor(Foreign(), 2, refit=True)
    settle(monitor)
    for seed in range(101, 120):
        shares = (1, 1, 0) if seed % 3 == 0 else (1, 1, 2)
        assert watch(monitor, of_tasks(*shares, seed=seed)).renewed is None


def test_a_node_that_was_not_up_throughout_watches_nothing() -> None:
    monitor = Monitor(Foreign(), 2, refit=True)
    settle(monitor)
    for seed in range(101, 120):
        assert watch(monitor, of_tasks(1, 1, 2, seed=seed), awake=False).renewed is None


# --- what it does


def test_the_new_task_gets_the_cluster_that_nobody_used() -> None:
    model = Foreign()
    monitor = Monitor(model, 2, refit=True)
    settle(monitor)
    alarm(monitor)
    everything = np.arange(P)
    found = monitor.assign(np.zeros(P, np.int64), everything)
    np.testing.assert_array_equal(found, model.task_of)
    # the other node, and requests of no node, are told apart as shipped
    for row in (1, NOBODY):
        np.testing.assert_array_equal(monitor.assign(np.full(P, row), everything), model.cluster_of)


def test_the_slot_that_triggers_is_counted_by_the_new_clusters() -> None:
    model = Foreign()
    monitor = Monitor(model, 2, refit=True)
    settle(monitor)
    slots, seen = alarm(monitor)
    tasks = model.task_of[of_tasks(1, 1, 2, seed=100 + slots)]
    assert seen.counts[0].tolist() == np.bincount(tasks, minlength=M).tolist()


def test_metrics_see_the_composition_of_the_new_clusters() -> None:
    monitor = Monitor(Foreign(), 2, refit=True)
    settle(monitor)
    _, seen = alarm(monitor)
    np.testing.assert_array_equal(seen.to_task[0], np.eye(V, M))
    np.testing.assert_array_equal(seen.to_task[1], TinyModel().cluster_to_task)


def test_the_composition_counts_tasks_that_the_node_saw() -> None:
    """Task 1 lies near some centroid of node 0, which never met it."""
    monitor = Monitor(Foreign(), 2, refit=True)
    for slot in range(10):
        watch(monitor, of_tasks(1, 0, 0, seed=slot))
    for slot in range(3):
        seen = watch(monitor, of_tasks(1, 0, 1, seed=100 + slot))
    assert seen.renewed is not None
    assert (seen.to_task[0][:, 1] == 0.0).all()
    np.testing.assert_allclose(seen.to_task[0].sum(axis=1), 1.0)


def test_after_it_nothing_triggers_until_something_else_comes() -> None:
    monitor = Monitor(Foreign(), 2, refit=True)
    settle(monitor)
    alarm(monitor)
    for seed in range(200, 400):
        assert watch(monitor, of_tasks(1, 1, 2, seed=seed)).renewed is None


def test_a_restart_brings_the_shipped_clusters_back() -> None:
    model = Foreign()
    monitor = Monitor(model, 2, refit=True)
    settle(monitor)
    alarm(monitor)
    monitor.restart(0)
    found = monitor.assign(np.zeros(P, np.int64), np.arange(P))
    np.testing.assert_array_equal(found, model.cluster_of)
    settle(monitor, first=500)
    assert alarm(monitor, first=600)[0] == 3


def test_it_costs_work_when_it_happens_and_memory_all_the_time() -> None:
    model = Foreign()
    monitor = Monitor(model, 2, refit=True)
    before = watch(monitor, of_tasks(1, 1, 0)).cost
    state_bytes = 8.0 * ((V + RING) * D + 400)
    assert before.state_bytes.tolist() == [state_bytes, state_bytes]
    assert before.read_bytes.tolist() == [0.0, 0.0]
    settle(monitor)
    cost = alarm(monitor)[1].cost
    usual = PER_SLOT * monitor_flop(model.card)
    kept = 14 * PER_SLOT  # requests so far
    rounds = (cost.flop[0] - usual - V**3) / (kept * D * (3 * V + 1))
    assert rounds == int(rounds) >= 2
    assert cost.read_bytes.tolist() == [rounds * (kept + V) * D * 8.0, 0.0]


# --- clustering anew


def clouds(*middles: list[float], count: int = 40) -> FloatArray:
    rng = np.random.default_rng(3)
    return np.concatenate([np.array(m) + 0.1 * rng.standard_normal((count, 2)) for m in middles])


def test_nearest_equals_the_slow_twin() -> None:
    rng = np.random.default_rng(4)
    points, centroids = rng.standard_normal((50, 5)), rng.standard_normal((7, 5))
    label, distance = nearest(points, centroids)
    for i, point in enumerate(points):
        away = [float(np.linalg.norm(point - centroid)) for centroid in centroids]
        assert label[i] == int(np.argmin(away))
        assert distance[i] == pytest.approx(min(away))


def test_numbers_are_kept_as_the_best_of_all_orders_would() -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        old, points = rng.standard_normal((4, 2)), rng.standard_normal((60, 2))
        new = recluster(points, 20, old, 1.0).centroids
        moves = {
            order: sum(float(np.linalg.norm(new[list(order)][v] - old[v])) for v in range(4))
            for order in permutations(range(4))
        }
        assert moves[0, 1, 2, 3] == pytest.approx(min(moves.values()))


def test_what_did_not_move_is_not_renewed() -> None:
    old = np.array([[0.0, 0.0], [5.0, 0.0], [9.0, 9.0]])
    points = clouds([0.05, 0.0], [5.0, 0.05], [0.0, 5.0])
    refit = recluster(points, 40, old, usual=0.5)
    assert refit.renewed.tolist() == [False, False, True]
    np.testing.assert_allclose(refit.centroids, [[0.05, 0], [5, 0.05], [0, 5]], atol=0.1)


def test_a_cluster_without_points_stays_where_it_is() -> None:
    old = np.array([[0.0, 0.0], [5.0, 0.0], [9.0, 9.0], [-9.0, 9.0]])
    points = clouds([0.0, 0.0], [5.0, 0.0], [0.0, 5.0])
    refit = recluster(points, 40, old, usual=0.5)
    assert refit.centroids[3].tolist() == [-9.0, 9.0]
    assert refit.renewed.tolist() == [False, False, True, False]


# --- in a host


def host(
    kind: str = "listener", clusters: ClusterSpec = REFIT, pooled: bool = False,
    model: TinyModel | None = None,
) -> Shard:  # fmt: skip
    (spec,) = make_specs(tiny_world(), PolicySpec(kind, kind), block_size=4)
    spec = replace(spec, clusters=clusters, pooled=pooled)
    return Shard(spec, model or Foreign(), TINY_ROUTERS)


def drive(shard: Shard, slots: int = 13) -> list[StepReply]:
    """Serve 20 audited requests of node 4 per slot, a new task from slot 11 on."""
    replies = []
    plans = [NewPlan(node, node, -1, uniform(E)) for node in range(15)]
    for slot in range(slots):
        inputs = of_tasks(1, 1, 2 * (slot >= 10), seed=slot)
        rows = [(PER_SLOT * slot + i, 4, int(x), 4, True) for i, x in enumerate(inputs)]
        replies.append(shard.step(step_of(slot + 1, plans=plans, served=served_of(rows))))
        plans = []
    return replies


def router(shard: Shard) -> Any:
    steering = shard._blocks[1]._steering
    assert steering is not None
    return steering._router


def test_the_router_is_told_and_the_table_has_a_row() -> None:
    shard = host()
    replies = drive(shard)
    seen = router(shard).seen
    assert [c.renewed is not None for c in seen] == [False] * 12 + [True]
    assert seen[-1].renewed.tolist() == [[False, False, True], [False] * 3, [False] * 3]
    rows = [row for reply in replies for row in reply.telemetry if row["kind"] == "recluster"]
    assert rows == [{"table": "drift", "slot": 13, "node": 4, "kind": "recluster"}]


def test_outcomes_of_the_old_meaning_never_teach_the_new_one() -> None:
    model = Foreign()
    stray = np.flatnonzero(model.task_of == 1)[:2]  # lie about centroid 2, which is renewed
    model.embeddings[stray] += model.centroids[2] - model.centroids[1]
    model.cluster_of = nearest(model.embeddings, model.centroids)[0]
    shard = host(model=model)
    drive(shard)
    renewed = np.flatnonzero(router(shard).seen[-1].renewed[0])
    assert 2 in renewed
    inputs = np.concatenate([of_tasks(1, 1, 2 * (s >= 10), seed=s) for s in range(13)])
    pending = shard._blocks[1]._pending._held
    void = pending.row == NOBODY
    assert 3 < void.sum() < len(void)
    np.testing.assert_array_equal(void, np.isin(pending.cluster, renewed))
    np.testing.assert_array_equal(pending.cluster, model.cluster_of[inputs])


def test_who_learns_nothing_keeps_the_shipped_clusters() -> None:
    shard = host("deaf")
    replies = drive(shard)
    assert all(c.renewed is None for c in router(shard).seen)
    assert not [row for reply in replies for row in reply.telemetry if row["kind"] == "recluster"]


def costs(shard: Shard) -> list[tuple[float, float, float]]:
    """Return what node 4 pays at each boundary: FLOP, bytes read, state bytes."""
    decisions = [next(d for d in r.decisions if d.node == 4) for r in drive(shard)]
    return [(d.flop, d.read_bytes, d.state_bytes) for d in decisions]


def test_routers_that_estimate_pay_for_it() -> None:
    usual = PER_SLOT * monitor_flop(Foreign().card)
    assert costs(host("frugal", ClusterSpec())) == [(usual, 0.0, 0.0)] * 13
    *before, (flop, read_bytes, _) = costs(host("frugal"))
    state_bytes = 8.0 * ((V + RING) * D + 400)
    assert before == [(usual, 0.0, state_bytes)] * 12
    assert flop > usual + 13 * PER_SLOT * D * 3 * V  # at least one round over all points
    assert read_bytes > 13 * PER_SLOT * D * 8.0
    # who keeps no estimate pays for none, nor who learns nothing for clusters that nobody refits
    assert costs(host("blind")) == [(0.0, 0.0, 0.0)] * 13
    assert costs(host("deaf")) == [(usual, 0.0, 0.0)] * 13


def test_scalar_feedback_is_one_mean() -> None:
    shard, twin = host(pooled=True), host()
    for each in (shard, twin):
        drive(each, slots=1)
        each.step(step_of(2, feedback=np.arange(PER_SLOT)))
    told, apart = router(shard).learned[0], router(twin).learned[0]
    assert router(shard).setup.pooled
    np.testing.assert_array_equal(told.count, apart.count)
    mean = (apart.reward * apart.count).sum() / apart.count.sum()
    np.testing.assert_allclose(told.reward, np.where(told.count > 0, mean, 0.0), rtol=1e-12)
    assert 0.0 < mean < 1.0


@dataclass
class Drifting(Engine):
    """Task 2 comes after ten slots."""

    def _serve(self, slot: int) -> list[tuple[int, int, int, int, bool]]:
        known = POOL[0] + POOL[1] if slot < 10 else P
        rows = [(i, n, x % known, p, a) for i, n, x, p, a in super()._serve(slot)]
        self.log[len(self.log) - len(rows) :] = [(slot - 1, *row) for row in rows]
        return rows


@pytest.mark.parametrize("shards", [2, 3])
def test_the_replies_do_not_depend_on_the_shards(shards: int) -> None:
    world = tiny_world()
    assert world.model is not None
    world = replace(world, model=replace(world.model, clusters=REFIT))
    one, many = (
        Drifting(world, slots=24, model=Foreign()).drive(
            InlineExecutor(load=lambda *_: Foreign(moody=True), routers=TINY_ROUTERS), n
        )
        for n in (1, shards)
    )
    assert sum(("kind", "recluster") in row for row in one.telemetry) > 3
    assert one == many
