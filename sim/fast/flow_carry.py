"""The state of a flow pass between steps, and one step of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sim.fast.arrange import bucket, in_order, send_up
from sim.fast.flow_kernel import serve
from sim.fast.flow_state import Desks, Grid, Job, Kept, Lanes, Out, Rows, Tops
from sim.fast.flow_step import Retired, Window
from sim.fast.flow_ways import ways_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sim.arrays import AnyArray, FloatArray, IntArray
    from sim.config import World
    from sim.fast.flow_ways import Pairs

_NONE = np.empty(0)


class Carry:
    """Stations, links, and the requests that are in the fleet.

    Requests in the fleet are rows: first those that have not reached their server, by id, then
    those at stations, by station. The next step's new requests come behind them.

    Args:
        world: The run.
        pairs: Pairs of source and server.
        limit_s: The last instant of the run.

    Attributes:
        nodes: Ids of the nodes that serve: the stations.
        flying: Requests that have not reached their server.
    """

    def __init__(self, world: World, pairs: Pairs, limit_s: float) -> None:
        serving = [node for node in world.nodes if node.servers]
        self.nodes, self.limit_s, self.pairs = [n.id for n in serving], limit_s, pairs
        station_of = np.full(len(world.nodes), -1, np.int64)
        station_of[self.nodes] = np.arange(len(serving))
        self.ways = ways_of(world, pairs, station_of)
        self.desks = _desks([n.servers for n in serving], [n.capacity for n in serving])
        self.tops = _tops(self.desks.servers)
        self.impatient = any(s.patience is not None or s.late == "drop" for s in world.streams)
        self.flying = 0
        self.open_up, self.open_down = np.zeros((2, len(pairs.server)))  # bytes since a boundary
        none: dict[str, Any] = dict.fromkeys(Rows._fields, _NONE)
        ids = {"pair": np.empty(0, np.int32), "old_id": np.empty(0, np.int64)}
        self._rows = Rows(**{**none, **ids, "first": 0})
        self._held: Mapping[str, AnyArray] = {}
        self._kept = Kept(_NONE, _NONE, _NONE, np.empty(0, np.int32))

    @property
    def count(self) -> int:
        """Count the requests in the fleet, those whose server is still being chosen included."""
        return len(self._rows.old_id)

    def step(
        self, window: Window, pair: AnyArray, sent_s: FloatArray, bound_s: FloatArray, last_s: float
    ) -> tuple[Retired, Grid]:
        """Let time pass.

        Args:
            window: New requests.
            pair: Theirs.
            sent_s: When their servers are chosen.
            bound_s: Slot boundaries.
            last_s: The last instant of the step.
        """
        held = self._held or {name: values[:0] for name, values in window.columns.items()}
        rows = self._join(window, pair, sent_s)
        grid = self._grid(bound_s, last_s)
        olds, total = self.count, len(rows.pair)
        come = np.zeros(len(self.nodes), np.int64)
        parts = ((0, self.flying), (olds, total))
        for part in parts:
            send_up(rows, part, self.ways, grid, come)
        lanes = self._lanes(come)
        cursor = lanes.fresh.copy()
        for part in parts:
            bucket(rows, part, self.ways, lanes, cursor, last_s)
        in_order(rows, lanes)
        out, kept = _out(len(lanes.row)), _kept(len(lanes.row))
        retired, stay = serve(Job(lanes, rows, self.desks, self.tops, self.ways, grid, out, kept))
        done = Out(*(values[:retired] for values in out))
        told = self._tell(done, rows, held, window.columns)
        self._keep(rows, held, window, Kept(*(values[:stay] for values in kept)), last_s)
        self.open_up, self.open_down = grid.sent_up_bytes[-1], grid.sent_down_bytes[-1]
        return told, grid

    def _join(self, window: Window, pair: AnyArray, sent_s: FloatArray) -> Rows:
        """Put new requests behind those in the fleet."""
        old, new = self._rows, window.columns
        due_s = np.full(len(pair), np.nan)
        return Rows(
            pair=np.concatenate([old.pair, pair]),
            sent_s=np.concatenate([old.sent_s, sent_s]),
            due_s=np.concatenate([old.due_s, due_s]),
            service_s=np.concatenate([old.service_s, new["service_s"]]),
            up_bytes=np.concatenate([old.up_bytes, new["up_bytes"]]),
            down_bytes=np.concatenate([old.down_bytes, new["down_bytes"]]),
            patience_s=self._late(old.patience_s, new, "patience_s"),
            expires_s=self._late(old.expires_s, new, "expires_s"),
            old_id=old.old_id,
            first=window.first,
        )

    def _late(self, old: FloatArray, new: Mapping[str, AnyArray], name: str) -> FloatArray:
        return np.concatenate([old, new[name]]) if self.impatient else _NONE

    def _grid(self, bound_s: FloatArray, last_s: float) -> Grid:
        stations = (len(bound_s), len(self.nodes))
        floats, ints = np.zeros((4, *stations)), np.zeros((6, *stations), np.int64)
        sent = np.zeros((2, len(bound_s) + 1, len(self.pairs.server)))
        sent[0, 0], sent[1, 0] = self.open_up, self.open_down
        return Grid(
            bound_s=bound_s, last_s=last_s, limit_s=self.limit_s,
            busy_area=floats[0], queue_max=ints[0], dropped=ints[1], number=ints[2],
            area=floats[1], stays_s=floats[2], open_s=floats[3],
            arrived=ints[3], finished=ints[4], lost=ints[5],
            sent_up_bytes=sent[0], sent_down_bytes=sent[1],
        )  # fmt: skip

    def _lanes(self, come: IntArray) -> Lanes:
        """Lay out the stations' spans, with those that are there already."""
        here = self.desks.kept
        span = np.concatenate([[0], np.cumsum(here + come)])
        size, first = int(span[-1]), np.cumsum(here) - here
        lanes = Lanes(
            span=span, fresh=span[:-1] + here, due_s=np.empty(size), service_s=np.empty(size),
            start_s=np.empty(size), leave_s=np.empty(size), state=np.empty(size, np.int8),
            row=np.empty(size, np.int32), turn=np.empty(size, np.int64),
        )  # fmt: skip
        kept = self._kept
        place = np.arange(len(kept.row)) + np.repeat(span[:-1] - first, here)
        lanes.due_s[place], lanes.service_s[place] = kept.due_s, kept.service_s
        lanes.start_s[place], lanes.row[place] = kept.start_s, kept.row
        return lanes

    def _keep(
        self, rows: Rows, held: Mapping[str, AnyArray], window: Window, kept: Kept, last_s: float
    ) -> None:
        """Let go of those who came to their end."""
        olds = self.count
        due_s = rows.due_s
        away = ~(due_s <= last_s)  # (NaN: not sent yet)
        flying = np.concatenate(
            [np.flatnonzero(away[: self.flying]), olds + np.flatnonzero(away[olds:])]
        )
        keep = np.concatenate([flying, kept.row])
        ids = np.concatenate([rows.old_id, window.first + np.arange(len(window))])
        columns = {name: getattr(rows, name) for name in rows._fields[:-2]}
        columns = {
            name: values[keep] if len(values) else values for name, values in columns.items()
        }
        self._rows = Rows(**columns, old_id=ids[keep], first=0)
        self._held = {
            name: np.concatenate([held[name], new])[keep] for name, new in window.columns.items()
        }
        self.flying = len(flying)
        place = np.arange(len(flying), len(keep), dtype=np.int32)
        self._kept = Kept(kept.due_s, kept.service_s, kept.start_s, place)

    def _tell(
        self,
        out: Out,
        rows: Rows,
        held: Mapping[str, AnyArray],
        window: Mapping[str, AnyArray],
    ) -> Retired:
        ids = np.concatenate([rows.old_id, rows.first + np.arange(len(rows.pair) - self.count)])
        pair = rows.pair[out.row]
        return Retired(
            id=ids[out.row], pair=pair, server=self.pairs.server[pair],
            dispatch_s=rows.sent_s[out.row], enqueue_s=out.enqueue_s, start_s=out.start_s,
            finish_s=out.finish_s, return_s=out.return_s, drop=out.drop, row=out.row,
            held=held, window=window,
        )  # fmt: skip

    def left(self) -> Retired:
        """Return the requests that are in the fleet."""
        rows, count = self._rows, self.count
        never = np.full((5, count), np.nan)
        here = slice(self.flying, count)
        dispatched = rows.due_s == rows.due_s
        never[0, dispatched] = rows.sent_s[dispatched]
        never[1, here], never[2, here] = self._kept.due_s, self._kept.start_s
        return Retired(
            id=rows.old_id, pair=rows.pair, server=self.pairs.server[rows.pair],
            dispatch_s=never[0], enqueue_s=never[1], start_s=never[2], finish_s=never[3],
            return_s=never[4], drop=np.full(count, -1, np.int16),
            row=np.arange(count, dtype=np.int32), held=self._held,
            window={name: values[:0] for name, values in self._held.items()},
        )  # fmt: skip

    def look(self, now_s: float) -> Grid:
        """Return what stations say after the last step, as at a boundary."""
        desks = self.desks
        area = desks.area + desks.number * (now_s - desks.area_s)
        busy_area = desks.busy_area + self.tops.size * (now_s - desks.busy_s)
        return Grid(
            bound_s=np.array([now_s]), last_s=now_s, limit_s=self.limit_s,
            busy_area=busy_area[None], queue_max=desks.queue_max[None],
            dropped=desks.dropped[None], number=desks.number[None], area=area[None],
            stays_s=desks.stays_s[None], open_s=np.zeros((1, len(area))),
            arrived=desks.arrived[None], finished=desks.finished[None], lost=desks.lost[None],
            sent_up_bytes=np.stack([self.open_up] * 2),
            sent_down_bytes=np.stack([self.open_down] * 2),
        )  # fmt: skip

    def open_stays(self, now_s: float) -> FloatArray:
        """Return how long those at each station have been there, summed, (M,)."""
        station = np.repeat(np.arange(len(self.nodes)), self.desks.kept)
        return np.bincount(station, now_s - self._kept.due_s, len(self.nodes)).astype(np.float64)

    def on_links(self) -> dict[str, Any]:
        """Return what is on its way, and what has arrived (see `Closing`)."""
        ways, rows = self.ways, self._rows
        sent = ~np.isnan(rows.due_s[: self.flying])
        pair, size_bytes = rows.pair[: self.flying][sent], rows.up_bytes[: self.flying][sent]
        return {
            "choosing": int(np.count_nonzero(~sent)),
            "flying": int(np.count_nonzero(sent)),
            "late": int(self.desks.late.sum()),
            "most_running": self.desks.most_running,
            "flying_up_bytes": np.bincount(pair, size_bytes, len(ways.here)),
            "flying_down_bytes": ways.late_down_bytes,
            "landed_up_bytes": ways.landed_up_bytes,
            "landed_down_bytes": ways.landed_down_bytes,
        }


def _desks(servers: list[int], capacity: list[float]) -> Desks:
    count = len(servers)
    zero: dict[str, AnyArray] = {name: np.zeros(count, np.int64) for name in Desks._fields}
    zero |= {name: np.zeros(count) for name in ("area", "area_s", "stays_s", "busy_area", "busy_s")}
    fixed = {
        "servers": np.array(servers, np.int64),
        "capacity": np.array(capacity, np.float64),
        "last_s": np.full(count, -np.inf),
    }
    return Desks(**{**zero, **fixed})


def _tops(servers: IntArray) -> Tops:
    total = int(servers.sum())
    return Tops(
        first=np.cumsum(servers) - servers,
        size=np.zeros(len(servers), np.int64),
        end_s=np.empty(total),
        place=np.empty(total, np.int64),
    )


def _out(size: int) -> Out:
    return Out(
        np.empty(size, np.int32), np.empty(size), np.empty(size), np.empty(size), np.empty(size),
        np.empty(size, np.int16),
    )  # fmt: skip


def _kept(size: int) -> Kept:
    return Kept(np.empty(size), np.empty(size), np.empty(size), np.empty(size, np.int32))
