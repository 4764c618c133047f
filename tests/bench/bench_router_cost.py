"""What a learning router costs per node-slot, beside one merged forward of 16 requests.

    python tests/bench/bench_router_cost.py [--routers tanbr,nucb] [--slots 120] [--json]

Every router plays 8 experts and 8 clusters on `bump` landscapes, alone and as a block of 64 nodes.
The forward is the shipped model's (merge of 8 experts included) and is timed in between, in the
same run, so that the ratio says what a noisy machine cannot spoil. The forward is a median, the
router a mean, because its training comes in bursts; one thread. Only the second half of the slots
counts: a router that knows more costs more.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from agents.moe.runtime import Runtime
from agents.routers import ROUTERS
from agents.routers.landscapes import Arena, Game, draw, setup_for
from sim.ports import ContextBlock, DecisionBlock, FeedbackBlock
from sim.rng import Streams

EXPERTS = CLUSTERS = 8
REQUESTS = 16


@dataclass
class Timed:
    """A router whose calls are timed."""

    router: Any
    decide_s: list[float] = field(default_factory=list)
    state_bytes: float = 0.0  # of the first node
    update_s: list[float] = field(default_factory=list)

    def decide_block(self, context: ContextBlock) -> DecisionBlock:
        """Pass on, and time."""
        begin_s = time.perf_counter()
        answer: DecisionBlock = self.router.decide_block(context)
        self.decide_s.append(time.perf_counter() - begin_s)
        self.state_bytes = float(answer.receipts.state_bytes[0])
        return answer

    def update_block(self, feedback: FeedbackBlock) -> None:
        """Pass on, and time."""
        begin_s = time.perf_counter()
        self.router.update_block(feedback)
        self.update_s.append(time.perf_counter() - begin_s)


class Forward:
    """Merged forwards of 16 requests, each with a merge of its own."""

    def __init__(self) -> None:
        self.model = Runtime.load("builtin:stream")
        self.rng = Streams(1).stream("bench", "forward")
        self.seconds: list[float] = []

    def go(self) -> None:
        """Merge and answer once."""
        weights = tuple(self.rng.dirichlet(np.ones(EXPERTS)).tolist())
        inputs = self.rng.integers(0, self.model.card.pool_size, REQUESTS)
        begin_s = time.perf_counter()
        self.model.score_merged(weights, inputs)
        self.seconds.append(time.perf_counter() - begin_s)


def measure(
    name: str, nodes: int, slots: int, label: str = "", **params: Any
) -> dict[str, float | int | str]:
    """Play one router and return medians per node-slot, in milliseconds and as ratios."""
    lands = [draw("bump", EXPERTS, CLUSTERS, 1 + i % 4) for i in range(nodes)]
    game = Game(slots, warm=True, lagged=True)
    router = Timed(ROUTERS.load(name)(setup_for(lands, game, 1, params)))
    arena, forward = Arena(lands, game, 1), Forward()
    for slot in range(slots):
        arena.take(slot, router)  # type: ignore[arg-type]
        forward.go()
    half = slots // 2
    unit_s = median(forward.seconds[half:])
    decide_s, update_s = (
        sum(part[half:]) / len(part[half:]) / nodes for part in (router.decide_s, router.update_s)
    )
    return {
        "router": label or name,
        "nodes": nodes,
        "decide_ms": 1e3 * decide_s,
        "update_ms": 1e3 * update_s,
        "forward_ms": 1e3 * unit_s,
        "ratio": (decide_s + update_s) / unit_s,
        "state_bytes": router.state_bytes,
    }


def leaves(slots: int) -> list[dict[str, Any]]:
    """T13: Tanbr alone with a tree of so many leaves, that stays as it is."""
    rows = []
    for depth, polish in ((4, 0), (4, 32), (8, 0), (8, 32)):
        size = 2**depth
        said = f"tanbr, {size} leaves" + (", polish" if polish else "")
        params = {"start_depth": depth, "max_leaves": size, "polish": polish}
        rows.append(measure("tanbr", 1, slots, said, **params))
    return rows


def learners() -> list[str]:
    """Return the routers that learn."""
    return [name for name in ROUTERS if ROUTERS.load(name).learns]


def show(rows: list[dict[str, Any]], write: Callable[[str], Any] = print) -> None:
    """Print one line per router and block size."""
    write(
        f"{'router':<28}{'nodes':>6}{'decide':>11}{'update':>11}"
        f"{'both / forward of 16':>22}{'state':>12}"
    )
    for row in rows:
        write(
            f"{row['router']:<28}{row['nodes']:>6}{row['decide_ms']:>8.3f} ms"
            f"{row['update_ms']:>8.3f} ms{row['ratio']:>21.2f}x{row['state_bytes'] / 1e6:>9.2f} MB"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--routers", default="")
    parser.add_argument("--slots", type=int, default=120)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    names = asked.routers.split(",") if asked.routers else learners()
    rows = [measure(name, nodes, asked.slots) for name in names for nodes in (1, 64)]
    rows += leaves(asked.slots) if "tanbr" in names else []
    print(json.dumps(rows)) if asked.json else show(rows)


if __name__ == "__main__":
    main()
