"""Ports: the protocols that plug-ins implement, and the only data that crosses them.

Letters in shapes: n nodes of one block, E experts, M tasks, V clusters (pseudo-tasks estimated
without tags), L MoE layers of the small model, P inputs of the service pool, R requests, C
calibration points.

Oracle boundary: nothing that a Router receives contains a hidden task, the true mix or the future,
except `Oracle`, which only routers that declare `oracle = True` get and which every report marks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from sim.config import ClusterSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sim.arrays import BoolArray, FloatArray, IntArray, MaskArray
    from sim.config import NodeSpec, Params, PolicySpec
    from sim.plans import Plan
    from sim.refusals import Refusal
    from sim.views import FleetView

# --- the model


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What may be known of a checkpoint without loading it (also JSON beside the checkpoint)."""

    name: str
    suite: str
    experts: int
    layers: int  # MoE layers
    tasks: tuple[str, ...]
    clusters: int
    d_model: int
    d_ff: int
    tokens: int
    backbone_params: int
    expert_params: int  # one expert of one layer
    bytes_per_param: int
    # service inputs per task; global input id = offset of the task + index
    pool_sizes: tuple[int, ...]
    digest: str  # sha256 of the weights
    trained: Mapping[str, Any] = field(default_factory=dict)  # the recipe

    @property
    def pool_size(self) -> int:
        """Count the service inputs of all tasks."""
        return sum(self.pool_sizes)


@dataclass(frozen=True, slots=True)
class PlanProfile:
    """A fixed gated plan, scored once over the whole service pool in pool order, blocks of 64."""

    experts: MaskArray  # (P, L), bit e set: some token of the input visits expert e in that layer
    correct: BoolArray  # (P,)
    confidence: FloatArray  # (P,), probability of the answer given


@dataclass(frozen=True, slots=True)
class Calibration:
    """Accuracy of merges on the calibration split: all that a router may know beforehand."""

    weights: FloatArray  # (C, E), points on the simplex
    reward: FloatArray  # (C, V), mean accuracy
    count: FloatArray  # (V,), items behind each mean
    prior: FloatArray  # (V,), share of each cluster on the calibration split


@dataclass(frozen=True, slots=True)
class Oracle:
    """What only a declared oracle may know: true accuracies and the task-to-expert matrix."""

    weights: FloatArray  # (C, E)
    accuracy: FloatArray  # (C, M) on the service split
    task_to_expert: FloatArray  # (M, E), rows sum to 1


# --- routers


@dataclass(frozen=True, slots=True)
class Message:
    """What one node's router tells another's; its bytes travel over simulated links.

    `payload` is plain picklable data that neither side changes afterwards.
    """

    src: int
    dst: int
    size_bytes: float
    payload: Any


@dataclass(frozen=True, slots=True)
class BlockSetup:
    """What a router is built from: one router object serves one block of nodes."""

    nodes: IntArray  # (n,), global ids, ascending
    block: int
    experts: int
    clusters: int
    layers: int
    slot_s: float
    seed: int
    calibration: Calibration
    params: Params
    oracle: Oracle | None = None
    pooled: bool = False  # True: a slot's reward is one number, the same in every column
    # (n,), seconds that fetching and merging all experts takes on each node's hardware
    swap_s: FloatArray | None = None


@dataclass(frozen=True, slots=True)
class ContextBlock:
    """What the routers of a block see at the boundary that opens slot `slot`."""

    slot: int
    t_s: float
    active: BoolArray  # (n,), False: node down, decide nothing for it
    counts: FloatArray  # (n, V), requests served in the last slot by estimated cluster
    reset: BoolArray  # (n,), True: the node restarted, its router state is lost (cold)
    true_mix: FloatArray | None = None  # (n, M), oracles only: mix of the slot about to start
    # messages that reached the block's nodes since the last boundary, in order of arrival
    inbox: Sequence[Message] = ()
    # (n, V), True: the cluster means something else since the last boundary (the node clustered
    # its traffic anew), so what was learned of it is void; None: nothing changed
    renewed: BoolArray | None = None


