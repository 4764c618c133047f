"""Every row of the router registry through the shipped checker, and the checker on bad ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from agents.conformance import check_router, example_setup
from agents.routers import ROUTERS
from agents.routers.static import RandomWeights, Uniform
from sim.plans import Blend, ByTask, Merged, TopK
from sim.ports import Receipts


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    torch.set_num_threads(1)


@pytest.mark.parametrize("name", list(ROUTERS))
def test_every_router_conforms(name):
    assert check_router(name, example_setup) == []


def test_a_block_of_one_conforms():
    assert check_router("tanbr", lambda: example_setup(nodes=1, experts=2, clusters=1)) == []


class Nosy(Uniform):
    def decide_block(self, context):
        answer = super().decide_block(context)
        if context.true_mix is not None:
            return replace(answer, plans=[None] * len(answer.plans))
        return answer


class Moody(RandomWeights):
    born = 0

    def __init__(self, setup):
        Moody.born += 1
        super().__init__(replace(setup, seed=Moody.born))


class Greedy(Uniform):
    def decide_block(self, context):
        answer = super().decide_block(context)
        return replace(answer, plans=[Merged((1.0, 0.0, 0.0, 0.0))] * len(answer.plans))


class Gullible(Uniform):
    def __init__(self, setup):
        super().__init__(setup)
        self.sum = 0.0

    def update_block(self, feedback):
        self.sum += float(feedback.reward.sum())

    def decide_block(self, context):
        answer = super().decide_block(context)
        n = len(answer.plans)
        return replace(answer, receipts=replace(answer.receipts, flop=np.full(n, abs(self.sum))))


class Free(Uniform):
    def decide_block(self, context):
        answer = super().decide_block(context)
        return replace(answer, receipts=Receipts.free(1), mix=np.full((3, 3), 0.5))


class Lax(Uniform):
    def __init__(self, setup):
        super().__init__(replace(setup, params={}))


class Sparse(Uniform):
    def __init__(self, setup):
        super().__init__(setup)
        self.plan = TopK(2)


class Tagged(Sparse):
    gated = True

    def __init__(self, setup):
        super().__init__(setup)
        self.plan = ByTask((0,) * setup.clusters, "task")


class Short(Sparse):
    gated = True

    def __init__(self, setup):
        super().__init__(setup)
        self.plan = ByTask((0,))


class Wide(Sparse):
    gated = True

    def __init__(self, setup):
        super().__init__(setup)
        self.plan = Blend(5)


@pytest.mark.parametrize(
    ("kind", "breach"),
    [
        (Nosy, "read the true mix"),
        (Moody, "the same seed gave other decisions"),
        (Greedy, "decided for an inactive node"),
        (Gullible, "feedback with NaN changed decisions"),
        (Gullible, "refused 0 rows with NaN"),
        (Free, "receipt flop must be 3 finite numbers"),
        (Free, "mix is no probability"),
        (Sparse, "chose a gated plan (top-k) without declaring `gated = True`"),
        (Tagged, "chose a plan by true tasks without declaring `oracle = True`"),
        (Short, "expected one of 4 experts per cluster, 3"),
        (Wide, "blend of 5 experts, of 4"),
        (Lax, "accepted an unknown parameter"),
        (object, "`oracle` must be a class attribute"),
    ],
)
def test_the_checker_catches(kind, breach):
    found = check_router("mine", example_setup, load=lambda _: kind)
    assert any(breach in line for line in found), found
