"""The acceptance table of Tanbr on landscapes: T4 to T10, T12 and T15, limit beside measured value.

    python tests/bench/bench_acceptance.py [--only T5,T7] [--seeds 1,2,3] [--jobs 2]

T1 to T3, T11 and T14 are exact and live in the tests; T13 is `bench_router_cost.py`. Unless a check
says otherwise the mix is known, as when the limits were set: no detector, the last slot is all that
counts, no warm start. Regret is against the best continuous merge for the true mix.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from agents.routers import ROUTERS
from agents.routers.landscapes import Game, Landscape, Played, draw, play, shifted
from sim.ports import BlockSetup, ContextBlock, DecisionBlock, FeedbackBlock, Router

KNOWN = {"alpha": 1.0, "detector": False, "warm_start": False}
CLUSTERS = 4


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    test: str
    what: str
    limit: str
    measured: str
    holds: bool


def at_most(test: str, what: str, found: float, limit: float) -> Row:
    """Judge a value that must not exceed its limit."""
    return Row(test, what, f"<= {limit:.3g}", f"{found:.3g}", found <= limit)


class PerMix:
    """One router per distinct mix, the way a learner without any context would be given one.

    Only for blocks of one node that see the mix itself and hear at once.
    """

    oracle, learns = False, True

    def __init__(self, setup: BlockSetup, kind: str) -> None:
        self.make = lambda: ROUTERS.load(kind)(setup)
        self.routers: dict[bytes, Router] = {}
        self.now: Router

    def decide_block(self, context: ContextBlock) -> DecisionBlock:
        """Ask the router of this mix."""
        key = np.round(context.counts, 6).tobytes()
        if key not in self.routers:
            self.routers[key] = self.make()
        self.now = self.routers[key]
        return self.now.decide_block(context)

    def update_block(self, feedback: FeedbackBlock) -> None:
        """Tell the router that decided."""
        self.now.update_block(feedback)


def lands_of(kind: str, experts: int, seeds: Sequence[int], mixes: int = 10) -> list[Landscape]:
    """Draw one landscape per seed."""
    return [draw(kind, experts, CLUSTERS, seed, mixes) for seed in seeds]


def played(
    kind: str, lands: Sequence[Landscape], game: Game, params: Any = None, **more: Any
) -> Played:
    """Play a router of the registry on one block, a node per landscape."""
    return play(ROUTERS.load(kind), lands, game, 7, params or {}, **more)


def hct_per_mix(lands: Sequence[Landscape], game: Game) -> float:
    """Return the mean cumulative regret of HCT with one tree per distinct mix."""
    params = {"context": False}
    total = [
        play(lambda setup: PerMix(setup, "hct"), [land], game, 7, params).regret.sum()
        for land in lands
    ]
    return float(np.mean(total))


def total(run: Played) -> float:
    """Return the mean cumulative regret."""
    return float(run.regret.sum(axis=1).mean())


def bends(test: str, kind: str, experts: int, limit: float, seeds: Sequence[int]) -> Iterator[Row]:
    """T4 and T5: regret small, far below a floor, and bending."""
    lands, game = lands_of(kind, experts, seeds), Game(2000)
    ours = played("tanbr", lands, game, KNOWN)
    name = f"{kind} K={experts}, T=2000"
    yield at_most(test, f"{name}: cumulative regret", total(ours), limit)
    if test == "T4":
        floor, share, of = total(played("uniform", lands, game)), 0.2, "uniform"
    else:
        floor, share, of = hct_per_mix(lands, game), 0.25, "HCT per mix"
    yield at_most(test, f"{name}: share of {of} ({floor:.0f})", total(ours) / floor, share)
    yield at_most(test, f"{name}: slope", float(ours.slope.mean()), 0.65)


def t4(seeds: Sequence[int]) -> Iterator[Row]:
    """Quad."""
    yield from bends("T4", "quad", 4, 25.0, seeds)


def t5a(seeds: Sequence[int]) -> Iterator[Row]:
    """Bump, four experts."""
    yield from bends("T5", "bump", 4, 35.0, seeds)


def t5b(seeds: Sequence[int]) -> Iterator[Row]:
    """Bump, eight experts."""
    yield from bends("T5", "bump", 8, 65.0, seeds)


def t6(seeds: Sequence[int]) -> Iterator[Row]:
    """Go on for long."""
    ours = played("tanbr", lands_of("bump", 8, seeds), Game(5000), KNOWN)
    yield at_most("T6", "bump K=8, T=5000: slope", float(ours.slope.mean()), 0.70)
    late = float(ours.regret[:, -1250:].mean())
    yield at_most("T6", "bump K=8, T=5000: late regret per slot", late, 0.015)


def t7(seeds: Sequence[int]) -> Iterator[Row]:
    """Adaptive tree against a frozen grid, random candidates and boxes."""
    lands, game = lands_of("bump", 8, seeds), Game(2000)
    ours = total(played("tanbr", lands, game, KNOWN))
    frozen = {**KNOWN, "start_depth": 8, "max_leaves": 256}
    rivals = [
        ("static 256 leaves", "tanbr", frozen, 0.9),
        ("neural UCB on 100 random candidates", "nucb", {**KNOWN, "candidates": 100}, 0.8),
        ("tightened boxes (P1)", "tanbr", {**KNOWN, "cells": "tight-box"}, 0.7),
    ]
    for name, kind, params, share in rivals:
        other = total(played(kind, lands, game, params))
        yield at_most("T7", f"bump K=8: tree {ours:.1f} / {name} {other:.1f}", ours / other, share)


def t8(seeds: Sequence[int]) -> Iterator[Row]:
    """One mix for ever."""
    seeds = (*seeds, 4, 5) if len(seeds) == 3 else seeds
    game = Game(1000, stay=1.0)
    for experts in (4, 8):
        lands = lands_of("bump", experts, seeds, mixes=1)
        ours = played("tanbr", lands, game, KNOWN)
        outside = hct_per_mix(lands, game)
        name = f"bump K={experts}, one mix, T=1000, {len(seeds)} seeds"
        yield at_most("T8", f"{name}: share of HCT ({outside:.0f})", total(ours) / outside, 0.4)
        worst = float(ours.regret.sum(axis=1).max())
        yield at_most("T8", f"{name}: worst seed", worst, 60.0)


def t9(seeds: Sequence[int]) -> Iterator[Row]:
    """All optima drawn anew."""
    lands, half = lands_of("bump", 4, seeds), 800
    after = [shifted(land, s + 50) for s, land in enumerate(lands)]
    game = Game(2 * half, shift_at=half)
    alert = played("tanbr", lands, game, KNOWN, after=after)
    deaf = played("tanbr", lands, game, {**KNOWN, "alarm": False, "rollback": False}, after=after)
    delays = [
        min((slot - half for n, slot in alert.alarms if n == node and slot > half), default=half)
        for node in range(len(lands))
    ]
    yield at_most("T9", f"bump K=4: slots to the alarm, each seed {delays}", max(delays), 15)
    ours, theirs = alert.regret[:, half:].sum(), deaf.regret[:, half:].sum()
    yield at_most("T9", "second half / without alarm", float(ours / theirs), 0.25)
    calm = played("tanbr", lands, Game(2 * half), KNOWN)
    yield at_most("T9", f"alarms in {len(lands)} stationary runs", len(calm.alarms), 0)


def t10(seeds: Sequence[int]) -> Iterator[Row]:
    """The mix of the slot before, or none at all."""
    lands = lands_of("bump", 4, seeds)
    game = Game(1500, stay=0.98)
    known = total(played("tanbr", lands, game, KNOWN))
    lag = replace(game, lagged=True)
    half = {**KNOWN, "alpha": 0.5}
    yield at_most(
        "T10", "lagged, alpha 0.5 / known", total(played("tanbr", lands, lag, half)) / known, 2.0
    )
    ours = total(played("tanbr", lands, lag, {"warm_start": False})) / known
    yield at_most("T10", "lagged, as shipped / known", ours, 2.0)
    blind = total(played("tanbr", lands, replace(game, blind=True), KNOWN)) / known
    yield Row("T10", "ignoring the mix / known", ">= 3", f"{blind:.3g}", blind >= 3.0)


def t12(seeds: Sequence[int]) -> Iterator[Row]:
    """Networks that are really merged."""
    lands = lands_of("mlp", 8, seeds)
    game = Game(2000)
    ours = total(played("tanbr", lands, game, KNOWN))
    floor = total(played("uniform", lands, game))
    yield at_most("T12", f"mlp K=8, T=2000: {ours:.1f} / uniform {floor:.0f}", ours / floor, 0.4)
    eye = np.eye(8)
    per_slot = [
        (land.best - (land.reward(eye) @ land.mixes.T).max(axis=0)).mean() for land in lands
    ]
    single = float(np.mean(per_slot)) * game.slots
    row = at_most("T12", f"mlp K=8: over best single expert of each slot {single:.0f}",
                  ours / single, 1.0)  # fmt: skip
    yield row


def t15(seeds: Sequence[int]) -> Iterator[Row]:
    """Many experts."""
    lands, game = lands_of("quad", 32, seeds), Game(1500, warm=True)
    warm = {"alpha": 1.0, "detector": False}
    late = {}
    for name, params in (
        ("default", {}),  # groups by reward profile: the one that is judged
        ("usage", {"grouping": "usage"}),
        ("plain", {"groups": -1}),
    ):
        runs = [played("tanbr", [land], game, {**warm, **params}) for land in lands]
        late[name] = float(np.mean([run.regret[:, -375:].mean() for run in runs]))
    floor = float(np.mean([played("uniform", [land], game).regret.mean() for land in lands]))
    said = ", ".join(f"{k} {v:.4f}" for k, v in late.items())
    yield at_most("T15", f"quad K=32 late regret: {said}, uniform {floor:.4f}: share of plain",
                  late["default"] / late["plain"], 1.0)  # fmt: skip


CHECKS: dict[str, Callable[[Sequence[int]], Iterator[Row]]] = {
    "T4": t4, "T5": t5a, "T5b": t5b, "T6": t6, "T7": t7, "T8": t8, "T9": t9, "T10": t10,
    "T12": t12, "T15": t15,
}  # fmt: skip


def run(name: str, seeds: Sequence[int]) -> tuple[list[Row], float]:
    """Run one check in a process of its own."""
    import torch

    torch.set_num_threads(1)
    begin_s = time.process_time()
    return list(CHECKS[name](seeds)), time.process_time() - begin_s


def main() -> int:
    """Run the checks and print the table; 1 when a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", default=",".join(CHECKS))
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    seeds = [int(s) for s in asked.seeds.split(",")]
    missed = 0
    with ProcessPoolExecutor(asked.jobs) as pool:
        futures = [(name, pool.submit(run, name, seeds)) for name in asked.only.split(",")]
        for _, future in futures:
            rows, cpu_s = future.result()
            for row in rows:
                missed += not row.holds
                verdict = "holds" if row.holds else "MISSED"
                print(f"{row.test:<4} {row.what:<78} {row.limit:>9} {row.measured:>9}  {verdict}")
            print(f"     ({cpu_s:.0f} s of CPU)", flush=True)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
