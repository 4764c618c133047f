"""The flow pass: fleets that feed forward, computed station by station, without a global heap.

Requests come in windows of emissions. Each is sent up its link, handed to its station, and every
station lives through the step on its own (`sim.fast.flow_kernel`), slot boundaries included. What
stays in the fleet at the end of a step is carried over to the next one, so that memory holds a
window and the requests in flight, however long the run.

All stamps have the bits of the `events` engine: the same float operations in the same order. Only
what cannot touch each other changes places.
"""

from __future__ import annotations

from math import inf, nextafter
from typing import TYPE_CHECKING

import numpy as np

from sim.dispatch import candidates
from sim.fast.choose import chooser
from sim.fast.flow_carry import Carry
from sim.fast.flow_step import Closing, Settled, Step, Window
from sim.fast.flow_ways import pairs_of
from sim.rng import Streams

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sim.arrays import AnyArray, FloatArray
    from sim.config import DispatchSpec, World
    from sim.fast.flow_state import Grid
    from sim.ports import Dispatcher

# columns of windows that a run needs
_NEEDED = ("t_emit_s", "service_s", "up_bytes", "down_bytes", "patience_s", "expires_s")
_CELLS = 1_000_000  # most numbers in a matrix of slot boundaries and stations, or pairs


class FlowPass:
    """One run of a fleet that feeds forward (`sim.fast.flow_ways.flow_fits` says which do).

    Call `advance` for every window of emissions in turn, `drain` after the last one, then `close`.

    Args:
        world: The run.
        dispatch: Who chooses servers.
        dispatcher: The same, built; what it draws by itself is never asked for.
        wanted: Columns of the workload that `Retired.drawn` will be asked for; `t_emit_s` is one of
            them where `Retired.dispatch_s` is read.

    Attributes:
        pairs: Pairs of source and server, as `Retired.pair` numbers them.
        limit_s: The last instant that the run may reach.
        end_s: When the run ends; known after `drain`.
        nodes: The nodes that serve, in the order of stations in `Settled`.
    """

    def __init__(
        self,
        world: World,
        dispatch: DispatchSpec,
        dispatcher: Dispatcher,
        wanted: Sequence[str] = ("t_emit_s",),
    ) -> None:
        self.world, self.pairs = world, pairs_of(world, dispatch, dispatcher)
        self.limit_s = self.end_s = world.duration_s + world.drain_s
        sources = self.pairs.sources
        self._number_of = np.full(len(world.nodes), -1, np.int32)
        self._number_of[sources] = np.arange(len(sources))
        flop_per_s = np.array([world.nodes[s].hardware.flop_per_s for s in sources])
        choice_s = (dispatcher.flop / flop_per_s)[self._number_of[self.pairs.source]]
        rng = Streams(world.seed).stream("dispatch", dispatch.kind)
        self._chooser = chooser(dispatch.kind, len(candidates(world, dispatch)), sources, rng)
        self._carry = Carry(world, self.pairs, choice_s, wanted)
        self.nodes = self._carry.nodes
        self._most = max(1, _CELLS // max(len(self.nodes), len(self.pairs.server), 1))
        self._slot, self._until_s = 0, -inf  # settled so far
        self._up_area_s, self._settled_s = 0.0, 0.0
        self._busy_area = np.zeros(len(self.nodes))
        self._drains = False
        self._rest: Grid | None = None  # what happened between the last boundary and the end
        none: dict[str, AnyArray] = {name: np.empty(0) for name in _NEEDED}
        self._nobody = Window(0, none | {"source": np.empty(0, np.int32)})

    @property
    def backlog(self) -> int:
        """Count the requests in the fleet; windows should not be much smaller."""
        return self._carry.count

    @property
    def slots_closed(self) -> int:
        """Count the slots told of so far."""
        return self._slot

    # --- steps

    def advance(self, window: Window, until_s: float) -> Iterator[Step]:
        """Let everything happen before a time, usually in one step.

        Args:
            window: All requests emitted before that time and not in a window before; some of those
                emitted at that time may be there, too.
            until_s: The end of emissions at most.
        """
        pair = self._chooser.choose(self._numbers(window.columns["source"]))
        self._nobody = window.part(0, 0)
        begin, until_s = 0, min(until_s, self.world.duration_s)
        for to_s in self._pieces(until_s):
            early = to_s < until_s
            stop = int(window.columns["t_emit_s"].searchsorted(to_s)) if early else len(window)
            yield self._step(window.part(begin, stop), pair[begin:stop], to_s)
            begin = stop

    def _numbers(self, source: AnyArray) -> AnyArray:
        """Return the numbers of sources."""
        if len(self.pairs.sources) == 1:
            return np.zeros(len(source), np.int32)
        return self._number_of[source]

    def _pieces(self, until_s: float) -> Iterator[float]:
        """Cut a span of time so that no piece has too many slot boundaries."""
        while (to_s := (self._slot + 1 + self._most) * self.world.slot_s) < until_s:
            yield to_s
        yield until_s

    def _step(self, window: Window, pair: AnyArray, until_s: float) -> Step:
        bound_s = self._bounds(until_s)
        last_s = nextafter(until_s, -inf)
        retired, stayed, grid = self._carry.step(window, pair, bound_s, last_s)
        self._until_s = until_s
        if self._drains and self._carry.count == 0:
            self._set_end()
            grid = self._cut(grid)
        return Step(retired, self._settle(grid), stayed)

    def _bounds(self, until_s: float) -> FloatArray:
        """Return the next slot boundaries before a time."""
        last = max(self._slot, int(until_s / self.world.slot_s) + 1)
        bound_s = np.arange(self._slot + 1, last + 1, dtype=np.float64) * self.world.slot_s
        return bound_s[bound_s < until_s]

    def _settle(self, grid: Grid) -> Settled:
        """Turn what stations said at boundaries into what happened in slots."""
        marks, bounds = grid.marks, len(grid.bound_s)
        busy_area = np.concatenate([[self._busy_area], marks["busy_area"]])
        settled = Settled(
            first=self._slot, bound_s=grid.bound_s, up_s=self._up(grid.bound_s.tolist()),
            busy_s=np.diff(busy_area, axis=0), marks=marks,
            up_bytes=grid.up_bytes[:-1], down_bytes=grid.down_bytes[:-1],
        )  # fmt: skip
        self._busy_area = busy_area[-1]
        self._slot += bounds
        return settled

    def _up(self, bound_s: list[float]) -> FloatArray:
        """Return how long stations are up in each slot, by the sums that a station makes."""
        up_s = []
        for now_s in bound_s:
            area_s = self._up_area_s + (now_s - self._settled_s)
            up_s.append(area_s - self._up_area_s)
            self._up_area_s, self._settled_s = area_s, now_s
        return np.array(up_s)

    # --- the end

    def drain(self) -> Iterator[Step]:
        """Let the run come to its end after the last window, in steps of ever more slots."""
        slots, stop_s = 1, nextafter(self.limit_s, inf)
        self._drains = True
        while self._carry.count and self._until_s < stop_s:
            yield self._wait(min(stop_s, self._later(slots)))
            slots = min(2 * slots, self._most)
        self._set_end()
        stop_s = nextafter(self.end_s, inf)
        while self._until_s < stop_s:
            yield self._wait(min(stop_s, self._later(self._most)))

    def _later(self, slots: int) -> float:
        return (self._slot + 1 + slots) * self.world.slot_s

    def _wait(self, until_s: float) -> Step:
        """Let time pass without new requests."""
        return self._step(self._nobody, np.empty(0, np.int32), until_s)

    def _set_end(self) -> None:
        """End the run when the last answer is back, but not before arrivals do."""
        if self._carry.count == 0:
            last_s = float(self._carry.desks["last_s"].max(initial=-inf))
            self.end_s = min(max(self.world.duration_s, last_s), self.limit_s)

    def _cut(self, grid: Grid) -> Grid:
        """Take away the boundaries after the end; the first of them tells of the last slot."""
        stop = int(np.searchsorted(grid.bound_s, self.end_s, side="right"))
        if stop < len(grid.bound_s):
            self._rest = grid.part(stop, stop + 1)
        return grid.part(0, stop)

    def close(self) -> Closing:
        """Tell of the slot that the end cuts, and of what is in the fleet."""
        carry, partial = self._carry, self.end_s > self._slot * self.world.slot_s
        rest = self._rest or carry.look(self.end_s)
        rest = rest._replace(bound_s=np.array([self.end_s]))
        rest.marks["open_s"] = carry.open_stays(self.end_s)
        return Closing(
            partial=partial, settled=self._settle(rest), left=carry.left(), **carry.on_links()
        )
