"""The policies' words: models, routers, dispatch, regret, and what a run is asserted to reach."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    PlainSerializer,
    PlainValidator,
    Strict,
    Tag,
    WithJsonSchema,
    model_validator,
)

from scenarios.schema_fleet import as_kind, text_or_mapping
from scenarios.schema_types import (
    ArchitectureName,
    Bytes,
    BytesOrUnlimited,
    CacheName,
    DispatcherName,
    Name,
    Positive,
    PositiveBytes,
    PositiveCount,
    RouterName,
    Share,
    Words,
    shown,
    wrong,
)
from sim.errors import InputError, UnknownName
from sim.units import BYTES, ENERGY, RATE, TIME, Dimension, exact, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# --- models --------------------------------------------------------------------------------------


class ArchitectureWords(Words):
    """An architecture, written out; counts are parameters."""

    name: Name = Field("custom", description="Name in tables and figures.")
    layers: PositiveCount = Field(description="All transformer layers.")
    moe_layers: PositiveCount = Field(description="Layers with experts.")
    experts: PositiveCount = Field(description="Experts per such layer.")
    top_k: PositiveCount = Field(1, description="Experts per token, as trained.")
    expert_params: Positive = Field(description="Parameters of one expert of one layer.")
    backbone_params: Positive = Field(description="Parameters of all that is no expert.")
    embedding_params: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        0.0, description="Part of the backbone that is looked up, not computed."
    )
    tokens_per_request: Positive = Field(description="Tokens of one forward pass.", examples=[128])
    bytes_per_param: Positive = Field(2.0, description="2 for fp16.")
    activation_bytes: PositiveBytes = Field(alias="activation", description="Peak, per request.")
    kv_bytes: Bytes = Field(0.0, alias="kv", description="Per request.")
    source: str = Field("", max_length=1000, description="Where the numbers come from.")


ArchitectureField: TypeAlias = Annotated[
    Annotated[ArchitectureName, Tag("<name>")] | Annotated[ArchitectureWords, Tag("<mapping>")],
    Discriminator(text_or_mapping),
]


class Clusters(Words):
    """Pseudo-tasks that nodes tell apart without tags; the checkpoint's own where left out."""

    count: Annotated[int, Strict(), Field(ge=1, le=255)] | None = Field(
        None, description="How many; as many as the checkpoint has when left out.", examples=[8]
    )
    fitted_on: tuple[Annotated[str, Field(min_length=1, max_length=64)], ...] = Field(
        (),
        description="Tasks whose inputs they are fitted on, names or indices; all when left out.",
        examples=[["sentiment", "topic"]],
    )
    refit: bool = Field(
        False, strict=True, description="Nodes cluster their own traffic anew when it leaves them."
    )


class Model(Words):
    """The trained model that runs, and the model that it is charged as."""

    checkpoint: Annotated[str, Field(min_length=1, max_length=1024)] = Field(
        description="`builtin:<name>`, or the folder of a checkpoint.", examples=["builtin:stream"]
    )
    cost_as: ArchitectureField = Field(
        "self", description="Architecture that requests cost like; `self`: the small model's own."
    )
    clusters: Clusters = Field(
        default_factory=lambda: Clusters.model_validate({}),
        description="Which kinds of requests routers tell apart.",
    )


def _no_model(value: Any) -> Any:
    if value is None:
        raise wrong("expected a mapping with a checkpoint, or 'none', found nothing")
    return None if value == "none" else value


def _model_words(model: Model | None) -> Any:
    if model is None:
        return "none"
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


ModelField: TypeAlias = Annotated[
    Model | None,
    BeforeValidator(_no_model, json_schema_input_type=Model | Literal["none"]),
    PlainSerializer(_model_words, when_used="json"),
]

# --- dispatch ------------------------------------------------------------------------------------


def _read_view(value: object) -> float:
    if value == "live":
        return 0.0
    if isinstance(value, str) and value.startswith("every "):
        try:
            every_s = parse(value.removeprefix("every "), TIME)
        except InputError as error:
            raise wrong(str(error)) from None
        if 0 < every_s < float("inf"):
            return every_s
    raise wrong(f"expected 'live' or 'every <time>' such as 'every 1 s', found {shown(value)}")


