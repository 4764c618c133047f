"""Compiles kernels with numba, or leaves them plain Python where it is missing or not wanted.

A kernel is written once, in the part of Python that numba knows, and must give the same bits both
ways: no fast-math, no parallel loops, no sums in another order. `MOEDGE_KERNELS=python` asks for
the plain way (tests, debuggers).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])

COMPILED = os.environ.get("MOEDGE_KERNELS") != "python" and find_spec("numba") is not None


def jit(kernel: F) -> F:
    """Compile a kernel on its first call; machine code is cached on disk beside its source."""
    if not COMPILED:
        return kernel
    import numba

    return cast("F", numba.njit(cache=True, error_model="numpy")(kernel))


def lean(kernel: F) -> F:
    """Compile a kernel that makes no array, nor does what it calls.

    Without memory to manage, arrays are passed to small functions uncounted: counting who holds
    them would take longer than what the functions do.
    """
    if not COMPILED:
        return kernel
    import numba

    options: dict[str, Any] = {"cache": True, "error_model": "numpy", "_nrt": False}
    return cast("F", numba.njit(**options)(kernel))
