"""The workload's words: streams, mixes, drift, sizes, service times and feedback."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Discriminator, Field, Strict, Tag

from scenarios.schema_arrivals import Arrivals  # noqa: TC001 (pydantic reads it)
from scenarios.schema_fleet import as_kind
from scenarios.schema_types import (
    Bytes,
    Name,
    NonNegative,
    Positive,
    PositiveCount,
    PositiveSeconds,
    Seconds,
    SecondsOrForever,
    Share,
    Variation,
    Weights,
    Words,
)


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

    up_bytes: Bytes = Field(0.0, alias="up", description="A request; the mean of the law.")
    down_bytes: Bytes = Field(0.0, alias="down", description="An answer; the mean of the law.")
    law: Literal["fixed", "exponential", "lognormal"] = Field(
        "fixed", description="Distribution of both, drawn per request."
    )
    cv: Variation | None = Field(
        None, description="Standard deviation over mean, for lognormal (default 1)."
    )


class Law(Words):
    """A time that is drawn per request."""

    kind: Literal["exponential", "deterministic", "lognormal", "erlang", "hyperexponential"] = (
        Field(description="Distribution.")
    )
    mean_s: PositiveSeconds = Field(alias="mean", description="Mean.")
    cv: Variation | None = Field(
        None,
        description="Standard deviation over mean, for lognormal (default 1), erlang (below 1,"
        " default 0.5) and hyperexponential (above 1, default 2).",
    )


class Service(Law):
    """Service times of `model: none`, drawn per request."""

    each_s: Seconds = Field(
        0.0,
        alias="each",
        description="A batch lasts as long as its longest request, and this longer for every other"
        " one in it.",
    )


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
    priority: Annotated[int, Strict(), Field(ge=0, le=100)] = Field(
        0, description="0 is lowest; counts where a group's discipline is `priority`."
    )
    service: Law | None = Field(None, description="Its own service times, only with `model: none`.")
    patience: Law | None = Field(
        None,
        description="How long its requests wait in a queue before they leave; no limit if none.",
    )
    late: Literal["serve", "drop"] = Field(
        "serve",
        description="drop: leave the queue when the deadline has passed, or do not join it.",
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
