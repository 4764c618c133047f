"""The cost law against real kernels: one MoE layer in torch, on a GPU where there is one.

    python tests/bench/bench_roofline.py [--device cuda|cpu] [--repeats 30] [--json FILE]

A layer of E experts (two matrices d x ff each) serves n tokens whose k distinct experts are drawn
uniformly; per touched expert its tokens are gathered, sent through the expert and added back. The
model under test is `sim.compute.cost.CostModel` with three figures of the device, each measured by
itself beforehand and none fitted to what is then predicted: the FLOP rate of the expert's matrix
product on many tokens, the byte rate of the same product on one token, the launch cost of a tiny
expert. So many copies of the layer take turns that the weights come from memory, never from a
cache. On a GPU a graph replay is timed, so Python plays no part.

Beside it stands the model that simulators commonly use, a + b n, fitted at n = 1 and 2.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sim.compute.cost import CostModel, itself
from sim.config import Hardware
from sim.ports import ModelCard

TOKENS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
CACHE_BYTES = 512e6  # weights in turn: more than any cache holds


@dataclass(frozen=True, slots=True)
class Layer:
    """One MoE layer: name, width, hidden width, experts, experts per token (0: one for all)."""

    name: str
    d: int
    ff: int
    experts: int
    k: int

    @property
    def params(self) -> int:
        """Count the parameters of one expert."""
        return 2 * self.d * self.ff


LAYERS = (
    Layer("switch-base-8 top-1", 768, 3072, 8, 1),
    Layer("switch-base-8 top-2", 768, 3072, 8, 2),
    Layer("switch-base-64 top-1", 768, 3072, 64, 1),
    Layer("switch-base-64 top-2", 768, 3072, 64, 2),
    Layer("mixtral-like top-2", 4096, 21504, 8, 2),
    Layer("switch-base-8 merged", 768, 3072, 8, 0),
)


class Bench:
    """Times layers on one device."""

    def __init__(self, device: str, repeats: int) -> None:
        self.device, self.repeats = torch.device(device), repeats
        self.dtype = torch.float16 if device == "cuda" else torch.float32
        self.bytes_per_param = 2 if device == "cuda" else 4

    def weights(self, layer: Layer) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Make as many layers as no cache holds, (E, d, ff) and (E, ff, d) each."""
        size_bytes = layer.params * layer.experts * self.bytes_per_param
        rng = torch.Generator(self.device).manual_seed(1)
        shape = (layer.experts, layer.d, layer.ff)
        count = max(1, min(24, int(CACHE_BYTES / size_bytes) + 1))
        made = []
        for _ in range(count):
            up = torch.randn(shape, generator=rng, device=self.device, dtype=self.dtype) * 0.02
            made.append((up, up.transpose(1, 2).contiguous()))
        return made

    def seconds(self, calls: list[Callable[[], None]]) -> float:
        """Return the median time of one call; all take turns."""
        if self.device.type == "cpu":
            return self._cpu(calls)
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            for call in calls:
                call()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for call in calls:
                call()
        times = []
        for _ in range(self.repeats):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            graph.replay()
            end.record()
            torch.cuda.synchronize()
            times.append(begin.elapsed_time(end) / 1e3)
        return median(times) / len(calls)

    def _cpu(self, calls: list[Callable[[], None]]) -> float:
        times = []
        for _ in range(self.repeats):
            for call in calls:
                begin = time.process_time()
                call()
                times.append(time.process_time() - begin)
        return median(times)


