"""How well the mix of the slot to come is known: total variation, by decay and detector.

    python tests/bench/bench_context.py [--clusters 4,8] [--requests 14,60] [--slots 300]
                                        [--nodes 24] [--seed 0]

Nodes draw mixes from Dirichlet(0.6) that switch every 10 or 50 slots on average, never, or move
from one to the next over 100 slots. `slot` is the error of the last slot's own shares against its
own mix: pure sampling noise, the floor of anything that knows one slot only. An estimator that
averages can be better than it; on a switch nobody can be, since the switch has not been seen yet
(`unseen`: the error that is left to one who knows every mix up to the last slot exactly).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from agents.routers.context import ContextParams, MixEstimate
from sim.rng import Streams

if TYPE_CHECKING:
    from collections.abc import Callable

    from sim.arrays import FloatArray

SWITCHES = {"10": 0.1, "50": 0.02, "never": 0.0}
WARM_SLOTS = 50


def ema(counts: FloatArray, alpha: float) -> FloatArray:
    """Return what a moving average of shares says before each slot, (T, n, V)."""
    mix = np.full(counts.shape[1:], 1.0 / counts.shape[2])
    said = np.empty_like(counts)
    for slot, seen in enumerate(counts):
        said[slot] = mix
        total = seen.sum(axis=1, keepdims=True)
        share = seen / np.where(total > 0.0, total, 1.0)
        mix = np.where(total > 0.0, mix + alpha * (share - mix), mix)
    return said


def ours(counts: FloatArray, params: ContextParams) -> FloatArray:
    """Return what the estimate says before each slot, (T, n, V)."""
    nodes, clusters = counts.shape[1:]
    mix = MixEstimate(nodes, np.ones(clusters), params)
    said = np.empty_like(counts)
    for slot, seen in enumerate(counts):
        said[slot] = mix.mix
        mix.observe(seen, np.ones(nodes, dtype=np.bool_))
    return said


def mixes(kind: str, shape: tuple[int, int, int], rng: np.random.Generator) -> FloatArray:
    """Draw the true mixes, (T, n, V)."""
    slots, nodes, clusters = shape
    draws = rng.dirichlet(np.full(clusters, 0.6), (slots, nodes))
    if kind == "gradual":
        at, part = np.divmod(np.arange(slots), 100)
        part = (part / 100.0)[:, None, None]
        return np.asarray((1.0 - part) * draws[at] + part * draws[at + 1])
    moved = rng.random((slots, nodes)) < SWITCHES[kind]
    last = np.maximum.accumulate(np.where(moved, np.arange(slots)[:, None], 0), axis=0)
    return np.asarray(draws[last, np.arange(nodes)])


def error(said: FloatArray, truth: FloatArray) -> float:
    """Return the mean total variation after the first slots."""
    return float(0.5 * np.abs(said - truth)[WARM_SLOTS:].sum(axis=2).mean())


def columns() -> dict[str, Callable[[FloatArray], FloatArray]]:
    """Return the estimators of the table."""
    table: dict[str, Callable[[FloatArray], FloatArray]] = {
        f"ema {a:g}": lambda c, a=a: ema(c, a) for a in (0.1, 0.3, 0.5, 0.6, 1.0)
    }
    for a in (0.05, 0.1, 0.15, 0.2, 0.3):
        table[f"ours {a:g}"] = lambda c, a=a: ours(c, ContextParams(alpha=a))
    table["no det .15"] = lambda c: ours(c, ContextParams(detector=False))
    return table


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("clusters", "4,8"), ("requests", "14,60")):
        parser.add_argument(f"--{name}", default=value)
    for name, number in (("slots", 300), ("nodes", 24), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=number)
    args = parser.parse_args()
    table = columns()
    print("V   req switch  " + "".join(f"{n:>11}" for n in ("slot", "unseen", *table)))
    for clusters in map(int, args.clusters.split(",")):
        for requests in map(int, args.requests.split(",")):
            for kind in (*SWITCHES, "gradual"):
                rng = Streams(args.seed).stream("bench", clusters, requests, kind)
                truth = mixes(kind, (args.slots, args.nodes, clusters), rng)
                asked = rng.poisson(requests, truth.shape[:2])
                counts = rng.multinomial(asked, truth).astype(np.float64)
                shares = counts / np.maximum(counts.sum(axis=2, keepdims=True), 1.0)
                late = np.concatenate([truth[:1], truth[:-1]])
                found = [error(shares, truth), error(late, truth)]
                found += [error(say(counts), truth) for say in table.values()]
                print(f"{clusters:<4}{requests:<4}{kind:<8}" + "".join(f"{e:11.3f}" for e in found))


if __name__ == "__main__":
    main()