@dataclass(frozen=True, slots=True)
class Receipts:
    """Work that the decisions themselves cost, per node of the block, unscaled.

    Only `sim` turns it into time.
    """

    flop: FloatArray  # (n,)
    read_bytes: FloatArray  # (n,)
    moved_bytes: FloatArray  # (n,), over links
    state_bytes: FloatArray  # (n,), resident router state

    @classmethod
    def free(cls, n: int) -> Receipts:
        """Return zero receipts for n nodes."""
        return cls(np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n))


@dataclass(frozen=True, slots=True)
class DecisionBlock:
    """What the routers of a block chose. `plans[i]` None keeps the plan that node i has."""

    plans: Sequence[Plan | None]
    receipts: Receipts
    explored: BoolArray  # (n,), True: the choice was not the greedy one
    # (n, V), the router's estimate of the cluster mix, None if it keeps none
    mix: FloatArray | None = None
    telemetry: Sequence[Mapping[str, float | int | str]] = ()  # rows; key "table": tree or drift
    outbox: Sequence[Message] = ()  # to routers of other nodes, from nodes of this block


@dataclass(frozen=True, slots=True)
class FeedbackBlock:
    """Feedback that is due, grouped by (node, decision).

    Rows are sorted by node row, then decision slot.
    """

    slot: int  # boundary at which it is handed over
    row: IntArray  # (r,), index into the block's nodes
    decided: IntArray  # (r,), slot of the decision that was in force (-1: the start plan)
    plans: Sequence[Plan]  # (r,)
    # (r, V), mean reward per estimated cluster, in [0, 1], 0 where count is 0; with
    # `BlockSetup.pooled` the mean over all requests of the row, repeated
    reward: FloatArray
    count: FloatArray  # (r, V)


class Router(Protocol):
    """Slot-level learner that chooses the plans of one block of nodes.

    Constructor: `(setup: BlockSetup)`. `oracle` True asks for the oracle fields. `learns` False
    declares that feedback is ignored, so that nobody audits requests for it.
    """

    oracle: ClassVar[bool]
    learns: ClassVar[bool]

    def decide_block(self, context: ContextBlock) -> DecisionBlock:
        """Choose plans for the block's active nodes."""
        ...

    def update_block(self, feedback: FeedbackBlock) -> None:
        """Learn from feedback that names the decisions it answers."""
        ...


# --- dispatchers and expert caches (torch-free, inside the simulation process)


@dataclass(frozen=True, slots=True)
class DispatchSetup:
    """What a dispatcher is built from."""

    nodes: Sequence[NodeSpec]
    candidates: Sequence[int]  # ids of nodes with servers that it may choose, ascending
    rng: np.random.Generator  # its own stream
    params: Params


class Dispatcher(Protocol):
    """Chooses the node that serves a request. Constructor: `(setup: DispatchSetup)`."""

    flop: float  # work of one choice, charged on the source node

    def choose(self, source: int, view: FleetView) -> int:
        """Return the id of the node that serves the next request of `source`."""
        ...


ExpertKey = tuple[int, int]  # (layer, expert)


class ExpertCache(Protocol):
    """Decides which expert leaves a node's memory. Constructor: `(layers: int, experts: int)`."""

    preload: ClassVar[bool]  # True: fetch all experts that a plan may touch when it takes force

    def touch(self, key: ExpertKey) -> None:
        """Note that an expert is admitted, or used: its first use follows its admission."""
        ...

    def victim(self, pinned: Mapping[ExpertKey, int]) -> ExpertKey | None:
        """Return the resident expert to evict, never a pinned one; None when there is none."""
        ...

    def drop(self, key: ExpertKey) -> None:
        """Forget an expert that left memory."""
        ...


@runtime_checkable
class Clairvoyant(Protocol):
    """A cache that is told the future, beside what every cache does: a bound, never a policy."""

    def foresee(self, next_use: Callable[[ExpertKey], float]) -> None:
        """Take the oracle: how far ahead an expert's next use lies, infinite if there is none."""


# --- hosts


