"""Every row of the router registry through the shipped checker, and the checker on bad ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from agents.conformance import check_router, example_setup
from agents.routers import ROUTERS
from agents.routers.static import RandomWeights, Uniform
from sim.errors import InputError
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


class Forgetful(RandomWeights):
    """Keeps no stream in its snapshot."""

    def snapshot(self):
        return {"refused": np.array(self.refused)}

    def restore(self, state):
        self.refused = int(state["refused"])


class Pickled(RandomWeights):
    def snapshot(self):
        return {"rngs": self._rngs}

    def restore(self, state):
        self._rngs = state["rngs"]


class Halved(RandomWeights):
    def snapshot(self):
        return {}


class Sociable(RandomWeights):
    """One stream for all nodes of the block."""

    def __init__(self, setup):
        super().__init__(setup)
        self._rngs = [self._rngs[0]] * len(setup.nodes)


class Scalar(Uniform):
    def __init__(self, setup):
        super().__init__(setup)
        self._pooled = setup.pooled

    def decide_block(self, context):
        answer = super().decide_block(context)
        return replace(answer, explored=answer.explored[int(self._pooled) :])


class Startled(Uniform):
    """Goes wrong when a cluster is renewed."""

    def decide_block(self, context):
        answer = super().decide_block(context)
        if context.renewed is None:
            return answer
        return replace(answer, plans=[TopK(9)] * len(answer.plans))


class Strict(Uniform):
    def __init__(self, setup):
        super().__init__(replace(setup, params={}))
        if setup.params:
            raise KeyError("params")


class Mute(Strict):
    def __init__(self, setup):
        try:
            super().__init__(setup)
        except KeyError:
            raise InputError("wrong parameters") from None


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
        (Forgetful, "restored from a snapshot taken before slot 8, it decided otherwise in slot 8"),
        (Pickled, "snapshot: expected numpy arrays of numbers, found others at ['rngs']"),
        (Halved, "has only one of `snapshot` and `restore`"),
        (Sociable, "node 12 decided or cost otherwise alone than in its block"),
        (Scalar, "with `pooled`, slot 0: explored has shape"),
        (Startled, "slot 5: top-k of 9 experts, of 4"),
        (Strict, "met an unknown parameter with KeyError, not InputError"),
        (Mute, "refused an unknown parameter without naming it: wrong parameters"),
        (object, "`oracle` must be a class attribute"),
    ],
)
def test_the_checker_catches(kind, breach):
    found = check_router("mine", example_setup, load=lambda _: kind)
    assert any(breach in line for line in found), found
