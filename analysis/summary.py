"""One run in one flat row: what `compare` ranks, `summary.csv` keeps and the report shows.

Everything is computed from the tables of a Record and its meta facts, with numpy alone, so that a
trial can end with its own summary and no plotting library is loaded. NaN says that a number does
not apply (no model, nothing served).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from analysis import totals
from analysis.drift import drift_facts
from analysis.outcomes import by_stream, counts, latency, usefulness
from analysis.quality import arrival_slots, quality
from sim.stability import Levels

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sim.arrays import AnyArray, FloatArray
    from sim.records import Table, Tables


def summarise(tables: Tables, meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's metrics as one flat dict of floats, ints, booleans and texts.

    Counts: `requests` = `returned` + `dropped` (+ per reason `dropped_<reason>`) + `in_flight`.

    `latency_*_s` are over returned requests, from emission to return. Where `stable` is False they
    describe the length of the run more than the system, and tables must say "unstable" instead.

    `deadline_miss` is the share of emitted requests that were dropped, or had a deadline and did
    not return within it (unfinished ones included). A request without a deadline misses only when
    it is dropped.

    Where there is more than one stream, some of these are there for each of them too, such as
    `latency_p99_s[alarm]` (`analysis.outcomes`).

    `regret_*` are over node-slots of routed nodes with service, equal weight each: best merge
    minus reward, or minus the plan's expected reward on the seeded sample (`analysis.quality`);
    `drift_*` are in `analysis.drift`. `memory_*` are over
    routed nodes, `utilisation` too (over all serving nodes where none is routed), the latter up to
    the end of arrivals.

    Args:
        tables: The tables of a Record (category columns as codes).
        meta: Its meta facts.
    """
    routed = routed_nodes(meta)
    ends = _ends(tables, meta)
    out, unstable = ends.facts, ends.unstable
    out |= quality(tables, meta, routed)
    drift, slots = tables.get("drift", {}), tables.get("slots", {})
    out |= drift_facts(drift, slots, routed, arrival_slots(meta))
    out |= memory_totals(tables.get("memory", {}), routed, float(meta["end_s"]))
    out |= _work(tables, meta, routed, out.pop("useful"))
    out |= audit_facts(meta)
    out["stable"] = not unstable
    names = {int(node["id"]): str(node["name"]) for node in meta["nodes"]}
    out["unstable_nodes"] = "; ".join(names[node] for node in unstable)
    return out | ends.by_stream


class _Ends(NamedTuple):
    """How the requests of a run ended."""

    facts: dict[str, Any]
    by_stream: dict[str, float]
    unstable: list[int]


def _ends(tables: Tables, meta: Mapping[str, Any]) -> _Ends:
    """Look at all requests: at their rows, or at what was counted where these are a sample."""
    duration_s = float(meta["duration_s"])
    if totals.sampled(meta) > 1:
        found = totals.ends([meta])
        facts = totals.counts(found) | totals.latency(found) | totals.usefulness(found, duration_s)
        return _Ends(facts, totals.by_stream(found, meta), list(meta["totals"]["unstable"]))
    rows = tables["requests"]
    facts = counts(rows) | latency(rows) | usefulness(rows, duration_s)
    return _Ends(facts, by_stream(rows, meta), unstable_nodes(rows, meta))


def routed_nodes(meta: Mapping[str, Any]) -> list[int]:
    """Return the nodes whose plan the policy decides; all serving nodes where there are none."""
    routed = [int(node["id"]) for node in meta["nodes"] if node["routed"]]
    return routed or [int(node["id"]) for node in meta["nodes"] if node["servers"] > 0]


# --- memory ---------------------------------------------------------------------------------------


def memory_totals(memory: Table, routed: list[int], end_s: float) -> dict[str, float]:
    """Return the peak of resident bytes, and their mean over time [0, end_s] and routed nodes.

    Changes at one instant count together: a swap that frees and fills at the same time has no peak
    in between.
    """
    missing = {"memory_peak_bytes": math.nan, "memory_mean_bytes": math.nan}
    if not memory or not routed:
        return missing
    kept = np.isin(memory["node"], routed)
    if not kept.any():
        return missing
    node, t_s, total = node_totals(
        *(memory[name][kept] for name in ("node", "t_s", "category", "bytes"))
    )
    until = np.append(t_s[1:], end_s)
    until[np.append(node[1:] != node[:-1], True)] = end_s
    area = float((total * np.maximum(until - t_s, 0.0)).sum())
    return {
        "memory_peak_bytes": float(total.max()),
        "memory_mean_bytes": area / end_s / len(routed),
    }


def node_totals(
    node: AnyArray, t_s: AnyArray, category: AnyArray, amount: AnyArray
) -> tuple[AnyArray, FloatArray, FloatArray]:
    """Turn the change log into total bytes per (node, instant): (node, t_s, total), sorted."""
    order = np.lexsort(
        (t_s, category, node)
    )  # lexsort is stable: log order stays within one instant
    same = np.append(False, (np.diff(node[order]) == 0) & (np.diff(category[order]) == 0))
    before = np.where(same, np.append(0.0, amount[order][:-1]), 0.0)
    change = np.empty(len(node))
    change[order] = amount[order] - before
    by_time = np.lexsort((t_s, node))
    node, t_s, change = node[by_time], t_s[by_time], change[by_time]
    running = np.cumsum(change)
    starts = np.append(True, np.diff(node) != 0)
    running = running - (running - change)[starts][np.cumsum(starts) - 1]
    last = np.append((np.diff(node) != 0) | (np.diff(t_s) != 0), True)
    return node[last], t_s[last], running[last]