@dataclass(frozen=True, slots=True)
class HostSpec:
    """One shard: plain data that crosses process boundaries."""

    checkpoint: str
    seed: int
    slot_s: float
    block_size: int
    shard: int
    blocks: tuple[tuple[int, tuple[int, ...]], ...]  # (block id, its node ids), whole blocks only
    routed: tuple[int, ...]  # node ids whose plan the policy's router decides
    policy: PolicySpec
    regret_sample: float
    all_nodes: int
    clusters: ClusterSpec = field(default_factory=ClusterSpec)
    pooled: bool = False
    swap_s: tuple[float, ...] = ()  # per routed node, see `BlockSetup`


@dataclass(frozen=True, slots=True)
class NewPlan:
    """The id that the simulation gave to a host's decision, or to a start or fixed plan."""

    plan_id: int
    node: int
    decided: int  # slot of the decision, -1 for start and fixed plans
    plan: Plan


@dataclass(frozen=True, slots=True)
class Served:
    """Requests whose service ended in the last slot, sorted by request id."""

    id: IntArray  # (R,)
    node: IntArray
    input: IntArray  # global index into the service pool
    plan_id: IntArray
    audited: BoolArray  # its outcome will be fed back later
    batch: IntArray  # id of the batch that served it


@dataclass(frozen=True, slots=True)
class StepInput:
    """What a shard gets at a slot boundary."""

    slot: int
    t_s: float
    plans: Sequence[NewPlan]  # ids assigned since the last step, for this shard's nodes
    served: Served
    feedback: IntArray  # request ids whose feedback is due, ascending; served now or earlier
    active: IntArray  # node ids that are up, ascending
    reset: IntArray  # node ids that restarted since the last step
    # (all nodes, M), for oracles and metrics only, never handed to other routers
    true_mix: FloatArray
    inbox: Sequence[Message] = ()  # for this shard's nodes, in order of arrival
    # audited request ids whose feedback was lost on the way, so that nobody waits for it
    lost: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    # audited request ids, ascending, among `served`, whose reward a fault turned into a number
    # that may be none (NaN, infinite, out of range), and those numbers
    spoiled: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    spoiled_reward: FloatArray = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True, slots=True)
class NodeDecision:
    """One router's decision for one node, with what it cost."""

    node: int
    plan: Plan | None  # None: keep
    flop: float
    read_bytes: float
    moved_bytes: float
    state_bytes: float
    explored: bool
    # (M,), the estimate carried over to tasks, for context_tv only
    task_mix: tuple[float, ...] | None


@dataclass(frozen=True, slots=True)
class StepReply:
    """Outcomes of the served requests in the same order, decisions by ascending node id."""

    correct: BoolArray  # (R,)
    decisions: Sequence[NodeDecision]
    telemetry: Sequence[Mapping[str, float | int | str]] = ()
    outbox: Sequence[Message] = ()  # by ascending source node
    refused: Sequence[Refusal] = ()  # by ascending node


@dataclass(frozen=True, slots=True)
class AssessInput:
    """Node-slots to be measured after the run.

    `entry_*` are parallel arrays sorted by (row, plan id, task): `entry_count` requests of row
    `entry_row` were of task `entry_task` and were served under `entry_plan`.
    """

    row_slot: IntArray  # (rows,)
    row_node: IntArray
    entry_row: IntArray
    entry_plan: IntArray
    entry_task: IntArray
    entry_count: IntArray


@dataclass(frozen=True, slots=True)
class AssessReply:
    """Best and expected reward per row; NaN where the plan was not evaluated (no sample)."""

    reward_best: FloatArray
    reward_expected: FloatArray
    # the node's best fixed merge in hindsight: one merge for all its rows of the query
    reward_fixed: FloatArray


class Host(Protocol):
    """Keeps the model and the router state of whole blocks of nodes.

    Constructor: `(spec: HostSpec)`.
    """

    def describe(self) -> ModelCard:
        """Return the card of the checkpoint."""
        ...

    def listens(self) -> bool:
        """Tell whether the policy's router learns from feedback."""
        ...

    def profile(self, plan: Plan) -> PlanProfile:
        """Score a gated plan over the whole service pool."""
        ...

    def step(self, step: StepInput) -> StepReply:
        """Score, learn, decide: one call per shard and slot boundary."""
        ...

    def assess(self, query: AssessInput) -> AssessReply:
        """Measure node-slots for regret: never seen by routers."""
        ...
