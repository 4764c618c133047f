"""Architecture presets: the published models that a small trained model may stand for.

Counts are derived from each model's published configuration, so the tests can hold them against
its published total. A request is one forward pass over `tokens_per_request` tokens (classification
or prefill); decoding token by token is not charged. Deviation: the decoder of T5 and Switch is
charged for as many tokens as the encoder (teacher-forced scoring), embedding tables and output
heads are held in memory but charged no FLOP (looked up, or used once per request), and attention's
score products are left out (a few per cent of the FLOP at these lengths). Peak working memory of a
request is our estimate: the tensors that one block keeps alive at once.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from sim.config import Architecture

if TYPE_CHECKING:
    from collections.abc import Mapping

_FP16 = 2.0
_ENCODER_TOKENS = 128.0  # longest GLUE input of the merging papers
_PREFILL_TOKENS = 512.0


def _activation_bytes(tokens: float, d_model: int, d_ff: int, heads: int) -> float:
    """Estimate a block's live tensors: six as wide as the model, two as an FFN, one of scores."""
    return tokens * (6.0 * d_model + 2.0 * d_ff + heads * tokens) * _FP16


def _t5(name: str, experts: int, moe_layers: int, source: str) -> Architecture:
    """Return a T5-base whose FFN is replaced by experts in `moe_layers` of its 24 layers."""
    d, ff, vocab, half = 768, 3072, 32128, 12
    attention, ffn, embedding = 4 * d * d, 2 * d * ff, vocab * d
    # encoder: self-attention; decoder: self- and cross-attention; RMS norms; two relative biases
    blocks = half * (attention + 2 * d) + half * (2 * attention + 3 * d) + 2 * d + 2 * 32 * 12
    dense = (2 * half - moe_layers) * ffn
    return Architecture(
        name=name,
        layers=2 * half,
        moe_layers=moe_layers,
        experts=experts,
        top_k=1,
        expert_params=ffn,
        backbone_params=embedding + blocks + dense + moe_layers * d * experts,
        tokens_per_request=_ENCODER_TOKENS,
        bytes_per_param=_FP16,
        activation_bytes=_activation_bytes(_ENCODER_TOKENS, d, ff, 12),
        embedding_params=embedding,
        source=source,
    )


def _bert(name: str, experts: int) -> Architecture:
    """Return a BERT-base whose every FFN becomes experts."""
    d, ff, layers, vocab = 768, 3072, 12, 30522
    ffn = 2 * d * ff + ff + d
    embedding = (vocab + 512 + 2) * d
    block = 4 * (d * d + d) + 2 * 2 * d
    return Architecture(
        name=name,
        layers=layers,
        moe_layers=layers,
        experts=experts,
        top_k=1,
        expert_params=ffn,
        backbone_params=embedding + 2 * d + layers * (block + d * experts) + d * d + d,
        tokens_per_request=_ENCODER_TOKENS,
        bytes_per_param=_FP16,
        activation_bytes=_activation_bytes(_ENCODER_TOKENS, d, ff, 12),
        embedding_params=embedding,
        source="Devlin et al. 2018 (arXiv 1810.04805), bert-base-uncased, every FFN x 8 (506 M)."
        " The Tanbr paper (arXiv 2509.19781) reports about 660 M for BERT; how is not published",
    )


def _mixtral() -> Architecture:
    d, ff, layers, experts, kv = 4096, 14336, 32, 8, 1024
    embedding = 2 * 32000 * d
    block = 2 * d * d + 2 * d * kv + 2 * d + d * experts
    return Architecture(
        name="mixtral-8x7b",
        layers=layers,
        moe_layers=layers,
        experts=experts,
        top_k=2,
        expert_params=3 * d * ff,
        backbone_params=embedding + layers * block + d,
        tokens_per_request=_PREFILL_TOKENS,
        bytes_per_param=_FP16,
        activation_bytes=_activation_bytes(_PREFILL_TOKENS, d, ff, 32),
        kv_bytes=2 * layers * kv * _FP16 * _PREFILL_TOKENS,
        embedding_params=embedding,
        source="Jiang et al. 2024 (arXiv 2401.04088), configuration of Mixtral-8x7B-v0.1; 46.7 B",
    )


