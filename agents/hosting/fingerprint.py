"""The fingerprint of a host's answer: equal answers have equal ones, whatever carried them.

Pickled bytes will not do: they tell which parts are one object, which depends on the way an answer
has travelled.
"""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator


def fingerprint(value: Any) -> str:
    """Return 32 hex digits of all that a value holds, floats to the last bit."""
    state = blake2b(digest_size=16)
    for part in _parts(value):
        state.update(len(part).to_bytes(8, "little") + part)
    return state.hexdigest()


def _parts(value: Any) -> Iterator[bytes]:
    """Yield the value's kind and content, each nested part after the length of its container."""
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        yield f"array {value.dtype.str} {value.shape}".encode()
        yield np.ascontiguousarray(value).tobytes()
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield type(value).__qualname__.encode()
        for field in dataclasses.fields(value):
            yield from _parts(getattr(value, field.name))
    elif isinstance(value, Mapping):
        yield f"mapping {len(value)}".encode()
        for key, item in value.items():
            yield from _parts(key)
            yield from _parts(item)
    elif isinstance(value, list | tuple):
        yield f"sequence {len(value)}".encode()
        for item in value:
            yield from _parts(item)
    elif isinstance(value, float | np.floating):
        yield b"float " + np.float64(value).tobytes()
    elif isinstance(value, bool | int | str | bytes | np.integer | np.bool_ | None):
        yield f"{type(value).__name__} {value!r}".encode()
    else:
        yield pickle.dumps(value)
