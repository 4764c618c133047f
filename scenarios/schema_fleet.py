"""The fleet's words: hardware, groups of nodes, links and topologies."""

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
    Positive,
    PositiveBytes,
    PositiveCount,
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
    batch: Batch = Field(default_factory=lambda: Batch.model_validate({}), description="Batching.")
    cache: CacheName = Field("all", description="Which experts stay in memory under a gated plan.")
    swap: Literal["double-buffer", "stop-the-world"] = Field(
        "double-buffer", description="What the servers do while a new plan is prepared."
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


Sharing: TypeAlias = Literal["fifo", "none"]
Between: TypeAlias = Annotated[tuple[Name, ...], Field(min_length=2, max_length=2)]


class Way(Words):
    """What one direction of a link has of its own."""

    delay_s: Seconds | None = Field(None, alias="delay", description="Propagation delay.")
    bytes_per_s: Bandwidth | None = Field(None, alias="bandwidth", description="Bandwidth.")
    sharing: Sharing | None = Field(
        None, description="fifo: one transfer at a time; none: no contention."
    )


class Link(Words):
    """A link, the same in both directions."""

    delay_s: Seconds = Field(alias="delay", description="Propagation delay.")
    bytes_per_s: Bandwidth = Field(math.inf, alias="bandwidth", description="Bandwidth.")
    sharing: Sharing = Field(
        "fifo", description="fifo: one transfer at a time; none: no contention."
    )


class TwoWayLink(Link):
    """A link whose directions may differ; up is towards the hub, the root, or the second node."""

    up: Way | None = Field(None, description="What the way up has of its own.")
    down: Way | None = Field(None, description="What the way down has of its own.")


class Connection(TwoWayLink):
    """Links between two nodes, or between all nodes of two groups."""

    between: Between = Field(description="Two nodes or groups.", examples=[["edge", "cloud-0"]])


class _Topology(Words):
    extra: tuple[Connection, ...] = Field((), description="Links besides those of the kind.")


class _Shaped(_Topology):
    over: tuple[Name, ...] = Field((), description="Groups that take part; all when left out.")


class Explicit(_Topology):
    """The links in the list, and no others."""

    kind: Literal["explicit"]
    links: tuple[Connection, ...] = Field((), description="All links.")


class Star(_Shaped):
    """Every node has one link, to the hub."""

    kind: Literal["star"]
    hub: Name = Field(description="A node, or a group of one.", examples=["cloud"])
    link: TwoWayLink = Field(description="Link of each leaf; up is towards the hub.")


class Tree(_Shaped):
    """Every node has `branching` children, in file order below the root."""

    kind: Literal["tree"]
    root: Name = Field(description="A node, or a group of one.", examples=["cloud"])
    branching: PositiveCount = Field(2, description="Children per node.")
    link: TwoWayLink = Field(description="Link of each node to its parent; up is towards the root.")


class Ring(_Shaped):
    """Every node has a link to the next in file order, the last to the first."""

    kind: Literal["ring"]
    link: Link = Field(description="Each link.")


class BarabasiAlbert(_Shaped):
    """Preferential attachment: nodes join in file order, each with m links; drawn from the seed."""

    kind: Literal["barabasi-albert"]
    m: PositiveCount = Field(2, description="Links that each joining node brings.")
    link: Link = Field(description="Each link.")


Topology: TypeAlias = Annotated[
    Explicit | Star | Tree | Ring | BarabasiAlbert, Field(discriminator="kind")
]
