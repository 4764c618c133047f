"""The fleet's words: hardware, plans and groups of nodes."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from scenarios.schema_types import (
    Bandwidth,
    CacheName,
    Capacity,
    Count,
    HardwareName,
    Name,
    NoneToForever,
    Positive,
    PositiveBytes,
    PositiveCount,
    PositiveSeconds,
    PositiveShare,
    Power,
    Seconds,
    Speed,
    Weights,
    Words,
)

MOST_NODES = 100_000
MOST_CLUSTERS = 255
CLOUD = "cloud"


class HardwareWords(Words):
    """A node's hardware, written out."""

    name: Name = Field("custom", description="Name in tables and figures.")
    flop_per_s: Speed = Field(alias="compute", description="Effective speed of one server.")
    bytes_per_s: Bandwidth = Field(alias="memory_bandwidth", description="Of one server.")
    memory_bytes: PositiveBytes = Field(alias="memory", description="Of the node.")
    storage_bytes_per_s: Bandwidth = Field(
        alias="storage_bandwidth", description="Reading experts."
    )
    storage_delay_s: Seconds = Field(alias="storage_delay", description="Before the first byte.")
    kernel_s: Seconds = Field(alias="kernel_time", description="Launch cost of one kernel.")
    idle_w: Power = Field(alias="idle_power", description="Of the node, nothing running.")
    busy_w: Power = Field(alias="busy_power", description="Of the node, all servers busy.")
    source: str = Field("", max_length=1000, description="Where the numbers come from.")


def text_or_mapping(value: Any) -> str:
    """Tell which of two spellings a value uses."""
    return "<mapping>" if isinstance(value, dict | Words) else "<name>"


HardwareField: TypeAlias = Annotated[
    Annotated[HardwareName, Tag("<name>")] | Annotated[HardwareWords, Tag("<mapping>")],
    Discriminator(text_or_mapping),
]


class Batch(Words):
    """When a batch starts: `max_size` requests wait, or the oldest has waited `max_wait`."""

    max_size: PositiveCount = Field(1, description="Most requests in one batch.")
    max_wait_s: Seconds = Field(0.0, alias="max_wait", description="Longest wait for a full batch.")


class Setup(Words):
    """A cold server is made ready before it serves; an idle one stays warm for a while."""

    time_s: PositiveSeconds = Field(alias="time", description="To make a cold server ready.")
    keep_s: NoneToForever = Field(
        0.0,
        alias="keep",
        description="How long an idle server stays warm.",
        examples=["30 s", "unlimited"],
    )


class TopKPlan(Words):
    """Every token visits its k best experts by a gate."""

    kind: Literal["top-k"]
    k: PositiveCount = Field(2, description="Experts per token.")
    gate: Name = Field("learned", description="The gate that chooses.")
    capacity: Positive | None = Field(
        None,
        description="Tokens that an expert takes per batch, as a multiple of an even share; those"
        " over it skip that expert. No limit when left out.",
        examples=[1.25],
    )


class ByTaskPlan(Words):
    """Every request is served by the expert of its task, as estimated without tags."""

    kind: Literal["by-task"]
    experts: Annotated[tuple[Count, ...], Field(min_length=1, max_length=MOST_CLUSTERS)] = Field(
        description="One expert per cluster, from 0.", examples=[[0, 1, 2, 3, 4, 5, 6, 7]]
    )
    tags: Literal["cluster"] = Field(
        "cluster",
        description="What tells tasks apart: estimated clusters. True tasks are for declared"
        " oracles only; see the router `task-oracle`.",
    )


class BlendPlan(Words):
    """Every request is served by its own merge, of its k best experts by the mean gate."""

    kind: Literal["blend"]
    k: PositiveCount = Field(2, description="Experts that each request merges.")


class MergedPlan(Words):
    """One expert per layer, the weighted average of all; weights are scaled to sum 1."""

    kind: Literal["merged"]
    weights: Weights = Field(description="One weight per expert.", examples=[[0.5, 0.5, 0, 0]])


class SinglePlan(Words):
    """One expert serves every token."""

    kind: Literal["single"]
    expert: Count = Field(description="Which one, from 0.")


class UniformPlan(Words):
    """The plain average of all experts."""

    kind: Literal["uniform"]


def as_kind(value: Any) -> Any:
    """Let a bare word stand for a mapping with that kind."""
    return {"kind": value} if isinstance(value, str) else value


class RouterPlan(Words):
    """The policy's router decides."""

    kind: Literal["policy"]


PlanField: TypeAlias = Annotated[
    RouterPlan | TopKPlan | ByTaskPlan | BlendPlan | MergedPlan | SinglePlan | UniformPlan,
    Field(discriminator="kind"),
]
KindOrPlan: TypeAlias = Annotated[
    PlanField,
    BeforeValidator(as_kind, json_schema_input_type=PlanField | Literal["policy", "uniform"]),
]


class Group(Words):
    """A group of equal nodes, named `<group>-0`, `<group>-1`, ..."""

    group: Name = Field(description="Name of the group.", examples=["edge", "cloud"])
    count: Annotated[PositiveCount, Field(le=MOST_NODES)] = Field(1, description="Number of nodes.")
    hardware: HardwareField | None = Field(
        None, description="A preset, or all figures; needed wherever a model runs.", examples=["t4"]
    )
    servers: Count = Field(1, description="Accelerators or processors; 0: the node only forwards.")
    capacity: Capacity = Field(
        math.inf, description="Most requests in the system, running ones too."
    )
    discipline: Literal["fifo", "priority", "sharing"] = Field(
        "fifo",
        description="fifo: first come, first served; priority: the highest priority first, never"
        " interrupting what runs; sharing: all requests at once share the servers' speed (only"
        " with `model: none`).",
    )
    job_share: PositiveShare = Field(
        1.0,
        description="With `sharing`: most of one server's speed that one request gets.",
        examples=[0.5],
    )
    setup: Setup | None = Field(
        None, description="Servers that start cold and turn cold; always warm when left out."
    )
    batch: Batch = Field(default_factory=lambda: Batch.model_validate({}), description="Batching.")
    cache: CacheName = Field("all", description="Which experts stay in memory under a gated plan.")
    swap: Literal["double-buffer", "stop-the-world"] = Field(
        "double-buffer", description="What the servers do while a new plan is prepared."
    )
    experts_from: Name | None = Field(
        None,
        description="A single node: experts are fetched from it over the links, and nothing is"
        " stored here; from the node's own storage when left out.",
        examples=["cloud"],
    )
    memory_bytes: PositiveBytes | None = Field(
        None, alias="memory", description="Overrides the hardware's memory."
    )
    plan: KindOrPlan = Field(
        description="A fixed plan, or `policy`: the policy's router decides. Default: top-k with"
        f" k 2 for the group named `{CLOUD}`, `policy` for all others."
    )

    @model_validator(mode="before")
    @classmethod
    def _default_plan(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "plan" in data:
            return data
        plan = {"kind": "top-k"} if data.get("group") == CLOUD else {"kind": "policy"}
        return {**data, "plan": plan}
