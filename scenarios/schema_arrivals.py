"""The words of arrivals: when a stream emits its requests."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from scenarios.schema_types import (
    Loss,
    Positive,
    PositiveRate,
    PositiveSeconds,
    Rate,
    Seconds,
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


class State(Words):
    """One state of a modulated stream."""

    rate_per_s: Rate = Field(alias="rate", description="Rate per node while it holds.")
    stay_s: PositiveSeconds = Field(alias="stay", description="Mean stay, exponential.")


class Mmpp(Words):
    """Poisson arrivals whose rate is that of a hidden state (bursts)."""

    kind: Literal["mmpp"]
    states: Annotated[tuple[State, ...], Field(min_length=2, max_length=64)] = Field(
        description="At least two.",
        examples=[[{"rate": "5 /s", "stay": "20 s"}, {"rate": "50 /s", "stay": "2 s"}]],
    )
    jumps: Annotated[tuple[Weights, ...], Field(max_length=64)] = Field(
        (),
        description="Probabilities of the next state, a row per state, 0 on the diagonal; the next"
        " in turn when left out.",
        examples=[[[0, 1], [1, 0]]],
    )


class Diurnal(Words):
    """Poisson arrivals whose rate follows a cosine (day and night)."""

    kind: Literal["diurnal"]
    rate_per_s: PositiveRate = Field(alias="rate", description="Mean rate per node.")
    amplitude: Share = Field(0.5, description="Swing around the mean, as a share of it.")
    period_s: PositiveSeconds = Field(86400.0, alias="period", description="From peak to peak.")
    peak_s: Seconds = Field(0.0, alias="peak", description="Time of a peak.")


class Hawkes(Words):
    """Arrivals that bring more arrivals (self-exciting)."""

    kind: Literal["hawkes"]
    rate_per_s: PositiveRate = Field(alias="rate", description="Mean rate per node, all included.")
    branching: Loss = Field(description="How many more one arrival brings on average, below 1.")
    decay_s: PositiveSeconds = Field(
        alias="decay", description="Mean time until those follow, exponential."
    )


class Trace(Words):
    """Arrivals from a trace file beside the scenario (CSV, JSON lines or Parquet).

    Canonical columns: `t_s` (ascending), and where known `task` (a name or an index), `node` (each
    node takes its own rows), `up_bytes`, `down_bytes`, `service_s` (only with `model: none`),
    `priority` and `deadline_s`.
    """

    kind: Literal["trace"]
    file: Annotated[str, Field(min_length=1, max_length=256)] = Field(
        description="Path relative to the scenario's folder.", examples=["arrivals.csv"]
    )
    format: Literal["canonical", "azure-llm", "burstgpt", "mooncake"] = Field(
        "canonical", description="How to read it: our own columns, or a public trace's."
    )
    bytes_per_token: Annotated[Positive, Field(le=1e6)] = Field(
        4.0, description="Size on the network of a token of a public trace."
    )


Arrivals: TypeAlias = Annotated[
    Poisson | Deterministic | Profile | Mmpp | Diurnal | Hawkes | Trace,
    Field(discriminator="kind"),
]
