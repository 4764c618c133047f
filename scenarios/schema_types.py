"""The kinds of values in a scenario: quantities, numbers, names, and rows of registries.

A quantity is text with a unit in the file and an SI float in the model; it is written back as text
that parses to the same float. Nothing is coerced: "8" is no number and true is no 1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    Strict,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, PydanticCustomError
from pydantic_core.core_schema import no_info_after_validator_function

from agents.caches import CACHES
from agents.dispatchers import DISPATCHERS
from agents.routers import ROUTERS
from sim.compute.architectures import ARCHITECTURES
from sim.compute.hardware import HARDWARE
from sim.errors import InputError, UnknownName
from sim.units import BANDWIDTH, BYTES, FLOP_RATE, POWER, RATE, TIME, UNLIMITED, Dimension
from sim.units import exact as exact_text
from sim.units import parse as parse_quantity

LONGEST_NAME = 64
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


class Words(BaseModel):
    """Base of all parts of a scenario: frozen, no unknown keys, keys as in the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def wrong(text: str) -> PydanticCustomError:
    """Return the error that a validator raises; `text` is the whole message."""
    return PydanticCustomError("wrong", "{text}", {"text": text})


# --- quantities ----------------------------------------------------------------------------------


def _quantity(dimension: Dimension, *, positive: bool = False, unlimited: bool = False) -> Any:
    """Return the metadata of a float that the file holds as text with a unit."""

    def read(value: object) -> float:
        try:
            number = parse_quantity(value, dimension)
        except InputError as error:
            more = f"; or {UNLIMITED!r}" if unlimited and UNLIMITED not in str(error) else ""
            raise wrong(f"{error}{more}") from None
        if positive and number == 0:
            raise wrong(f"expected {dimension.name} > 0, found {value!r}")
        if not unlimited and math.isinf(number):
            raise wrong(
                f"expected {dimension.name} such as {dimension.examples[0]!r}, found {value!r}"
            )
        return number

    def write(number: float) -> str:
        return exact_text(number, dimension)

    schema = {
        "type": "string",
        "description": f"{dimension.name} with its unit",
        "examples": [e for e in dimension.examples if unlimited or e != UNLIMITED]
        + ([UNLIMITED] if unlimited and UNLIMITED not in dimension.examples else []),
    }
    return (BeforeValidator(read), PlainSerializer(write, when_used="json"), WithJsonSchema(schema))


_BUDGET = replace(BYTES, unlimited=True, examples=("500 MB", "2 GB", UNLIMITED))
Seconds: TypeAlias = Annotated[float, *_quantity(TIME)]
PositiveSeconds: TypeAlias = Annotated[float, *_quantity(TIME, positive=True)]
SecondsOrForever: TypeAlias = Annotated[float, *_quantity(TIME, positive=True, unlimited=True)]
NoneToForever: TypeAlias = Annotated[float, *_quantity(TIME, unlimited=True)]
Bytes: TypeAlias = Annotated[float, *_quantity(BYTES)]
PositiveBytes: TypeAlias = Annotated[float, *_quantity(BYTES, positive=True)]
BytesOrUnlimited: TypeAlias = Annotated[float, *_quantity(_BUDGET, positive=True, unlimited=True)]
Bandwidth: TypeAlias = Annotated[float, *_quantity(BANDWIDTH, positive=True, unlimited=True)]
Rate: TypeAlias = Annotated[float, *_quantity(RATE)]
PositiveRate: TypeAlias = Annotated[float, *_quantity(RATE, positive=True)]
Power: TypeAlias = Annotated[float, *_quantity(POWER)]
Speed: TypeAlias = Annotated[float, *_quantity(FLOP_RATE, positive=True)]

# --- plain numbers -------------------------------------------------------------------------------

