"""Quantities with units: parsed once at the edge, formatted once for people, SI floats in between.

Case counts (`Mb` is not `MB`), a bare number is refused where a dimension is expected, and bits
exist only in text. Arithmetic is exact until the last rounding, so "8 ms" is the float 0.008, and
`exact` gives text that parses back to the same float.

Source: SI prefixes; IEC 80000-13 for KiB, MiB, GiB, TiB.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING

from sim.errors import UnitError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

UNLIMITED = "unlimited"
_LONGEST_TEXT = 64
_LONGEST_NUMBER = 24  # a float prints in at most so many characters
_UNFIT = "?" * (_LONGEST_NUMBER + 1)  # stands for a number that takes more
_NUMBER = r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?"
_PART = re.compile(rf"\s*({_NUMBER})\s*([^\s0-9]\S*?)?(?=\s|[0-9]|$)")
_POWERS = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15}


@dataclass(frozen=True, slots=True)
class Dimension:
    """One kind of quantity.

    Args:
        name: With its article, as messages use it ("a time").
        units: Unit -> factor to SI.
        examples: What a message offers.
        human: Units for people, largest first.
        neat: Units that lossless text may use, largest first.
        unlimited: Whether the word `unlimited` may stand for infinity.
        compound: Whether parts may be strung together ("1 h 30 min").
        hints: Common wrong spelling -> the right one.
    """

    name: str
    units: Mapping[str, Fraction]
    examples: tuple[str, ...]
    human: tuple[str, ...]
    neat: tuple[str, ...]
    unlimited: bool = False
    compound: bool = False
    hints: Mapping[str, str] = field(default_factory=dict)


def _prefixed(unit: str, prefixes: str, suffix: str = "") -> dict[str, Fraction]:
    return {f"{p}{unit}{suffix}": Fraction(10) ** _POWERS[p] for p in ("", *prefixes)}


def _ladder(unit: str, prefixes: str) -> tuple[str, ...]:
    return tuple(f"{p}{unit}" for p in prefixes.replace("_", " ").split(" "))


def _wrong(pattern: str, right: str) -> dict[str, str]:
    return {pattern.format(p): right.format(p) for p in ("", "k", "M", "G", "T", "P")}


_SECONDS = _prefixed("s", "num") | {"min": Fraction(60), "h": Fraction(3600), "d": Fraction(86400)}
_MICRO = {"µs": _SECONDS["us"], "\u03bcs": _SECONDS["us"]}  # both code points of the letter
_IEC = {f"{p}iB": Fraction(1024) ** (i + 1) for i, p in enumerate("KMGT")}
_BITS = {unit: factor / 8 for unit, factor in _prefixed("bit", "kMGT").items()}
_BYTES = _prefixed("B", "kMGTP") | _IEC | _BITS
_RATES = {
    f"{who}/{per}": 1 / factor
    for who in ("", "req")
    for per, factor in _SECONDS.items()
    if per in {"s", "min", "h"}
}

_TIME_HINTS = {
    "m": "min",
    "mins": "min",
    "minute": "min",
    "minutes": "min",
    "M": "min",
    "msec": "ms",
}
_TIME_HINTS |= dict.fromkeys(("sec", "secs", "second", "seconds", "S"), "s")
_TIME_HINTS |= {"hr": "h", "hour": "h", "hours": "h", "day": "d", "days": "d", "usec": "us"}
_BYTE_HINTS = _wrong("{}b", "{0}B' or '{0}bit") | {"KB": "kB' or 'KiB", "byte": "B", "bytes": "B"}
_BYTE_HINTS |= {"K": "kB' or 'KiB", "M": "MB' or 'MiB", "G": "GB' or 'GiB", "bits": "bit"}
_BANDWIDTH_HINTS = _wrong("{}bps", "{}bit/s") | _wrong("{}b/s", "{0}bit/s' or '{0}B/s")
_BANDWIDTH_HINTS |= _wrong("{}Bps", "{}B/s") | {"Kbps": "kbit/s", "KB/s": "kB/s' or 'KiB/s"}
_RATE_HINTS = dict.fromkeys(("Hz", "rps", "qps", "requests/s", "reqs/s", "request/s", "1/s"), "/s")
_SPEED_HINTS = (
    _wrong("{}FLOPS", "{}FLOP/s") | _wrong("{}FLOPs", "{}FLOP/s") | _wrong("{}flops", "{}FLOP/s")
)

TIME = Dimension(
    name="a time",
    units=_SECONDS | _MICRO,
    examples=("20 ms", "5 min", "1 h 30 min"),
    human=("s", "ms", "us", "ns"),
    neat=("d", "h", "min", "s", "ms", "us"),
    unlimited=True,
    compound=True,
    hints=_TIME_HINTS,
)
BYTES = Dimension(
    name="a size",
    units=_BYTES,
    examples=("2 KiB", "8 GiB", "10 MB"),
    human=("TiB", "GiB", "MiB", "KiB", "B"),
    neat=("TiB", "TB", "GiB", "GB", "MiB", "MB", "KiB", "kB", "B"),
    hints=_BYTE_HINTS,
)
BANDWIDTH = Dimension(
    name="a bandwidth",
    units={f"{unit}/s": factor for unit, factor in _BYTES.items()},
    examples=("100 Mbit/s", "1 GB/s", UNLIMITED),
    human=("Tbit/s", "Gbit/s", "Mbit/s", "kbit/s", "bit/s"),
    neat=("TB/s", "Gbit/s", "GB/s", "GiB/s", "Mbit/s", "MB/s", "kbit/s", "B/s"),
    unlimited=True,
    hints=_BANDWIDTH_HINTS,
)
RATE = Dimension(
    name="a rate",
    units=_RATES,
    examples=("20 /s", "20 req/s", "90 /min"),
    human=("/s",),
    neat=("/s", "/min", "/h"),
    hints=_RATE_HINTS,
)
POWER = Dimension(
    name="a power",
    units=_prefixed("W", "mkM"),
    examples=("15 W", "1.2 kW"),
    human=_ladder("W", "M k _m"),
    neat=("kW", "W"),
)
ENERGY = Dimension(
    name="an energy",
    units=_prefixed("J", "mkMG") | {"Wh": Fraction(3600), "kWh": Fraction(3_600_000)},
    examples=("500 J", "1.2 MJ", "3 kWh"),
    human=_ladder("J", "G M k _m"),
    neat=("MJ", "kJ", "J"),
)
FLOP = Dimension(
    name="an amount of work",
    units=_prefixed("FLOP", "kMGTP"),
    examples=("3 GFLOP", "1.8 TFLOP"),
    human=_ladder("FLOP", "P T G M k "),
    neat=("TFLOP", "GFLOP", "FLOP"),
)
FLOP_RATE = Dimension(
    name="a computing speed",
    units=_prefixed("FLOP", "kMGTP", "/s"),
    examples=("1 TFLOP/s", "500 GFLOP/s"),
    human=_ladder("FLOP/s", "P T G M k "),
    neat=("TFLOP/s", "GFLOP/s", "FLOP/s"),
    hints=_SPEED_HINTS,
)
DIMENSIONS = (TIME, BYTES, BANDWIDTH, RATE, POWER, ENERGY, FLOP, FLOP_RATE)


def parse(value: object, dimension: Dimension) -> float:
    """Turn a quantity's text into SI.

    Args:
        value: Text such as "20 ms" or "1 h 30 min"; anything else is refused.
        dimension: What is expected.

    Returns:
        A float >= 0, in s, bytes, bytes/s, 1/s, W, J, FLOP or FLOP/s; infinity for `unlimited`.

    Raises:
        UnitError: No unit, an unknown or a wrong one, a negative or too large number.
    """
    if not isinstance(value, str):
        raise _refused(dimension, _found(value))
    text = value.strip()
    if dimension.unlimited and text == UNLIMITED:
        return math.inf
    parts = _parts(text, dimension)
    total = sum((number * dimension.units[unit] for number, unit in parts), Fraction(0))
    if any(number < 0 for number, _ in parts):
        raise _refused(dimension, f"{text!r} (negative)")
    try:
        return float(total)
    except OverflowError:
        raise _refused(dimension, f"{text!r} (too large)") from None


def _parts(text: str, dimension: Dimension) -> list[tuple[Fraction, str]]:
    parts, at = [], 0
    while at < len(text) <= _LONGEST_TEXT:
        match = _PART.match(text, at)
        if match is None:
            break
        parts.append((Fraction(match[1]), _unit(match[2], text, dimension)))
        at = match.end()
    if not parts or at < len(text):
        raise _refused(dimension, repr(text[:_LONGEST_TEXT]))
    _check_order(parts, text, dimension)
    return parts


def _check_order(parts: list[tuple[Fraction, str]], text: str, dimension: Dimension) -> None:
    sizes = [dimension.units[unit] for _, unit in parts]
    falling = all(a > b for a, b in pairwise(sizes))
    if len(parts) > 1 and not (dimension.compound and falling):
        raise _refused(dimension, repr(text))


def _unit(unit: str | None, text: str, dimension: Dimension) -> str:
    if unit is None:
        raise _refused(dimension, f"{text!r} (a number without a unit)")
    if unit in dimension.units:
        return unit
    other = next((d for d in DIMENSIONS if unit in d.units), None)
    if other is not None:
        raise _refused(dimension, f"{text!r} ({other.name})")
    guess = dimension.hints.get(unit) or nearest(unit, dimension.units)
    hint = f"; did you mean '{guess}'?" if guess else ""
    raise UnitError(f"unknown unit {unit!r} in {text!r}{hint} (expected {_wanted(dimension)})")


def _found(value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value} (a number without a unit)"
    return "nothing" if value is None else f"{value!r:.64}"


def _wanted(dimension: Dimension) -> str:
    return f"{dimension.name} such as {_either(repr(example) for example in dimension.examples)}"


def _either(words: Iterable[str]) -> str:
    *head, last = words
    return f"{', '.join(head)} or {last}" if head else last


def _refused(dimension: Dimension, found: str) -> UnitError:
    return UnitError(f"expected {_wanted(dimension)}, found {found}")


def exact(value: float, dimension: Dimension) -> str:
    """Write a quantity so that `parse` gives the same float back, as few digits as units allow."""
    if math.isinf(value):
        return UNLIMITED
    numbers = [(_digits(value, dimension.units[unit]), unit) for unit in dimension.neat]
    short = [(number, unit) for number, unit in numbers if len(number) <= _LONGEST_NUMBER]
    if value == 0:
        short = [(number, unit) for number, unit in short if dimension.units[unit] == 1]
    number, unit = min(short, key=_clumsiness)  # the largest unit wins a tie
    return f"{number} {unit}"


def _clumsiness(pair: tuple[str, str]) -> tuple[bool, int]:
    number, _ = pair
    return number.startswith("0."), sum(c.isdigit() for c in number)


def _digits(value: float, factor: Fraction) -> str:
    """Write value / factor so that it reads back as value; the base unit always can."""
    if factor == 1:
        return re.sub(r"\.0$", "", repr(float(value)))
    ratio = Fraction(repr(float(value))) / factor
    if not Fraction(1, 10**9) < ratio < 10**15:
        return _UNFIT
    for digits in (12, 17):
        text = f"{Decimal(f'{float(ratio):.{digits}g}').normalize():f}"
        if float(Fraction(text) * factor) == value:
            return text
    return _UNFIT


def human(value: float, dimension: Dimension, digits: int = 3) -> str:
    """Write a quantity for people, rounded to a number of significant digits; NaN becomes "-"."""
    if math.isnan(value):
        return "-"
    if math.isinf(value):
        return UNLIMITED
    unit = next((u for u in dimension.human if _leads(value, dimension.units[u], digits)), "")
    unit = unit or dimension.human[-1]
    if value == 0:
        unit = next((u for u in dimension.human if dimension.units[u] == 1), unit)
    return f"{significant(value / float(dimension.units[unit]), digits)} {unit}"


def _leads(value: float, factor: Fraction, digits: int) -> bool:
    """Tell whether value / factor, rounded, is at least 1: 999.96 ms must print as 1.00 s."""
    return abs(float(f"{value / float(factor):.{digits - 1}e}")) >= 1


def significant(value: float, digits: int = 3) -> str:
    """Write a number with so many significant digits and no exponent where that stays readable."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else ("-" if math.isnan(value) else str(value))
    rounded = float(f"{value:.{digits - 1}e}")
    if not 1e-4 <= abs(rounded) < 1e9:
        return f"{rounded:.{digits - 1}e}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    return f"{rounded:.{decimals}f}"


