"""Who serves which token: top-k choices, seats at experts of limited capacity, blends per request.

Letters in shapes: B inputs, T tokens, E experts, k choices per token.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

TURNED_AWAY = -1
_WHOLE_SLACK = 1e-9  # a capacity that is a whole number but for rounding is that number


def choose(router: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Pick the k best experts per token.

    Args:
        router: Router logits, (..., E).
        k: Experts per token.

    Returns:
        Gates that sum to 1 over the k, and expert ids, both (..., k).

    Source: Jiang et al. 2024 (Mixtral, arXiv 2401.04088): softmax over the chosen logits.
    Deviation: none.
    """
    top, ids = router.topk(k, -1)
    return top.softmax(-1), ids


def seats(ids: Tensor, real: Tensor | None, experts: int, capacity: float) -> Tensor:
    """Turn away tokens that come to a full expert.

    Args:
        ids: Chosen experts, (B, T, k).
        real: Where tokens are no padding, (B, T); None: everywhere.
        experts: E.
        capacity: Multiple of an even share that an expert takes.

    Returns:
        The ids, (B, T, k), with `TURNED_AWAY` for padding and for tokens over an expert's
        ceil(capacity * k * tokens / E).

    Source: Fedus et al. 2021 (Switch Transformer, arXiv 2101.03961), section 2.2. Deviation: first
        come, first served over the whole batch, by position of the request and then of the token;
        with k > 1 a token's choices are of equal rank.
    """
    here = torch.ones(ids.shape[:2], dtype=torch.bool) if real is None else real
    places = math.ceil(capacity * ids.shape[-1] * int(here.sum()) / experts - _WHOLE_SLACK)
    visits = torch.nn.functional.one_hot(ids, experts).sum(2) * here[..., None]  # (B, T, E)
    rank = visits.reshape(-1, experts).cumsum(0).reshape(visits.shape)
    seated = (rank.gather(-1, ids) <= places) & here[..., None]
    return ids.masked_fill(~seated, TURNED_AWAY)


def blend(router: Tensor, real: Tensor | None, k: int) -> Tensor:
    """Return each request's own merge: its k best experts by the mean gate, (B, E).

    Args:
        router: Router logits, (B, T, E).
        real: Where tokens are no padding, (B, T); None: everywhere.
        k: Experts that each request merges.

    Source: SMEAR (Muqeeth et al. 2023, arXiv 2306.03745) with k = E: softmax of the router at the
        mean token, which is the mean of a linear router; MEO (He et al. 2023, arXiv 2310.09832)
        with small k. Deviation: MEO's token-level attention is left out.
    """
    if real is None:
        mean = router.mean(1)
    else:
        mean = (router * real[..., None]).sum(1) / real.sum(1, keepdim=True)
    gates, ids = choose(mean, k)
    return torch.zeros_like(mean).scatter_(-1, ids, gates)
