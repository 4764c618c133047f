"""Parameters of routers: frozen dataclasses whose fields carry their limits."""

from __future__ import annotations

import math
from dataclasses import Field, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

from sim.errors import InputError, UnknownName

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Config = TypeVar("Config")


def limited(default: float, low: float, high: float = math.inf) -> Any:
    """Return a dataclass field whose value must lie in [low, high]."""
    return field(default=default, metadata={"low": low, "high": high})


def parse(config: type[Config], params: Mapping[str, Any], router: str) -> Config:
    """Build a router's frozen configuration from what the user wrote.

    Args:
        config: A dataclass of int, float, bool and str fields.
        params: What the scenario gives.
        router: Name of the router, for messages.

    Raises:
        UnknownName: A key is no parameter of this router.
        InputError: A value has the wrong type or lies outside its limits.
    """
    known: dict[str, Field[Any]] = {f.name: f for f in fields(config)}  # type: ignore[arg-type]
    for key in params:
        if key not in known:
            raise UnknownName(f"parameter of router {router}", str(key), sorted(known))
    return config(**{k: _checked(v, known[k], f"router {router}: {k}") for k, v in params.items()})


def _checked(value: Any, spec: Field[Any], where: str) -> Any:
    kind = str(spec.type)
    if kind in ("bool", "str"):
        wanted = bool if kind == "bool" else str
        if not isinstance(value, wanted):
            raise InputError(f"{where}: expected a {wanted.__name__}, found {value!r}")
        return value
    return _number(value, kind, spec.metadata, where)


def _number(value: Any, kind: str, limits: Mapping[str, float], where: str) -> float | int:
    low, high = limits.get("low", -math.inf), limits.get("high", math.inf)
    typed = not isinstance(value, bool) and isinstance(
        value, int if kind == "int" else (int, float)
    )
    if not typed or not math.isfinite(value) or not low <= value <= high:
        word = "an integer" if kind == "int" else "a number"
        raise InputError(f"{where}: expected {word} in [{low:g}, {high:g}], found {value!r}")
    return int(value) if kind == "int" else float(value)


def check_word(what: str, found: str, allowed: Iterable[str]) -> None:
    """Raise UnknownName unless a word is one of those allowed."""
    words = sorted(allowed)
    if found not in words:
        raise UnknownName(what, found, words)


def refuse_params(params: Mapping[str, Any], router: str) -> None:
    """Raise UnknownName for any parameter of a router that takes none."""
    for key in params:
        raise UnknownName(f"parameter of router {router}", str(key), ())
