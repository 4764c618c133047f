"""The workload's words: streams, arrivals, mixes, drift, service times, feedback and faults."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Discriminator, Field, Strict, Tag

from scenarios.schema_fleet import Between, as_kind
from scenarios.schema_types import (
    Bytes,
    Name,
    NonNegative,
    Positive,
    PositiveCount,
    PositiveRate,
    PositiveSeconds,
    Rate,
    Seconds,
    SecondsOrForever,
    Share,
    Weights,
    Words,
)


class Poisson(Words):
    """Independent arrivals."""

    kind: Literal["poisson"]
    rate_per_s: PositiveRate = Field(alias="rate", description="Mean rate per node.")


class Deterministic(Words):
    """One arrival every 1/rate."""

    kind: Literal["deterministic"]
    rate_per_s: PositiveRate = Field(alias="rate", description="Rate per node.")


class Step(Words):
    """From `at` on the rate is `rate`."""

    at_s: Seconds = Field(alias="at", description="Start of the step.")
    rate_per_s: Rate = Field(alias="rate", description="Rate per node from then on.")


class Profile(Words):
    """Poisson arrivals whose rate changes in steps (flash crowds)."""

    kind: Literal["profile"]
    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=10_000)] = Field(
        description="The first starts at 0 s, times rise.",
        examples=[[{"at": "0 s", "rate": "20 /s"}, {"at": "2 min", "rate": "100 /s"}]],
    )


class Trace(Words):
    """Arrivals from a CSV file beside the scenario.

    Columns: `t_s` (ascending), and where known `task` (a name or an index) and `node`; each node
    takes its own rows.
    """

    kind: Literal["trace"]
    file: Annotated[str, Field(min_length=1, max_length=256)] = Field(
        description="Path relative to the scenario's folder.", examples=["arrivals.csv"]
    )


Arrivals: TypeAlias = Annotated[
    Poisson | Deterministic | Profile | Trace, Field(discriminator="kind")
]


def _list_or_mapping(value: Any) -> str:
    return "<mapping>" if isinstance(value, dict) else "<list>"


TaskWeights: TypeAlias = Annotated[
    Annotated[Weights, Tag("<list>")]
    | Annotated[
        Annotated[dict[str, NonNegative], Field(min_length=1, max_length=4096)], Tag("<mapping>")
    ],
    Discriminator(_list_or_mapping),
]
_WEIGHTS = "Weights of tasks, scaled to sum 1: a list, or a mapping from names or indices."
_WEIGHTS_EXAMPLES: list[Any] = [{"0": 0.7, "3": 0.3}, [1, 0, 0, 1]]


class ExplicitMix(Words):
    """Fixed weights."""

    kind: Literal["explicit"]
    weights: TaskWeights = Field(description=_WEIGHTS, examples=_WEIGHTS_EXAMPLES)


class DirichletMix(Words):
    """Each node draws `tasks` tasks and a mix over them: the smaller alpha, the more one-sided."""

    kind: Literal["dirichlet"]
    alpha: Positive = Field(1.0, description="Concentration.", examples=[0.3])
    tasks: PositiveCount | None = Field(None, description="Tasks per node; all when left out.")


class UniformMix(Words):
    """All tasks alike."""

    kind: Literal["uniform"]


MixField: TypeAlias = Annotated[
    ExplicitMix | DirichletMix | UniformMix, Field(discriminator="kind")
]
Mix: TypeAlias = Annotated[
    MixField, BeforeValidator(as_kind, json_schema_input_type=MixField | Literal["uniform"])
]


class Switch(Words):
    """From `at` on another mix: a fresh draw, or `weights`."""

    kind: Literal["switch"]
    at_s: Seconds = Field(alias="at", description="When.")
    weights: TaskWeights | None = Field(None, description=_WEIGHTS, examples=_WEIGHTS_EXAMPLES)


class Gradual(Words):
    """From `at` on linearly to another mix, within `over`."""

    kind: Literal["gradual"]
    at_s: Seconds = Field(alias="at", description="When it begins.")
    over_s: PositiveSeconds = Field(alias="over", description="How long it takes.")
    weights: TaskWeights | None = Field(None, description=_WEIGHTS, examples=_WEIGHTS_EXAMPLES)


class Recurring(Words):
    """From `at` on, back and forth between two mixes every `every`."""

    kind: Literal["recurring"]
    at_s: Seconds = Field(0.0, alias="at", description="When it begins.")
    every_s: PositiveSeconds = Field(alias="every", description="Time between swaps.")
    weights: TaskWeights | None = Field(None, description=_WEIGHTS, examples=_WEIGHTS_EXAMPLES)


class NewTask(Words):
    """From `at` on, a task that the mix had not takes `share` of it."""

    kind: Literal["new-task"]
    at_s: Seconds = Field(alias="at", description="When.")
    share: Share = Field(0.5, description="Its share.")


Drift: TypeAlias = Annotated[Switch | Gradual | Recurring | NewTask, Field(discriminator="kind")]


class Size(Words):
    """Bytes on the network."""

    up_bytes: Bytes = Field(0.0, alias="up", description="A request.")
    down_bytes: Bytes = Field(0.0, alias="down", description="An answer.")


class Stream(Words):
    """A source of requests: one per node of the group, or one at a single node."""

    at: Name = Field(description="A group or a node.", examples=["edge", "edge-3"])
    name: Name | None = Field(None, description="Name; `stream-<index>` when left out.")
    arrivals: Arrivals = Field(description="When requests are emitted.")
    mix: Mix = Field(
        default_factory=lambda: UniformMix(kind="uniform"), description="Which tasks they are."
    )
    drift: tuple[Drift, ...] = Field((), description="How the mix changes.")
    deadline_s: SecondsOrForever = Field(
        math.inf, alias="deadline", description="From emission to return."
    )
    size: Size = Field(default_factory=lambda: Size.model_validate({}), description="Bytes sent.")
    priority: Annotated[int, Strict(), Field(ge=0, le=100)] = Field(0, description="0 is lowest.")


class Service(Words):
    """Service times of `model: none`, drawn per request."""

    kind: Literal["exponential", "deterministic", "lognormal", "erlang", "hyperexponential"] = (
        Field(description="Distribution.")
    )
    mean_s: PositiveSeconds = Field(alias="mean", description="Mean.")
    cv: Positive | None = Field(
        None,
        description="Standard deviation over mean, for lognormal (default 1), erlang (below 1,"
        " default 0.5) and hyperexponential (above 1, default 2).",
    )


class Feedback(Words):
    """Which outcomes the router of the serving node hears of, and when."""

    delay_s: Seconds = Field(
        0.0, alias="delay", description="From the end of service, or with `via` from arrival there."
    )
    fraction: Share = Field(1.0, description="Share of served requests that are audited.")
    form: Literal["per-cluster", "scalar"] = Field(
        "per-cluster", description="One mean reward per decision and cluster, or one per decision."
    )
    via: Name | None = Field(
        None,
        description="Who judges audited requests, a single node: their bytes go there over the"
        " links and verdicts come back. Left out: users report, at no cost to the network.",
        examples=["cloud"],
    )
    up_bytes: Bytes = Field(0.0, alias="up", description="What a request's audit sends there.")
    down_bytes: Bytes = Field(0.0, alias="down", description="A verdict.")


class _Fault(Words):
    at_s: Seconds | None = Field(None, alias="at", description="When; or give mtbf and mttr.")
    for_s: SecondsOrForever | None = Field(
        None, alias="for", description="How long; to the end when left out."
    )
    mtbf_s: PositiveSeconds | None = Field(
        None, alias="mtbf", description="Mean time between failures, exponential, from the seed."
    )
    mttr_s: PositiveSeconds | None = Field(
        None, alias="mttr", description="Mean time to repair, exponential, from the seed."
    )


class NodeCrash(_Fault):
    """A node loses its work, memory and router state, and comes back empty."""

    kind: Literal["node-crash"]
    node: Name = Field(description="A node, or each node of a group.", examples=["edge-3"])


class LinkDown(_Fault):
    """A link carries nothing, both ways (each way on its own where failures are drawn)."""

    kind: Literal["link-down"]
    link: Between = Field(description="Two nodes with a link.", examples=[["edge-3", "cloud-0"]])


Fault: TypeAlias = Annotated[NodeCrash | LinkDown, Field(discriminator="kind")]
