from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agents.conformance import example_setup
from agents.routers.oracle import BestOracle, MixOracle
from sim.errors import InputError
from sim.ports import ContextBlock


def context(mix, active=(True, True, True)):
    n = len(active)
    return ContextBlock(1, 5.0, np.array(active), np.zeros((n, 3)), np.zeros(n, bool), mix)


@pytest.fixture
def mix():
    return np.array([[0.1, 0.2, 0.3, 0.4], [1.0, 0.0, 0.0, 0.0], [0.25] * 4])


def test_mix_oracle_carries_the_mix_over(mix):
    setup = example_setup()
    answer = MixOracle(setup).decide_block(context(mix))
    for row, plan in enumerate(answer.plans):
        want = [
            sum(mix[row, m] * setup.oracle.task_to_expert[m, e] for m in range(4)) for e in range(4)
        ]
        np.testing.assert_allclose(plan.weights, want, atol=1e-12)


def test_best_oracle_takes_the_best_row_of_the_table(mix):
    setup = example_setup()
    answer = BestOracle(setup).decide_block(context(mix))
    for row, plan in enumerate(answer.plans):
        values = [float(np.dot(line, mix[row])) for line in setup.oracle.accuracy]
        best = setup.oracle.weights[values.index(max(values))]
        np.testing.assert_allclose(plan.weights, best, atol=1e-12)
    assert answer.receipts.flop.tolist() == [2.0 * setup.oracle.accuracy.size] * 3


@pytest.mark.parametrize("kind", [MixOracle, BestOracle])
def test_oracles_keep_without_a_mix_and_for_inactive_nodes(kind, mix):
    router = kind(example_setup())
    assert router.decide_block(context(None)).plans == [None] * 3
    mix[0] = np.nan
    plans = router.decide_block(context(mix, (True, False, True))).plans
    assert [plan is None for plan in plans] == [True, True, False]


@pytest.mark.parametrize("kind", [MixOracle, BestOracle])
def test_oracles_need_their_table(kind):
    with pytest.raises(InputError, match="needs the oracle table"):
        kind(replace(example_setup(), oracle=None))
