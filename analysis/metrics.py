"""What is measured of a run: key in a summary, title, unit, better side, how it is written.

Tables, figures and the command line all read this table, so a metric is named and rounded in one
place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Direction = Literal["lower", "higher", "none"]
Unit = Literal["s", "bytes", "share", "points", "per_s", "j", "flop", "slots", "count"]

_SCALES: Mapping[Unit, tuple[tuple[float, str], ...]] = {
    "s": ((3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs")),
    "bytes": ((2.0**40, "TiB"), (2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B")),
    "share": ((0.01, "%"),),
    "points": ((0.01, "points"),),
    "per_s": ((1e6, "M/s"), (1e3, "k/s"), (1.0, "/s")),
    "j": ((1e6, "MJ"), (1e3, "kJ"), (1.0, "J"), (1e-3, "mJ")),
    "flop": ((1e15, "PFLOP"), (1e12, "TFLOP"), (1e9, "GFLOP"), (1e6, "MFLOP"), (1.0, "FLOP")),
    "slots": ((1.0, "slots"),),
    "count": ((1.0, ""),),
}
# seconds stay seconds up to two minutes, since "1.7 min" is read worse than "100 s"
_PATIENCE = {"min": 2.0, "h": 2.0}
_MISSING = "-"
MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True, slots=True)
class Metric:
    """One number of a run: where it is, how it is called, which way is better."""

    key: str
    title: str
    unit: Unit
    direction: Direction
    doc: str
    latency: bool = False  # says nothing when a queue grows over the whole run

    def scale(self, value: float) -> tuple[float, str]:
        """Return the size of the unit that suits a value, and the unit's name."""
        steps = _SCALES[self.unit]
        magnitude = abs(value)
        for size, name in steps:
            if magnitude >= size * _PATIENCE.get(name, 1.0):
                return size, name
        if magnitude > 0.0 or self.unit in {"share", "points"}:
            return steps[-1]
        return next((step for step in steps if step[0] == 1.0), steps[-1])

    def text(self, value: float | None) -> str:
        """Write one value with its unit; a dash when there is none."""
        if value is None or not math.isfinite(value):
            return _MISSING
        size, name = self.scale(value)
        most = 2 if self.unit in {"share", "points"} else 6
        return f"{digits(value / size, most)} {name}".rstrip()

    def pair(self, value: float, half_width: float | None) -> str:
        """Write a mean and half of its interval in one unit, such as `182 ± 4 ms`."""
        if not half_width or not math.isfinite(half_width):
            return self.text(value)
        size, name = self.scale(value)
        places = decimals(half_width / size, value / size)
        shown = round(value / size, places) + 0.0  # no "-0.00"
        half = f"{half_width / size:.{places}f}"
        text = (
            f"{shown:.{places}f} ± {half} {name}" if float(half) else f"{shown:.{places}f} {name}"
        )
        return text.rstrip().replace("-", MINUS)


def digits(value: float, most: int = 6) -> str:
    """Write a number with three significant digits and at most `most` decimals."""
    if abs(value) < 0.5 * 10.0**-most:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    if magnitude >= 6:
        return f"{value:.2e}".replace("-", MINUS)
    return f"{value:.{min(most, max(0, 2 - magnitude))}f}".replace("-", MINUS)


def decimals(half_width: float, value: float) -> int:
    """Return how many decimals show one digit of an interval (two when it starts with 1 or 2).

    At most four digits of the value are shown, however narrow the interval.
    """
    most = 3 - math.floor(math.log10(abs(value))) if value else 6
    if half_width <= 0.0:
        return max(0, min(most - 1, 6)) if value else 0
    magnitude = math.floor(math.log10(half_width))
    wanted = -magnitude if half_width / 10.0**magnitude >= 2.95 else 1 - magnitude
    return max(0, min(wanted, most, 6))


