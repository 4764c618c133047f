"""Compiles kernels with numba, or leaves them plain Python where it is missing or not wanted.

A kernel is written once, in the part of Python that numba knows, and must give the same bits both
ways: no fast-math, no parallel loops, no sums in another order. `MOEDGE_KERNELS=python` asks for
the plain way (tests, debuggers).

Machine code is kept on disk. numba asks only whether a kernel's own file has changed, not what it
calls or the layout of what it reads, so here the folder is named after the source of the whole
simulator.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])

COMPILED = os.environ.get("MOEDGE_KERNELS") != "python" and find_spec("numba") is not None


def jit(kernel: F) -> F:
    """Compile a kernel on its first call."""
    return _compiled(kernel, {})


def lean(kernel: F) -> F:
    """Compile a kernel that makes no array, nor does what it calls.

    Without memory to manage, arrays are passed to small functions uncounted: counting who holds
    them would take longer than what the functions do.
    """
    return _compiled(kernel, {"_nrt": False})


def _compiled(kernel: F, options: dict[str, Any]) -> F:
    if not COMPILED:
        return kernel
    import numba

    # (without the interpreter's lock, so that whoever watches for Ctrl-C can go on)
    options = {"error_model": "numpy", "nogil": True, **options}
    config: Any = numba.config
    before, config.CACHE_DIR = config.CACHE_DIR, str(folder())
    try:
        return cast("F", numba.njit(cache=True, **options)(kernel))
    except RuntimeError:  # no place on this disk may be written
        return cast("F", numba.njit(**options)(kernel))
    finally:
        config.CACHE_DIR = before


@cache
def folder() -> Path:
    """Return where machine code of this source is kept: beside checkpoints, in moedge's cache."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("MOEDGE_CACHE") or home / "moedge") / "kernels" / fingerprint()


def ready() -> bool:
    """Tell whether kernels of this source were compiled before."""
    return COMPILED and any(folder().rglob("*.nbi"))


def fingerprint() -> str:
    """Hash the source of the simulator."""
    state = blake2b(digest_size=8)
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        state.update(path.read_bytes())
    return state.hexdigest()
