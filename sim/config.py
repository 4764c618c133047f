"""What one run is, in SI units.

Frozen data that the composition root builds and the simulation reads.

Every float field ends in its unit or is a pure number (rates, shares, probabilities, seeds of
shape). Nothing here reads a file; `scenarios` turns YAML into these classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from sim.plans import Plan

Params: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Hardware:
    """What one node can do; `flop_per_s` and `bytes_per_s` are per server, the rest per node."""

    name: str
    flop_per_s: float
    bytes_per_s: float
    memory_bytes: float
    storage_bytes_per_s: float
    storage_delay_s: float
    kernel_s: float  # launch cost of one kernel (one expert of one layer, or one dense layer)
    idle_w: float
    busy_w: float  # all servers busy
    source: str = ""


@dataclass(frozen=True, slots=True)
class Architecture:
    """The model that a request costs like (`cost_as`); counts are parameters, not bytes."""

    name: str
    layers: int  # all transformer layers
    moe_layers: int
    experts: int
    top_k: int
    expert_params: float  # one expert of one MoE layer
    backbone_params: float  # all that is not an expert, embeddings looked up excluded from the FLOP
    tokens_per_request: float
    bytes_per_param: float
    activation_bytes: float  # peak working memory of one request in a running batch
    kv_bytes: float = 0.0  # per request, generative presets only
    embedding_params: float = (
        0.0  # part of backbone_params: held in memory, but in no FLOP and no read
    )
    source: str = ""


@dataclass(frozen=True, slots=True)
class Batching:
    """A batch starts when `max_size` requests wait, or the oldest has waited `max_wait_s`."""

    max_size: int = 1
    max_wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Setup:
    """A cold server needs `time_s` before it serves; an idle one stays warm for `keep_s`."""

    time_s: float
    keep_s: float = 0.0


SwapMode: TypeAlias = Literal["double-buffer", "stop-the-world"]
# fifo: first come, first served. priority: the highest priority first, never interrupting a batch;
# within one, first come, first served. sharing: all requests at once share the servers' speed.
Discipline: TypeAlias = Literal["fifo", "priority", "sharing"]


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """One node. `servers` 0 makes a node that only forwards.

    `capacity` counts requests in the system.
    """

    id: int
    name: str
    group: str
    hardware: Hardware
    servers: int = 1
    capacity: float = math.inf
    batching: Batching = Batching()
    cache: str = "all"
    swap: SwapMode = "double-buffer"
    plan: Plan | None = None  # a fixed plan; None: the policy's router decides
    discipline: Discipline = "fifo"
    # `sharing` only: n requests progress at min(job_share, servers / n) of one server's speed each
    job_share: float = 1.0
    setup: Setup | None = None  # None: servers are always warm
    experts_from: int | None = None  # node whose copies are fetched over the links; None: storage


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """One directed channel.

    `fifo`: busy for bytes / bandwidth, never for the delay. `fair`: all transfers at once, rates
    max-min fair over runs of fair links on a route. `none`: uncontended. `loss` is the probability
    that a try of a transfer arrives broken, known where it was sent when it should have arrived.
    """

    id: int
    src: int
    dst: int
    delay_s: float
    bytes_per_s: float
    sharing: Sharing = "fifo"
    loss: float = 0.0


Sharing: TypeAlias = Literal["fifo", "fair", "none"]


@dataclass(frozen=True, slots=True)
class TransportSpec:
    """How often a node tries to pass a transfer on, hop by hop; each wait is twice the one before.

    A try fails when the link loses it, is cut meanwhile, or no way leads on.
    """

    tries: int = 1
    backoff_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ArrivalSpec:
    """When a stream emits.

    `rate_per_s` is the declared mean rate (None for a trace, which declares its own).
    """

    kind: Literal["poisson", "deterministic", "trace", "profile", "mmpp", "diurnal", "hawkes"]
    rate_per_s: float | None = None
    # mmpp: Poisson rates of the states, mean (exponential) stays, and the probabilities of jumps,
    # rows sum to 1, zero diagonal; () means the next state in turn
    rates_per_s: tuple[float, ...] = ()
    stays_s: tuple[float, ...] = ()
    jumps: tuple[tuple[float, ...], ...] = ()
    # diurnal: rate_per_s * (1 + amplitude * cos(2 pi (t - peak_s) / period_s)), by thinning
    amplitude: float = 0.0
    period_s: float = 86400.0
    peak_s: float = 0.0
    # hawkes: every arrival brings `branching` more on average, exponentially spread over decay_s;
    # the base rate is rate_per_s * (1 - branching)
    branching: float = 0.0
    decay_s: float = 1.0
    # profile: piecewise-constant rate, ((start_s, rate_per_s), ...), drawn by thinning (flash
    # crowds)
    profile: tuple[tuple[float, float], ...] = ()
    # trace: emission times in s and, where the file has it, the task of each row (-1: drawn from
    # the mix); likewise what a row says of its request instead of its stream (NaN, None: nothing)
    times_s: tuple[float, ...] = ()
    tasks: tuple[int, ...] = ()
    up_bytes: tuple[float, ...] = ()
    down_bytes: tuple[float, ...] = ()
    services_s: tuple[float, ...] = ()  # `model: none` only
    priorities: tuple[int | None, ...] = ()
    deadlines_s: tuple[float, ...] = ()  # after emission, like the stream's


@dataclass(frozen=True, slots=True)
class MixSpec:
    """The probability over tasks at a source; `weights` is f[M] for `explicit`.

    `dirichlet`: each stream draws its own mix over `tasks` tasks picked from the M (non-IID
    fleets).
    """

    kind: Literal["explicit", "dirichlet", "uniform"]
    weights: tuple[float, ...] = ()
    alpha: float = 1.0
    tasks: int | None = None


@dataclass(frozen=True, slots=True)
class DriftSpec:
    """One change of a stream's mix.

    `switch`: a fresh draw (or `weights`) from `at_s` on. `gradual`: linear over `over_s`.
    `recurring`: swaps between the first mix and a second one every `every_s` from `at_s`.
    `new-task`: from `at_s` a task that the mix had not takes `share` of it.
    """

    kind: Literal["switch", "gradual", "recurring", "new-task"]
    at_s: float
    over_s: float = 0.0
    every_s: float = 0.0
    share: float = 0.5
    weights: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """One source of requests at one node."""

    id: int
    name: str
    node: int
    arrivals: ArrivalSpec
    mix: MixSpec
    drift: tuple[DriftSpec, ...] = ()
    deadline_s: float = math.inf
    up_bytes: float = 0.0  # means, when the law is not fixed
    down_bytes: float = 0.0
    priority: int = 0
    service: ServiceSpec | None = None  # overrides the world's, with model None
    patience: ServiceSpec | None = None  # how long a request waits in a queue before it leaves
    late: Literal["serve", "drop"] = "serve"  # drop: leave the queue when the deadline has passed
    size_law: SizeLaw = "fixed"
    size_cv: float = 1.0  # lognormal only


SizeLaw: TypeAlias = Literal["fixed", "exponential", "lognormal"]
Law: TypeAlias = Literal["exponential", "deterministic", "lognormal", "erlang", "hyperexponential"]


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """Service times of `model: none`, drawn at emission; `cv` is the coefficient of variation.

    A batch of n lasts as long as its longest request, and (n - 1) * `each_s` longer.
    """

    kind: Law
    mean_s: float
    cv: float = 1.0
    each_s: float = 0.0


Work: TypeAlias = Literal["drop", "keep", "resume", "migrate"]
FaultKind: TypeAlias = Literal[
    "node-crash",
    "link-down",
    "link-slow",
    "link-lossy",
    "storage-slow",
    "expert-lost",
    "expert-corrupt",
    "telemetry-loss",
    "feedback-spoiled",
]


@dataclass(frozen=True, slots=True)
class FaultSpec:
    """One fault.

    Scheduled (`at_s`, `for_s`, and again every `every_s` while before `until_s`) or drawn from the
    seed (`mtbf_s`, `mttr_s`, exponential). Targets in `also` are hit at the same moments.

    `work` says what a crash does to requests at the node. `drop`: lost. `keep`: the queue stays and
    grows on, what ran starts again from nothing. `resume`: what ran goes on where it was (`model:
    none` only). `migrate`: they are dispatched anew, from this node; what arrives later is lost.
    """

    kind: FaultKind
    target: int  # node id, or link id
    at_s: float | None = None
    for_s: float = math.inf
    mtbf_s: float | None = None
    mttr_s: float | None = None
    also: tuple[int, ...] = ()
    every_s: float | None = None
    until_s: float = math.inf
    work: Work = "drop"
    factor: float = 1.0  # link-slow, storage-slow: bandwidth is divided by it
    delay_s: float = 0.0  # link-slow: added to the propagation delay of what is sent meanwhile
    loss: float = 0.0  # link-lossy: a probability beside the link's own
    # expert-lost, expert-corrupt: (layer, expert) of the small model
    experts: tuple[tuple[int, int], ...] = ()
    value: float = math.nan  # feedback-spoiled: the reward that outcomes turn into


@dataclass(frozen=True, slots=True)
class FeedbackSpec:
    """Which share of served requests is audited, and how long after service its outcome arrives."""

    delay_s: float = 0.0
    fraction: float = 1.0
    # who judges an audited request: its bytes go there over the links and the verdict comes back
    # (after `delay_s`), or is lost; None: users report by themselves, at no cost to the network
    via: int | None = None
    up_bytes: float = 0.0
    down_bytes: float = 0.0
    pooled: bool = False  # True: one mean reward per decision instead of one per cluster


@dataclass(frozen=True, slots=True)
class DispatchSpec:
    """Who serves a request: a row of the dispatcher registry, what it may see, and its parameters.

    `view_every_s` 0 means live. `to` names the candidate group (None: every node with servers).
    """

    kind: str = "local"
    view_every_s: float = 0.0
    to: str | None = None
    params: Params = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PolicySpec:
    """One named composition.

    A row of the router registry with parameters, and optional overrides.
    """

    kind: str
    label: str
    params: Params = field(default_factory=dict)
    dispatch: DispatchSpec | None = None
    cache: str | None = None


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """The pseudo-tasks that the monitor tells apart without tags.

    `count` None and `fitted_on` empty: the clusters that the checkpoint ships. Otherwise k-means is
    fitted anew on the calibration inputs of the tasks `fitted_on` (empty: all), and calibration
    rewards cover those inputs only. `refit`: nodes cluster their own traffic anew when it leaves
    the clusters.
    """

    count: int | None = None
    fitted_on: tuple[int, ...] = ()
    refit: bool = False


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Which trained model runs, and which architecture it is charged as.

    `cost_as` None: its own small self.
    """

    checkpoint: str  # "builtin:stream", or a folder
    cost_as: Architecture | None
    clusters: ClusterSpec = ClusterSpec()


# auto: `slots` where it can do what the world asks for, else `events`
Engine: TypeAlias = Literal["events", "slots", "auto"]


@dataclass(frozen=True, slots=True)
class World:
    """Everything that is the same for every policy of one seed.

    Times are absolute seconds from 0.
    """

    name: str
    seed: int
    duration_s: float
    drain_s: float
    slot_s: float
    nodes: tuple[NodeSpec, ...]
    links: tuple[LinkSpec, ...]
    streams: tuple[StreamSpec, ...]
    dispatch: DispatchSpec = DispatchSpec()
    model: ModelSpec | None = None
    service: ServiceSpec | None = None  # only with model None
    transport: TransportSpec = TransportSpec()
    feedback: FeedbackSpec = FeedbackSpec()
    faults: tuple[FaultSpec, ...] = ()
    decision_delay_slots: int = 0
    regret_sample: float = 0.05
    engine: Engine = "events"
    # most bytes of the table `requests`; a longer one keeps an even sample of its rows
    rows_bytes: float = math.inf

    @property
    def slots(self) -> int:
        """Count the slots that the run, drain included, touches."""
        return math.ceil((self.duration_s + self.drain_s) / self.slot_s)
