"""What the fused kernel works on: records of nodes, links, requests and pending events.

Everything is an array of records, because a record keeps what one event touches on few cache lines
and costs nothing to pass around. The record of the run holds the addresses of the arrays, so that
it is all that kernels pass on. The fields of a node are those of `sim.compute.station.Station` and
its `Meters`, of a link those of `sim.network.links.Links`.
"""

from __future__ import annotations

import numpy as np

# kinds of nodes
FORWARDS, PLAIN, STATION, SHARING, MINDED = range(5)
# kinds of links, as in sim.network.links
FREE, FIFO, SLOWED = range(3)
# kinds of events, in the lowest bits of an item
DONE, BATCH_DONE, SHARED_DONE, WARMED, DOOR, HOP, RETRY, SENT, CHECK, GIVE_UP = range(10)
KIND_BITS = 4
# links that a journey is on when it is on none
WAITING, FRESH = -1, -2
# why `advance` comes back
REACHED, GROW, ROUTE, DRAWS, BROKEN, MORE, CALL, ENDED, OVERFULL = range(9)
# dispatch rules, in the order of sim.rules.DISPATCH_RULES
LOCAL, FIRST_UP, RANDOM, ROUND_ROBIN, LEAST_LOADED, POWER_OF_TWO = range(6)

NODE = np.dtype([
    ("in_system", "i8"), ("free", "i8"), ("waiting", "i8"), ("up", "i8"), ("kind", "i8"),
    ("capacity", "f8"), ("area", "f8"), ("area_s", "f8"),
    ("arrived", "i8"), ("finished", "i8"), ("queue_max", "i8"), ("servers", "i8"),
    ("stays_s", "f8"), ("busy_area", "f8"), ("busy_s", "f8"), ("warm", "i8"),
    ("most_running", "f8"), ("lost", "i8"), ("dropped", "i8"), ("open", "i8"), ("epoch", "i8"),
    ("check_s", "f8"), ("timer_s", "f8"), ("max_size", "i8"), ("max_wait_s", "f8"),
    ("first_batch", "i8"), ("ranked", "i8"), ("all_servers", "i8"),
    ("cold", "i8"), ("setup_s", "f8"), ("keep_s", "f8"), ("warming", "i8"),
    ("attained_s", "f8"), ("attained_at_s", "f8"), ("job_share", "f8"), ("inside", "i8"),
    ("root", "i8"), ("inside_head", "i8"), ("inside_tail", "i8"), ("alarm", "i8"),
    ("up_area_s", "f8"), ("up_s", "f8"), ("down_s", "f8"), ("moved", "i8"), ("each_s", "f8"),
    ("heard", "i8"), ("turn", "i8"), ("choice_s", "f8"),
    ("member", "i8"),  # 1: a candidate of the dispatcher
    ("seen_load", "i8"), ("seen_up", "i8"),  # in a dated view, or while it is not heard
])  # fmt: skip

LINK = np.dtype([
    ("bytes_per_s", "f8"), ("delay_s", "f8"), ("free_s", "f8"), ("sent_bytes", "f8"),
    ("landed_bytes", "f8"), ("lost_bytes", "f8"), ("kind", "i8"), ("dst", "i8"),
    ("slowed_s", "f8"), ("lost", "i8"), ("epoch", "i8"), ("fifo", "i8"),
    ("pace_from", "i8"), ("pace_to", "i8"), ("late_from", "i8"), ("late_to", "i8"),
])  # fmt: skip

REQUEST = np.dtype([
    # fixed at emission
    ("t_emit_s", "f8"), ("source", "i8"), ("up_bytes", "f8"), ("down_bytes", "f8"),
    ("draw_s", "f8"),
    # stamps
    ("server", "i8"), ("t_enqueue_s", "f8"), ("t_start_s", "f8"), ("t_finish_s", "f8"),
    ("t_return_s", "f8"), ("drop", "i8"),
    # chains; -1: nowhere, nobody
    ("serving", "i8"),  # node that serves it
    ("after", "i8"), ("before", "i8"),  # in a queue, or among those inside a shared station
    ("where", "i8"),  # node in whose queue it waits
    ("mate", "i8"),  # next in its batch, or among those without a route; right child
    # a journey
    ("here", "i8"), ("goal", "i8"), ("upward", "i8"), ("link", "i8"), ("link_epoch", "i8"),
    ("failures", "i8"), ("sent", "i8"),
    # rarely
    ("rank", "i8"),  # class of priority, 0: served first
    ("patience_s", "f8"), ("expires_s", "f8"), ("stall_s", "f8"), ("service_s", "f8"),
    ("batch", "i8"), ("batch_size", "i8"),
    ("child", "i8"), ("key_s", "f8"),  # left child, and attained service at which it ends
    ("stream", "i8"), ("priority", "i8"), ("deadline_s", "f8"),
    ("id", "i8"),  # of the whole run; a record's place is by the same order
])  # fmt: skip

