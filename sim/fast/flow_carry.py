"""The state of a flow pass between steps, and one step of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sim.fast.arrange import CURSOR, Floor, bucket, in_order, send_up, stay
from sim.fast.flow_kernel import serve
from sim.fast.flow_state import DESK, DONE, LANE, MARK, TOP, Grid, Job, Sent
from sim.fast.flow_step import Retired, Stayed, Window, take
from sim.fast.flow_ways import ways_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.arrays import AnyArray, FloatArray, IntArray
    from sim.config import NodeSpec, World
    from sim.fast.flow_ways import Pairs

_NEVER = np.iinfo(np.int32).max
_COLUMNS = {
    "emit_s": "t_emit_s",
    "service_s": "service_s",
    "up_bytes": "up_bytes",
    "down_bytes": "down_bytes",
}
_IMPATIENT = ("patience_s", "expires_s")


class Room:
    """Arrays that every step uses anew: fresh memory costs more than what is done there."""

    def __init__(self) -> None:
        self._arrays: dict[str, AnyArray] = {}

    def array(self, name: str, size: int, kind: np.dtype[Any]) -> AnyArray:
        """Return an array with anything in it; one of the same name is overwritten."""
        known = self._arrays.get(name)
        if known is None or len(known) < size:
            known = self._arrays[name] = np.empty(size + size // 4, kind)
        return known[:size]


class Carry:
    """Stations, links, and the requests that are in the fleet.

    Requests in the fleet are rows: first those that have not reached their server, by id, then
    those at stations, by station. The next step's new requests come behind them.

    Args:
        world: The run.
        pairs: Pairs of source and server.
        choice_s: How long a source chooses, by pair, (P,).
        wanted: Columns of the workload that the consumer wants of requests that end.

    Attributes:
        nodes: The nodes that serve: the stations.
    """

    def __init__(
        self, world: World, pairs: Pairs, choice_s: FloatArray, wanted: Sequence[str]
    ) -> None:
        self.nodes = [node for node in world.nodes if node.servers]
        self.limit_s, self.pairs = world.duration_s + world.drain_s, pairs
        self.ups, self.downs = ways_of(world, pairs)
        self.ups["choice_s"] = choice_s
        station_of = np.full(len(world.nodes), -1, np.int32)
        station_of[[node.id for node in self.nodes]] = np.arange(len(self.nodes))
        self.station = station_of[pairs.server]
        self.desks, self.tops = _desks(self.nodes)
        self.impatient = any(s.patience is not None or s.late == "drop" for s in world.streams)
        self.landed_up, self.landed_down, self.late_bytes = np.zeros((3, len(self.ups)))
        self.open_up, self.open_down = np.zeros((2, len(self.ups)))  # bytes since a boundary
        self.flying, self.here = _nobody(), np.empty(0, LANE)
        self.wanted, self._room, self._id = wanted, Room(), np.empty(0, np.int64)
        self._held: dict[str, AnyArray] = {}

    @property
    def count(self) -> int:
        """Count the requests in the fleet, those whose server is still being chosen included."""
        return len(self._id)

    def step(
        self, window: Window, pair: AnyArray, bound_s: FloatArray, last_s: float
    ) -> tuple[Retired, Stayed, Grid]:
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
            send_up(sent, self.ups, self.station, grid, come)
        lanes, span = self._lanes(fresh, come, last_s)
        size, room = len(lanes) - 1, self._room
        turn = np.empty(size if self.impatient else 0, np.int64)
        done, kept = room.array("done", size, DONE), room.array("kept", size, LANE)
        job = Job(
            lanes, span, turn, self.desks, self.tops, self.downs, grid, self.landed_down,
            self.late_bytes, done, kept,
        )  # fmt: skip
        ended, left = serve(job)
        self.open_up, self.open_down = grid.up_bytes[-1], grid.down_bytes[-1]
        told = self._tell(done[:ended], window)
        stayed = self._keep(window, fresh, kept[:left], last_s)
        return told, stayed, grid

    def _sent(self, window: Window, pair: AnyArray) -> Sent:
        count, told = len(window), {k: window.columns[v] for k, v in _COLUMNS.items()}
        none = np.empty(0)
        late = {k: window.columns[k] if self.impatient else none for k in _IMPATIENT}
        due_s = self._room.array("due_s", count, np.dtype("f8"))
        due_s.fill(np.nan)
        told |= {"due_s": due_s, "late": self._room.array("late", count, np.dtype("i1"))}
        return Sent(first=window.first, id=np.empty(0, np.int64), pair=pair, **told, **late)

    def _grid(self, bound_s: FloatArray, last_s: float) -> Grid:
        sent = np.zeros((2, len(bound_s) + 1, len(self.ups)))
        sent[0, 0], sent[1, 0] = self.open_up, self.open_down
        marks = np.empty((len(bound_s), len(self.nodes)), MARK)
        return Grid(bound_s, last_s, self.limit_s, marks, sent[0], sent[1])

    def _lanes(self, fresh: Sent, come: IntArray, last_s: float) -> tuple[AnyArray, IntArray]:
        """Hand all their requests to the stations; return lanes, and where they begin."""
        kept, room = self.desks["kept"], self._room
        span = np.concatenate([[0], np.cumsum(kept + come)])
        first, size = span[:-1] + kept, int(span[-1]) + 1
        lanes, cursor = room.array("lanes", size, LANE), np.empty(len(kept), CURSOR)
        cursor["place"], cursor["due_s"] = first, -np.inf
        stay(self.here, kept, span, lanes)
        floor = Floor(self.station, cursor, lanes, self.landed_up)
        disorder = bucket(self.flying, 0, floor, last_s)
        if bucket(fresh, self.count, floor, last_s) or disorder:
            in_order(lanes, first, span, room.array("spare", size, LANE))
        return lanes, span

    def _keep(self, window: Window, fresh: Sent, here: AnyArray, last_s: float) -> Stayed:
        """Let go of those who came to their end."""
        parts = (self.flying, fresh)
        away = [np.flatnonzero(~(sent.due_s <= last_s)) for sent in parts]  # (NaN: not sent yet)
        flying = np.concatenate([away[0], self.count + away[1]])
        rows = np.concatenate([flying, here["row"]])
        columns = {k: v for k, v in window.columns.items() if k in self.wanted}
        self._held = {k: take(self._held.get(k, v[:0]), v, rows) for k, v in columns.items()}
        late = _part(fresh, away[1])._replace(id=window.first + away[1])
        early = _part(self.flying, away[0])
        self.flying = _sent(
            [np.concatenate(pair) for pair in zip(early[1:], late[1:], strict=True)]
        )
        self._id = self._ids(rows, window.first)
        here["row"] = np.arange(len(flying), len(rows))
        self.here = here
        start_s = np.concatenate([np.full(len(flying), np.nan), here["start_s"]])
        return Stayed(rows, start_s, self._id)

    def _ids(self, rows: IntArray, first: int) -> IntArray:
        """Return the ids of rows, those from `count` on being new."""
        ids = rows + (first - self.count)
        old = np.flatnonzero(rows < self.count)
        ids[old] = self._id[rows[old]]
        return ids

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
        return self._tell(left, Window(0, {name: v[:0] for name, v in self._held.items()}))

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
            "landed_up_bytes": np.where(self.ups["here"], 0.0, self.landed_up),
            "landed_down_bytes": self.landed_down,
        }


def _sent(columns: Sequence[AnyArray]) -> Sent:
    return Sent(0, *columns)


def _part(sent: Sent, at: IntArray) -> Sent:
    """Return some of the requests."""
    return _sent([column[at] if len(column) else column for column in sent[1:]])


def _nobody() -> Sent:
    kinds = {"id": np.int64, "pair": np.int32, "late": np.int8}
    return _sent([np.empty(0, kinds.get(name, np.float64)) for name in Sent._fields[1:]])


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
