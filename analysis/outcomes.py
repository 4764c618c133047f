"""How requests ended: counts, latencies, usefulness, over all of them and stream by stream."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.records import DROPS, Table
from sim.totals import MOST_STREAMS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sim.arrays import AnyArray, BoolArray

# what a summary says of each stream
BY_STREAM = (
    "latency_mean_s",
    "latency_p50_s",
    "latency_p95_s",
    "latency_p99_s",
    "drop_share",
    "deadline_miss",
    "accuracy",
)
_COLUMNS = ("id", "t_emit_s", "t_return_s", "deadline_s", "drop", "correct")


def counts(requests: Table) -> dict[str, Any]:
    """Count requests by how they ended; of the dropped also by reason."""
    emitted = len(requests["id"])
    returned = int(np.isfinite(requests["t_return_s"]).sum())
    reasons = np.bincount(requests["drop"].astype(np.int64) + 1, minlength=len(DROPS) + 1)[1:]
    dropped = int(reasons.sum())
    out: dict[str, Any] = {"requests": emitted, "returned": returned, "dropped": dropped}
    out |= {f"dropped_{reason}": int(n) for reason, n in zip(DROPS, reasons, strict=True)}
    out["in_flight"] = emitted - returned - dropped
    out["drop_share"] = dropped / emitted if emitted else math.nan
    return out


def latency(requests: Table) -> dict[str, float]:
    """Return mean and quantiles from emission to return, over the returned."""
    took_s = requests["t_return_s"] - requests["t_emit_s"]
    took_s = took_s[np.isfinite(took_s)]
    names = ("latency_p50_s", "latency_p95_s", "latency_p99_s")
    if len(took_s) == 0:
        return dict.fromkeys(("latency_mean_s", *names), math.nan)
    found = np.quantile(took_s, (0.5, 0.95, 0.99)).tolist()
    return {"latency_mean_s": float(took_s.mean()), **dict(zip(names, found, strict=True))}


def in_time(requests: Table) -> BoolArray:
    """Return which requests came back within their deadline; any return will do without one."""
    took_s = requests["t_return_s"] - requests["t_emit_s"]
    allowed = np.where(np.isfinite(requests["deadline_s"]), requests["deadline_s"], np.inf)
    found: BoolArray = np.isfinite(took_s) & (took_s <= allowed)
    return found


def usefulness(requests: Table, duration_s: float) -> dict[str, float]:
    """Return deadline misses, goodput, accuracy and useful answers."""
    emitted = len(requests["id"])
    timely = in_time(requests)
    missed = (requests["drop"] >= 0) | (np.isfinite(requests["deadline_s"]) & ~timely)
    scored = requests["correct"] >= 0
    useful = float((timely & (requests["correct"] == 1)).sum()) if scored.any() else math.nan
    return {
        "deadline_miss": float(missed.mean()) if emitted else math.nan,
        "goodput_per_s": float(timely.sum()) / duration_s,
        "accuracy": float((requests["correct"][scored] == 1).mean()) if scored.any() else math.nan,
        "useful": useful,
        "useful_per_s": useful / duration_s,
    }


# --- stream by stream -----------------------------------------------------------------------------


def stream_ids(meta: Mapping[str, Any]) -> dict[str, list[int]]:
    """Return the streams of a scenario: name -> ids of its streams at nodes, in file order."""
    nodes = {int(node["id"]): str(node["name"]) for node in meta["nodes"]}
    found: dict[str, list[int]] = {}
    for stream in meta["streams"]:
        label = str(stream["name"]).removesuffix(f".{nodes[int(stream['node'])]}")
        found.setdefault(label, []).append(int(stream["id"]))
    return found


def by_stream(requests: Table, meta: Mapping[str, Any]) -> dict[str, float]:
    """Return what `BY_STREAM` names for each stream, as `<key>[<stream>]`.

    Nothing of only one stream, nor of more than a file can name (`sim.totals`).
    """
    streams = stream_ids(meta)
    if not 2 <= len(streams) <= MOST_STREAMS:
        return {}
    out: dict[str, float] = {}
    for label, mine in zip(streams, _rows_of(requests["stream"], streams.values()), strict=True):
        found = stream_facts({name: requests[name][mine] for name in _COLUMNS})
        out |= {keyed(key, label): found[key] for key in BY_STREAM}
    return out


def _rows_of(stream: AnyArray, parts: Collection[Sequence[int]]) -> list[AnyArray]:
    """Return the rows of each part of the streams, in order."""
    part_of = np.zeros(1 + max(max(ids) for ids in parts), np.int64)
    for place, ids in enumerate(parts):
        part_of[ids] = place
    part = part_of[stream]
    order = np.argsort(part, kind="stable")
    return np.split(order, np.searchsorted(part[order], np.arange(1, len(parts))))


def stream_facts(requests: Table) -> dict[str, Any]:
    """Return everything that is known of some requests by themselves."""
    return counts(requests) | latency(requests) | usefulness(requests, math.nan)


def keyed(key: str, stream: str) -> str:
    """Return where a summary keeps a stream's number; the run's own without a stream."""
    return f"{key}[{stream}]" if stream else key
