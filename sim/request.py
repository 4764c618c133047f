"""Requests as columns: what is fixed at emission, and the stamps that the run leaves.

A request is its id, the position in the merged emission order. Stamps are NaN (times) or -1 (ids)
until they happen.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from math import nan
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.arrays import AnyArray, FloatArray, IntArray
    from sim.arrivals.windows import Window
    from sim.arrivals.workload import Workload


STAMPS = (
    ("server", "i4"),
    ("plan", "i4"),
    ("t_dispatch_s", "f8"),
    ("t_enqueue_s", "f8"),
    ("t_start_s", "f8"),
    ("t_finish_s", "f8"),
    ("t_return_s", "f8"),
    ("stall_s", "f8"),
    ("service_s", "f8"),
    ("batch", "i8"),
    ("batch_size", "i4"),
    ("drop", "i2"),
    ("correct", "i1"),
)
_TYPE = dict(STAMPS)


class Columns(ABC):
    """The table `requests` while a run is going on, or a window of it.

    Args:
        workload: Everything fixed at emission.
    """

    def __init__(self, workload: Workload | Window) -> None:
        self.count = len(workload.t_emit_s)
        self.workload = workload

    @abstractmethod
    def stamp(self, name: str) -> AnyArray:
        """Return one column of stamps, (R,), without copying it."""

    def fill_dispatch(self, choice_s: Sequence[float], choosing: Sequence[int]) -> None:
        """Stamp when servers were chosen, after a run: it needs no clock.

        Args:
            choice_s: Time that a choice takes, by source.
            choosing: Requests whose choice was not done at the end.
        """
        chosen_s = self.stamp("t_dispatch_s")
        chosen_s[:] = self.workload.t_emit_s + np.asarray(choice_s)[self.workload.source]
        chosen_s[list(choosing)] = nan

    def fill_plain(self, plain: Sequence[bool], first_batch: int) -> None:
        """Stamp what follows from starts and ends where single requests were served as drawn.

        Args:
            plain: By server; at such nodes every request is a batch of its own.
            first_batch: Ids from here on are free; they go by start, ties by request.
        """
        start_s, finish_s = self.stamp("t_start_s"), self.stamp("t_finish_s")
        here = np.append(plain, False)[self.stamp("server")]  # server -1: none
        started = np.flatnonzero(here & ~np.isnan(start_s))
        in_order = started[_order(start_s[started])]
        self.stamp("batch")[in_order] = first_batch + np.arange(len(in_order))
        self.stamp("batch_size")[started] = 1
        ended = started[~np.isnan(finish_s[started])]
        self.stamp("service_s")[ended] = self.workload.service_s[ended]
        self.stamp("stall_s")[ended] = 0.0

    def columns(self) -> dict[str, AnyArray]:
        """Return the table `requests` (see sim.records), without copying the stamps."""
        drawn = self.workload
        made: dict[str, AnyArray] = {
            "id": np.arange(drawn.first, drawn.first + self.count, dtype=np.int64),
            "stream": drawn.stream,
            "source": drawn.source,
            "task": drawn.task,
            "input": drawn.input,
            "t_emit_s": drawn.t_emit_s,
            "priority": drawn.priority,
            "deadline_s": drawn.deadline_s,
            "up_bytes": drawn.up_bytes,
            "down_bytes": drawn.down_bytes,
        }
        for name, _ in STAMPS:
            made[name] = self.stamp(name)
        return made


class Requests(Columns):
    """Columns of all requests of a run, (R,) each.

    Pre-drawn columns are Python lists because the event loop reads them one by one; stamps are flat
    arrays because they are written once and become numpy columns without a copy.

    Args:
        workload: Everything fixed at emission.
    """

    def __init__(self, workload: Workload) -> None:
        super().__init__(workload)
        n = self.count
        self.t_emit_s: list[float] = workload.t_emit_s.tolist()
        self.source: list[int] = _listed(workload.source)
        self.input: list[int] = _listed(workload.input)
        self.up_bytes: list[float] = _listed(workload.up_bytes)
        self.down_bytes: list[float] = _listed(workload.down_bytes)
        self.draw_s: list[float] = _listed(workload.service_s)
        self.priority: list[int] = _listed(workload.priority)
        self.patience_s: list[float] = _listed(workload.patience_s)
        self.expires_s: list[float] = _listed(workload.expires_s)
        self.t_dispatch_s = array("d", [nan]) * n
        self.t_enqueue_s = array("d", [nan]) * n
        self.t_start_s = array("d", [nan]) * n
        self.t_finish_s = array("d", [nan]) * n
        self.t_return_s = array("d", [nan]) * n
        self.stall_s = array("d", [nan]) * n
        self.service_s = array("d", [nan]) * n
        self.server = array("i", [-1]) * n
        self.plan = array("i", [-1]) * n
        self.batch = array("q", [-1]) * n
        self.batch_size = array("i", [0]) * n
        self.drop = array("h", [-1]) * n
        self.correct = array("b", [-1]) * n

    def stamp(self, name: str) -> AnyArray:
        """Return one column of stamps, (R,), without copying it."""
        return np.frombuffer(getattr(self, name), dtype=_TYPE[name])


def _order(values: FloatArray) -> IntArray:
    """Return the order of values, equal ones as they come.

    Where none are equal any sort finds it, and the fastest one takes a third of the time.
    """
    order = np.argsort(values)
    in_order = values[order]
    if (in_order[1:] == in_order[:-1]).any():
        return np.argsort(values, kind="stable")
    return order


def _listed(column: AnyArray) -> list[Any]:
    """Return a column as a list; one object does where all values are the same bits."""
    bits = column.view(f"u{column.itemsize}")
    if len(bits) and (bits == bits[0]).all():
        return [column[0].item()] * len(column)
    values: list[Any] = column.tolist()
    return values
