"""How kernels reach a record of an array whose address the record of the run holds.

Compiled, an access is the arithmetic of a pointer: an array in numba counts its references, which
would cost more than the event. In plain Python the address names the array.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast
from weakref import WeakValueDictionary

from sim.fast.jit import COMPILED
from sim.fast.layout import ARRAYS

if TYPE_CHECKING:
    from collections.abc import Callable, MutableSequence

    import numpy as np

    from sim.arrays import AnyArray

Run = Any  # the record of the run (RUN)

_KNOWN: WeakValueDictionary[int, AnyArray] = WeakValueDictionary()


def address(array: AnyArray) -> int:
    """Return the address of an array, which must outlive its use."""
    at = int(array.ctypes.data)
    if not COMPILED:
        _KNOWN[at] = array
    return at


def word(dtype: np.dtype[Any], name: str) -> int:
    """Return the place of a field in a record whose fields all take eight bytes."""
    fields: Any = dtype.fields
    return int(fields[name][1]) // 8


def ints_of(array: AnyArray, place: int = 0) -> MutableSequence[int]:
    """Return one record as integers: numpy takes ten times as long for a field of it."""
    return all_ints(array[place : place + 1])


def floats_of(array: AnyArray, place: int = 0) -> MutableSequence[float]:
    """Return one record as floats."""
    return all_floats(array[place : place + 1])


def all_ints(array: AnyArray) -> MutableSequence[int]:
    """Return all fields of all records in a row, as integers."""
    raw: Any = array.view("i8")
    return cast("MutableSequence[int]", memoryview(raw))


def all_floats(array: AnyArray) -> MutableSequence[float]:
    """Return all fields of all records in a row, as floats."""
    raw: Any = array.view("f8")
    return cast("MutableSequence[float]", memoryview(raw))


def _plain(name: str) -> Callable[[Any, int], Any]:
    field = f"{name}_at"

    def record(run: Any, place: int) -> Any:
        return _KNOWN[int(run[field])][place]

    return record


def _compiled(name: str, dtype: np.dtype[Any]) -> Callable[[Any, int], Any]:
    from numba import from_dtype, types
    from numba.core import cgutils
    from numba.extending import intrinsic

    kind, size, field = from_dtype(dtype), dtype.itemsize, f"{name}_at"
    member: Any = cgutils.get_record_member

    def record(context: Any, run: Any, place: Any) -> Any:
        def code(target: Any, builder: Any, signature: Any, args: Any) -> Any:
            offset, word = run.fields[field].offset, target.get_value_type(types.int64)
            start = builder.load(member(builder, args[0], offset, word))
            number = target.cast(builder, args[1], signature.args[1], types.int64)
            at = builder.add(start, builder.mul(number, word(size)))
            return builder.inttoptr(at, target.get_value_type(kind))

        return kind(run, place), code

    compiled: Any = intrinsic(record)
    return cast("Callable[[Any, int], Any]", compiled)


_record = {name: _compiled(name, dtype) if COMPILED else _plain(name) for name, dtype in ARRAYS}
node_at, link_at, batch_at = _record["nodes"], _record["links"], _record["batches"]
req, event_at, line_at = _record["requests"], _record["heap"], _record["lines"]
route_in, candidate_at, draw_at = _record["routes"], _record["candidates"], _record["draws"]
pace_at, late_at = _record["paces"], _record["lates"]
mind_at, used_at, ask_at = _record["minds"], _record["used"], _record["asks"]
tariff_at, price_at, mask_at = _record["tariffs"], _record["prices"], _record["masks"]
note_at, over_at = _record["notes"], _record["over"]
