"""What the checker of routers plays: contexts and feedback of a short run, made up from a seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim.plans import Plan, uniform
from sim.ports import BlockSetup, ContextBlock, FeedbackBlock
from sim.rng import Streams

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.arrays import BoolArray, FloatArray

SLOTS = 12
RENEW_SLOT, RESET_SLOT, RESUME_SLOT = 5, 7, 8  # the last one: where a run is cut and resumed


class Script:
    """Contexts and feedback of a short run, a function of the seed and of what the router decided.

    Args:
        setup: The block.
        oracle: Hand over a true mix.
        garbage: Hand over a true mix of NaN to a router that must not look.
        poison: Add a row with NaN to every batch of feedback.
        only: Speak with a block of this one row; it hears what it would hear among the others.
    """

    def __init__(
        self,
        setup: BlockSetup,
        oracle: bool,
        garbage: bool = False,
        poison: bool = False,
        only: int | None = None,
    ) -> None:
        self._setup, self._oracle, self._garbage, self._poison = setup, oracle, garbage, poison
        self._n = len(setup.nodes)
        self._rows = list(range(self._n)) if only is None else [only]
        self._history: list[list[tuple[int, Plan]]] = [
            [(-1, uniform(setup.experts))] for _ in range(self._n)
        ]
        self.poisoned = 0

    def _rng(self, *name: str | int) -> np.random.Generator:
        return Streams(self._setup.seed).stream("conformance", *name)

    def active(self, slot: int) -> BoolArray:
        """Switch one node off in every third slot."""
        up = np.ones(self._n, dtype=np.bool_)
        up[slot // 3 % self._n] = slot % 3 != 0
        return up

    def context(self, slot: int) -> ContextBlock:
        """Return what the router sees; the last node restarts once, the first one's clusters move.

        A renewed cluster is told in one slot, to one node.
        """
        counts = (
            self._rng("counts", slot)
            .integers(0, 20, (self._n, self._setup.clusters))
            .astype(np.float64)
        )
        counts[self._n // 2] *= slot % 2  # a node that serves nothing now and then
        reset = np.zeros(self._n, dtype=np.bool_)
        reset[-1] = slot == RESET_SLOT
        active = self.active(slot)
        counts = np.asarray(counts * (active[:, None] & (slot > 0)), dtype=np.float64)
        renewed = np.zeros(counts.shape, dtype=np.bool_)
        renewed[0, -1] = slot == RENEW_SLOT
        rows, mix = self._rows, self._mix(slot)
        return ContextBlock(
            slot=slot,
            t_s=slot * self._setup.slot_s,
            active=active[rows],
            counts=counts[rows],
            reset=reset[rows],
            true_mix=None if mix is None else mix[rows],
            renewed=renewed[rows] if renewed[rows].any() else None,
        )

    def _mix(self, slot: int) -> FloatArray | None:
        table = self._setup.oracle
        if self._garbage:
            return np.full((self._n, 5), np.nan)
        if not self._oracle or table is None:
            return None
        tasks = table.accuracy.shape[1]
        return np.asarray(self._rng("mix", slot).dirichlet(np.ones(tasks), self._n))

    def note(self, slot: int, plans: Sequence[Plan | None]) -> None:
        """Remember the plans in force."""
        for row, plan in zip(self._rows, plans, strict=False):
            if plan is not None:
                self._history[row].append((slot, plan))

    def feedback(self, slot: int) -> FeedbackBlock:
        """Answer the last two decisions of every node, in parts; nothing at all in slot 2."""
        rows: list[tuple[int, int, Plan]] = []
        for at, row in enumerate(self._rows if slot != 2 else []):
            rows += [(at, when, plan) for when, plan in self._history[row][-2:]]
        told = [self._outcome(slot, self._rows[at], when) for at, when, _ in rows]
        shape = (len(rows), self._setup.clusters)
        block = FeedbackBlock(
            slot,
            np.array([at for at, _, _ in rows], dtype=np.int64),
            np.array([when for _, when, _ in rows], dtype=np.int64),
            [plan for _, _, plan in rows],
            np.array([reward for reward, _ in told]).reshape(shape),
            np.array([count for _, count in told]).reshape(shape),
        )
        return self._poisoned(block) if self._poison and rows else block

    def _outcome(self, slot: int, row: int, decided: int) -> tuple[FloatArray, FloatArray]:
        """Return mean rewards and counts per cluster, (V,) each; some counts are 0, or all."""
        rng, clusters = self._rng("feedback", slot, row, decided + 1), self._setup.clusters
        count = rng.integers(0, 5, clusters).astype(np.float64)
        reward = rng.random(clusters)
        if self._setup.pooled:
            reward[:] = reward @ count / max(1.0, count.sum())
        return np.asarray(reward * (count > 0.0)), count

    def _poisoned(self, block: FeedbackBlock) -> FeedbackBlock:
        """Add a spoilt copy of the first row: NaN in the reward or in the count, in turn."""
        self.poisoned += 1
        reward, count = block.reward[:1].copy(), block.count[:1] + 1.0
        (reward if block.slot % 2 else count)[0, 0] = np.nan
        return FeedbackBlock(
            block.slot,
            np.concatenate([block.row[:1], block.row]),
            np.concatenate([block.decided[:1], block.decided]),
            [block.plans[0], *block.plans],
            np.concatenate([reward, block.reward]),
            np.concatenate([count, block.count]),
        )
