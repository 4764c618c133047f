"""The few steps of a station with a model that Python takes itself, between two runs of the kernel.

Args of all: the record of the run, (1,); the node or the batch's place; the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.clock import END
from sim.fast import move, serve, think
from sim.fast.access import batch_at, node_at
from sim.fast.heap import at, item_of, order_of
from sim.fast.jit import jit
from sim.fast.layout import BATCH_DONE
from sim.fast.lines import popleft

if TYPE_CHECKING:
    from sim.arrays import AnyArray

_put, _wake, _ready, _still_warm = move.put, serve.wake, serve.ready, serve.still_warm
_take_server, _release, _gather = serve.take_server, serve.release, serve.gather
_answer, _depart_from, _lose = serve.answer, serve.depart_from, move.lose
_take_plan, _let_go, _stamp, _note_over = (
    think.take_plan,
    think.let_go,
    think.stamp,
    think.note_over,
)


@jit
def put(run: AnyArray, link: int, size_bytes: float, now_s: float) -> float:
    """Put a message on a link and return when it arrives."""
    return _put(run[0], link, size_bytes, now_s)


@jit
def wake(run: AnyArray, node: int, now_s: float) -> None:
    """Start what may start after everything else that happens at this instant."""
    _wake(run[0], node, now_s)


@jit
def ready(run: AnyArray, node: int, now_s: float) -> int:
    """Return how many requests wait for nothing but a server; 0 if a batch is not due yet."""
    return _ready(run[0], node, now_s)


@jit
def still_warm(run: AnyArray, node: int, now_s: float) -> bool:
    """Tell whether a free server needs no set-up."""
    return _still_warm(run[0], node, now_s)


@jit
def take_server(run: AnyArray, node: int, now_s: float) -> None:
    """Occupy a server."""
    _take_server(run[0], node, now_s)


@jit
def release(run: AnyArray, node: int, now_s: float) -> None:
    """Let a server become idle."""
    _release(run[0], node, now_s)


@jit
def gather(run: AnyArray, node: int, size: int, now_s: float) -> int:
    """Let the next requests take a server together under the plan in force."""
    slot = _gather(run[0], node, size, now_s)
    _take_plan(run[0], node, slot)
    return slot


@jit
def serve_for(run: AnyArray, slot: int, service_s: float, now_s: float) -> None:
    """Let a batch end after a time."""
    s = run[0]
    batch = batch_at(s, slot)
    batch["service_s"] = service_s
    order, epoch = order_of(END, batch["first"]), node_at(s, batch["node"])["epoch"]
    at(s, now_s + service_s, order, item_of(BATCH_DONE, slot), epoch)


@jit
def let_go(run: AnyArray, slot: int, now_s: float) -> None:
    """Let a batch leave its server."""
    _let_go(run[0], slot, now_s)


@jit
def stamp(run: AnyArray, slot: int, now_s: float) -> None:
    """Stamp the end of a batch's service, count its requests out and let others start."""
    _stamp(run[0], slot, now_s)


@jit
def note_over(run: AnyArray, slot: int) -> None:
    """Remember whose service ended."""
    _note_over(run[0], slot)


@jit
def answer(run: AnyArray, slot: int, now_s: float) -> None:
    """Send the answers of a batch."""
    _answer(run[0], slot, now_s)


@jit
def turn_away(run: AnyArray, node: int, reason: int, now_s: float) -> None:
    """Drop the request whose turn it is."""
    s = run[0]
    rid = popleft(s, node)
    node_at(s, node)["lost"] += 1
    _depart_from(s, node, rid, now_s)
    _lose(s, rid, reason, now_s)
