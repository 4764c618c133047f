"""What a host asks of a model; `agents.moe.runtime.Runtime` answers, and in tests plain numpy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

from sim.config import ClusterSpec

if TYPE_CHECKING:
    from sim.arrays import BoolArray, FloatArray, IntArray
    from sim.plans import Plan, TopK
    from sim.ports import Calibration, ModelCard, Oracle, PlanProfile

Weights: TypeAlias = tuple[float, ...]


class HostedModel(Protocol):
    """A trained model with its service pool. Answers depend on the arguments only.

    Shapes: P inputs of the pool, V clusters, M tasks, R requests, D width of embeddings.
    """

    @property
    def card(self) -> ModelCard:
        """Return what may be known without loading the model."""
        ...

    @property
    def calibration(self) -> Calibration:
        """Return what routers may know beforehand."""
        ...

    @property
    def oracle(self) -> Oracle | None:
        """Return the true accuracy table, or None where the checkpoint ships none."""
        ...

    @property
    def cluster_of(self) -> IntArray:
        """Return the estimated cluster of each input, (P,)."""
        ...

    @property
    def embeddings(self) -> FloatArray:
        """Return the pooled embedding of each input, (P, D): what clusters are told apart by."""
        ...

    @property
    def centroids(self) -> FloatArray:
        """Return the centroids of the clusters, (V, D)."""
        ...

    @property
    def cluster_to_task(self) -> FloatArray:
        """Return the probability of a task given a cluster, (V, M); for metrics only."""
        ...

    @property
    def task_of(self) -> IntArray:
        """Return the hidden task of each input, (P,); for metrics only."""
        ...

    def score_merged(self, weights: Weights, inputs: IntArray) -> tuple[BoolArray, FloatArray]:
        """Return correctness and confidence of inputs under one merge, (R,) each."""
        ...

    def profile(self, plan: Plan) -> PlanProfile:
        """Score a gated plan over the whole pool in pool order."""
        ...

    def score_batch(self, plan: TopK, inputs: IntArray) -> BoolArray:
        """Return the correctness of one real batch under a plan with a capacity, (R,)."""
        ...

    def task_accuracy(self, weights: Weights, task: int) -> float:
        """Return the accuracy of a merge on all pool inputs of one task."""
        ...


@runtime_checkable
class ManyPlans(Protocol):
    """A hosted model that answers the requests of many merges in one program, which is faster."""

    def score_plans(
        self, weights: Sequence[Weights], inputs: IntArray, counts: Sequence[int]
    ) -> BoolArray:
        """Return the correctness of requests sorted by merge, `counts` of them each, (R,)."""
        ...


LoadModel: TypeAlias = Callable[[str, ClusterSpec], HostedModel]
_SHIPPED = ClusterSpec()


def load_model(reference: str, clusters: ClusterSpec = _SHIPPED) -> HostedModel:
    """Load a checkpoint by its reference ("builtin:stream", or a folder).

    Args:
        reference: Which checkpoint.
        clusters: Which pseudo-tasks it tells apart.

    Raises:
        InputError: There is no such checkpoint, or it cannot give such clusters.
    """
    from agents.moe.runtime import Runtime

    return Runtime.load(reference, clusters)
