"""Arrivals that were recorded: rows of a trace, and what the trace says about each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sim.errors import InputError

if TYPE_CHECKING:
    from sim.arrays import FloatArray, IntArray
    from sim.config import ArrivalSpec


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """Rows of a trace within the run, (n,) each, ascending; NaN or -1: the trace does not say."""

    times_s: FloatArray
    tasks: IntArray
    up_bytes: FloatArray
    down_bytes: FloatArray
    services_s: FloatArray
    priorities: FloatArray
    deadlines_s: FloatArray


def trace(spec: ArrivalSpec, duration_s: float) -> Recorded:
    """Return the rows of a trace before `duration_s`, sorted by time; ties keep their order.

    Raises:
        InputError: A column has another length than the times, or a time is negative or not finite.
    """
    times = np.array(spec.times_s, dtype=np.float64)
    if not np.all((times >= 0.0) & np.isfinite(times)):
        raise InputError("arrivals.times_s: expected finite times >= 0")
    order = np.argsort(times, kind="stable")
    order = order[times[order] < duration_s]
    return Recorded(
        times[order],
        _column(spec, "tasks", -1.0)[order].astype(np.int64),
        *(_numbers(spec, name)[order] for name in _NUMBERS),
    )


# column -> what its numbers must be; priorities are free
_NUMBERS = {
    "up_bytes": ">= 0",
    "down_bytes": ">= 0",
    "services_s": "> 0",
    "priorities": "",
    "deadlines_s": "> 0",
}


def _numbers(spec: ArrivalSpec, name: str) -> FloatArray:
    found = _column(spec, name, np.nan)
    allowed = _NUMBERS[name]
    wrong = {">= 0": found < 0.0, "> 0": found <= 0.0}.get(allowed)
    if wrong is not None and wrong.any():
        raise InputError(f"arrivals.{name}: expected numbers {allowed}, found {found[wrong][0]}")
    return found


def _column(spec: ArrivalSpec, name: str, missing: float) -> FloatArray:
    given, rows = getattr(spec, name), len(spec.times_s)
    if given and len(given) != rows:
        raise InputError(
            f"arrivals.{name}: expected none or {rows}, one per time, found {len(given)}"
        )
    # float64 turns None into NaN
    return np.array(given, dtype=np.float64) if given else np.full(rows, missing)