View: TypeAlias = Annotated[
    float,
    PlainValidator(_read_view),
    PlainSerializer(
        lambda every_s: f"every {exact(every_s, TIME)}" if every_s else "live", when_used="json"
    ),
    WithJsonSchema({"type": "string", "pattern": "^(live|every .+)$", "examples": ["every 1 s"]}),
]


def _plain(value: object) -> object:
    if isinstance(value, bool | int | float | str):
        return value
    raise wrong(f"expected a number, a text, true or false, found {shown(value)}")


Params: TypeAlias = Annotated[
    dict[
        str,
        Annotated[
            Any,
            PlainValidator(_plain),
            WithJsonSchema({"type": ["number", "string", "boolean"]}),
        ],
    ],
    Field(max_length=64),
]


class Dispatch(Words):
    """Which node serves a request."""

    kind: DispatcherName = Field(description="Row of the dispatcher table.", examples=["local"])
    view_every_s: View = Field(
        0.0, alias="view", description="What it sees of the fleet: live, or a copy every so often."
    )
    to: Name | None = Field(None, description="Candidates: a group; all servers when left out.")
    params: Params = Field(default_factory=dict, description="Parameters of this dispatcher.")


DispatchField: TypeAlias = Annotated[
    Dispatch, BeforeValidator(as_kind, json_schema_input_type=Dispatch | DispatcherName)
]

# --- policies ------------------------------------------------------------------------------------


class Policy(Words):
    """A router with parameters, and what the policy overrides."""

    kind: RouterName = Field(
        description="Row of the router table; `none` with `model: none`.", examples=["tanbr"]
    )
    label: Name = Field(description="Name in tables and figures; the kind when left out.")
    k: PositiveCount | None = Field(None, description="Of `top-k`: experts per token.")
    gate: Name | None = Field(None, description="Of `top-k`: the gate that chooses.")
    params: Params = Field(default_factory=dict, description="Parameters of the router.")
    dispatch: DispatchField | None = Field(None, description="Instead of the scenario's.")
    cache: CacheName | None = Field(None, description="Instead of each group's.")

    @model_validator(mode="before")
    @classmethod
    def _default_label(cls, data: Any) -> Any:
        unlabelled = isinstance(data, dict) and "label" not in data
        if not unlabelled or not isinstance(data.get("kind"), str):
            return data
        return {**data, "label": data["kind"]}

    @property
    def all_params(self) -> dict[str, Any]:
        """Return what the router gets."""
        own = {"k": self.k, "gate": self.gate}
        return {**{key: value for key, value in own.items() if value is not None}, **self.params}


PolicyField: TypeAlias = Annotated[
    Policy, BeforeValidator(as_kind, json_schema_input_type=Policy | RouterName)
]


class Regret(Words):
    """How regret is measured."""

    sample: Share = Field(
        0.05, description="Share of node-slots whose expected reward is computed in full."
    )


class Recording(Words):
    """How much of a run is written down."""

    requests_bytes: BytesOrUnlimited = Field(
        500e6,
        alias="requests",
        description="Most bytes of the table of requests in memory. A longer one keeps an even"
        " sample of its rows; counts and the summary are from all requests.",
        examples=["500 MB", "unlimited"],
    )


# --- assertions ----------------------------------------------------------------------------------

Metric: TypeAlias = Dimension | Literal["share", "number", "flag"]
METRICS: Mapping[str, Metric] = {
    "accuracy": "share",
    "deadline_miss": "share",
    "drops": "share",
    "energy": ENERGY,
    "latency_mean": TIME,
    "mean_memory": BYTES,
    "p50_latency": TIME,
    "p95_latency": TIME,
    "p99_latency": TIME,
    "peak_memory": BYTES,
    "regret": "number",
    "stable": "flag",
    "useful_per_s": RATE,
}
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
# what can also be asked of one stream: `p99_latency[alarm] <= 50 ms`
BY_STREAM = (
    "accuracy",
    "deadline_miss",
    "drops",
    "latency_mean",
    "p50_latency",
    "p95_latency",
    "p99_latency",
)
_ASSERTION = re.compile(
    r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*(?:\[\s*([^\[\]]*?)\s*\])?\s*(?:(<=|>=|==|=|<|>)\s*(\S.*?))?\s*"
)