BATCH = np.dtype([
    ("id", "i8"), ("first", "i8"), ("size", "i8"), ("node", "i8"), ("service_s", "f8"),
    ("stall_s", "f8"), ("due_s", "f8"), ("live", "i8"),
    ("warm_s", "f8"),  # when one of the node's idle servers turns cold (a list, not this batch's)
    # with a model: what its outcomes answer, whose weights it uses, bytes of a request
    ("plan", "i8"), ("weights", "i8"), ("gated", "i8"), ("each_bytes", "f8"),
])  # fmt: skip

# `order` packs rank and key; `item` what it is about, times 16, plus its kind; `aux` an epoch, a
# number or a node, as the kind wants
EVENT = np.dtype([("t_s", "f8"), ("order", "i8"), ("item", "i8"), ("aux", "i8")])
# a queue: one for each node and class of priority
LINE = np.dtype([("head", "i8"), ("tail", "i8")])
# a known first link, in a hash table with open addressing; key here * nodes + goal, -1: empty
ROUTE_ENTRY = np.dtype([("key", "i8"), ("link", "i8"), ("direct", "i8"), ("pad", "i8")])
CANDIDATE = np.dtype([("node", "i8"), ("alive", "i8")])
DRAW = np.dtype([("u", "f8")])
STEP = np.dtype([("cut_s", "f8"), ("value", "f8")])  # `value` holds before the cut

# --- nodes with a model (sim.fast.think)

# a node's model: the fields are those of `sim.compute.deployment.Deployment`
MIND = np.dtype([
    ("blocked", "i8"), ("jobs", "i8"),  # own work that waits for a server
    ("calm", "i8"),  # 1: a kernel may start batches
    ("tell", "i8"),  # 1: somebody waits for the end of a batch
    ("spare", "i8"),  # 1: there are experts that could be evicted
    ("plan", "i8"), ("weights", "i8"), ("gated", "i8"),  # of the plan in force, as in BATCH
    ("running", "i8"), ("gated_running", "i8"),
    ("each_bytes", "f8"), ("kv_bytes", "f8"), ("budget_bytes", "f8"), ("flop", "f8"),
    ("tariff", "i8"),  # where the places of prices by size begin
    ("masks", "i8"),  # where the masks of the plan begin, -1: size alone makes the price
])  # fmt: skip
USED = np.dtype([("bytes", "f8")])  # by node and category of memory
ASK = np.dtype([("input", "i8"), ("plan", "i8")])  # by id of a request
TARIFF = np.dtype([("at", "i8")])  # by size of a batch: the place of its price, -1: not known
# of a batch; or of one layer, for 1, 2, ... experts touched; the work of the whole batch leads
PRICE = np.dtype([("value", "f8")])
MASK = np.dtype([("experts", "i8")])  # by input and layer
NOTE = np.dtype([("node", "i8"), ("category", "i8"), ("t_s", "f8"), ("bytes", "f8")])
OVER = np.dtype([("id", "i8")])  # requests whose service ended

ARRAYS = (
    ("nodes", NODE), ("links", LINK), ("batches", BATCH), ("requests", REQUEST), ("heap", EVENT),
    ("lines", LINE), ("routes", ROUTE_ENTRY), ("candidates", CANDIDATE), ("draws", DRAW),
    ("paces", STEP), ("lates", STEP), ("minds", MIND), ("used", USED), ("asks", ASK),
    ("tariffs", TARIFF), ("prices", PRICE), ("masks", MASK), ("notes", NOTE), ("over", OVER),
)  # fmt: skip

RUN = np.dtype([
    ("now_s", "f8"), ("stop_s", "f8"), ("limit_s", "f8"), ("duration_s", "f8"), ("last_s", "f8"),
    ("pending", "i8"), ("next", "i8"), ("emitted", "i8"), ("outstanding", "i8"), ("batch", "i8"),
    ("draw", "i8"), ("events", "i8"), ("rule", "i8"), ("impatient", "i8"), ("steady", "i8"),
    ("tries", "i8"), ("backoff_s", "f8"), ("live", "i8"), ("room", "i8"), ("classes", "i8"),
    ("unrouted", "i8"), ("unrouted_last", "i8"), ("then_s", "f8"), ("broken", "i8"),
    ("nan", "f8"), ("alive", "i8"),  # candidates seen up, -1: to be counted
    ("more", "i8"),  # emissions are still to be loaded
    ("pause", "i8"), ("about", "i8"),  # why Python is asked, and the node or batch in question
    ("noted", "i8"), ("overs", "i8"), ("layers", "i8"),
    *((f"{name}_at", "i8") for name, _ in ARRAYS),
    *((f"{name}_count", "i8") for name, _ in ARRAYS),
])  # fmt: skip
