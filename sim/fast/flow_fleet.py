"""The `slots` engine where a fleet feeds forward: no clock is needed, only the order of time.

There are no faults, so SimPy has nothing to say between the first emission and the end; slot
boundaries are settled by the pass itself, at the instants of the design.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sim.arrivals.windows import Windows
from sim.arrivals.workload import draw_workload
from sim.dispatch import make_dispatcher
from sim.fast.flow import FlowPass
from sim.fast.flow_count import ASKED, Some
from sim.fast.flow_rows import FlowLaws, link_rows, slot_rows
from sim.fast.flow_step import Window
from sim.fast.stamps import Stamps
from sim.fast.told import Told
from sim.laws import causality, conservation
from sim.recorder import Recorder, requests_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sim.arrays import AnyArray
    from sim.arrivals.workload import Workload
    from sim.config import DispatchSpec, World
    from sim.fast.flow_step import Closing, Retired, Settled, Step
    from sim.parts import Parts
    from sim.records import Table

_WINDOW = (*ASKED, "patience_s", "expires_s")


class FlowFleet(Told):
    """Everything that moves in one run of a fleet that feeds forward.

    Args:
        world: The run.
        parts: Plug-ins.
        dispatch: Who serves a request.
        sampled: Keep the rows of a sample, and draw the workload as time goes on.
        window: Emissions that are drawn at once; no result depends on it.
    """

    def __init__(
        self, world: World, parts: Parts, dispatch: DispatchSpec, *, sampled: bool, window: int
    ) -> None:
        self.world, self.parts = world, parts
        self.card = self.brains = None
        self.recorder = Recorder(0)
        dispatcher = make_dispatcher(world, dispatch, parts)
        self.choice_s = [dispatcher.flop / n.hardware.flop_per_s for n in world.nodes]
        self.source: _Whole | _Drawn
        self.rows: _All | Some
        if sampled:
            self.rows = some = Some(world, self.choice_s)
            self.source = _Drawn(world, window, some.group)
        else:
            workload = draw_workload(world, None)
            self.source, self.rows = _Whole(workload, window), _All(workload, self.choice_s)
        self.flow = FlowPass(
            world, dispatch, dispatcher, (*ASKED, "group") if sampled else ("t_emit_s",)
        )
        self.laws = FlowLaws(self.flow.nodes, len(self.flow.pairs.server))
        self.slots_closed, self.end_s = 0, self.flow.limit_s
        self._closing: Closing

    # --- running

    def run(self) -> None:
        """Let time pass until every request has come to its end, or `drain` is over."""
        flow, duration_s = self.flow, self.world.duration_s
        for window, until_s in self.source.windows(lambda: flow.backlog, duration_s):
            for step in flow.advance(window, until_s):
                self._take(step)
        for step in flow.drain():
            self._take(step)
        self.slots_closed, self.end_s = flow.slots_closed, flow.end_s
        self._closing = closing = flow.close()
        self.rows.take(closing.left, closing)
        if closing.partial:
            self._note(closing.settled)
            self.slots_closed += 1

    def _take(self, step: Step) -> None:
        self.rows.take(step.retired)
        self.laws.check(step.settled)
        self._note(step.settled)
        if self.parts.on_slot is not None:
            self.parts.on_slot(self.flow.slots_closed, self.world.slots)

    def _note(self, settled: Settled) -> None:
        if len(settled.bound_s):
            self.recorder.block("slots", slot_rows(settled, self.flow.nodes))
            self.recorder.block("links", link_rows(settled, self.flow.pairs, self.world.links))

    # --- the end

    def audit(self) -> dict[str, int]:
        """Check the laws and return the fleet's counts.

        Raises:
            LawViolation: A law is broken.
        """
        closing = self._closing
        self.laws.close(closing)
        present = int(closing.settled.marks["number"].sum())
        in_flight = len(closing.choosing) + closing.flying + closing.late + present
        return self.rows.conclude(in_flight)

    def _requests(self) -> tuple[Table, Mapping[str, Any]]:
        return self.rows.table()

    @property
    def workload_digest(self) -> str:
        """Return the hash of the workload."""
        return self.source.digest

    @property
    def events(self) -> int:
        """Return how many events happened: none on a clock."""
        return 0


# --- emissions


class _Whole:
    """The windows of a workload that is drawn."""

    def __init__(self, workload: Workload, size: int) -> None:
        self._workload, self._size, self.digest = workload, size, workload.digest

    def windows(self, backlog: Any, duration_s: float) -> Iterator[tuple[Window, float]]:
        """Yield windows and the time of the emission that follows."""
        times, begin = self._workload.t_emit_s, 0
        while begin < len(times):
            stop = min(begin + max(self._size, backlog()), len(times))
            until_s = float(times[stop]) if stop < len(times) else duration_s
            rows = slice(begin, stop)
            columns = {name: getattr(self._workload, name)[rows] for name in _WINDOW}
            yield Window(begin, columns), until_s
            begin = stop


class _Drawn:
    """Windows that are drawn as time goes on.

    Args:
        world: The run.
        size: Most requests of a window.
        group: Returns the group in which each request of a window is counted.
    """

    def __init__(self, world: World, size: int, group: Callable[[Any], AnyArray]) -> None:
        self._windows, self._group = Windows(world, None, size), group

    @property
    def digest(self) -> str:
        """Return the hash of the workload; known after the last window."""
        return self._windows.digest

    def windows(self, backlog: Any, duration_s: float) -> Iterator[tuple[Window, float]]:
        """Yield windows and the time of the emission that follows."""
        coming = iter(self._windows)
        ahead = next(coming, None)
        while ahead is not None:
            parts = [ahead]
            while (ahead := next(coming, None)) is not None:
                if sum(map(len, parts)) >= backlog():
                    break
                parts.append(ahead)
            until_s = float(ahead.t_emit_s[0]) if ahead is not None else duration_s
            columns = {
                name: np.concatenate([getattr(part, name) for part in parts])
                if len(parts) > 1 else getattr(parts[0], name)
                for name in _WINDOW
            }  # fmt: skip
            columns["group"] = self._group(columns)
            yield Window(parts[0].first, columns), until_s


# --- rows


class _All:
    """Keeps every row."""

    def __init__(self, workload: Workload, choice_s: Sequence[float]) -> None:
        self._stamps, self._choice_s = Stamps(workload), choice_s

    def take(self, retired: Retired, closing: Closing | None = None) -> None:
        """Take requests that came to their end."""
        retired.stamp(self._stamps)
        if closing is not None:
            self._stamps.fill_dispatch(self._choice_s, closing.choosing.tolist())

    def conclude(self, in_flight: int) -> dict[str, int]:
        """Complete the rows and check the laws of requests; return the fleet's counts."""
        servers = int(self._stamps.server.max(initial=-1)) + 1
        self._stamps.fill_plain([True] * servers, 0)
        table, _ = self.table()
        causality(table)
        return conservation(table, in_flight)

    def table(self) -> tuple[Table, Mapping[str, Any]]:
        """Return the table `requests`, and what meta says of it."""
        return requests_of(self._stamps), {}
