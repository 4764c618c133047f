"""What both executors do to a call: freeze what crosses, and name the place where it failed."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

import numpy as np

from sim.errors import HostError

T = TypeVar("T")


def freeze(value: T) -> T:
    """Return a value whose arrays are read-only, as arrays that come out of Ray are.

    Arrays become views, so that the owner may still write; frozen data and containers are rebuilt
    only where an array is inside.
    """
    return _freeze(value)  # type: ignore[no-any-return]


def _freeze(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        view = value.view()
        view.flags.writeable = False
        return view
    if isinstance(value, (list, tuple)):
        frozen = [_freeze(item) for item in value]
        changed = any(new is not old for new, old in zip(frozen, value, strict=True))
        return type(value)(frozen) if changed else value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _freeze_fields(value)
    return value


def _freeze_fields(value: Any) -> Any:
    old = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    new = {name: _freeze(item) for name, item in old.items()}
    changed = {name: item for name, item in new.items() if item is not old[name]}
    return dataclasses.replace(value, **changed) if changed else value


def place(shard: int, method: str, args: tuple[Any, ...]) -> str:
    """Name a call for messages: which shard, which method and, for a step, which slot."""
    slot = getattr(args[0], "slot", None) if args else None
    return f"shard {shard}, {method}" + ("" if slot is None else f" of slot {slot}")


def host_error(where: str, error: BaseException) -> HostError:
    """Return the error that says which host broke, where, and with what."""
    return HostError(f"{where}: {type(error).__name__}: {error}")