# --- work -----------------------------------------------------------------------------------------


def _work(
    tables: Tables, meta: Mapping[str, Any], routed: list[int], useful: float
) -> dict[str, float]:
    slots, decisions = tables.get("slots", {}), tables.get("decisions", {})
    energy = float(slots["energy_j"].sum()) if slots else math.nan
    return {
        "energy_j": energy,
        "energy_per_useful_j": energy / useful if useful > 0.0 else math.nan,
        "utilisation": _utilisation(slots, meta, routed) if slots else math.nan,
        "decision_flop": float(np.nansum(decisions["work_flop"])) if decisions else math.nan,
        "decision_moved_bytes": float(np.nansum(decisions["moved_bytes"]))
        if decisions
        else math.nan,
        "decision_share": _decision_share(tables, meta, routed) if slots else math.nan,
    }


def audit_facts(meta: Mapping[str, Any]) -> dict[str, float]:
    """Return what the audits of answers cost: bytes sent, and the share that was lost.

    Both are NaN for a policy that asks for no feedback, bytes also where users report by
    themselves. Each message counts once however many links it crosses. An audit that is under way
    at the end is not lost.
    """
    found = meta.get("audits") or {}
    begun, sent_bytes = int(found.get("begun", 0)), float(found.get("sent_bytes", 0.0))
    return {
        "audit_bytes": sent_bytes if sent_bytes > 0.0 else math.nan,
        "audit_lost": int(found["lost"]) / begun if begun else math.nan,
    }


def _utilisation(slots: Table, meta: Mapping[str, Any], routed: list[int]) -> float:
    """Return busy server time over server time, whole slots of the arrival period only."""
    whole = max(1, math.floor(float(meta["duration_s"]) / float(meta["slot_s"]) + 1e-9))
    mine = set(routed)
    servers = sum(int(node["servers"]) for node in meta["nodes"] if int(node["id"]) in mine)
    kept = np.isin(slots["node"], routed) & (slots["slot"] < whole)
    span = whole * float(meta["slot_s"]) * servers
    return float(slots["busy_s"][kept].sum()) / span if span else math.nan


def _decision_share(tables: Tables, meta: Mapping[str, Any], routed: list[int]) -> float:
    """Return the share of busy server time on routed nodes that went to decisions and merges.

    A run recorded before nodes told it (`own_s`): what no batch accounts for.
    """
    slots = tables["slots"]
    busy = float(slots["busy_s"][np.isin(slots["node"], routed)].sum())
    if busy <= 0.0:
        return math.nan
    mine = set(routed)
    own = [node["own_s"] for node in meta["nodes"] if node["id"] in mine and "own_s" in node]
    if len(own) == len(routed):
        return math.fsum(own) / busy
    served = batch_seconds(
        tables["requests"], tables.get("faults", {}), routed, float(meta["end_s"])
    )
    share = 1.0 - served / busy
    # rounding of two long sums, not work
    return share if share > 1e-9 else 0.0


def batch_seconds(requests: Table, faults: Table, nodes: list[int], end_s: float) -> float:
    """Sum the server seconds of all batches on some nodes; a crash cuts its batch short."""
    started = np.isfinite(requests["t_start_s"]) & np.isin(requests["server"], nodes)
    server, batch = requests["server"][started], requests["batch"][started]
    _, first = np.unique(np.stack((server, batch)), axis=1, return_index=True)
    server, start = server[first], requests["t_start_s"][started][first]
    finish = requests["t_finish_s"][started][first].copy()
    for i in np.flatnonzero(~np.isfinite(finish)):
        finish[i] = _next_crash(faults, int(server[i]), float(start[i]), end_s)
    return float((finish - start).sum())


def _next_crash(faults: Table, node: int, after_s: float, end_s: float) -> float:
    if not faults:
        return end_s
    crash = 0  # code of node-crash in sim.records.FAULTS
    hit = (faults["kind"] == crash) & (faults["target"] == node) & (faults["t_s"] >= after_s)
    return float(faults["t_s"][hit].min()) if hit.any() else end_s


# --- stability ------------------------------------------------------------------------------------


def unstable_nodes(requests: Table, meta: Mapping[str, Any]) -> list[int]:
    """Return the serving nodes whose queue grows over the whole arrival period.

    `sim.stability` has the rule. A queue that its capacity holds down does not grow for ever: it
    shows in the drops instead.
    """
    nodes = max((int(node["id"]) for node in meta["nodes"]), default=0) + 1
    levels = Levels(nodes, float(meta["duration_s"]))
    levels.add(requests)
    growing = set(levels.growing().tolist())
    return [int(node["id"]) for node in meta["nodes"] if int(node["id"]) in growing]
