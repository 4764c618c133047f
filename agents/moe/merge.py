"""Merging: one expert from many, by a weighted average of their parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sim.errors import ShapeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def merge(experts: Tensor, weights: Tensor) -> Tensor:
    """Average stacked expert parameters into one merged expert, or one per row of weights.

    Shapes: N nodes, E experts, * the shape of one parameter.

    Args:
        experts: Stacked parameters, (E, *).
        weights: Points on the simplex, (E,) or (N, E).

    Returns:
        Merged parameters, (*) or (N, *).

    Raises:
        ShapeError: E differs between the arguments.

    Source: Han et al. 2025 (arXiv 2509.19781), W = sum_e w_e W_e. Deviation: none.
    """
    count = experts.shape[0]
    if weights.shape[-1] != count:
        raise ShapeError(f"merge: {count} experts but weights of shape {tuple(weights.shape)}")
    flat = weights @ experts.reshape(count, -1)
    return flat.reshape(*weights.shape[:-1], *experts.shape[1:])


def merge_streamed(experts: Iterable[Tensor], weights: Sequence[float]) -> Tensor:
    """Merge experts that arrive one at a time, so that two parameter sets are resident, not E.

    Equals `merge` up to float rounding (the order of the sum is fixed here, not in a matrix
    product).

    Raises:
        ShapeError: The number of experts is not the number of weights.
    """
    total: Tensor | None = None
    seen = 0
    for seen, expert in enumerate(experts, 1):
        if seen > len(weights):
            break
        weight = weights[seen - 1]
        total = expert * weight if total is None else total.add_(expert, alpha=weight)
    if total is None or seen != len(weights):
        raise ShapeError(f"merge_streamed: {seen} experts for {len(weights)} weights")
    return total


def one_hot(expert: int, experts: int) -> Tensor:
    """Return the vertex of the simplex that stands for one expert, (E,)."""
    weights = torch.zeros(experts)
    weights[expert] = 1.0
    return weights
