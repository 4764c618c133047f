"""Requests as numpy columns: what kernels read and write (`sim.request` holds lists for SimPy)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim.request import STAMPS, Columns

if TYPE_CHECKING:
    from sim.arrays import AnyArray, FloatArray, IntArray
    from sim.arrivals.windows import Window
    from sim.arrivals.workload import Workload


class Stamps(Columns):
    """The stamps of all requests of a run or a window, (R,) each: NaN or -1 until they happen.

    Args:
        workload: Everything fixed at emission; its columns are read from there.
    """

    t_dispatch_s: FloatArray
    t_enqueue_s: FloatArray
    t_start_s: FloatArray
    t_finish_s: FloatArray
    t_return_s: FloatArray
    stall_s: FloatArray
    service_s: FloatArray
    server: IntArray
    plan: IntArray
    batch: IntArray
    batch_size: IntArray
    drop: IntArray
    correct: IntArray

    def __init__(self, workload: Workload | Window) -> None:
        super().__init__(workload)
        for name, kind in STAMPS:
            empty = np.nan if kind == "f8" else 0 if name == "batch_size" else -1
            setattr(self, name, np.full(self.count, empty, dtype=kind))

    def stamp(self, name: str) -> AnyArray:
        """Return one column of stamps, to be read and written."""
        column: AnyArray = getattr(self, name)
        return column
