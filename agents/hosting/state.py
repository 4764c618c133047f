"""The state of a host as bytes, and back: what a fresh process needs to go on as if nothing was.

Pickle does the work. It would part what is shared, though: an array that is a view of another comes
back as a copy, contiguous where it was strided, so that writes no longer meet and matrix products
may round differently. Views of numpy arrays and storages of torch tensors therefore stay what they
are. What the fresh process has anyway (the model) is named instead of copied.

Bytes come from this program's own processes and are never read from a file.
"""

from __future__ import annotations

import io
import pickle
import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sim.arrays import AnyArray

_PROTOCOL = 5
_KNOWN: ContextVar[Mapping[str, Any]] = ContextVar("known")


def pack(value: Any, known: Mapping[str, Any]) -> bytes:
    """Turn state into bytes.

    Args:
        value: Anything that can be pickled.
        known: Objects that the reader has, too, by a name for each.
    """
    buffer = io.BytesIO()
    _Packer(buffer, known).dump(value)
    return buffer.getvalue()


def unpack(packed: bytes, known: Mapping[str, Any]) -> Any:
    """Turn bytes back into state.

    Args:
        packed: What `pack` returned.
        known: This process's objects of the same names.
    """
    token = _KNOWN.set(known)
    try:
        return pickle.loads(packed)
    finally:
        _KNOWN.reset(token)


def _named(name: str) -> Any:
    return _KNOWN.get()[name]


class _Packer(pickle.Pickler):
    def __init__(self, file: io.BytesIO, known: Mapping[str, Any]) -> None:
        super().__init__(file, _PROTOCOL)
        self._names = {id(item): name for name, item in known.items() if item is not None}
        self._storages: dict[int, _Storage] = {}

    def reducer_override(self, obj: Any) -> Any:
        if id(obj) in self._names:
            return _named, (self._names[id(obj)],)
        if type(obj) is np.ndarray and (base := _base(obj)) is not None:
            return _view, _about(obj, base)
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(obj, torch.Tensor):
            return self._tensor(torch, obj)
        return NotImplemented

    def _tensor(self, torch: Any, tensor: Any) -> Any:
        plain = type(tensor) in {torch.Tensor, torch.nn.Parameter}
        if not plain or tensor.layout != torch.strided or not tensor.is_leaf or tensor.is_quantized:
            return NotImplemented
        storage = tensor.untyped_storage()
        holder = self._storages.setdefault(storage.data_ptr(), _Storage(storage))
        shape = tensor.storage_offset(), tuple(tensor.shape), tensor.stride()
        parameter = isinstance(tensor, torch.nn.Parameter)
        return _tensor, (holder, tensor.dtype, shape, tensor.requires_grad, parameter, tensor.grad)


class _Storage:
    """The memory behind tensors; pickled once however many tensors share it.

    It keeps the tensors' storage alive while it is packed, so that no address is used twice.
    """

    def __init__(self, storage: Any) -> None:
        self.storage = storage

    def __reduce__(self) -> tuple[Callable[[bytes, str], _Storage], tuple[bytes, str]]:
        import torch

        flat = torch.tensor([], dtype=torch.uint8).set_(self.storage.cpu())
        return _storage, (flat.numpy().tobytes(), str(self.storage.device))


def _storage(content: bytes, device: str) -> _Storage:
    import torch

    flat = torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else torch.empty(0)
    return _Storage(flat.to(device, copy=True).untyped_storage())


def _tensor(
    holder: _Storage, dtype: Any, shape: Any, requires_grad: bool, parameter: bool, grad: Any
) -> Any:
    import torch

    made = torch.empty(0, dtype=dtype, device=holder.storage.device).set_(holder.storage, *shape)
    if parameter:
        made = torch.nn.Parameter(made, requires_grad)
    else:
        made.requires_grad_(requires_grad)
    made.grad = grad
    return made


def _base(array: AnyArray) -> AnyArray | None:
    """Return the array in whose memory another one lies, or None."""
    base = array.base
    if type(base) is not np.ndarray or array.dtype.hasobject:
        return None
    return base if base.flags.c_contiguous or base.flags.f_contiguous else None


def _about(view: AnyArray, base: AnyArray) -> tuple[Any, ...]:
    offset = view.__array_interface__["data"][0] - base.__array_interface__["data"][0]
    return base, offset, view.dtype, view.shape, view.strides, view.flags.writeable


def _view(
    base: AnyArray, offset: int, dtype: Any, shape: Any, strides: Any, writeable: bool
) -> AnyArray:
    # placed in the base's memory, whatever the order of its axes
    memory = base if base.flags.c_contiguous else base.T
    made: AnyArray = np.ndarray(shape, dtype, memory, offset, strides)
    made.flags.writeable = writeable
    return made
