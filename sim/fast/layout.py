"""What the fused kernel works on: nodes, links, requests and pending events as flat arrays.

Records keep what one event touches on few cache lines. The fields of a node are those of
`sim.compute.station.Station` and its `Meters`, of a link those of `sim.network.links.Links`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sim.arrays import AnyArray, FloatArray, IntArray  # noqa: TC001  (fields of named tuples)

# kinds of nodes
FORWARDS, PLAIN, STATION, SHARING = range(4)
# kinds of links, as in sim.network.links; what a route says of its link
FREE, FIFO, SLOWED = range(3)
# kinds of events, in the lowest bits of an item
DONE, BATCH_DONE, SHARED_DONE, WARMED, DOOR, HOP, RETRY, SENT, CHECK, GIVE_UP = range(10)
KIND_BITS = 4
# links that a journey is on when it is on none
WAITING, FRESH = -1, -2
# why `advance` comes back
REACHED, GROW, ROUTE, DRAWS, BROKEN = range(5)
# dispatch rules, in the order of sim.ports.DISPATCH_RULES
LOCAL, FIRST_UP, RANDOM, ROUND_ROBIN, LEAST_LOADED, POWER_OF_TWO = range(6)

NODE = np.dtype([
    ("in_system", "i8"), ("free", "i8"), ("waiting", "i8"), ("up", "i8"), ("kind", "i8"),
    ("capacity", "f8"), ("area", "f8"), ("area_s", "f8"),
    ("arrived", "i8"), ("finished", "i8"), ("queue_max", "i8"), ("lost", "i8"),
    ("stays_s", "f8"), ("busy_area", "f8"), ("busy_s", "f8"), ("servers", "i8"),
    ("most_running", "f8"), ("dropped", "i8"), ("open", "i8"), ("epoch", "i8"),
    ("check_s", "f8"), ("timer_s", "f8"), ("max_size", "i8"), ("max_wait_s", "f8"),
    ("first_batch", "i8"), ("running", "i8"), ("ranked", "i8"), ("all_servers", "i8"),
    ("cold", "i8"), ("setup_s", "f8"), ("keep_s", "f8"), ("warming", "i8"), ("warm", "i8"),
    ("attained_s", "f8"), ("attained_at_s", "f8"), ("job_share", "f8"), ("inside", "i8"),
    ("root", "i8"), ("inside_head", "i8"), ("inside_tail", "i8"), ("alarm", "i8"),
    ("up_area_s", "f8"), ("up_s", "f8"), ("down_s", "f8"), ("moved", "i8"), ("each_s", "f8"),
    ("heard", "i8"), ("turn", "i8"), ("choice_s", "f8"),
], align=True)  # fmt: skip

LINK = np.dtype([
    ("bytes_per_s", "f8"), ("delay_s", "f8"), ("free_s", "f8"), ("sent_bytes", "f8"),
    ("landed_bytes", "f8"), ("lost_bytes", "f8"), ("kind", "i8"), ("dst", "i8"),
    ("slowed_s", "f8"), ("lost", "i8"), ("epoch", "i8"), ("fifo", "i8"),
    ("pace_from", "i8"), ("pace_to", "i8"), ("late_from", "i8"), ("late_to", "i8"),
], align=True)  # fmt: skip

BATCH = np.dtype([
    ("id", "i8"), ("first", "i8"), ("size", "i8"), ("node", "i8"), ("service_s", "f8"),
    ("stall_s", "f8"), ("due_s", "f8"), ("live", "i8"),
], align=True)  # fmt: skip

RUN = np.dtype([
    ("now_s", "f8"), ("stop_s", "f8"), ("limit_s", "f8"), ("duration_s", "f8"), ("last_s", "f8"),
    ("heap", "i8"), ("next", "i8"), ("emitted", "i8"), ("outstanding", "i8"), ("batch", "i8"),
    ("draw", "i8"), ("events", "i8"), ("rule", "i8"), ("impatient", "i8"), ("steady", "i8"),
    ("tries", "i8"), ("backoff_s", "f8"), ("live", "i8"), ("muted", "i8"), ("room", "i8"),
    ("unrouted", "i8"), ("unrouted_last", "i8"), ("then_s", "f8"), ("broken", "i8"),
    ("nan", "f8"),
], align=True)  # fmt: skip


class Heap(NamedTuple):
    """Pending events; a binary heap by (t, order), where order packs rank and key."""

    t_s: FloatArray
    order: IntArray
    item: IntArray  # what it is about, times 16, plus its kind
    aux: IntArray  # epoch, number or node, as the kind wants


class Asked(NamedTuple):
    """What is fixed at emission, (R,) each."""

    t_emit_s: FloatArray
    source: AnyArray
    up_bytes: FloatArray
    down_bytes: FloatArray
    draw_s: FloatArray
    patience_s: FloatArray
    expires_s: FloatArray
    rank: IntArray  # class of priority, 0: served first


class Marks(NamedTuple):
    """The stamps, (R,) each, as in `sim.fast.stamps.Stamps`."""

    t_enqueue_s: FloatArray
    t_start_s: FloatArray
    t_finish_s: FloatArray
    t_return_s: FloatArray
    stall_s: FloatArray
    service_s: FloatArray
    server: AnyArray
    batch: AnyArray
    batch_size: AnyArray
    drop: AnyArray


class Ties(NamedTuple):
    """Where requests are and whom they are chained to, (R,) each; -1: nowhere, nobody."""

    after: IntArray  # next in a queue, or among those inside a shared station
    before: IntArray
    where: IntArray  # node in whose queue it waits
    serving: IntArray  # node that serves it
    mate: IntArray  # next in its batch; in a shared station: right child
    child: IntArray  # left child in the heap of a shared station
    key_s: FloatArray  # attained service at which it ends there
    link: IntArray  # that it is on, as a journey
    link_epoch: IntArray
    here: IntArray
    goal: IntArray
    upward: IntArray
    failures: IntArray
    sent: IntArray


class Lines(NamedTuple):
    """Ends of the queues, (nodes, classes)."""

    head: IntArray
    tail: IntArray


class Choice(NamedTuple):
    """What the dispatch rule needs."""

    nodes: IntArray  # candidates
    member: IntArray  # by node: 1 for a candidate
    alive: IntArray  # scratch, as long as candidates
    draws: FloatArray  # uniform numbers, taken in turn
    seen_load: IntArray  # by node: of a dated view, or of nodes that are not heard
    seen_up: IntArray


class Routes(NamedTuple):
    """Known first links, as a hash table with open addressing: key here * nodes + goal."""

    key: IntArray  # -1: empty
    link: IntArray  # -1: no way
    direct: IntArray  # 1: a sure link leads to the goal, on a steady network


class Weathers(NamedTuple):
    """Speeds and added delays of slowed links over time, links one behind the other."""

    pace_cut_s: FloatArray
    pace: FloatArray
    late_cut_s: FloatArray
    late_s: FloatArray


class State(NamedTuple):
    """All of it."""

    run: AnyArray  # RUN, (1,)
    nodes: AnyArray  # NODE
    links: AnyArray  # LINK
    batches: AnyArray  # BATCH, a range for each node
    warm_s: FloatArray  # when idle servers turn cold, a range for each node like batches
    heap: Heap
    asked: Asked
    marks: Marks
    ties: Ties
    lines: Lines
    choice: Choice
    routes: Routes
    weathers: Weathers
