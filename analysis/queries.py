"""The questions that the report asks of a run folder: SQL in, small dicts of numpy arrays out.

Nothing here grows with the number of requests, except inside DuckDB.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.quality import floor_of
from analysis.totals import ends, sampled
from sim.records import FAULTS, MEMORY, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from analysis.load import Run, Trial
    from sim.arrays import AnyArray, FloatArray

# above this many returned requests the tail comes from a t-digest instead of a full sort
EXACT_ROWS = 3_000_000
MOST_BINS = 300  # of time, in any figure
_RETURNED = "isfinite(t_return_s)"
_LATENCY = "(t_return_s - t_emit_s)"
_BY_POLICY = "JOIN (SELECT unnest(?) AS trial, unnest(?) AS policy) USING (trial)"

# --- latency --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tail:
    """Latency quantiles of one policy, pooled over seeds: `share` of the returned are slower."""

    latency_s: FloatArray  # (Q,)
    share: FloatArray  # (Q,), falling
    n: int


def tails(run: Run, trials: Sequence[Trial]) -> dict[str, Tail]:
    """Return the tail of the latency of every policy, down to the slowest ten requests.

    Of all requests, also where a sample of them has rows.
    """
    share = np.concatenate((np.linspace(1.0, 0.5, 40)[:-1], np.geomspace(0.5, 1e-4, 110)))
    if are_sampled(trials):
        pooled = {policy: ends(t.meta for t in mine) for policy, mine in by_policy(trials).items()}
        return {
            policy: _tail(found.count("returned"), found.quantiles_s(1.0 - share), share)
            for policy, found in pooled.items()
            if found.count("returned")
        }
    names = [trial.id for trial in trials]
    counts = run.select("requests", names, f"SELECT count(*) AS n FROM t WHERE {_RETURNED}")
    function = "quantile_cont" if int(counts["n"][0]) <= EXACT_ROWS else "approx_quantile"
    levels = ", ".join(f"{1.0 - s:.6f}" for s in share)
    sql = (
        f"SELECT policy, count(*) AS n, {function}({_LATENCY}, [{levels}]) AS q "
        f"FROM t {_BY_POLICY} WHERE {_RETURNED} GROUP BY policy ORDER BY policy"
    )
    rows = run.select("requests", names, sql, [names, [trial.policy for trial in trials]])
    return {
        str(p): _tail(n, q, share)
        for p, n, q in zip(rows["policy"], rows["n"], rows["q"], strict=True)
    }


def are_sampled(trials: Sequence[Trial]) -> bool:
    """Tell whether the table `requests` holds only some rows of a trial."""
    return any(sampled(trial.meta) > 1 for trial in trials)


def by_policy(trials: Sequence[Trial]) -> dict[str, list[Trial]]:
    """Group trials by policy, policies sorted."""
    names = sorted({trial.policy for trial in trials})
    return {name: [trial for trial in trials if trial.policy == name] for name in names}


def _tail(n: int, quantiles: Sequence[float] | FloatArray, share: FloatArray) -> Tail:
    known = share * n >= 10.0
    return Tail(np.asarray(quantiles, dtype=np.float64)[known], share[known], int(n))


def over_time(run: Run, trials: Sequence[Trial], bins: int = 60) -> dict[str, Table]:
    """Return, per policy, quantiles of latency and the accuracy by time of emission.

    Columns: t_s (middle of the bin), p50, p95, p99 (s), accuracy, n (rows). Where the table holds a
    sample of the requests, these are the sample's.
    """
    names = [trial.id for trial in trials]
    width_s = max(float(trial.meta["duration_s"]) for trial in trials) / bins
    sql = (
        f"SELECT policy, least(floor(t_emit_s / ?), ?) AS bin, count(*) AS n, "
        f"quantile_cont({_LATENCY}, [0.5, 0.95, 0.99]) FILTER (WHERE {_RETURNED}) AS q, "
        f"avg(correct) FILTER (WHERE correct >= 0) AS accuracy "
        f"FROM t {_BY_POLICY} GROUP BY ALL ORDER BY policy, bin"
    )
    given = [width_s, bins - 1, names, [trial.policy for trial in trials]]
    rows = run.select("requests", names, sql, given)
    quantiles = np.array([[math.nan] * 3 if q is None else q for q in rows["q"]], dtype=np.float64)
    columns = {"t_s": (rows["bin"] + 0.5) * width_s, "accuracy": rows["accuracy"], "n": rows["n"]}
    columns |= {f"p{p}": quantiles[:, i] for i, p in enumerate((50, 95, 99))}
    policies = dict.fromkeys(map(str, rows["policy"]))
    return {p: {k: v[rows["policy"] == p] for k, v in columns.items()} for p in policies}


# --- single requests ------------------------------------------------------------------------------

_STAMPS = (
    "id, trial, source, server, t_emit_s, t_dispatch_s, t_enqueue_s, t_start_s, t_finish_s, "
    "t_return_s, "
    "stall_s, service_s, batch_size, deadline_s, CAST(drop AS VARCHAR) AS drop, correct"
)


def interesting(run: Run, trial: Trial) -> list[tuple[str, int]]:
    """Return a handful of (why, request id) of one trial: slowest, p99, median, dropped, late.

    All are among the requests that have a row.
    """
    late = f"{_LATENCY} - deadline_s"
    back = f"SELECT id, {_LATENCY} AS s, {late} AS late FROM t WHERE {_RETURNED}"
    at = "SELECT id FROM ({}) ORDER BY abs(s - (SELECT quantile_cont(s, {}) FROM ({}))), id LIMIT 1"
    questions = {
        "slowest": f"SELECT id FROM ({back}) ORDER BY s DESC, id LIMIT 1",
        "p99": at.format(back, 0.99, back),
        "median": at.format(back, 0.5, back),
        "just late": f"SELECT id FROM ({back}) WHERE late > 0 ORDER BY late, id LIMIT 1",
        "dropped": "SELECT id FROM t WHERE drop IS NOT NULL ORDER BY id LIMIT 1",
    }
    found = []
    for why, sql in questions.items():
        ids = run.select("requests", [trial.id], sql)["id"]
        found += [(why, int(i)) for i in ids[:1]]
    return found


def stamps(run: Run, trials: Sequence[Trial], ids: Sequence[int]) -> list[dict[str, Any]]:
    """Return the stamps of some requests in some trials, one dict per row."""
    names = [trial.id for trial in trials]
    sql = f"SELECT {_STAMPS} FROM t WHERE id IN (SELECT unnest(?)) ORDER BY id, trial"
    table = run.select("requests", names, sql, [list(ids)])
    return [{k: v[i] for k, v in table.items()} for i in range(len(table["id"]))]


# --- memory ---------------------------------------------------------------------------------------


def memory_stack(
    run: Run, trial: Trial, node: int, bins: int = MOST_BINS
) -> tuple[FloatArray, FloatArray]:
    """Return times (T,) and bytes by category (T, C) of one node, for stacked steps.

    With more changes than `bins`, each bin shows its fullest moment, so that no peak is lost and
    the categories still add up.
    """
    names = "t_s, CAST(category AS VARCHAR) AS category, bytes"
    sql = f"SELECT {names} FROM t WHERE node = ? ORDER BY t_s"
    rows = run.select("memory", [trial.id], sql, [node])
    t_s, levels = _levels(rows)
    end_s = float(trial.meta["end_s"])
    if len(t_s) <= bins:
        return np.append(t_s, end_s), np.vstack((levels, levels[-1:]))
    return _fullest(t_s, levels, end_s, bins)


def _levels(rows: Table) -> tuple[FloatArray, FloatArray]:
    """Turn a change log of one node into levels after each instant, (T,) and (T, C)."""
    t_s, first = np.unique(rows["t_s"], return_index=True)
    last = np.append(first[1:], len(rows["t_s"])) - 1
    levels = np.zeros((len(t_s), len(MEMORY)))
    for code, word in enumerate(MEMORY):
        mine = np.flatnonzero(rows["category"] == word)
        place = np.searchsorted(mine, last, "right") - 1
        known = place >= 0
        levels[known, code] = rows["bytes"][mine[place[known]]]
    return t_s, levels


def _fullest(
    t_s: FloatArray, levels: FloatArray, end_s: float, bins: int
) -> tuple[FloatArray, FloatArray]:
    edges = np.linspace(0.0, end_s, bins + 1)
    total = levels.sum(axis=1)
    first = np.maximum(np.searchsorted(t_s, edges[:-1], "right") - 1, 0)  # the level carried in
    last = np.maximum(np.searchsorted(t_s, edges[1:], "left"), first + 1)
    picked = np.array([a + int(total[a:b].argmax()) for a, b in zip(first, last, strict=True)])
    return np.append(edges[:-1], end_s), np.vstack((levels[picked], levels[-1:]))


# --- nodes ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Heat:
    """Quantities by node and time of one trial; bins hold `slots_per_bin` slots."""

    t_s: FloatArray  # (T,), start of the bin
    width_s: float
    values: Mapping[str, FloatArray]  # metric -> (N, T), rows by node id


def heat(run: Run, trial: Trial, bins: int = MOST_BINS) -> Heat:
    """Return utilisation, queue, reward, regret and drops by node and time."""
    meta = trial.meta
    slots, nodes = int(meta["slots"]), len(meta["nodes"])
    group = max(1, math.ceil(slots / bins))
    sql = (
        "SELECT node, slot // ? AS bin, sum(busy_s) AS busy, max(queue_max) AS queue, "
        "sum(dropped) AS dropped, "
        "sum(reward * served) FILTER (WHERE isfinite(reward)) / "
        "sum(served) FILTER (WHERE isfinite(reward)) AS reward, "
        "avg(reward_best - reward) FILTER (WHERE isfinite(reward_best - reward)) AS regret "
        "FROM t GROUP BY ALL"
    )
    rows = run.select("slots", [trial.id], sql, [group])
    length = math.ceil(slots / group)
    width_s = group * float(meta["slot_s"])
    grid = {
        name: _grid(rows, name, nodes, length)
        for name in ("busy", "queue", "dropped", "reward", "regret")
    }
    servers = np.array([max(int(node["servers"]), 1) for node in meta["nodes"]], dtype=np.float64)
    grid["utilisation"] = np.minimum(grid.pop("busy") / (servers[:, None] * width_s), 1.0)
    return Heat(np.arange(length, dtype=np.float64) * width_s, width_s, grid)


def _grid(rows: Table, name: str, nodes: int, length: int) -> FloatArray:
    out = np.full((nodes, length), np.nan)
    node, at = rows["node"].astype(np.int64), rows["bin"].astype(np.int64)
    known = (node >= 0) & (node < nodes) & (at < length)
    out[node[known], at[known]] = rows[name][known]
    return out


def events(run: Run, trial: Trial) -> list[tuple[float, str, int]]:
    """Return the faults of a trial: (time in s, what, node or link)."""
    if not run.has("faults", [trial.id]):
        return []
    rows = run.select(
        "faults",
        [trial.id],
        "SELECT t_s, CAST(kind AS VARCHAR) AS kind, target FROM t ORDER BY t_s",
    )
    assert set(map(str, rows["kind"])) <= set(FAULTS), "fault kinds outside the schema"
    return [
        (float(t), str(k), int(n))
        for t, k, n in zip(rows["t_s"], rows["kind"], rows["target"], strict=True)
    ]


def drifts(run: Run, trial: Trial, most: int = 6) -> list[float]:
    """Return the slots in which the mix of some stream changed; none when too many to draw."""
    if not run.has("drift", [trial.id]):
        return []
    rows = run.select(
        "drift", [trial.id], "SELECT DISTINCT slot FROM t WHERE kind = 'true' ORDER BY slot"
    )
    found: list[float] = rows["slot"].astype(float).tolist()
    return found if len(found) <= most else []


def drift_table(run: Run, trial: Trial) -> Table:
    """Return a trial's table `drift`, with the columns of the schema; empty when it has no rows."""
    if run.has("drift", [trial.id]):
        return run.table("drift", trial.id)
    return {name: np.empty(0, np.int64) for name in ("slot", "node", "kind")}