def format_s(value: float) -> str:
    """Write a time for people: "12.3 ms" below a minute, "1 h 30 min" above."""
    if not math.isfinite(value) or abs(value) < 60:
        return human(value, TIME)
    rest, parts = round(abs(value)), []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        parts.append((rest // size, unit))
        rest %= size
    text = " ".join(f"{n} {unit}" for n, unit in parts if n)
    return f"-{text}" if value < 0 else text


def format_bytes(value: float) -> str:
    """Write a size for people ("1.50 GiB")."""
    return human(value, BYTES)


def format_bytes_per_s(value: float) -> str:
    """Write a bandwidth for people ("100 Mbit/s")."""
    return human(value, BANDWIDTH)


def format_per_s(value: float) -> str:
    """Write a rate for people ("20.0 /s")."""
    return human(value, RATE)


def format_w(value: float) -> str:
    """Write a power for people ("15.0 W")."""
    return human(value, POWER)


def format_j(value: float) -> str:
    """Write an energy for people ("1.20 MJ")."""
    return human(value, ENERGY)


def format_flop(value: float) -> str:
    """Write an amount of work for people ("3.00 GFLOP")."""
    return human(value, FLOP)


def format_flop_per_s(value: float) -> str:
    """Write a computing speed for people ("40.0 TFLOP/s")."""
    return human(value, FLOP_RATE)


def format_share(value: float) -> str:
    """Write a share in [0, 1] as a percentage ("97.3 %"); NaN becomes "-"."""
    return "-" if math.isnan(value) else f"{100 * value:.1f} %"


def format_count(value: float) -> str:
    """Write a count with thousands apart ("1,234,567"); NaN becomes "-"."""
    return "-" if math.isnan(value) else f"{value:,.0f}"
