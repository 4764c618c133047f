"""The words of faults: what breaks, and when."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

from scenarios.schema_fleet import CLOUD
from scenarios.schema_network import Between  # noqa: TC001 (pydantic reads it)
from scenarios.schema_types import (
    Count,
    Factor,
    Name,
    PositiveLoss,
    PositiveSeconds,
    Seconds,
    SecondsOrForever,
    Words,
    shown,
    wrong,
)

_WORK = (
    "What happens to its requests. drop: lost; keep: the queue stays and what ran starts again;"
    " resume: what ran goes on where it was (only with `model: none`); migrate: they are"
    " dispatched anew."
)


class When(Words):
    """When a fault holds: scheduled, or drawn from the seed."""

    at_s: Seconds | None = Field(None, alias="at", description="When; or give mtbf and mttr.")
    for_s: SecondsOrForever | None = Field(
        None, alias="for", description="How long; to the end when left out."
    )
    every_s: PositiveSeconds | None = Field(
        None, alias="every", description="With `at` and `for`: again and again (flapping)."
    )
    until_s: PositiveSeconds | None = Field(
        None, alias="until", description="With `every`: no new one from then on."
    )
    mtbf_s: PositiveSeconds | None = Field(
        None, alias="mtbf", description="Mean time between failures, exponential, from the seed."
    )
    mttr_s: PositiveSeconds | None = Field(
        None, alias="mttr", description="Mean time to repair, exponential, from the seed."
    )


class AtNode(When):
    """A fault at a node, or at each node of a group."""

    node: Name = Field(description="A node, or each node of a group.", examples=["edge-3"])
    together: bool = Field(
        False,
        strict=True,
        description="All nodes of the group are hit at the same moments; a scheduled fault hits"
        " them so anyway, drawn ones come to each node on its own.",
    )


class AtLink(When):
    """A fault of a link, both ways at the same moments."""

    link: Between = Field(description="Two nodes with a link.", examples=[["edge-3", "cloud-0"]])


class NodeCrash(AtNode):
    """A node goes down; it comes back with empty memory and a router state as last shipped."""

    kind: Literal["node-crash"]
    work: Literal["drop", "keep", "resume", "migrate"] = Field("drop", description=_WORK)


class CloudOutage(When):
    """All nodes of a group go down at the same moments."""

    kind: Literal["cloud-outage"]
    group: Name = Field(CLOUD, description="The group.")
    work: Literal["drop", "keep", "resume", "migrate"] = Field("drop", description=_WORK)


class LinkDown(AtLink):
    """A link carries nothing, both ways."""

    kind: Literal["link-down"]
    together: bool = Field(
        False,
        strict=True,
        description="Both ways fail at the same moments; a scheduled fault hits them so anyway,"
        " drawn ones come to each way on its own.",
    )


class LinkSlow(AtLink):
    """A link's bandwidth is divided by `factor`, and its delay grows by `delay`."""

    kind: Literal["link-slow"]
    factor: Factor = Field(1.0, description="Divisor of the bandwidth.", examples=[10])
    delay_s: Seconds = Field(0.0, alias="delay", description="Added to what is sent meanwhile.")


class LinkLossy(AtLink):
    """A link loses tries of transfers, beside its own loss."""

    kind: Literal["link-lossy"]
    loss: PositiveLoss = Field(description="Probability per try.", examples=[0.2])


class Partition(When):
    """All links between some nodes and the rest go down, at the same moments."""

    kind: Literal["partition"]
    nodes: Annotated[tuple[Name, ...], Field(min_length=1, max_length=1000)] = Field(
        description="Nodes or groups that are cut off together.", examples=[["edge-0", "edge-1"]]
    )


class StorageSlow(AtNode):
    """A node's storage bandwidth is divided by `factor`."""

    kind: Literal["storage-slow"]
    factor: Factor = Field(description="Divisor of the bandwidth.", examples=[10])


class _Experts(AtNode):
    experts: Annotated[tuple[Count, ...], Field(min_length=1, max_length=4096)] = Field(
        description="Which ones, from 0.", examples=[[0, 3]]
    )
    layers: Annotated[tuple[Count, ...], Field(max_length=4096)] = Field(
        (), description="Of which MoE layers, from 0; of all when left out."
    )


class ExpertLost(_Experts):
    """Experts are gone from a node's storage: they come from another node until it is over."""

    kind: Literal["expert-lost"]


class ExpertCorrupt(_Experts):
    """Copies in a node's storage are damaged: read, found wrong, and fetched from another node."""

    kind: Literal["expert-corrupt"]


class TelemetryLoss(AtNode):
    """Nobody hears of a node's state: views of it grow old."""

    kind: Literal["telemetry-loss"]


def _read_value(value: Any) -> float:
    words = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
    if isinstance(value, str) and value in words:
        return words[value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong(f"expected 'nan', 'inf', '-inf' or a number, found {shown(value)}")
    return math.nan if math.isnan(value) else float(value)  # one NaN, so that it equals itself


Spoiled: TypeAlias = Annotated[
    float,
    BeforeValidator(_read_value),
    PlainSerializer(
        lambda number: number if math.isfinite(number) else str(number), when_used="json"
    ),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"enum": ["nan", "inf", "-inf"]}]}),
]


class FeedbackSpoiled(AtNode):
    """Rewards of what a node serves turn into a value: outside [0, 1] it is refused and told."""

    kind: Literal["feedback-spoiled"]
    value: Spoiled = Field(
        math.nan,
        description="What they turn into; one from 0 to 1 is a reward, and believed.",
        examples=["nan", 1e30],
    )


Fault: TypeAlias = Annotated[
    NodeCrash
    | CloudOutage
    | LinkDown
    | LinkSlow
    | LinkLossy
    | Partition
    | StorageSlow
    | ExpertLost
    | ExpertCorrupt
    | TelemetryLoss
    | FeedbackSpoiled,
    Field(discriminator="kind"),
]
