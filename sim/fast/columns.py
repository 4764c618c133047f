"""The columns of requests that the fused kernel works on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim.fast.layout import Asked, Marks, Ties

if TYPE_CHECKING:
    from sim.arrays import AnyArray, IntArray
    from sim.arrivals.workload import Workload
    from sim.fast.stamps import Stamps


def asked_of(workload: Workload, priorities: IntArray) -> Asked:
    """Return what is fixed at emission.

    Args:
        workload: Drawn.
        priorities: All different ones, ascending.
    """
    above = len(priorities) - 1 - np.searchsorted(priorities, workload.priority)
    return Asked(
        *(np.ascontiguousarray(values) for values in (
            workload.t_emit_s, workload.source, workload.up_bytes, workload.down_bytes,
            workload.service_s, workload.patience_s, workload.expires_s, above,
        ))
    )  # fmt: skip


def marks_of(stamps: Stamps) -> Marks:
    """Return the stamps, to be written by kernels."""
    return Marks(*(stamps.stamp(name) for name in Marks._fields))


def ties_of(count: int) -> Ties:
    """Return the chains of so many requests: nobody is anywhere."""
    columns: dict[str, AnyArray] = {name: np.full(count, -1, np.int64) for name in Ties._fields}
    return Ties(**columns | {"key_s": np.zeros(count)})
