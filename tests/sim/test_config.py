"""Every number of the configuration says its unit, or is known to have none."""

from __future__ import annotations

import dataclasses
import typing

import pytest

from sim import config

UNITS = (
    "_s", "_bytes", "_bytes_per_s", "_flop", "_flop_per_s", "_per_s", "_w", "_j", "_params",
)  # fmt: skip

# Pure numbers: shares, counts that may be infinite or fractional, shapes of distributions.
PURE = {
    "ArrivalSpec.amplitude",
    "ArrivalSpec.branching",
    "ArrivalSpec.jumps",
    "Architecture.tokens_per_request",
    "Architecture.bytes_per_param",
    "DriftSpec.share",
    "DriftSpec.weights",
    "FaultSpec.factor",
    "FaultSpec.loss",
    "FaultSpec.value",
    "FeedbackSpec.fraction",
    "LinkSpec.loss",
    "MixSpec.alpha",
    "MixSpec.weights",
    "NodeSpec.capacity",
    "NodeSpec.job_share",
    "ServiceSpec.cv",
    "StreamSpec.size_cv",
    "World.regret_sample",
}

# Tables of numbers whose columns the comment beside them names.
MIXED = {"ArrivalSpec.profile"}

CLASSES = [
    value
    for value in vars(config).values()
    if dataclasses.is_dataclass(value) and isinstance(value, type)
]


def has_float(kind: object) -> bool:
    return kind is float or any(has_float(part) for part in typing.get_args(kind))


def floats() -> list[str]:
    found = []
    for owner in CLASSES:
        hints = typing.get_type_hints(owner, {**vars(config), "Plan": object})
        found += [f"{owner.__name__}.{name}" for name, kind in hints.items() if has_float(kind)]
    return found


@pytest.mark.parametrize("name", floats())
def test_a_float_ends_in_its_unit_or_is_a_pure_number(name: str) -> None:
    assert name.endswith(UNITS) != (name in PURE | MIXED)


def test_the_list_of_pure_numbers_names_no_strangers() -> None:
    assert set(floats()) >= PURE | MIXED
    assert len(floats()) > 40


@pytest.mark.parametrize("owner", CLASSES, ids=lambda c: c.__name__)
def test_configuration_is_frozen(owner: type) -> None:
    assert owner.__dataclass_params__.frozen  # type: ignore[attr-defined]


def test_a_world_counts_the_slots_that_it_touches() -> None:
    world = config.World("w", 1, 9.0, 1.5, 2.0, (), (), ())
    assert world.slots == 6
