"""One thread for every numerical library in a process that hosts a shard.

Two threads split sums differently from one, so that a last bit, and with it an argmax, depends on
the machine: with numpy's OpenBLAS `inv`, `cholesky` and `solve` of 128 x 128 and larger differ
between one thread and two (measured).
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

THREADS = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
_SETTERS = (
    "scipy_openblas_set_num_threads64_",
    "scipy_openblas_set_num_threads",
    "openblas_set_num_threads64_",
    "openblas_set_num_threads",
)


def one_thread() -> None:
    """Hold torch, numpy and scipy to one thread each, from now on in this process.

    Libraries that load later read the environment; those that are loaded already are told.
    """
    os.environ.update(THREADS)
    # a numpy-only host does not pay seconds for an import; the environment covers a later one
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(1)
    for library in _bundled_blas():
        _limit(library)


def _bundled_blas() -> Iterator[Path]:
    """Find the OpenBLAS files inside the loaded numpy and scipy wheels; none for other builds."""
    site = Path(np.__file__).parents[1]
    for package in ("numpy", "scipy"):
        if package in sys.modules:
            for folder in (site / f"{package}.libs", site / package / ".dylibs"):
                yield from sorted(folder.glob("*openblas*"))


def _limit(library: Path) -> None:
    handle = ctypes.CDLL(str(library))  # the copy that is loaded already, not a second one
    for name in _SETTERS:
        setter = getattr(handle, name, None)
        if setter is not None:
            setter(1)
            return
