"""Many independent copies of one station in one run, and what their requests tell.

Copies share a clock and nothing else: every stream draws from generators of its own and no link
joins two nodes, so each copy is a replication. A sample keeps a fixed *number* of requests per
stream after the warm-up: a fixed time would bias means by the number that happened to come.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import sqrt
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from sim.arrivals.service import moments
from sim.arrivals.workload import Workload, draw_workload
from sim.compute.hardware import HARDWARE
from sim.config import ArrivalSpec, MixSpec, NodeSpec, ServiceSpec, StreamSpec, World
from sim.errors import SimError
from sim.proofs.forms_general import second_moment
from sim.proofs.verdict import Result, count, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sim.arrays import AnyArray, BoolArray, FloatArray, IntArray
    from sim.proofs.proof import Checks, Lab
    from sim.records import Record, Table

Run: TypeAlias = "Callable[[World], Record]"

EXPONENTIAL = ServiceSpec("exponential", 1.0)
_BOX = HARDWARE["jetson-orin-nano"]  # without a model only its name matters
_LAGS = 2  # of products of inputs among the controls
_SURE = 7.0  # standard deviations by which a run is longer than its sample needs
_DRAIN = 4.0  # durations in which the last requests may end


@dataclass(frozen=True, slots=True)
class Kind:
    """One stream that every copy of the station has.

    `burst` is the standard deviation of counts over that of a Poisson stream, at most.
    """

    rate_per_s: float
    service: ServiceSpec
    arrivals: ArrivalSpec | None = None  # None: Poisson
    burst: float = 1.0
    fields: Mapping[str, Any] = field(default_factory=dict)  # of StreamSpec


@dataclass(frozen=True, slots=True)
class Size:
    """How much is simulated: copies, and of each the requests skipped and kept."""

    copies: int = 256
    keep: int = 1500
    skip: int = 200

    @property
    def requests(self) -> int:
        """Return the number of requests in the sample."""
        return self.copies * self.keep


def box(number: int, **fields: Any) -> NodeSpec:
    """Return a node; what is not said is its default."""
    return NodeSpec(id=number, name=f"node-{number}", group="nodes", hardware=_BOX, **fields)


def farm(kinds: tuple[Kind, ...], size: Size, seed: int, **node: Any) -> World:
    """Return `size.copies` equal stations, each with streams of the given kinds.

    Args:
        kinds: Streams of each station; stream k of copy i has id i * len(kinds) + k.
        size: Of the sample, shared among kinds by their rates.
        seed: Of the run.
        node: Fields of NodeSpec.
    """
    total = sum(kind.rate_per_s for kind in kinds)
    needed = size.skip + size.keep
    slack = _SURE * max(kind.burst * sqrt(total / kind.rate_per_s) for kind in kinds)
    duration_s = (needed + slack * sqrt(needed) + slack**2) / total
    streams = tuple(
        StreamSpec(
            id=copy * len(kinds) + k,
            name=f"stream-{copy}-{k}",
            node=copy,
            arrivals=kind.arrivals or ArrivalSpec("poisson", kind.rate_per_s),
            mix=MixSpec("uniform"),
            service=kind.service,
            **kind.fields,
        )
        for copy in range(size.copies)
        for k, kind in enumerate(kinds)
    )
    return World(
        name="farm",
        seed=seed,
        duration_s=duration_s,
        drain_s=_DRAIN * duration_s,
        slot_s=duration_s,
        nodes=tuple(box(i, **node) for i in range(size.copies)),
        links=(),
        streams=streams,
        service=kinds[0].service,
    )


class Seen:
    """The requests of a farm after its run, by kind: arrays (copies, kept).

    Args:
        run: What simulates a world.
        world: Made by `farm` with the same kinds and size.
        kinds: Streams of each station.
        size: Of the sample.
    """

    def __init__(self, run: Run, world: World, kinds: tuple[Kind, ...], size: Size) -> None:
        self.kinds, self.size = kinds, size
        self.record = run(world)
        self.table: Table = self.record.tables["requests"]
        self.drawn: Workload = draw_workload(world, None)
        total = sum(kind.rate_per_s for kind in kinds)
        shares = [kind.rate_per_s / total for kind in kinds]
        self._skip = [max(1, round(size.skip * share)) for share in shares]
        self._keep = [round(size.keep * share) for share in shares]
        self._order: IntArray = np.argsort(self.table["stream"], kind="stable")
        self._count = np.bincount(self.table["stream"], minlength=len(world.streams))

    def ids(self, kind: int = 0, before: int = 0) -> IntArray:
        """Return the sampled requests of a kind, or those `before` places earlier."""
        own = np.arange(kind, len(self._count), len(self.kinds))
        skip, keep = self._skip[kind], self._keep[kind]
        if self._count[own].min() < skip + keep:
            raise SimError(f"proof: a stream sent {self._count[own].min()} of {skip + keep}")
        first = (np.cumsum(self._count) - self._count)[own]
        ids: IntArray = self._order[first[:, None] + skip - before + np.arange(keep)]
        return ids

    def wait_s(self, kind: int = 0) -> FloatArray:
        """Return times from joining the queue to service, NaN where there was none."""
        ids = self.ids(kind)
        waits: FloatArray = self.table["t_start_s"][ids] - self.table["t_enqueue_s"][ids]
        return waits

    def stay_s(self, kind: int = 0) -> FloatArray:
        """Return times from emission to the end of service."""
        ids = self.ids(kind)
        stays: FloatArray = self.table["t_finish_s"][ids] - self.table["t_emit_s"][ids]
        return stays

    def dropped(self, kind: int = 0) -> BoolArray:
        """Return which requests were dropped, for whatever reason."""
        lost: BoolArray = self.table["drop"][self.ids(kind)] >= 0
        return lost

    def column(self, name: str, kind: int = 0) -> AnyArray:
        """Return a column of what was drawn for the requests before the run."""
        values: AnyArray = getattr(self.drawn, name)[self.ids(kind)]
        return values

    def gap_s(self, kind: int = 0) -> FloatArray:
        """Return the gaps before the sampled requests of a stream."""
        emitted = self.drawn.t_emit_s
        gaps: FloatArray = emitted[self.ids(kind)] - emitted[self.ids(kind, before=1)]
        return gaps

    def controls(self, lags: int = _LAGS) -> FloatArray:
        """Return realised minus declared moments of gaps and services, (copies, C).

        First and second moments, and products at small lags, whose means are products of means
        because the inputs are independent. Of gaps that are not Poisson's only the mean counts.

        Args:
            lags: Largest lag; 0 leaves means and squares.
        """
        columns: list[FloatArray] = []
        for k, kind in enumerate(self.kinds):
            columns += _moments(self._inputs(k, kind), lags if len(self.kinds) == 1 else 0)
            if kind.arrivals is not None:
                columns.append(self.gap_s(k).mean(axis=1) - 1.0 / kind.rate_per_s)
        return np.stack(columns, axis=1)

    def _inputs(self, k: int, kind: Kind) -> list[tuple[FloatArray, float, float]]:
        """Return the independent inputs of a stream that vary, with mean and second moment."""
        inputs = []
        mean_s, cv = moments(kind.service)
        if cv > 0.0:
            inputs.append((self.column("service_s", k), mean_s, second_moment(kind.service)))
        if kind.arrivals is None:
            gap_s = 1.0 / kind.rate_per_s
            inputs.append((self.gap_s(k), gap_s, 2.0 * gap_s**2))
        return inputs


def _moments(inputs: list[tuple[FloatArray, float, float]], lags: int) -> list[FloatArray]:
    columns = [values.mean(axis=1) - mean for values, mean, _ in inputs]
    columns += [(values**2).mean(axis=1) - second for values, _, second in inputs]
    for lag in range(1, lags + 1):
        for early, early_mean, _ in inputs:
            for late, late_mean, _ in inputs:
                product = (early[:, :-lag] * late[:, lag:]).mean(axis=1)
                columns.append(product - early_mean * late_mean)
    return columns


def observe(run: Run, kinds: tuple[Kind, ...], size: Size, seed: int, **node: Any) -> Seen:
    """Run a farm and return what its requests tell."""
    return Seen(run, farm(kinds, size, seed, **node), kinds, size)


def finite(values: FloatArray) -> FloatArray:
    """Return the values with zero for those that never happened."""
    return np.where(np.isfinite(values), values, 0.0)


@dataclass(frozen=True, slots=True)
class Sample:
    """Replications of one number, (R,), with control variates, (R, C), and what theory says."""

    check: str
    expected: float
    values: FloatArray
    controls: FloatArray
    requests: int


def wait(seen: Seen, check: str, expected: float, kind: int = 0) -> Sample:
    """Return the mean wait of a kind of requests in every copy."""
    return mean(seen, check, expected, seen.wait_s(kind))


def mean(seen: Seen, check: str, expected: float, values: AnyArray) -> Sample:
    """Return the means over each copy's sampled requests, (copies, kept)."""
    return Sample(check, expected, values.mean(axis=1), seen.controls(), seen.size.requests)


def pooled(look: Callable[[Run, int], Sequence[Sample]], seed: int, rounds: int = 1) -> Checks:
    """Return checks that judge the replications of several runs together.

    One run of everything would need gigabytes.

    Args:
        look: Makes the samples of one run, given what simulates and a seed.
        seed: Of the proof.
        rounds: Runs.
    """

    def checks(lab: Lab) -> Sequence[Result]:
        drawn = [look(lab.run, 1000 * seed + number) for number in range(rounds)]
        return [_judge(same) for same in zip(*drawn, strict=True)]

    return checks


def _judge(samples: tuple[Sample, ...]) -> Result:
    values = np.concatenate([sample.values for sample in samples])
    controls = np.concatenate([sample.controls for sample in samples])
    note = f"{count(sum(sample.requests for sample in samples))} requests"
    return judge(samples[0].check, samples[0].expected, values, controls, note)
