"""Key-value memory of generative presets: published shapes, and the ledger from start to end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sim.compute.architectures import ARCHITECTURES
from sim.config import Batching, FaultSpec, ModelSpec
from sim.plans import TopK
from tests.sim.minds import (
    ARCHITECTURE,
    BACKBONE,
    MB,
    MERGED,
    SKEW,
    WORKING,
    Varied,
    category,
    node,
    poisson,
    run,
    script,
    timed,
    world,
)

# name -> layers, key-value heads, size of a head, of the published configurations, 2 bytes each;
# 2 (keys and values) * layers * heads * size * bytes per token
HEADS = {
    "mixtral-8x7b": (32, 8, 128),
    "olmoe-1b-7b": (16, 16, 128),
    "qwen1.5-moe-a2.7b": (24, 16, 128),
}


@pytest.mark.parametrize("name", sorted(HEADS))
def test_cached_bytes_per_token_are_those_of_the_published_heads(name: str) -> None:
    layers, heads, size = HEADS[name]
    a = ARCHITECTURES[name]
    assert a.layers == layers
    assert a.kv_bytes / a.tokens_per_request == 2 * layers * heads * size * 2


def test_well_known_figures() -> None:
    mixtral, deepseek = ARCHITECTURES["mixtral-8x7b"], ARCHITECTURES["deepseek-v2-lite"]
    assert mixtral.kv_bytes == 131_072 * 512  # 128 KiB a token, 64 MiB a request
    # multi-head latent attention: one latent of 512 and one rotary key of 64 for all heads
    assert deepseek.kv_bytes / deepseek.tokens_per_request == 27 * (512 + 64) * 2 == 31_104


@pytest.mark.parametrize("name", sorted(set(ARCHITECTURES) - set(HEADS) - {"deepseek-v2-lite"}))
def test_encoders_and_scorers_cache_nothing(name: str) -> None:
    assert ARCHITECTURES[name].kv_bytes == 0.0


KV = 0.4 * MB
GENERATIVE = ModelSpec("tiny", replace(ARCHITECTURE, kv_bytes=KV))


@pytest.mark.parametrize("plan", [None, TopK(2)])
@pytest.mark.parametrize("cache", ["all", "lru"])
def test_a_batch_holds_its_keys_and_values_until_it_ends(plan: TopK | None, cache: str) -> None:
    """Two overlapping batches of three and of one request on two servers."""
    there = node(plan=plan, cache=cache, servers=2, batching=Batching(3))
    seen = run(
        world([there], [timed([0.5, 0.5, 0.5, 0.505])], model=GENERATIVE), script(), Varied()
    )
    table = seen["requests"]
    ends_s = sorted({float(t) for t in table["t_finish_s"].tolist()})
    assert len(ends_s) == 2
    late = float(table["t_finish_s"][3])
    first = [3, 0] if late == ends_s[0] else [1, 0]
    expected = [(0.5, 3), (0.505, 4), *zip(ends_s, first, strict=True)]
    assert category(seen, "kv") == [
        (pytest.approx(t_s), pytest.approx(n * KV / MB)) for t_s, n in expected
    ]


def test_a_crash_frees_keys_and_values() -> None:
    crash = FaultSpec("node-crash", 0, 0.504, 0.2)
    seen = run(world([node()], [timed([0.5])], model=GENERATIVE, faults=(crash,)), script())
    assert category(seen, "kv") == [(0.5, 0.4), (0.504, 0.0)]


def test_keys_and_values_limit_a_batch_as_activations_do() -> None:
    """Room for two requests beside the weights: no batch is larger, and all are served."""
    room = BACKBONE + MERGED + 2 * (WORKING + KV)
    tight = node(memory_bytes=room, batching=Batching(8), plan=SKEW)
    seen = run(world([tight], [poisson(60.0)], model=GENERATIVE, drain_s=60.0), script())
    assert seen["requests"]["batch_size"].max() == 2
    laws = seen.record.meta["laws"]
    assert laws["returned"] == laws["emitted"]