@dataclass(frozen=True, slots=True)
class Assertion:
    """A limit that a run must keep.

    Args:
        metric: A key of `METRICS`.
        op: One of <= >= < >; for the flag `stable` it is ">=".
        limit: In the metric's SI unit.
        stream: Name of the stream that is measured; all requests when empty.
    """

    metric: str
    op: str
    limit: float
    stream: str = ""

    @property
    def subject(self) -> str:
        """Return what is measured, as in the file: `p99_latency` or `p99_latency[alarm]`."""
        return f"{self.metric}[{self.stream}]" if self.stream else self.metric

    def holds(self, value: float) -> bool:
        """Tell whether a measured value keeps the limit; NaN (nothing measured) does not."""
        return bool(_COMPARE[self.op](value, self.limit))

    def __str__(self) -> str:
        metric = METRICS[self.metric]
        if metric == "flag":
            return self.metric
        limit = exact(self.limit, metric) if isinstance(metric, Dimension) else repr(self.limit)
        return f"{self.subject} {self.op} {limit}"


def read_assertion(value: object) -> Assertion:
    """Parse `metric op limit`, such as `p99_latency <= 200 ms`, `drops <= 1 %` or `stable`.

    A name in brackets asks of one stream: `p99_latency[alarm] <= 50 ms`.

    Raises:
        PydanticCustomError: With the whole message.
    """
    found = _ASSERTION.fullmatch(value) if isinstance(value, str) else None
    if found is None or len(found.string) > 200:
        raise wrong(f"expected text such as 'p99_latency <= 200 ms', found {shown(value)}")
    name, stream, op, limit = found.groups()
    if name not in METRICS:
        raise wrong(str(UnknownName("metric", name, METRICS)))
    metric = METRICS[name]
    if stream is not None:
        _check_by_stream(name, stream)
    if metric == "flag":
        if op:
            raise wrong(f"'{name}' stands alone, found {value!r}")
        return Assertion(name, ">=", 1.0)
    if op not in _COMPARE:
        raise wrong(f"expected '{name}' and one of {', '.join(_COMPARE)}, found {value!r}")
    return Assertion(name, op, _limit(metric, limit), stream or "")


def _check_by_stream(name: str, stream: str) -> None:
    if name not in BY_STREAM:
        said = f"{name!r} is not measured by stream (these are: {', '.join(BY_STREAM)})"
        raise wrong(said)
    if not stream:
        raise wrong(f"expected the name of a stream in '{name}[]'")


def _limit(metric: Metric, text: str) -> float:
    if isinstance(metric, Dimension):
        try:
            return parse(text, metric)
        except InputError as error:
            raise wrong(str(error)) from None
    number = text.removesuffix("%").strip() if metric == "share" else text
    try:
        limit = float(number) / (100 if number != text else 1)
    except ValueError:
        limit = float("nan")
    if not 0 <= limit <= (1 if metric == "share" else float("inf")):
        wanted = "a share such as '0.6' or '60 %'" if metric == "share" else "a number >= 0"
        raise wrong(f"expected {wanted}, found {text!r}")
    return limit


AssertionField: TypeAlias = Annotated[
    Assertion,
    PlainValidator(read_assertion),
    PlainSerializer(str, when_used="json"),
    WithJsonSchema(
        {
            "type": "string",
            "description": "metric, comparison, limit; metrics: "
            + ", ".join(METRICS)
            + "; of one stream, its name in brackets: "
            + ", ".join(BY_STREAM),
            "examples": [
                "p99_latency <= 200 ms",
                "p99_latency[alarm] <= 50 ms",
                "accuracy >= 0.6",
                "drops <= 1 %",
                "stable",
            ],
        }
    ),
]
