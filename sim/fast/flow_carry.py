"""The state of a flow pass between steps, and one step of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sim.fast.arrange import bucket, in_order, send_up
from sim.fast.flow_kernel import serve
from sim.fast.flow_state import DESK, DONE, LANE, MARK, TOP, Grid, Job, Sent
from sim.fast.flow_step import Retired, Window, take
from sim.fast.flow_ways import ways_of

if TYPE_CHECKING:
    from sim.arrays import AnyArray, FloatArray, IntArray
    from sim.config import NodeSpec, World
    from sim.fast.flow_ways import Pairs

_NEVER = np.iinfo(np.int64).max
_COLUMNS = {
    "emit_s": "t_emit_s",
    "service_s": "service_s",
    "up_bytes": "up_bytes",
    "down_bytes": "down_bytes",
}
_IMPATIENT = ("patience_s", "expires_s")


class Carry:
    """Stations, links, and the requests that are in the fleet.

    Requests in the fleet are rows: first those that have not reached their server, by id, then
    those at stations, by station. The next step's new requests come behind them.

    Args:
        world: The run.
        pairs: Pairs of source and server.
        choice_s: How long a source chooses, by pair, (P,).

    Attributes:
        nodes: The nodes that serve: the stations.
    """

    def __init__(self, world: World, pairs: Pairs, choice_s: FloatArray) -> None:
        self.nodes = [node for node in world.nodes if node.servers]
        self.limit_s, self.pairs = world.duration_s + world.drain_s, pairs
        self.ups, self.downs = ways_of(world, pairs, [node.id for node in self.nodes])
        self.ups["choice_s"] = choice_s
        self.desks, self.tops = _desks(self.nodes)
        self.impatient = any(s.patience is not None or s.late == "drop" for s in world.streams)
        self.late_bytes = np.zeros(len(self.ups))
        self.open_up, self.open_down = np.zeros((2, len(self.ups)))  # bytes since a boundary
        self.flying, self.here = _nobody(), np.empty(0, LANE)
        self._id = np.empty(0, np.int64)
        self._held: dict[str, AnyArray] = {}

    @property
    def count(self) -> int:
        """Count the requests in the fleet, those whose server is still being chosen included."""
        return len(self._id)

    def step(
        self, window: Window, pair: AnyArray, bound_s: FloatArray, last_s: float
    ) -> tuple[Retired, Grid]:
        """Let time pass.

        Args:
            window: New requests.
            pair: Theirs.
            bound_s: Slot boundaries.
            last_s: The last instant of the step.
        """
        fresh = self._sent(window, pair)
        grid = self._grid(bound_s, last_s)
        come = np.zeros(len(self.nodes), np.int64)
        for sent in (self.flying, fresh):
            send_up(sent, self.ups, grid, come)
        lanes, span = self._lanes(fresh, come, last_s)
        size = len(lanes) - 1
        turn = np.empty(size if self.impatient else 0, np.int64)
        done, kept = np.empty(size, DONE), np.empty(size, LANE)
        job = Job(
            lanes, span, turn, self.desks, self.tops, self.downs, grid, self.late_bytes, done, kept
        )
        ended, stay = serve(job)
        self.open_up, self.open_down = grid.up_bytes[-1], grid.down_bytes[-1]
        told = self._tell(done[:ended], window)
        self._keep(window, fresh, kept[:stay], last_s)
        return told, grid

    def _sent(self, window: Window, pair: AnyArray) -> Sent:
        count, told = len(window), {k: window.columns[v] for k, v in _COLUMNS.items()}
        none = np.empty(0)
        late = {k: window.columns[k] if self.impatient else none for k in _IMPATIENT}
        ids = np.arange(window.first, window.first + count)
        return Sent(id=ids, pair=pair, due_s=np.full(count, np.nan), **told, **late)

    def _grid(self, bound_s: FloatArray, last_s: float) -> Grid:
        sent = np.zeros((2, len(bound_s) + 1, len(self.ups)))
        sent[0, 0], sent[1, 0] = self.open_up, self.open_down
        marks = np.empty((len(bound_s), len(self.nodes)), MARK)
        return Grid(bound_s, last_s, self.limit_s, marks, sent[0], sent[1])

    def _lanes(self, fresh: Sent, come: IntArray, last_s: float) -> tuple[AnyArray, IntArray]:
        """Hand all their requests to the stations; return lanes, and where they begin."""
        kept = self.desks["kept"]
        span = np.concatenate([[0], np.cumsum(kept + come)])
        first = span[:-1] + kept
        lanes, cursor = np.empty(int(span[-1]) + 1, LANE), first.copy()
        place = np.arange(len(self.here)) + np.repeat(span[:-1] - np.cumsum(kept) + kept, kept)
        lanes[place] = self.here
        bucket(self.flying, 0, self.ups, cursor, lanes, last_s)
        bucket(fresh, self.count, self.ups, cursor, lanes, last_s)
        in_order(lanes, first, span)
        return lanes, span

    def _keep(self, window: Window, fresh: Sent, here: AnyArray, last_s: float) -> None:
        """Let go of those who came to their end."""
        parts = (self.flying, fresh)
        away = [np.flatnonzero(~(sent.due_s <= last_s)) for sent in parts]  # (NaN: not sent yet)
        flying = np.concatenate([away[0], self.count + away[1]])
        rows = np.concatenate([flying, here["row"]])
        self._held = {
            name: take(self._held.get(name, values[:0]), values, rows)
            for name, values in window.columns.items()
        }
        stay = [_part(sent, at) for sent, at in zip(parts, away, strict=True)]
        self.flying = Sent(*map(np.concatenate, zip(*stay, strict=True)))
        self._id = take(self._id, fresh.id, rows)
        here["row"] = np.arange(len(flying), len(rows))
        self.here = here

    def _tell(self, done: AnyArray, window: Window) -> Retired:
        return Retired(
            done, self.pairs, self.ups["choice_s"], self._id, window.first, self._held,
            window.columns,
        )  # fmt: skip

    # --- the end

    def left(self) -> Retired:
        """Return the requests that are in the fleet."""
        count, flying, here = self.count, len(self.flying.id), self.here
        left = np.empty(count, DONE)
        for name in ("enqueue_s", "start_s", "finish_s", "return_s"):
            left[name] = np.nan
        left["drop"], left["row"] = -1, np.arange(count)
        left["pair"][:flying], left["pair"][flying:] = self.flying.pair, here["pair"]
        left["enqueue_s"][flying:], left["start_s"][flying:] = here["due_s"], here["start_s"]
        columns = {name: values[:0] for name, values in self._held.items()}
        return self._tell(left, Window(0, columns))

    def look(self, now_s: float) -> Grid:
        """Return what stations say after the last step, as at a boundary."""
        desks = self.desks
        marks = np.empty((1, len(desks)), MARK)
        for name in MARK.names or ():
            if name in (DESK.names or ()):
                marks[name] = desks[name]
        marks["area"] += desks["number"] * (now_s - desks["area_s"])
        marks["busy_area"] += desks["running"] * (now_s - desks["busy_s"])
        sent = [np.stack([bytes_] * 2) for bytes_ in (self.open_up, self.open_down)]
        return Grid(np.array([now_s]), now_s, self.limit_s, marks, *sent)

    def open_stays(self, now_s: float) -> FloatArray:
        """Return how long those at each station have been there, summed, (M,)."""
        station = np.repeat(np.arange(len(self.nodes)), self.desks["kept"])
        stays_s = np.bincount(station, now_s - self.here["due_s"], len(self.nodes))
        return stays_s.astype(np.float64)

    def on_links(self) -> dict[str, Any]:
        """Return what is on its way, and what has arrived (see `Closing`)."""
        flying = self.flying
        sent = ~np.isnan(flying.due_s)
        return {
            "choosing": flying.id[~sent],
            "flying": int(np.count_nonzero(sent)),
            "late": int(self.desks["late"].sum()),
            "most_running": self.desks["most_running"],
            "flying_up_bytes": np.bincount(flying.pair[sent], flying.up_bytes[sent], len(self.ups)),
            "flying_down_bytes": self.late_bytes,
            "landed_up_bytes": self.ups["landed_bytes"],
            "landed_down_bytes": self.downs["landed_bytes"],
        }


def _part(sent: Sent, at: IntArray) -> Sent:
    columns: list[AnyArray] = [column[at] if len(column) else column for column in sent]
    return Sent(*columns)


def _nobody() -> Sent:
    none: dict[str, AnyArray] = dict.fromkeys(Sent._fields, np.empty(0))
    return Sent(**{**none, "id": np.empty(0, np.int64), "pair": np.empty(0, np.int32)})


def _desks(nodes: list[NodeSpec]) -> tuple[AnyArray, AnyArray]:
    """Return idle stations, and room for what runs there."""
    desks = np.zeros(len(nodes), DESK)
    desks["servers"] = [node.servers for node in nodes]
    # N >= K for whole N: K may be rounded up
    desks["capacity"] = [
        int(np.ceil(node.capacity)) if node.capacity < _NEVER else _NEVER for node in nodes
    ]
    desks["top"] = np.cumsum(desks["servers"]) - desks["servers"]
    desks["last_s"] = -np.inf
    return desks, np.empty(int(desks["servers"].sum()), TOP)
