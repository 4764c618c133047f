"""A small Tanbr, and what hosts tell it: shared by its tests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from agents.conformance import example_setup
from agents.routers.tanbr.router import Tanbr
from sim.ports import ContextBlock, FeedbackBlock

SMALL = {"width": 16, "restart_steps": 20, "batch": 16, "period": 5, "polish": 8}


def small(nodes=2, swap_s=None, pooled=False, **params):
    """A small Tanbr; slots take 5 s."""
    setup = example_setup(nodes=nodes, **{**SMALL, **params})
    swap = None if swap_s is None else np.full(nodes, swap_s)
    return Tanbr(replace(setup, swap_s=swap, pooled=pooled))


def context(slot, nodes=2, active=None, reset=None, counts=None):
    return ContextBlock(
        slot,
        slot * 5.0,
        np.ones(nodes, bool) if active is None else np.array(active),
        np.full((nodes, 3), 5.0) if counts is None else np.array(counts, float),
        np.zeros(nodes, bool) if reset is None else np.array(reset),
    )


def told(slot, rows):
    """Feedback of rows (node row, decided, plan, rewards, counts)."""
    row, decided, plans, reward, count = zip(*rows, strict=True)
    return FeedbackBlock(
        slot,
        np.array(row),
        np.array(decided),
        plans,
        np.array(reward, float),
        np.array(count, float),
    )


def same_learning(one, two, atol=0.0):
    for name, value in one.learner.heads.snapshot().items():
        np.testing.assert_allclose(value, two.learner.heads.snapshot()[name], rtol=0, atol=atol)
