"""Columns of requests as they are drawn, and a hash of them that grows with them."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sim.arrays import AnyArray, FloatArray

_ROWS = 65536  # repeats of a value that are hashed at once

NONE: dict[str, AnyArray] = {
    "stream": np.empty(0, np.int32),
    "source": np.empty(0, np.int32),
    "task": np.empty(0, np.int16),
    "input": np.empty(0, np.int32),
    "t_emit_s": np.empty(0),
    "service_s": np.empty(0),
    "deadline_s": np.empty(0),
    "priority": np.empty(0, np.int16),
    "up_bytes": np.empty(0),
    "down_bytes": np.empty(0),
    "audit": np.empty(0),
    "patience_s": np.empty(0),
    "expires_s": np.empty(0),
}


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """Columns of requests, (R,) each, by emission time, stream id, order in the stream.

    `task` and `input` are -1 without a model, `service_s` is NaN with one. A request is audited if
    its `audit`, uniform on [0, 1), is below the feedback fraction.
    """

    stream: AnyArray  # int32
    source: AnyArray  # int32
    task: AnyArray  # int16
    input: AnyArray  # int32, global id in the service pool
    t_emit_s: FloatArray
    service_s: FloatArray
    deadline_s: FloatArray
    priority: AnyArray  # int16
    up_bytes: FloatArray
    down_bytes: FloatArray
    audit: FloatArray
    patience_s: FloatArray  # longest wait in a queue, inf: patient
    expires_s: FloatArray  # absolute time at which it leaves a queue as late, inf: never

    def __len__(self) -> int:
        return len(self.t_emit_s)

    def columns(self) -> dict[str, AnyArray]:
        """Return the columns by name."""
        return {name: getattr(self, name) for name in NONE}


class _Column:
    """Hash of one column: of its value and length while it has one value, of all values else.

    Which of the two depends on the values alone, not on how they were cut into blocks.
    """

    def __init__(self) -> None:
        self.count, self.kind = 0, ""
        self.value: AnyArray | None = None  # the only value so far
        self.state = sha256()

    def feed(self, values: AnyArray) -> None:
        """Add the next values."""
        if not len(values):
            return
        bits = np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}")
        if not self.count:
            self.kind, self.value = values.dtype.str, bits[:1].copy()
        if self.value is not None and not _all_same(bits, self.value):
            for first in range(0, self.count, _ROWS):
                self.state.update(np.repeat(self.value, min(_ROWS, self.count - first)).data)
            self.value = None
        if self.value is None:
            self.state.update(bits.data)
        self.count += len(values)

    def text(self) -> str:
        """Return what the hash of all columns takes of this one."""
        if self.value is not None:
            return f"{self.kind}:{self.count}:all {self.value.tobytes().hex()}"
        return f"{self.kind}:{self.count}:{self.state.hexdigest()}"


def _all_same(bits: AnyArray, value: AnyArray) -> bool:
    return bool(bits[-1] == value[0] and (bits == value).all())


class Fingerprint:
    """A hash of columns that come block by block; the same however they are cut.

    It is a sha256 over the columns' own sha256. A column that holds one value throughout counts by
    this value and its length, which costs next to nothing.
    """

    def __init__(self) -> None:
        self._columns: dict[str, _Column] = {}

    def feed(self, table: Mapping[str, AnyArray]) -> None:
        """Add the next rows: columns of equal length, the same names every time."""
        for name, values in table.items():
            self._columns.setdefault(name, _Column()).feed(values)

    def hexdigest(self) -> str:
        """Return the hash of everything so far."""
        state = sha256()
        for name, column in self._columns.items():
            state.update(f"{name}:{column.text()};".encode())
        return state.hexdigest()
