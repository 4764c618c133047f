"""A node of a block behaves as if it were alone, whatever the others are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from agents.conformance import example_setup
from agents.routers.tanbr.router import Tanbr
from sim.plans import uniform
from tests.agents.routers.talk import SMALL, context, told


def test_a_node_whose_merges_are_free_changes_as_freely_beside_one_that_pays():
    setup = example_setup(nodes=2, **SMALL)
    mixed = Tanbr(replace(setup, swap_s=np.array([0.0, 5.0])))
    free = Tanbr(replace(setup, swap_s=np.zeros(2)))
    plans = [uniform(4)] * 2
    for slot in range(12):
        here, there = (r.decide_block(context(slot)) for r in (mixed, free))
        assert here.plans[0] == there.plans[0]
        assert here.receipts.flop[0] == there.receipts.flop[0]
        plans = [new or old for new, old in zip(here.plans, plans, strict=True)]
        answer = told(slot + 1, [(0, slot, plans[0], [0.5, 0.1 * slot, 0.9], [9] * 3)])
        mixed.update_block(answer)
        free.update_block(answer)