Count: TypeAlias = Annotated[int, Strict(), Field(ge=0)]
PositiveCount: TypeAlias = Annotated[int, Strict(), Field(ge=1)]
Number: TypeAlias = Annotated[float, Strict(), Field(allow_inf_nan=False)]
NonNegative: TypeAlias = Annotated[float, Strict(), Field(allow_inf_nan=False, ge=0)]
Positive: TypeAlias = Annotated[float, Strict(), Field(allow_inf_nan=False, gt=0)]
Share: TypeAlias = Annotated[float, Strict(), Field(allow_inf_nan=False, ge=0, le=1)]
PositiveShare: TypeAlias = Annotated[float, Strict(), Field(allow_inf_nan=False, gt=0, le=1)]
Loss: TypeAlias = Annotated[float, Strict(), Field(allow_inf_nan=False, ge=0, lt=1)]
Variation: TypeAlias = Annotated[float, Strict(), Field(allow_inf_nan=False, gt=0, le=1e3)]
PositiveLoss: TypeAlias = Annotated[float, Strict(), Field(allow_inf_nan=False, gt=0, lt=1)]
Factor: TypeAlias = Annotated[float, Strict(), Field(allow_inf_nan=False, ge=1, lt=1e6)]
Weights: TypeAlias = Annotated[tuple[NonNegative, ...], Field(min_length=1, max_length=4096)]


def _read_capacity(value: object) -> float:
    if value == UNLIMITED:
        return math.inf
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise wrong(f"expected a whole number >= 1 or '{UNLIMITED}', found {shown(value)}")
    return float(value)


Capacity: TypeAlias = Annotated[
    float,
    BeforeValidator(_read_capacity),
    PlainSerializer(
        lambda number: UNLIMITED if math.isinf(number) else int(number), when_used="json"
    ),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"const": UNLIMITED}]}),
]


def shown(value: object) -> str:
    """Return a found value for a message: short, escaped, with its type where that is the point."""
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = repr(value)
    return text if len(text) <= LONGEST_NAME else f"{text[:LONGEST_NAME]}..."


# --- names ---------------------------------------------------------------------------------------


def check_name(name: str) -> str:
    """Refuse what could be a path, a flag, markup or a formula.

    Raises:
        PydanticCustomError: With the whole message.
    """
    if len(name) > LONGEST_NAME or not _NAME.fullmatch(name):
        allowed = f"letters, digits, '_', '.' and '-' (at most {LONGEST_NAME}, first no '.' or '-')"
        raise wrong(f"expected a name of {allowed}, found {shown(name)}")
    return name


Name: TypeAlias = Annotated[
    str, AfterValidator(check_name), Field(json_schema_extra={"pattern": f"^{_NAME.pattern}$"})
]


@dataclass(frozen=True, slots=True, eq=False)  # by identity: typing puts it into sets
class Row:
    """Marks text that must name a row of a table; a miss answers with the nearest name.

    Args:
        kind: What the table holds, for messages.
        table: The rows.
        words: Names that are allowed besides.
    """

    kind: str
    table: Mapping[str, Any]
    words: tuple[str, ...] = ()

    def check(self, name: str) -> str:
        """Refuse a name that is in no row."""
        if name not in self.table and name not in self.words:
            raise wrong(
                str(UnknownName(self.kind, name[:LONGEST_NAME], [*self.words, *self.table]))
            )
        return name

    def own(self) -> list[str]:
        """Return moedge's own names: with third parties' the schema would differ by machine."""
        rows = self.table.items()
        outside = {
            name for name, row in rows if isinstance(row, str) and not row.startswith("agents.")
        }
        return sorted({*self.words, *self.table} - outside)

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": [{"enum": self.own()}, {"type": "string"}]}


RouterName: TypeAlias = Annotated[str, Row("router", ROUTERS, ("none",))]
DispatcherName: TypeAlias = Annotated[str, Row("dispatcher", DISPATCHERS)]
CacheName: TypeAlias = Annotated[str, Row("expert cache", CACHES)]
HardwareName: TypeAlias = Annotated[str, Row("hardware preset", HARDWARE)]
ArchitectureName: TypeAlias = Annotated[str, Row("architecture preset", ARCHITECTURES, ("self",))]
