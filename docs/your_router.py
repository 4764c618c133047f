"""Write a router, check it against the contract, and see its regret: a tutorial to run.

    python docs/your_router.py

One object steers a block of nodes. At every slot boundary it is told how many requests of each
cluster its nodes have served, and answers with a plan per node; outcomes come back later, in part,
each naming the decision that it answers. That is all: no task tags, no clock, no simulator.

To keep it: move the class to `agents/routers/mine.py` and add one row to the table in
`agents/routers/__init__.py`. It is then in `moedge policies`, `compare`, `bench-routers` and the
test suite. A package of your own needs no change here: give it the entry point `moedge.router`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import ClassVar

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from agents.conformance import check_router, example_setup
from agents.routers.context import ContextParams, MixEstimate
from agents.routers.feedback import simplex_point, sound_rows
from agents.routers.landscapes import Game, draw, play
from agents.routers.params import refuse_params
from agents.routers.static import Uniform
from sim.plans import Merged
from sim.ports import BlockSetup, ContextBlock, DecisionBlock, FeedbackBlock, Receipts
from sim.rng import Streams

MERGES = 24  # random merges to choose from, the same for all nodes
EXPLORE = 0.1  # share of slots with a random one


class Bold:
    """Keep the mean reward per cluster of some random merges; take the best for the mix."""

    oracle: ClassVar[bool] = False  # it sees nothing that no real router can see
    learns: ClassVar[bool] = True  # it wants feedback

    def __init__(self, setup: BlockSetup) -> None:
        refuse_params(setup.params, "bold")
        streams, n = Streams(setup.seed), len(setup.nodes)
        self.refused = 0
        self.merges = streams.stream("bold", "merges").dirichlet(np.ones(setup.experts), MERGES)
        self.rngs = [streams.stream("bold", int(node)) for node in setup.nodes]
        self.mix = MixEstimate(n, setup.calibration.prior, ContextParams())
        self.right = np.ones((n, MERGES, setup.clusters))  # optimistic: one right answer of one
        self.seen = np.ones((n, MERGES, setup.clusters))

    def decide_block(self, context: ContextBlock) -> DecisionBlock:
        """Choose for the active nodes; `None` keeps the plan that a node has."""
        for row in np.flatnonzero(context.reset):  # the node restarted: what it knew is lost
            self.mix.restart(row)
            self.right[row] = self.seen[row] = 1.0
        self.mix.observe(context.counts, context.active)
        value = np.einsum("nv,nmv->nm", self.mix.mix, self.right / self.seen)
        best, plans = value.argmax(axis=1), []
        explored = np.zeros(len(best), dtype=np.bool_)
        for row, active in enumerate(context.active.tolist()):
            explored[row] = active and self.rngs[row].random() < EXPLORE
            pick = int(self.rngs[row].integers(MERGES)) if explored[row] else int(best[row])
            plans.append(Merged(tuple(self.merges[pick].tolist())) if active else None)
        return DecisionBlock(plans, self._receipts(context), explored, self.mix.mix)

    def _receipts(self, context: ContextBlock) -> Receipts:
        """Charge the work: a division and a multiplication per number, each read once."""
        size = float(self.right[0].size)
        flop, read_bytes = 3.0 * size * context.active, 16.0 * size * context.active
        state_bytes = np.full(len(flop), 16.0 * size + self.merges.nbytes)
        return Receipts(flop, read_bytes, np.zeros(len(flop)), state_bytes)

    def update_block(self, feedback: FeedbackBlock) -> None:
        """Count right answers of the merge that each row names."""
        sound = sound_rows(feedback)  # a NaN would spread through the means for ever
        self.refused += int((~sound).sum())
        for r in np.flatnonzero(sound):
            point = simplex_point(feedback.plans[r], self.merges.shape[1])
            same = (
                np.zeros(MERGES, np.bool_) if point is None else (self.merges == point).all(axis=1)
            )
            row, count = feedback.row[r], feedback.count[r]
            self.right[row, same] += feedback.reward[r] * count
            self.seen[row, same] += count


def main() -> None:
    """Check the contract, then play four landscapes beside the plain average."""
    breaches = check_router("bold", example_setup, load=lambda name: Bold)
    print("contract:", "; ".join(breaches) or "kept")
    lands = [draw("bump", 4, 4, seed) for seed in (1, 2, 3, 4)]
    for kind in (Bold, Uniform):
        regret = play(kind, lands, Game(300), seed=1).regret
        mean, late = regret.mean(), regret[:, 225:].mean()
        print(f"{kind.__name__:<8} regret per slot {mean:.3f}, in the last quarter {late:.3f}")


if __name__ == "__main__":
    main()