def _olmoe() -> Architecture:
    d, ff, layers, experts = 2048, 1024, 16, 64
    embedding = 2 * 50304 * d
    block = 4 * d * d + 4 * d + d * experts
    return Architecture(
        name="olmoe-1b-7b",
        layers=layers,
        moe_layers=layers,
        experts=experts,
        top_k=8,
        expert_params=3 * d * ff,
        backbone_params=embedding + layers * block + d,
        tokens_per_request=_PREFILL_TOKENS,
        bytes_per_param=_FP16,
        activation_bytes=_activation_bytes(_PREFILL_TOKENS, d, 8 * ff, 16),
        kv_bytes=2 * layers * d * _FP16 * _PREFILL_TOKENS,
        embedding_params=embedding,
        source="Muennighoff et al. 2024 (arXiv 2409.02060), OLMoE-1B-7B-0924; 6.92 B",
    )


def _qwen() -> Architecture:
    d, ff, shared, layers, experts = 2048, 1408, 5632, 24, 60
    embedding = 2 * 151936 * d
    block = 4 * d * d + 3 * d + 3 * d * shared + d + d * experts + 2 * d
    return Architecture(
        name="qwen1.5-moe-a2.7b",
        layers=layers,
        moe_layers=layers,
        experts=experts,
        top_k=4,
        expert_params=3 * d * ff,
        backbone_params=embedding + layers * block + d,
        tokens_per_request=_PREFILL_TOKENS,
        bytes_per_param=_FP16,
        activation_bytes=_activation_bytes(_PREFILL_TOKENS, d, shared, 16),
        kv_bytes=2 * layers * d * _FP16 * _PREFILL_TOKENS,
        embedding_params=embedding,
        source="Qwen team 2024, configuration of Qwen1.5-MoE-A2.7B (shared expert counted as"
        " backbone); 14.3 B",
    )


def _deepseek() -> Architecture:
    d, ff, layers, dense_ff, experts, latent = 2048, 1408, 27, 10944, 64, 512
    heads, nope, rope = 16, 128, 64
    embedding = 2 * 102400 * d
    query, out = d * heads * (nope + rope), heads * nope * d
    latent_kv = d * (latent + rope) + latent + latent * heads * 2 * nope
    block = query + latent_kv + out + 2 * d
    moe = layers - 1
    return Architecture(
        name="deepseek-v2-lite",
        layers=layers,
        moe_layers=moe,
        experts=experts,
        top_k=6,
        expert_params=3 * d * ff,
        backbone_params=embedding
        + layers * block
        + 3 * d * dense_ff
        + moe * (6 * d * ff + d * experts)
        + d,
        tokens_per_request=_PREFILL_TOKENS,
        bytes_per_param=_FP16,
        activation_bytes=_activation_bytes(_PREFILL_TOKENS, d, dense_ff, heads),
        kv_bytes=layers * (latent + rope) * _FP16 * _PREFILL_TOKENS,
        embedding_params=embedding,
        source="DeepSeek-AI 2024 (arXiv 2405.04434), configuration of DeepSeek-V2-Lite (two shared"
        " experts and the dense first layer counted as backbone); 15.7 B",
    )


_SWITCH = (
    "Fedus et al. 2021 (arXiv 2101.03961), configuration of google/switch-base-{}: every other FFN"
    " is sparse"
)
_PAPER = (
    "Han et al. 2025 (arXiv 2509.19781): T5-base (223 M) with every FFN x 8 gives 1.016 B; the"
    " paper says about 1.0 B and does not name the base, so this is our reading"
)

_ALL = (
    _bert("bert-base-moe-8", 8),
    _deepseek(),
    _mixtral(),
    _olmoe(),
    _qwen(),
    _t5("switch-base-16", 16, 12, _SWITCH.format(16)),
    _t5("switch-base-32", 32, 12, _SWITCH.format(32)),
    _t5("switch-base-8", 8, 12, _SWITCH.format(8)),
    _t5("t5-base-moe-8", 8, 24, _PAPER),
)

ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType({a.name: a for a in _ALL})


def total_params(architecture: Architecture) -> float:
    """Count all parameters: backbone and every expert of every MoE layer."""
    experts = architecture.experts * architecture.moe_layers * architecture.expert_params
    return architecture.backbone_params + experts
