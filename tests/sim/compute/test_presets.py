"""Presets: units are plausible, counts match what the models' authors published."""

from __future__ import annotations

from math import isfinite, prod

import pytest

from sim.compute.architectures import ARCHITECTURES, total_params
from sim.compute.hardware import HARDWARE

# name -> published total and tolerance: exact where the checkpoint's own parameter count is public,
# else the rounded figure and what its rounding needs
PUBLISHED = {
    "switch-base-8": (0.62e9, 0.01),  # 2.48 GB of fp32 weights
    "switch-base-16": (1.07e9, 0.01),  # 4.29 GB of fp32 weights
    "switch-base-32": (1.978e9, 0.001),  # 7.91 GB of fp32 weights
    "t5-base-moe-8": (1.016e9, 0.001),
    "bert-base-moe-8": (506e6, 0.001),
    "mixtral-8x7b": (46_702_792_704, 0.0),
    "olmoe-1b-7b": (6_919_161_856, 0.0),
    "qwen1.5-moe-a2.7b": (14_315_784_192, 0.0),
    "deepseek-v2-lite": (15_706_484_224, 0.0),
}

# Active parameters per token, as the papers print them, embeddings included.
ACTIVE = {
    "mixtral-8x7b": (12.9e9, 0.01),
    "olmoe-1b-7b": (1.3e9, 0.02),
    "qwen1.5-moe-a2.7b": (2.7e9, 0.01),
    "deepseek-v2-lite": (2.4e9, 0.12),  # their 2.4 B leaves out the two embedding tables
}


def test_every_architecture_has_a_published_total() -> None:
    assert set(PUBLISHED) == set(ARCHITECTURES)


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_total_parameters_match_the_published_count(name: str) -> None:
    expected, tolerance = PUBLISHED[name]
    assert total_params(ARCHITECTURES[name]) == pytest.approx(expected, rel=tolerance, abs=0)


@pytest.mark.parametrize("name", sorted(ACTIVE))
def test_active_parameters_match_the_published_count(name: str) -> None:
    a = ARCHITECTURES[name]
    expected, tolerance = ACTIVE[name]
    active = a.backbone_params + a.moe_layers * a.top_k * a.expert_params
    assert active == pytest.approx(expected, rel=tolerance)


def test_t5_with_one_expert_everywhere_is_the_published_t5_base() -> None:
    a = ARCHITECTURES["t5-base-moe-8"]
    routers = 24 * 768 * 8
    assert a.backbone_params - routers + 24 * a.expert_params == 222_903_552


def test_bert_with_one_expert_everywhere_is_the_published_bert_base() -> None:
    a = ARCHITECTURES["bert-base-moe-8"]
    routers = 12 * 768 * 8
    assert a.backbone_params - routers + 12 * a.expert_params == 109_482_240


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_architecture_is_consistent(name: str) -> None:
    a = ARCHITECTURES[name]
    assert a.name == name
    assert a.source
    assert 1 <= a.top_k <= a.experts
    assert 1 <= a.moe_layers <= a.layers
    assert 0 < a.embedding_params < a.backbone_params
    assert a.activation_bytes > 0


# tokens, width of the model, width of an FFN (of all experts of a token at once where they are many
# and narrow), heads: as published
SHAPES = {
    "switch-base-8": (128, 768, 3072, 12),
    "bert-base-moe-8": (128, 768, 3072, 12),
    "mixtral-8x7b": (512, 4096, 14336, 32),
    "olmoe-1b-7b": (512, 2048, 8 * 1024, 16),
    "qwen1.5-moe-a2.7b": (512, 2048, 5632, 16),
    "deepseek-v2-lite": (512, 2048, 10944, 16),
}


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_working_memory_is_that_of_the_tensors_of_one_block(name: str) -> None:
    tokens, width, ffn, heads = SHAPES[name]
    live = [(tokens, width)] * 6 + [(tokens, ffn)] * 2 + [(heads, tokens, tokens)]
    assert ARCHITECTURES[name].activation_bytes == sum(prod(shape) for shape in live) * 2


@pytest.mark.parametrize("name", sorted(HARDWARE))
def test_hardware_is_consistent(name: str) -> None:
    h = HARDWARE[name]
    assert h.name == name
    assert "assumed" in h.source
    fields = (
        h.flop_per_s,
        h.bytes_per_s,
        h.memory_bytes,
        h.storage_bytes_per_s,
        h.kernel_s,
        h.busy_w,
    )
    assert all(isfinite(value) and value > 0 for value in fields)
    assert h.storage_bytes_per_s < h.bytes_per_s
    assert 0 < h.idle_w < h.busy_w
    # a roofline's knee of real machines lies between 1 and 1000 FLOP per byte
    assert 1 < h.flop_per_s / h.bytes_per_s < 1000


def test_faster_cards_are_faster() -> None:
    order = ("raspberry-pi-5", "intel-nuc", "jetson-orin-nano", "t4", "a100-40gb", "h100-80gb")
    rates = [HARDWARE[name].flop_per_s for name in order]
    assert rates == sorted(rates)
