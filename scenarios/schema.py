"""The scenario: every word of a scenario file, its default and its meaning.

Values are SI floats; the file's text carries the units. `python -m scenarios.schema` writes the
JSON schema that editors use (`scenario.schema.json`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, PrivateAttr, Strict, TypeAdapter, model_validator

from scenarios.schema_faults import Fault  # noqa: TC001 (pydantic reads it)
from scenarios.schema_fleet import Group  # noqa: TC001 (pydantic reads it)
from scenarios.schema_network import Explicit, Topology, Transport
from scenarios.schema_policy import (
    AssertionField,
    DispatchField,
    ModelField,
    PolicyField,
    Recording,
    Regret,
)
from scenarios.schema_traffic import Feedback, Service, Stream
from scenarios.schema_types import Count, Name, Positive, PositiveSeconds, Seconds, Words

if TYPE_CHECKING:
    from scenarios.problems import Problem

SCHEMA_FILE = Path(__file__).with_name("scenario.schema.json")
_FILLED = {
    ("Group", "plan"),
    ("Policy", "label"),
    ("Scenario", "dispatch"),
    ("Scenario", "policies"),
}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a scenario came from.

    Args:
        file: As the user named it.
        folder: Where its relative paths start.
        text: The file's text, overrides not applied.
        overrides: `--set` texts that were applied.
        warnings: What is odd about it but allowed.
    """

    file: str
    folder: Path
    text: str
    overrides: tuple[str, ...] = ()
    warnings: tuple[Problem, ...] = ()


class Scenario(Words):
    """One scenario: a fleet, its workload, the policies to compare, and what they must reach."""

    name: Name = Field(description="Name of the experiment; its results lie in a folder of it.")
    seed: Annotated[int, Strict(), Field(ge=0, lt=2**63)] = Field(1, description="First seed.")
    duration_s: PositiveSeconds = Field(alias="duration", description="Arrivals stop then.")
    drain_s: Seconds = Field(60.0, alias="drain", description="Longest run on to finish the rest.")
    slot_s: PositiveSeconds = Field(5.0, alias="slot", description="Routing interval.")
    engine: Literal["auto", "events", "slots"] = Field(
        "auto",
        description="How the run is computed: event by event, by compiled kernels, or whichever "
        "suits. Results are the same.",
    )
    load: Positive = Field(1.0, description="Factor on every arrival rate.", examples=[0.5, 2])
    model: ModelField = Field(
        description="A trained model and what it is charged as, or `none`: plain queues.",
        examples=["none", {"checkpoint": "builtin:stream", "cost_as": "switch-base-8"}],
    )
    service: Service | None = Field(None, description="Service times, only with `model: none`.")
    topology: Topology = Field(
        default_factory=lambda: Explicit.model_validate({"kind": "explicit"}),
        description="The network; none: no links.",
    )
    transport: Transport = Field(
        default_factory=lambda: Transport.model_validate({}),
        description="How transfers are tried again.",
    )
    nodes: Annotated[tuple[Group, ...], Field(min_length=1, max_length=1000)] = Field(
        description="Groups of nodes; ids count through them in this order."
    )
    streams: Annotated[tuple[Stream, ...], Field(min_length=1, max_length=1000)] = Field(
        description="Sources of requests."
    )
    feedback: Feedback = Field(
        default_factory=lambda: Feedback.model_validate({}), description="What routers hear."
    )
    dispatch: DispatchField = Field(description="Which node serves a request; `local` if left out.")
    policies: tuple[PolicyField, ...] = Field(
        description="Policies to compare; `run` takes the first. Default with a model: `tanbr`."
    )
    faults: Annotated[tuple[Fault, ...], Field(max_length=1000)] = Field(
        (), description="What breaks."
    )
    regret: Regret = Field(
        default_factory=lambda: Regret.model_validate({}), description="How regret is measured."
    )
    record: Recording = Field(
        default_factory=lambda: Recording.model_validate({}), description="What is written down."
    )
    decision_delay_slots: Count = Field(0, description="Slots from a decision to its first effect.")
    assertions: Annotated[tuple[AssertionField, ...], Field(max_length=100)] = Field(
        (), alias="assert", description="Limits that a run must keep; exit code 3 when it does not."
    )
    _origin: Origin | None = PrivateAttr(default=None)

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        policies = [] if data.get("model") == "none" else ["tanbr"]
        return {"dispatch": {"kind": "local"}, "policies": policies, **data}

    @property
    def origin(self) -> Origin:
        """Return where this scenario came from."""
        return self._origin or Origin(self.name, Path(), "")

    def with_origin(self, origin: Origin) -> Scenario:
        """Return the same scenario that remembers where it came from."""
        self._origin = origin
        return self

    def words(self) -> dict[str, Any]:
        """Return every value in effect as plain data in the file's own words."""
        data = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        keys = (info.alias or name for name, info in Scenario.model_fields.items())
        return {key: data.get(key, "none") for key in keys if key in data or key == "model"}

    def __eq__(self, other: object) -> bool:
        """Compare what the scenarios say, not where they came from."""
        return isinstance(other, Scenario) and dict(self) == dict(other)

    __hash__ = None  # type: ignore[assignment]


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a scenario file (draft 2020-12)."""
    schema = Scenario.model_json_schema(by_alias=True, mode="validation")
    definitions = {**schema["$defs"], "Scenario": schema}
    for model in _models(Words):
        if model.__name__ in definitions:
            _as_written(model, definitions[model.__name__])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _models(model: type[Words]) -> list[type[Words]]:
    return [model, *(below for child in model.__subclasses__() for below in _models(child))]


def _as_written(model: type[Words], definition: dict[str, Any]) -> None:
    """Show defaults with their units; keys that are filled in before validation may be missing."""
    for name, info in model.model_fields.items():
        key = info.alias or name
        shown = definition["properties"][key]
        if "default" in shown:
            del shown["default"]
            if info.default is not None:
                kind: Any = Annotated[(info.annotation, *info.metadata, "written as in the file")]
                shown["default"] = TypeAdapter(kind).dump_python(info.default, mode="json")
        if (model.__name__, key) in _FILLED:
            definition["required"].remove(key)


def schema_text() -> str:
    """Return the schema file's text."""
    return json.dumps(json_schema(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")
