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
    "up_bytes": "finite numbers >= 0",
    "down_bytes": "finite numbers >= 0",
    "services_s": "finite numbers > 0",
    "priorities": "",
    "deadlines_s": "numbers > 0",
}


def _numbers(spec: ArrivalSpec, name: str) -> FloatArray:
    found, allowed = _column(spec, name, np.nan), _NUMBERS[name]
    wrong = np.zeros(len(found), dtype=np.bool_)
    if allowed:
        wrong = (found < 0.0) | ((found == 0.0) & (">=" not in allowed))
        wrong |= np.isinf(found) & ("finite" in allowed)
    if wrong.any():
        raise InputError(f"arrivals.{name}: expected {allowed}, found {found[wrong][0]}")
    return found


def _column(spec: ArrivalSpec, name: str, missing: float) -> FloatArray:
    given, rows = getattr(spec, name), len(spec.times_s)
    if given and len(given) != rows:
        raise InputError(
            f"arrivals.{name}: expected none or {rows}, one per time, found {len(given)}"
        )
    # float64 turns None into NaN
    return np.array(given, dtype=np.float64) if given else np.full(rows, missing)