METRICS: tuple[Metric, ...] = (
    Metric(
        "useful_per_s",
        "Useful answers",
        "per_s",
        "higher",
        "returned in time and correct, per second of arrivals",
    ),
    Metric(
        "goodput_per_s",
        "Answers in time",
        "per_s",
        "higher",
        "returned in time, per second of arrivals",
    ),
    Metric("accuracy", "Accuracy", "share", "higher", "mean correctness of the served and scored"),
    Metric(
        "latency_mean_s",
        "Mean latency",
        "s",
        "lower",
        "emission to return, of the returned",
        latency=True,
    ),
    Metric(
        "latency_p50_s",
        "Median latency",
        "s",
        "lower",
        "emission to return, of the returned",
        latency=True,
    ),
    Metric(
        "latency_p95_s",
        "p95 latency",
        "s",
        "lower",
        "emission to return, of the returned",
        latency=True,
    ),
    Metric(
        "latency_p99_s",
        "p99 latency",
        "s",
        "lower",
        "emission to return, of the returned",
        latency=True,
    ),
    Metric(
        "deadline_miss",
        "Deadline misses",
        "share",
        "lower",
        "share of the emitted; drops count as misses",
    ),
    Metric("drop_share", "Dropped", "share", "lower", "share of the emitted"),
    Metric(
        "regret_mean",
        "Regret",
        "points",
        "lower",
        "best merge minus reward, mean over node-slots with service",
    ),
    Metric(
        "regret_early",
        "Early regret",
        "points",
        "lower",
        "regret over each node's first 50 slots with service",
    ),
    Metric(
        "regret_late",
        "Late regret",
        "points",
        "lower",
        "regret over the last quarter of each node's slots with service",
    ),
    Metric(
        "regret_expected_mean",
        "Expected regret",
        "points",
        "lower",
        "best merge minus the plan's expected reward, mean over the sampled node-slots",
    ),
    Metric(
        "regret_fixed_mean",
        "Regret of the best fixed merge",
        "points",
        "none",
        "of each node's best fixed merge in hindsight, on what this policy served",
    ),
    Metric(
        "memory_peak_bytes",
        "Peak memory",
        "bytes",
        "lower",
        "fullest moment of the fullest routed node",
    ),
    Metric("memory_mean_bytes", "Mean memory", "bytes", "lower", "mean over time and routed nodes"),
    Metric("energy_j", "Energy", "j", "lower", "of all nodes, idle time included"),
    Metric(
        "energy_per_useful_j",
        "Energy per useful answer",
        "j",
        "lower",
        "energy over useful answers",
    ),
    Metric(
        "utilisation", "Utilisation", "share", "none", "busy server time over the arrival period"
    ),
    Metric(
        "context_tv_mean",
        "Context error",
        "share",
        "lower",
        "total variation, router's estimate to the mix served",
    ),
    Metric(
        "context_floor_mean",
        "Sampling floor of it",
        "share",
        "none",
        "context error that a perfect estimate would have, by the luck of the draw",
    ),
    Metric(
        "drift_delay_slots",
        "Detection delay",
        "slots",
        "lower",
        "from a true change to its first detection, mean over those detected",
    ),
    Metric(
        "drift_missed",
        "Missed changes",
        "share",
        "lower",
        "true changes without a detection within 30 slots",
    ),
    Metric(
        "drift_false_per_1000",
        "False alarms",
        "count",
        "lower",
        "detections without a true change in the 30 slots before, per 1000 node-slots",
    ),
    Metric(
        "drift_recovered",
        "Recovered",
        "share",
        "higher",
        "true changes after which regret came back to what it was, within 2 points",
    ),
    Metric(
        "drift_recovery_slots",
        "Recovery time",
        "slots",
        "lower",
        "slots until regret is what it was before the change, median; a lower bound if few do",
    ),
    Metric(
        "audit_bytes",
        "Feedback traffic",
        "bytes",
        "lower",
        "bytes sent to a judge of answers and back, in the whole run",
    ),
    Metric(
        "audit_lost",
        "Feedback lost",
        "share",
        "lower",
        "audits of answers that the router never heard of, of those begun",
    ),
    Metric(
        "decision_share",
        "Policy's own work",
        "share",
        "lower",
        "share of busy time that the policy's own work took",
    ),
)
BY_KEY: Mapping[str, Metric] = {metric.key: metric for metric in METRICS}


def number(row: Mapping[str, Any], key: str) -> float:
    """Return a metric of a summary row as a float, NaN when it is absent."""
    value = row.get(key)
    if value is None or value == "":
        return math.nan
    return float(value)
