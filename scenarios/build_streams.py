"""From the words of streams to what they emit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scenarios import paths, traces
from scenarios.schema_arrivals import Deterministic, Diurnal, Hawkes, Mmpp, Poisson, Profile
from scenarios.schema_checks_load import mmpp_rate_per_s, stream_rate_per_s
from scenarios.schema_checks_model import task_index, weight_vector
from scenarios.schema_traffic import (
    DirichletMix,
    ExplicitMix,
    Gradual,
    NewTask,
    Recurring,
    Service,
)
from sim.config import ArrivalSpec, DriftSpec, MixSpec, ServiceSpec, StreamSpec
from sim.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scenarios.schema import Scenario
    from scenarios.schema_arrivals import Arrivals
    from scenarios.schema_names import Names
    from scenarios.schema_traffic import Drift, Law, Mix, Stream
    from sim.ports import ModelCard

_DEFAULT_CV = {"lognormal": 1.0, "erlang": 0.5, "hyperexponential": 2.0, "deterministic": 0.0}


# --- workload --------------------------------------------------------------------------------


def streams(scenario: Scenario, names: Names, card: ModelCard | None) -> Iterator[StreamSpec]:
    """Yield one stream per node that emits, ids in file order.

    Raises:
        InputError: A trace that cannot be read, or has no deadlines for requests to be late by, or
            a task that the model's suite lacks.
    """
    count = 0
    for index, stream in enumerate(scenario.streams):
        label = stream.name or f"stream-{index}"
        for node in names.ids(stream.at):
            yield StreamSpec(
                id=count,
                name=f"{label}.{names.name(node)}",
                node=node,
                arrivals=_arrivals(scenario, stream, names.name(node), card),
                mix=_mix(stream.mix, card),
                drift=tuple(_drift(drift, card) for drift in stream.drift),
                deadline_s=stream.deadline_s,
                up_bytes=stream.size.up_bytes,
                down_bytes=stream.size.down_bytes,
                priority=stream.priority,
                service=None if stream.service is None else law(stream.service),
                patience=None if stream.patience is None else law(stream.patience),
                late=stream.late,
                size_law=stream.size.law,
                size_cv=stream.size.cv or 1.0,
            )
            count += 1


def _arrivals(scenario: Scenario, stream: Stream, node: str, card: ModelCard | None) -> ArrivalSpec:
    arrivals: Arrivals = stream.arrivals
    load = scenario.load
    if isinstance(arrivals, Poisson | Deterministic):
        return ArrivalSpec(arrivals.kind, arrivals.rate_per_s * load)
    if isinstance(arrivals, Profile):
        mean_per_s = stream_rate_per_s(stream, scenario.duration_s) * load
        steps = tuple((step.at_s, step.rate_per_s * load) for step in arrivals.steps)
        return ArrivalSpec("profile", mean_per_s, profile=steps)
    if isinstance(arrivals, Mmpp | Diurnal | Hawkes):
        return _modulated(arrivals, load)
    path = paths.inside(scenario.origin.folder, arrivals.file)
    told = traces.read(path, arrivals.format, arrivals.bytes_per_token)
    if stream.late == "drop" and math.isinf(stream.deadline_s) and not told.has_deadlines:
        where = f"streams.{scenario.streams.index(stream)}.late"
        raise InputError(f"{where}: 'drop' needs a 'deadline', and {arrivals.file!r} has none")
    rows = told.of(node)
    return ArrivalSpec(
        "trace",
        None,
        times_s=tuple(t / load for t in rows.times_s),  # a higher load plays the trace faster
        tasks=tuple(task_index(word, card) for word in rows.tasks),
        up_bytes=rows.up_bytes,
        down_bytes=rows.down_bytes,
        services_s=rows.services_s if card is None else (),  # a model's follow from hardware
        priorities=rows.priorities,
        deadlines_s=rows.deadlines_s,
    )


def _modulated(arrivals: Mmpp | Diurnal | Hawkes, load: float) -> ArrivalSpec:
    """Return arrivals whose rate is itself a process; `load` scales every rate, no time."""
    if isinstance(arrivals, Mmpp):
        return ArrivalSpec(
            "mmpp",
            mmpp_rate_per_s(arrivals) * load,
            rates_per_s=tuple(state.rate_per_s * load for state in arrivals.states),
            stays_s=tuple(state.stay_s for state in arrivals.states),
            jumps=arrivals.jumps,
        )
    rate_per_s = arrivals.rate_per_s * load
    if isinstance(arrivals, Hawkes):
        return ArrivalSpec(
            "hawkes", rate_per_s, branching=arrivals.branching, decay_s=arrivals.decay_s
        )
    return ArrivalSpec(
        "diurnal",
        rate_per_s,
        amplitude=arrivals.amplitude,
        period_s=arrivals.period_s,
        peak_s=arrivals.peak_s,
    )


def _mix(mix: Mix, card: ModelCard | None) -> MixSpec:
    if card is None or not isinstance(mix, ExplicitMix | DirichletMix):
        return MixSpec("uniform")
    if isinstance(mix, ExplicitMix):
        return MixSpec("explicit", weight_vector(mix.weights, card))
    return MixSpec("dirichlet", alpha=mix.alpha, tasks=mix.tasks)


def _drift(drift: Drift, card: ModelCard | None) -> DriftSpec:
    if isinstance(drift, NewTask):
        return DriftSpec(drift.kind, drift.at_s, share=drift.share)
    return DriftSpec(
        drift.kind,
        drift.at_s,
        over_s=drift.over_s if isinstance(drift, Gradual) else 0.0,
        every_s=drift.every_s if isinstance(drift, Recurring) else 0.0,
        weights=() if card is None or drift.weights is None else weight_vector(drift.weights, card),
    )


def law(words: Law) -> ServiceSpec:
    """Return a distribution of times, its coefficient of variation filled in."""
    cv = words.cv if words.cv is not None else _DEFAULT_CV.get(words.kind, 1.0)
    each_s = words.each_s if isinstance(words, Service) else 0.0
    return ServiceSpec(words.kind, words.mean_s, cv, each_s)
