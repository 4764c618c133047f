"""Recipes: everything that determines a trained checkpoint, free of torch, hashed for the cache."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass, fields, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from sim.errors import InputError, UnknownName

if TYPE_CHECKING:
    from collections.abc import Mapping

# Part of the hash: raise it when the suites, the training or the tables change what they produce.
RECIPE_VERSION = 2


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one checkpoint is made. Sizes count items per task; steps count optimiser steps.

    `aware` is the share of branch steps that train *through* a merged expert: the dial that makes
    merging work.

    Raises:
        InputError: A value is outside its range.
    """

    suite: str
    name: str
    seed: int = 1  # initialisation, batches, k-means
    data_seed: int = 0  # sentences, rules and textures
    overlap: float = 0.5  # stream only: share of content words common to all tenants
    d_model: int = 48
    d_ff: int = 96
    heads: int = 4
    layers: int = 2
    dense_steps: int = 150
    branch_steps: int = 1000
    router_steps: int = 40
    batch: int = 12  # items per expert and step
    aware: float = 0.15
    dense_lr: float = 3e-3
    branch_lr: float = 2e-3
    train_items: int = 4000
    calibration_items: int = 512
    service_items: int = 512
    clusters: int = 8
    # a multiple of the tasks, None: one per task; expert e learns task e modulo the tasks, and
    # each expert of a task has its own part of that task's training items
    experts: int | None = None

    def __post_init__(self) -> None:
        for field in ("overlap", "aware"):
            self._require(field, "a share in [0, 1]", 0.0 <= getattr(self, field) <= 1.0)
        for field in ("dense_lr", "branch_lr"):
            self._require(field, "> 0", 0.0 < getattr(self, field) < math.inf)
        for field in _COUNTS:
            self._require(field, "at least 1", getattr(self, field) >= 1)
        for field, most in _MOST.items():
            self._require(field, f"at most {most}", getattr(self, field) <= most)
        self._require("experts", "at least 1, or None", self.experts is None or self.experts >= 1)
        for field in ("seed", "data_seed"):
            self._require(field, ">= 0", getattr(self, field) >= 0)
        self._require("layers", "at least 2", self.layers >= 2)
        self._require(
            "d_model", f"a multiple of heads ({self.heads})", self.d_model % self.heads == 0
        )
        self._require("name", "lower-case letters, digits, - and _", _NAME.fullmatch(self.name))

    def _require(self, field: str, expected: str, holds: object) -> None:
        """Raise the message of a field that is out of range."""
        if not holds:
            found = getattr(self, field)
            raise InputError(f"recipe.{field}: expected {expected}, found {found!r}")


_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")  # it becomes a file name
_MOST = {"clusters": 255, "service_items": 65_535}  # the widths of the stored tables
_COUNTS: tuple[str, ...] = (
    "d_model",
    "d_ff",
    "heads",
    "dense_steps",
    "branch_steps",
    "router_steps",
    "batch",
)
_COUNTS += ("train_items", "calibration_items", "service_items", "clusters")


_STREAM = Recipe(suite="stream", name="stream")
_DIGITS = Recipe(
    suite="digits",
    name="digits",
    d_model=64,
    d_ff=128,
    dense_steps=200,
    branch_steps=900,
    batch=16,
    aware=0.25,
    dense_lr=2e-3,
    branch_lr=1e-3,
    calibration_items=397,
    service_items=400,
)
_STREAM32 = replace(_STREAM, name="stream32", experts=32, batch=8, router_steps=200, aware=0.1)
RECIPES: Mapping[str, Recipe] = {"digits": _DIGITS, "stream": _STREAM, "stream32": _STREAM32}


def recipe(name: str) -> Recipe:
    """Return a recipe by name.

    Raises:
        UnknownName: No such recipe.
    """
    if name not in RECIPES:
        raise UnknownName("recipe", name, RECIPES)
    return RECIPES[name]


def recipe_hash(recipe: Recipe) -> str:
    """Return 16 hex digits that differ whenever the trained checkpoint may differ."""
    text = json.dumps({"version": RECIPE_VERSION, **asdict(recipe)}, sort_keys=True)
    return blake2b(text.encode(), digest_size=8).hexdigest()


def recipe_from(values: Mapping[str, Any]) -> Recipe:
    """Rebuild a recipe from the JSON form that a card carries.

    Raises:
        UnknownName: A key is no field of a recipe.
    """
    allowed = [f.name for f in fields(Recipe)]
    for key in values:
        if key not in allowed:
            raise UnknownName("recipe field", key, allowed)
    return Recipe(**values)
