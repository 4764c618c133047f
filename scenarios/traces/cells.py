"""Single cells of a trace: texts (or JSON values) into numbers, or a complaint about what is there.

A converter raises `ValueError` with what it expected and found; the reader adds where.
"""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

Cell: TypeAlias = str | float | bool | None

LARGEST = 1e15  # of any number: no time, size or count in a real trace is beyond
_SHOWN = 64
_STAMP = re.compile(
    r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d(?::?\d\d)?)?", re.ASCII
)
_PRIORITIES = 2**15


def shown(cell: object) -> str:
    """Return a cell as messages show it, cut where it is long."""
    if isinstance(cell, list | dict):
        return "a list" if isinstance(cell, list) else "an object"
    return repr(cell[:_SHOWN]) if isinstance(cell, str) else repr(cell)[:_SHOWN]


def number(cell: Cell, what: str, low: float = 0.0, *, above: bool = False) -> float:
    """Return a finite number from `low` on, or above it.

    Raises:
        ValueError: It is none.
    """
    try:
        if cell is None or isinstance(cell, bool) or (isinstance(cell, str) and "_" in cell):
            raise ValueError  # Python takes True and 1_000 for numbers; a data file does not
        found = float(cell)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"expected {what}, found {shown(cell)}") from None
    if low < found <= LARGEST or (found == low and not above):
        return found
    if found > LARGEST and math.isfinite(found):
        raise ValueError(f"expected {what} up to {LARGEST:g}, found {shown(cell)}")
    raise ValueError(
        f"expected finite {what} {'>' if above else '>='} {low:g}, found {shown(cell)}"
    )


def optional(what: str, *, above: bool = False) -> Callable[[Cell], float]:
    """Return a converter to a number, NaN where the cell is empty."""

    def convert(cell: Cell) -> float:
        if cell is None or empty(cell):
            return math.nan
        return number(cell, what, above=above)

    return convert


def empty(cell: Cell) -> bool:
    """Tell whether a cell says nothing."""
    return cell is None or (isinstance(cell, str) and not cell.strip())


def seconds(cell: Cell) -> float:
    """Return a time in s."""
    return number(cell, "seconds")


def milliseconds(cell: Cell) -> float:
    """Return a time in ms."""
    return number(cell, "milliseconds")


def tokens(cell: Cell) -> float:
    """Return a whole number of tokens."""
    found = number(cell, "tokens")
    if not found.is_integer():
        raise ValueError(f"expected a whole number of tokens, found {shown(cell)}")
    return found


def priority(cell: Cell) -> int | None:
    """Return a priority that 16 bits can hold, or None where the cell is empty."""
    if empty(cell):
        return None
    found = number(cell, "a priority", -_PRIORITIES)
    if not found.is_integer() or found >= _PRIORITIES:
        raise ValueError(
            f"expected a whole number from {-_PRIORITIES} to {_PRIORITIES - 1}, found {shown(cell)}"
        )
    return int(found)


def word(cell: Cell) -> str:
    """Return a name or an index as text, "" where the cell is empty."""
    if cell is None:
        return ""
    if isinstance(cell, bool) or not isinstance(cell, str | int):
        raise ValueError(f"expected a name or an index, found {shown(cell)}")
    text = str(cell).strip()
    if not text.isprintable():
        raise ValueError(f"expected printable characters, found {shown(cell)}")
    return text


def stamp_ns(cell: Cell) -> int:
    """Return a date and time as whole nanoseconds since year 1, in UTC unless it says otherwise.

    Published stamps carry seven digits of a second, which a `datetime` cannot hold.

    Raises:
        ValueError: It is no such stamp.
    """
    found = _STAMP.fullmatch(cell.strip()) if isinstance(cell, str) else None
    try:
        if found is None:
            raise ValueError
        day, clock, fraction, zone = found.groups()
        whole_s = _midnight_s(day) + _clock_s(clock) - _offset_s(zone)
    except ValueError:
        said = "a time such as '2024-05-10 00:00:00.009930+00:00'"
        raise ValueError(f"expected {said}, found {shown(cell)}") from None
    return whole_s * 10**9 + int((fraction or "0").ljust(9, "0"))


@lru_cache(maxsize=64)
def _midnight_s(day: str) -> int:
    return (datetime.fromisoformat(day) - datetime.min) // timedelta(seconds=1)


def _clock_s(clock: str) -> int:
    hours, minutes, whole_s = int(clock[:2]), int(clock[3:5]), int(clock[6:])
    if hours > 23 or minutes > 59 or whole_s > 59:
        raise ValueError
    return 3600 * hours + 60 * minutes + whole_s


def _offset_s(zone: str | None) -> int:
    if zone is None or zone == "Z":
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    if int(digits[:2]) > 23 or int(digits[2:]) > 59:
        raise ValueError
    offset_s = 3600 * int(digits[:2]) + 60 * int(digits[2:])
    return -offset_s if zone[0] == "-" else offset_s
