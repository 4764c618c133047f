"""What a run says of all its requests where the table `requests` holds a sample of them.

The simulation counts requests as they end (`sim.totals`); what it counted lies in the meta facts.
Counts are exact, means as exact as adding up, quantiles within 0.4 % (latencies lie in bins).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.outcomes import BY_STREAM, keyed, stream_ids
from sim.records import DROPS
from sim.totals import MOST_STREAMS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sim.arrays import FloatArray, IntArray

_QUANTILES = {"latency_p50_s": 0.5, "latency_p95_s": 0.95, "latency_p99_s": 0.99}


def sampled(meta: Mapping[str, Any]) -> int:
    """Return N where one in N requests has a row, 1 where all have one."""
    return int(meta.get("rows", {}).get("every", 1))


@dataclass(frozen=True, slots=True)
class Ends:
    """How some requests ended, and how long the returned took, in bins."""

    groups: tuple[Mapping[str, Any], ...]  # as `sim.totals` writes them
    lowest_s: float
    per_octave: int

    def count(self, name: str) -> int:
        """Return a count, such as `returned`."""
        return sum(int(group[name]) for group in self.groups)

    def drops(self, reason: str) -> int:
        """Return how many were dropped for a reason."""
        return sum(int(group["drops"].get(reason, 0)) for group in self.groups)

    def mean_s(self) -> float:
        """Return the mean latency of the returned, NaN when there are none."""
        returned = self.count("returned")
        return math.fsum(group["sum_s"] for group in self.groups) / returned if returned else np.nan

    def quantiles_s(self, levels: Sequence[float] | FloatArray) -> FloatArray:
        """Return quantiles of the latency of the returned, (Q,), within 0.4 %; NaN without any.

        Between two ranks they lie on the line, as `numpy.quantile` has it.
        """
        bins = self._bins()
        returned = int(bins.sum())
        if not returned:
            return np.full(len(levels), np.nan)
        rank = np.asarray(levels) * (returned - 1)
        low = np.floor(rank)
        cumulated, middles_s = np.cumsum(bins), self._middles_s(len(bins))
        before, after = (
            self._exact_ends(r, middles_s[cumulated.searchsorted(r, "right")], returned)
            for r in (low, np.ceil(rank))
        )
        found: FloatArray = before + (after - before) * (rank - low)
        return found

    def _exact_ends(self, rank: FloatArray, latency_s: FloatArray, returned: int) -> FloatArray:
        """Put the least and the most, which are known, in place of the middles of their bins."""
        least, most = self._extremes_s()
        return np.where(rank == 0, least, np.where(rank == returned - 1, most, latency_s))

    def _extremes_s(self) -> tuple[float, float]:
        found = [s for group in self.groups for s in group["extremes_s"]]
        return min(found), max(found)

    def _bins(self) -> IntArray:
        """Return how many returned within each bin, up to the last that holds something."""
        length = max((g["first_bin"] + len(g["bins"]) for g in self.groups), default=0)
        found = np.zeros(length, np.int64)
        for group in self.groups:
            first = group["first_bin"]
            found[first : first + len(group["bins"])] += np.array(group["bins"], dtype=np.int64)
        return found

    def _middles_s(self, length: int) -> FloatArray:
        """Return the middle of each bin, but no less and no more than what came back."""
        octave, part = np.divmod(np.arange(length) - 1, self.per_octave)
        middles = self.lowest_s * 2.0**octave * (1.0 + (part + 0.5) / self.per_octave)
        middles[:1] = 0.0  # all that is shorter than the first octave
        found: FloatArray = np.clip(middles, *self._extremes_s())
        return found


def ends(metas: Iterable[Mapping[str, Any]]) -> Ends:
    """Return how all requests of some runs ended, together."""
    told = [meta["totals"] for meta in metas]
    groups = tuple(group for totals in told for group in totals["groups"])
    return Ends(groups, told[0]["lowest_s"], told[0]["per_octave"])


def parted(found: Ends, *keys: str) -> dict[tuple[Any, ...], Ends]:
    """Part ends by some of `stream` and `priority`, in order of appearance."""
    parts: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for group in found.groups:
        parts.setdefault(tuple(group[key] for key in keys), []).append(group)
    return {
        key: Ends(tuple(groups), found.lowest_s, found.per_octave) for key, groups in parts.items()
    }


# --- the same words as `analysis.outcomes` --------------------------------------------------------


def counts(found: Ends) -> dict[str, Any]:
    """Count requests by how they ended; of the dropped also by reason."""
    emitted, returned = found.count("requests"), found.count("returned")
    reasons = {f"dropped_{reason}": found.drops(reason) for reason in DROPS}
    dropped = sum(reasons.values())
    return {
        "requests": emitted,
        "returned": returned,
        "dropped": dropped,
        **reasons,
        "in_flight": emitted - returned - dropped,
        "drop_share": dropped / emitted if emitted else math.nan,
    }


def latency(found: Ends) -> dict[str, float]:
    """Return mean and quantiles from emission to return, over the returned."""
    quantiles = found.quantiles_s(list(_QUANTILES.values())).tolist()
    return {"latency_mean_s": found.mean_s(), **dict(zip(_QUANTILES, quantiles, strict=True))}


def usefulness(found: Ends, duration_s: float) -> dict[str, float]:
    """Return deadline misses, goodput, accuracy and useful answers."""
    emitted, scored = found.count("requests"), found.count("scored")
    useful = float(found.count("useful")) if scored else math.nan
    return {
        "deadline_miss": found.count("missed") / emitted if emitted else math.nan,
        "goodput_per_s": found.count("timely") / duration_s,
        "accuracy": found.count("right") / scored if scored else math.nan,
        "useful": useful,
        "useful_per_s": useful / duration_s,
    }


def stream_facts(found: Ends) -> dict[str, Any]:
    """Return everything that is known of some requests by themselves."""
    return counts(found) | latency(found) | usefulness(found, math.nan)


def by_stream(found: Ends, meta: Mapping[str, Any]) -> dict[str, float]:
    """Return what `BY_STREAM` names for each stream, as `outcomes.by_stream` does."""
    labels = stream_ids(meta)
    if not 2 <= len(labels) <= MOST_STREAMS:
        return {}
    parts = parted(found, "stream")
    none = Ends((), found.lowest_s, found.per_octave)
    out: dict[str, float] = {}
    for label in labels:
        facts = stream_facts(parts.get((label,), none))
        out |= {keyed(key, label): facts[key] for key in BY_STREAM}
    return out