def choices(layer: Layer, tokens: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Draw k distinct experts per token; return the tokens of each touched expert."""
    if layer.k == 0:
        return [np.arange(tokens)]
    picks = np.argsort(rng.random((tokens, layer.experts)), axis=1)[:, : layer.k]
    return [np.flatnonzero((picks == e).any(axis=1)) for e in range(layer.experts)]


def forward(
    x: torch.Tensor, pair: tuple[torch.Tensor, torch.Tensor], rows: list[tuple[int, torch.Tensor]]
) -> Callable[[], None]:
    """Return a call that runs one layer on tokens (n, d)."""
    up, down = pair

    def call() -> None:
        out = torch.zeros_like(x)
        for expert, index in rows:
            hidden = torch.relu(x.index_select(0, index) @ up[expert])
            out.index_add_(0, index, hidden @ down[expert])

    return call


def calls_of(
    bench: Bench, layer: Layer, tokens: int, weights: list[tuple[torch.Tensor, torch.Tensor]]
) -> tuple[list[Callable[[], None]], list[int]]:
    """Return calls over the layers in turn, each with choices of its own, and distinct experts."""
    rng = np.random.default_rng(tokens)
    x = torch.randn(tokens, layer.d, device=bench.device, dtype=bench.dtype)
    made, distinct = [], []
    for pair in weights * max(1, 8 // len(weights)):
        found = choices(layer, tokens, rng)
        rows = [
            (expert, torch.from_numpy(t).to(bench.device))
            for expert, t in enumerate(found)
            if len(t)
        ]
        distinct.append(len(rows))
        made.append(forward(x, pair, rows))
    return made, distinct


def calibrate(bench: Bench, layer: Layer) -> Hardware:
    """Measure the three figures of the device for experts of this size."""
    one = replace(layer, experts=1, k=0)
    many = replace(one, name="weights", experts=max(1, min(64, int(5e8 / (layer.params * 2)))))
    weights = bench.weights(many)
    pairs = [(u[e : e + 1], d[e : e + 1]) for u, d in weights for e in range(many.experts)]
    tiny = replace(one, d=64, ff=64)
    launch_s = bench.seconds(calls_of(bench, tiny, 1, bench.weights(tiny))[0])
    large = 4096 if bench.device.type == "cuda" else 512
    compute_s = bench.seconds(calls_of(bench, one, large, pairs[:4])[0]) - launch_s
    read_s = bench.seconds(calls_of(bench, one, 1, pairs)[0]) - launch_s
    return Hardware(
        "measured",
        flop_per_s=2.0 * layer.params * large / compute_s,
        bytes_per_s=layer.params * bench.bytes_per_param / read_s,
        memory_bytes=1e12, storage_bytes_per_s=1e9, storage_delay_s=0.0, kernel_s=launch_s,
        idle_w=0.0, busy_w=0.0,
    )  # fmt: skip


def predicted(bench: Bench, layer: Layer, hardware: Hardware, tokens: int, distinct: int) -> float:
    """Ask the cost model of moedge for the time of one layer, nothing but experts in it."""
    card = ModelCard(
        layer.name, "none", layer.experts, 1, ("t",), 1, layer.d, layer.ff, 1, 0, layer.params,
        bench.bytes_per_param, (1,), "",
    )  # fmt: skip
    big = replace(itself(card), layers=0)  # no dense kernel
    cost = CostModel(big, card, hardware)
    batch = cost.gated(tokens, layer.k, (distinct,)) if layer.k else cost.merged(tokens)
    return batch.service_s


def run(bench: Bench) -> list[dict[str, float | str]]:
    """Measure every layer and number of tokens; print as it goes."""
    found: list[dict[str, float | str]] = []
    for layer in LAYERS:
        if bench.device.type == "cpu" and layer.d > 2000:
            continue  # 1.4 GB of single precision per layer
        hardware = calibrate(bench, layer)
        print(
            f"\n{layer.name}: {hardware.flop_per_s:.3g} FLOP/s, {hardware.bytes_per_s:.3g} B/s,"
            f" {hardware.kernel_s * 1e6:.1f} us per expert"
        )
        weights = bench.weights(layer)
        rows = [_row(bench, layer, hardware, n, weights) for n in TOKENS]
        slope = float(rows[1]["measured_s"]) - float(rows[0]["measured_s"])
        for row, n in zip(rows, TOKENS, strict=True):
            row["linear_s"] = float(rows[0]["measured_s"]) + slope * (n - 1)
            _print(row)
        found += rows
    return found


def _row(
    bench: Bench,
    layer: Layer,
    hardware: Hardware,
    tokens: int,
    weights: list[tuple[torch.Tensor, torch.Tensor]],
) -> dict[str, float | str]:
    calls, distinct = calls_of(bench, layer, tokens, weights)
    model = [predicted(bench, layer, hardware, tokens, d) for d in distinct]
    expected = layer.experts * (1 - (1 - layer.k / layer.experts) ** tokens) if layer.k else 1.0
    return {
        "layer": layer.name, "tokens": tokens, "distinct": float(np.mean(distinct)),
        "formula": expected, "measured_s": bench.seconds(calls), "model_s": float(np.mean(model)),
    }  # fmt: skip


def _print(row: dict[str, float | str]) -> None:
    measured, model = float(row["measured_s"]), float(row["model_s"])
    linear = float(row["linear_s"])
    print(
        f"n {row['tokens']:>4}  distinct {row['distinct']:6.2f} (formula {row['formula']:6.2f})"
        f"  measured {measured * 1e6:9.1f} us  model {model / measured - 1:+7.1%}"
        f"  linear in n {linear / measured - 1:+8.1%}"
    )


def summary(rows: list[dict[str, float | str]]) -> None:
    """Print the error of both models per layer."""
    print("\nlayer                   mean |error| of the model   worst   of a + b n   worst")
    for name in dict.fromkeys(str(row["layer"]) for row in rows):
        mine = [row for row in rows if row["layer"] == name]
        model, linear = (
            [abs(float(r[key]) / float(r["measured_s"]) - 1) for r in mine]
            for key in ("model_s", "linear_s")
        )
        print(
            f"{name:24}{np.mean(model):20.1%}{max(model):15.1%}"
            f"{np.mean(linear[2:]):13.1%}{max(linear):8.1%}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench(args.device, args.repeats)
    with torch.inference_mode():
        rows = run(bench)
    summary(rows)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
