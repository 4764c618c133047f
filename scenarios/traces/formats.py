"""What the columns of a trace mean: moedge's own form, and the data sets that others publish.

A published trace counts tokens; they become bytes by one factor. Its times are shifted so that the
first request arrives at 0, and its rows are sorted by time (stable), because published files are
not always in order. Rows with no output token (BurstGPT: failed requests) are arrivals like others.

Source: schemas as published: Azure/AzurePublicDataset (AzureLLMInferenceDataset2023.md, 2024.md),
HPMLL/BurstGPT (README.md; release 2.0 adds columns, which are not read), kvcache-ai/Mooncake
(FAST25-release/README.md). Deviation: Mooncake's `hash_ids` (shared prefixes) are not read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scenarios.traces import cells

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name in the file, the field that it fills, and how a cell is read."""

    name: str
    fills: str
    convert: Callable[[cells.Cell], Any]
    needed: bool = True


@dataclass(frozen=True, slots=True)
class Format:
    """One form of trace.

    Times are divided by `ticks_per_s`. `canonical`: no other columns are allowed, times ascend and
    count from the start of the run, and sizes are bytes; else other columns are not read, times are
    shifted and sorted, and sizes are tokens.
    """

    columns: tuple[Column, ...]
    ticks_per_s: float = 1.0
    canonical: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of its columns, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def needed(self) -> tuple[str, ...]:
        """Return the names of the columns that a file must have."""
        return tuple(column.name for column in self.columns if column.needed)


def _published(
    time: str, convert: Callable[[cells.Cell], Any], ticks_per_s: float, sizes: tuple[str, str]
) -> Format:
    return Format(
        (
            Column(time, "times_s", convert),
            Column(sizes[0], "up_bytes", cells.tokens),
            Column(sizes[1], "down_bytes", cells.tokens),
        ),
        ticks_per_s,
    )


FORMATS: dict[str, Format] = {
    "canonical": Format(
        (
            Column("t_s", "times_s", cells.seconds),
            Column("task", "tasks", cells.word, needed=False),
            Column("node", "nodes", cells.word, needed=False),
            Column("up_bytes", "up_bytes", cells.optional("bytes"), needed=False),
            Column("down_bytes", "down_bytes", cells.optional("bytes"), needed=False),
            Column("service_s", "services_s", cells.optional("seconds", above=True), needed=False),
            Column("priority", "priorities", cells.priority, needed=False),
            Column(
                "deadline_s", "deadlines_s", cells.optional("seconds", above=True), needed=False
            ),
        ),
        canonical=True,
    ),
    "azure-llm": _published("TIMESTAMP", cells.stamp_ns, 1e9, ("ContextTokens", "GeneratedTokens")),
    "burstgpt": _published("Timestamp", cells.seconds, 1.0, ("Request tokens", "Response tokens")),
    "mooncake": _published("timestamp", cells.milliseconds, 1e3, ("input_length", "output_length")),
}
