"""Dated, frozen views: all that a policy may ever see of the fleet (the oracle boundary)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, overload

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FleetView:
    """What a dispatcher sees. Sequences are indexed by node id and must be read only.

    With `view: live` the sequences are the engine's own and `t_s` is now; with `view: every <t>`
    they are a copy taken at `t_s`. A node whose telemetry is lost shows what was last heard of it.
    """

    t_s: float
    in_system: Sequence[int]  # requests queued and running
    up: Sequence[bool]
    servers: Sequence[int]


class Stale(Sequence[T], Generic[T]):
    """A live sequence some of whose entries stand still.

    Args:
        live: The sequence.
        known: The entries that stand still, by index.
    """

    def __init__(self, live: Sequence[T], known: Mapping[int, T]) -> None:
        self._live, self._known = live, known

    def __len__(self) -> int:
        return len(self._live)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        place = range(len(self._live))[index]
        if isinstance(place, range):
            return [self[i] for i in place]
        return self._known[place] if place in self._known else self._live[place]


class Sight:
    """Makes the views of one run.

    Args:
        in_system: The engine's own requests in the system by node.
        up: The engine's own state of the nodes.
        servers: Servers by node.
        live: Views show the engine's own sequences instead of copies.
    """

    def __init__(
        self, in_system: Sequence[int], up: Sequence[bool], servers: Sequence[int], *, live: bool
    ) -> None:
        self._in_system, self._up, self._servers, self._live = in_system, up, servers, live
        self._load_heard: dict[int, int] = {}  # of mute nodes: what was last heard
        self._up_heard: dict[int, bool] = {}

    def look(self, t_s: float) -> FleetView:
        """Return what can be seen now."""
        load, up = self._in_system, self._up
        if self._load_heard:
            load, up = Stale(load, dict(self._load_heard)), Stale(up, dict(self._up_heard))
        if not self._live:
            load, up = tuple(load), tuple(up)
        return FleetView(t_s, load, up, self._servers)

    def mute(self, node: int, view: FleetView) -> FleetView:
        """Hold on to what a view shows of a node, and return the view from now on."""
        self._load_heard[node], self._up_heard[node] = view.in_system[node], view.up[node]
        return self.look(view.t_s) if self._live else view

    def unmute(self, node: int, view: FleetView) -> FleetView:
        """Hear of a node again, and return the view from now on: a dated one still shows it old."""
        del self._load_heard[node], self._up_heard[node]
        return self.look(view.t_s) if self._live else view
