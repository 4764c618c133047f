"""What every suite yields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from agents.moe.cards import InputKind, ModelShape
from sim.errors import InputError, ShapeError

if TYPE_CHECKING:
    from agents.moe.recipe import Recipe
    from sim.arrays import AnyArray, IntArray


@dataclass(frozen=True, slots=True)
class Split:
    """Items of all M tasks, N per task, uint8.

    Inputs are (M, N, T) tokens or (M, N, T-1, patch); labels are (M, N).
    """

    inputs: AnyArray
    labels: AnyArray

    def __post_init__(self) -> None:
        if self.inputs.shape[:2] != self.labels.shape or self.inputs.dtype != np.uint8:
            raise ShapeError(
                f"split: inputs {self.inputs.shape} do not match labels {self.labels.shape}"
            )

    @property
    def tasks(self) -> int:
        """Count the tasks."""
        return int(self.labels.shape[0])

    @property
    def items(self) -> int:
        """Count the items of one task."""
        return int(self.labels.shape[1])

    def flat(self) -> tuple[AnyArray, IntArray, IntArray]:
        """Return inputs, labels and tasks with the tasks concatenated in order: the pool order."""
        inputs = self.inputs.reshape(-1, *self.inputs.shape[2:])
        labels = self.labels.reshape(-1).astype(np.int64)
        return inputs, labels, np.repeat(np.arange(self.tasks, dtype=np.int64), self.items)


@dataclass(frozen=True, slots=True)
class Suite:
    """One suite's data and the sizes that a model for it needs."""

    name: str
    tasks: tuple[str, ...]
    kind: InputKind
    vocab: int
    patch: int
    tokens: int
    classes: int
    train: Split
    calibration: Split
    service: Split

    def shape(self, recipe: Recipe) -> ModelShape:
        """Return the model sizes for this suite.

        Raises:
            InputError: The recipe's experts cannot be shared out evenly among the tasks.
        """
        tasks = len(self.tasks)
        experts = tasks if recipe.experts is None else recipe.experts
        if experts % tasks:
            raise InputError(
                f"recipe.experts: expected a multiple of the suite's {tasks} tasks, found {experts}"
            )
        return ModelShape(
            kind=self.kind,
            vocab=self.vocab,
            patch=self.patch,
            tokens=self.tokens,
            classes=self.classes,
            experts=experts,
            layers=recipe.layers,
            heads=recipe.heads,
            d_model=recipe.d_model,
            d_ff=recipe.d_ff,
        )