def curves_table(run: Run, trial: Trial) -> Table:
    """Return the table `slots` by slot and node, with the sampling floor of its context errors.

    Column `floor` is there where some node-slot has a context error and every request a row.
    """
    rows = run.select("slots", [trial.id], "SELECT * EXCLUDE (trial) FROM t ORDER BY slot, node")
    found = {name: _floats(values) for name, values in rows.items()}
    if np.isfinite(found["context_tv"]).any() and not are_sampled([trial]):
        found["floor"] = floor_of(found, _task_counts(run, trial))
    return found


def _task_counts(run: Run, trial: Trial) -> tuple[AnyArray, ...]:
    """Count finished requests by (slot of service start, node, task) inside DuckDB."""
    sql = (
        "SELECT CAST(floor(t_start_s / ?) AS BIGINT) AS slot, server AS node, task, "
        "count(*) AS n FROM t WHERE isfinite(t_finish_s) GROUP BY ALL"
    )
    rows = run.select("requests", [trial.id], sql, [float(trial.meta["slot_s"])])
    return tuple(rows[name] for name in ("slot", "node", "task", "n"))


def _floats(values: AnyArray) -> AnyArray:
    return values.astype(np.float64) if values.dtype.kind == "f" else values


def fullest_nodes(run: Run, trials: Sequence[Trial]) -> list[int]:
    """Return node ids, first the one with the largest single category in any of the trials."""
    sql = "SELECT node, max(bytes) AS most FROM t GROUP BY node ORDER BY most DESC, node"
    found: list[int] = run.select("memory", [trial.id for trial in trials], sql)["node"].tolist()
    return found
