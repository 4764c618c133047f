"""A node of a block behaves as if it were alone, whatever the others are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agents.conformance import example_setup
from agents.routers.tanbr.router import Tanbr
from sim.plans import uniform
from sim.ports import ContextBlock
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


SLOTS, OUTAGE = 34, range(20, 24)


def counts(node, slot):
    rng = np.random.default_rng([node, slot])
    return rng.multinomial(rng.poisson(12), rng.dirichlet(np.ones(3))).astype(float)


def rewards(node, slot, plan):
    """What a merge earns in each cluster; late in the script it is the other way round."""
    best = np.random.default_rng(node).dirichlet(np.ones(4), 3)
    best = best[::-1] if slot > 27 else best
    noise = np.random.default_rng([node, slot, 7]).normal(0.0, 0.05, 3)
    return np.clip(1.0 - np.abs(np.array(plan.weights) - best).sum(axis=1) / 2.0 + noise, 0.0, 1.0)


def answers(node, slot, since, plan, place):
    """Feedback of one node, some of it in two parts."""
    heard = counts(node, 1000 + slot)
    parts = [slot, slot + 1] if node % 2 == 0 and slot % 7 == 3 else [slot]
    told_ = [(place, since, plan, rewards(node, at, plan) * (heard > 0.0), heard) for at in parts]
    return told_ if heard.any() else []


def play(setup, nodes):
    """Let some nodes of a block play their scripts; return what each decided, slot by slot."""
    router = Tanbr(replace(setup, nodes=setup.nodes[nodes], swap_s=setup.swap_s[nodes]))
    plans, since = [uniform(4)] * len(nodes), [-1] * len(nodes)
    said = {node: [] for node in nodes}
    for slot in range(SLOTS):
        up = np.array([node % 3 != 1 or slot not in OUTAGE for node in nodes])
        back = np.array([node % 3 == 1 and slot == OUTAGE.stop for node in nodes])
        seen = np.stack([counts(node, slot) for node in nodes])
        decided = router.decide_block(ContextBlock(slot, slot * 5.0, up, seen, back))
        rows = []
        for place in np.flatnonzero(up).tolist():
            plans[place] = decided.plans[place] or plans[place]
            since[place] = slot if decided.plans[place] else since[place]
            rows += answers(nodes[place], slot, since[place], plans[place], place)
        for place, node in enumerate(nodes):
            work = decided.receipts.flop[place], decided.receipts.state_bytes[place]
            said[node].append((*plans[place].weights, *decided.mix[place], *work))
        if rows:
            router.update_block(told(slot + 1, rows))
    return router, said


KINDS = {
    "net": SMALL,
    "rff": {"features": "rff", "polish": 8, "waves": 24},
    "paper": {"mode": "paper", "width": 8, "batch": 16, "restart_steps": 20, "period": 5},
    "scalar": {**SMALL, "scalar": True},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_node_learns_and_decides_in_any_company_as_it_does_alone(kind):
    """All routers of a block are one tensor program; each alone is the slow twin."""
    swap_s = np.array([0.0, 5.0, 0.0, 5.0, 0.0])
    setup = replace(example_setup(nodes=5, **KINDS[kind]), swap_s=swap_s)
    block, together = play(setup, [0, 1, 2, 3, 4])
    some, _ = play(setup, [1, 4])
    for node, said in together.items():
        one, alone = play(setup, [node])
        np.testing.assert_allclose(said, alone[node], rtol=1e-6, atol=1e-6)
        mean, _ = judged(block, node)
        np.testing.assert_allclose(mean, judged(one, 0)[0], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(judged(block, 4), judged(some, 1), rtol=1e-6, atol=1e-6)
    assert len({tuple(row[:4]) for row in together[0]}) > 5  # it has chosen, not only kept


def judged(router, row):
    """Return what a router has learned to expect of some merges at one of its nodes."""
    points = np.random.default_rng(3).dirichlet(np.ones(4), (1, 20))
    both = router.learner.aim(router.mix.relevant()).both(points, np.array([row]))
    return [part[0] for part in both]
