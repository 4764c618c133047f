from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agents.conformance import example_setup
from agents.routers.blend import Meo, Smear
from agents.routers.by_task import TaskInferred, TaskOracle, cluster_experts
from sim.errors import InputError
from sim.plans import Blend, ByTask
from sim.ports import Calibration, ContextBlock, Oracle

EYE = np.eye(2)
MIXED = np.vstack([[0.5, 0.5], EYE])


def context(counts, slot=0):
    n = len(counts)
    on, off = np.ones(n, bool), np.zeros(n, bool)
    return ContextBlock(slot, slot * 5.0, on, np.array(counts, dtype=float), off)


def known(reward, count=(9.0, 9.0, 9.0), prior=(0.5, 0.3, 0.2)):
    return Calibration(MIXED, np.array(reward), np.array(count), np.array(prior))


def test_each_cluster_has_its_best_single_expert_and_merges_do_not_count():
    reward = [[1.0, 1.0, 1.0], [0.9, 0.2, 0.4], [0.1, 0.8, 0.5]]
    assert cluster_experts(known(reward)) == (0, 1, 1)


def test_a_cluster_without_items_has_the_expert_that_is_best_overall():
    reward = [[0.0, 0.0, 0.0], [0.2, 0.2, 0.0], [0.6, 0.1, 0.0]]
    assert cluster_experts(known(reward, (9.0, 9.0, 0.0))) == (1, 0, 1)


def test_inferred_tasks_are_clusters_and_the_monitor_is_paid_for():
    setup = example_setup(nodes=2)
    router = TaskInferred(setup)
    first = router.decide_block(context([[0, 0, 0], [1, 3, 0]]))
    assert first.plans == [ByTask(cluster_experts(setup.calibration), "cluster")] * 2
    assert first.mix is not None  # whoever reports a mix pays for the monitor
    np.testing.assert_allclose(first.mix, [[1 / 3] * 3, [0.25, 0.75, 0.0]])
    assert router.decide_block(context([[0, 0, 4], [1, 3, 0]], 1)).plans == [None, None]
    assert not TaskInferred.oracle


def test_the_oracle_knows_the_best_expert_of_every_task():
    accuracy = np.array([[1.0, 1.0], [0.3, 0.7], [0.6, 0.2]])
    setup = replace(
        example_setup(nodes=1), experts=2, oracle=Oracle(MIXED, accuracy, np.full((2, 2), 0.5))
    )
    assert TaskOracle(setup).decide_block(context([[0, 0, 0]])).plans == [ByTask((1, 0), "task")]
    assert TaskOracle.oracle
    with pytest.raises(InputError, match="router task-oracle: needs the oracle table"):
        TaskOracle(replace(setup, oracle=None))
    merges = Oracle(MIXED[:1], accuracy[:1], np.full((2, 2), 0.5))
    with pytest.raises(InputError, match="holds no single expert"):
        TaskOracle(replace(setup, oracle=merges))


def test_blends():
    setup, first = example_setup(nodes=1), context([[0, 0, 0]])
    assert Smear(setup).decide_block(first).plans == [Blend(4)]
    assert Meo(setup).decide_block(first).plans == [Blend(2)]
    assert Meo(replace(setup, params={"k": 3})).decide_block(first).plans == [Blend(3)]
    with pytest.raises(InputError, match="router meo: k: expected at most 4 experts, found 5"):
        Meo(replace(setup, params={"k": 5}))
