"""The schema of everything a run leaves behind: the only door between simulation and analysis.

A table is a dict of equally long numpy columns. Category columns hold int16 codes here;
`Column.values` names them, and on disk they are text. `-1` in a category and NaN in a float mean
"does not apply".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from sim.arrays import AnyArray
from sim.plans import PLAN_KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping

Table: TypeAlias = dict[str, AnyArray]
Tables: TypeAlias = dict[str, Table]

DROPS = (
    "queue_full",
    "node_down",
    "link_down",
    "no_route",
    "memory",
    "loss",
    "patience",
    "deadline",
)
MEMORY = ("backbone", "experts", "merged", "staging", "activations", "router", "kv")
RESIDENCY = ("fetch", "evict", "wipe")
CAUSES = ("plan", "miss", "capacity", "crash", "fault")
FAULTS = (
    "node-crash",
    "node-restart",
    "link-down",
    "link-up",
    "link-slow",
    "link-slow-end",
    "link-lossy",
    "link-lossy-end",
    "storage-slow",
    "storage-slow-end",
    "expert-lost",
    "expert-lost-end",
    "expert-corrupt",
    "expert-corrupt-end",
    "telemetry-loss",
    "telemetry-loss-end",
    "feedback-spoiled",
    "feedback-spoiled-end",
)
DECISIONS = ("start", *PLAN_KINDS, "keep")
DRIFTS = ("true", "detected", "alarm", "rollback", "recluster", "refused")


@dataclass(frozen=True, slots=True)
class Column:
    """One column: name (unit last), numpy dtype or category values, meaning."""

    name: str
    dtype: str
    doc: str
    values: tuple[str, ...] | None = None


def _c(name: str, dtype: str, doc: str, values: tuple[str, ...] | None = None) -> Column:
    return Column(name, dtype, doc, values)


SCHEMA: Mapping[str, tuple[Column, ...]] = {
    "requests": (
        _c(
            "id",
            "int64",
            "position in the merged emission order; the same request under every policy",
        ),
        _c("stream", "int32", "stream that emitted it"),
        _c("source", "int32", "node where it was emitted"),
        _c("server", "int32", "node that it was sent to, -1: none"),
        _c("task", "int16", "hidden task, -1 without a model"),
        _c("input", "int32", "index into the service pool, -1 without a model"),
        _c("plan", "int32", "id of the plan that served it (row of decisions), -1: not served"),
        _c("t_emit_s", "float64", "emitted"),
        _c("t_dispatch_s", "float64", "server chosen"),
        _c("t_enqueue_s", "float64", "joined the queue of its server"),
        _c("t_start_s", "float64", "service started"),
        _c("t_finish_s", "float64", "service ended"),
        _c("t_return_s", "float64", "answer back at the source"),
        _c(
            "stall_s",
            "float64",
            "part of service spent waiting: for experts, a share of a server, a node to come back",
        ),
        _c("service_s", "float64", "part of service spent computing"),
        _c("batch", "int64", "id of the batch, -1: not served"),
        _c("batch_size", "int32", "requests in that batch"),
        _c("priority", "int16", "0 is lowest"),
        _c("deadline_s", "float64", "allowed time from emission to return"),
        _c("drop", "int16", "reason of the drop, -1: not dropped", DROPS),
        _c("correct", "int8", "1 right, 0 wrong, -1 not scored"),
        _c("up_bytes", "float64", "size of the request"),
        _c("down_bytes", "float64", "size of the answer"),
    ),
    "slots": (
        _c("slot", "int32", "routing interval"),
        _c("node", "int32", "node"),
        _c("plan", "int32", "id of the plan in force when the slot ended, -1: none"),
        _c("served", "int32", "requests that started service in the slot and finished"),
        _c("dropped", "int32", "requests for this node dropped in the slot"),
        _c("reward", "float64", "mean correctness of the served, NaN if none"),
        _c(
            "reward_expected",
            "float64",
            "expected accuracy of the plans in force on the tasks served",
        ),
        _c("reward_best", "float64", "accuracy of the best merge for the mix served"),
        _c(
            "context_tv",
            "float64",
            "total variation between the router's estimate and the mix served",
        ),
        _c("reward_fixed", "float64", "accuracy of the node's best fixed merge in hindsight"),
        _c("task", "int16", "most frequent task of the served, -1 if none"),
        _c("busy_s", "float64", "server seconds in use, own work of the policy included"),
        _c("queue_max", "int32", "most requests in the system"),
        _c("energy_j", "float64", "idle and busy energy"),
    ),
    "decisions": (
        _c("id", "int32", "plan id"),
        _c("slot", "int32", "slot that the decision opens, -1: before the run"),
        _c("node", "int32", "node"),
        _c("kind", "int16", "kind of plan, or keep", DECISIONS),
        _c("k", "int16", "k of a gated plan, expert of a single one, -1 else"),
        _c(
            "t_force_s", "float64", "took force; NaN: superseded, refused, or still the plan before"
        ),
        _c("work_flop", "float64", "work of the decision and its merge"),
        _c("read_bytes", "float64", "bytes read from memory and storage for it"),
        _c("moved_bytes", "float64", "bytes moved over links for it"),
        _c("state_bytes", "float64", "resident state of the router"),
        _c("explored", "int8", "1: not the greedy choice"),
    ),
    "memory": (
        _c("node", "int32", "node"),
        _c("t_s", "float64", "time of the change"),
        _c("category", "int16", "what the bytes are", MEMORY),
        _c("bytes", "float64", "bytes of that category from now on"),
    ),
    "residency": (
        _c("node", "int32", "node"),
        _c("layer", "int16", "MoE layer"),
        _c("expert", "int16", "expert"),
        _c("t_s", "float64", "time"),
        _c("event", "int16", "what happened", RESIDENCY),
        _c("bytes", "float64", "bytes of the expert"),
        _c("cause", "int16", "why", CAUSES),
    ),
    "links": (
        _c("link", "int32", "directed link"),
        _c("slot", "int32", "slot in which the transfer started"),
        _c("sent_bytes", "float64", "bytes put on the link"),
        _c("busy_s", "float64", "seconds of transmission"),
        _c("lost", "int32", "tries lost, by a fault or by the link itself"),
    ),
    "faults": (
        _c("t_s", "float64", "time"),
        _c("kind", "int16", "what happened", FAULTS),
        _c("target", "int32", "node or link"),
    ),
    "drift": (
        _c("slot", "int32", "slot"),
        _c("node", "int32", "node"),
        _c(
            "kind",
            "int16",
            "true: the mix of a stream changed; detected: the router saw a new mix; alarm: its"
            " rewards left its expectations; rollback: it went back to a snapshot; recluster: the"
            " node clustered its traffic anew; refused: rewards that were none were kept from it",
            DRIFTS,
        ),
    ),
    "tree": (
        _c("slot", "int32", "slot"),
        _c("node", "int32", "node"),
        _c("cell", "int32", "id of the new cell"),
        _c("parent", "int32", "cell that was split"),
        _c("depth", "int16", "depth of the new cell"),
        _c("n", "int32", "times the parent was chosen"),
        _c("value", "float64", "estimated reward of the new cell"),
    ),
}


@dataclass(slots=True)
class Record:
    """One run: tables, facts about the world that readers need, and two digests."""

    tables: Tables
    meta: dict[str, Any] = field(default_factory=dict)
    digest: str = ""
    workload_digest: str = ""


def weight_columns(experts: int) -> tuple[Column, ...]:
    """Return the columns w_0..w_{E-1} that `decisions` gets when there is a model."""
    return tuple(
        _c(f"w_{e}", "float64", f"merge weight of expert {e}, NaN if gated") for e in range(experts)
    )


def columns(table: str, experts: int = 0) -> tuple[Column, ...]:
    """Return a table's columns, merge weights included where they apply."""
    extra = weight_columns(experts) if table == "decisions" else ()
    return SCHEMA[table] + extra


def dtype(column: Column) -> np.dtype[Any]:
    """Return the numpy type of a column as it stands in a Record."""
    return np.dtype(column.dtype)


def digest(tables: Mapping[str, Mapping[str, AnyArray]]) -> str:
    """Hash all columns of all tables, in name order of tables and schema order of columns."""
    state = sha256()
    for name in sorted(tables):
        for column, values in tables[name].items():
            state.update(f"{name}.{column}:{values.dtype.str}:{len(values)};".encode())
            state.update(np.ascontiguousarray(values).tobytes())
    return state.hexdigest()
