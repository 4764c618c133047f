"""Composition root, first part: from a Scenario to the World that a run reads, and its policies."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from scenarios import paths
from scenarios.build_faults import faults
from scenarios.build_links import links
from scenarios.build_plans import fixed_plan
from scenarios.build_streams import law, streams
from scenarios.schema_checks_model import task_index
from scenarios.schema_fleet import CLOUD, HardwareWords
from scenarios.schema_names import Names
from sim.compute.architectures import ARCHITECTURES
from sim.compute.hardware import HARDWARE
from sim.config import (
    Architecture,
    Batching,
    ClusterSpec,
    DispatchSpec,
    FeedbackSpec,
    Hardware,
    ModelSpec,
    NodeSpec,
    PolicySpec,
    Setup,
    TransportSpec,
    World,
)
from sim.errors import InputError, UnknownName
from sim.rng import Streams

if TYPE_CHECKING:
    from scenarios.schema import Scenario
    from scenarios.schema_fleet import Group
    from scenarios.schema_policy import Dispatch, Model, Policy
    from scenarios.schema_traffic import Feedback
    from sim.ports import ModelCard

NO_POLICY = "none"
# Where no model runs, hardware plays no part: infinitely fast, and nothing uses energy.
IDEAL = Hardware(
    name="ideal",
    flop_per_s=math.inf,
    bytes_per_s=math.inf,
    memory_bytes=math.inf,
    storage_bytes_per_s=math.inf,
    storage_delay_s=0.0,
    kernel_s=0.0,
    idle_w=0.0,
    busy_w=0.0,
    source="no model runs here, so the hardware plays no part",
)


def build_world(scenario: Scenario, seed: int, card: ModelCard | None) -> World:
    """Build what is the same for every policy of one seed.

    Args:
        scenario: A checked scenario.
        seed: The run's only seed.
        card: Of the scenario's checkpoint, None for `model: none`.

    Raises:
        InputError: What only the drawn world shows: a fault on a link that does not exist, a trace
            that cannot be read, a model that is missing.
    """
    if (scenario.model is None) != (card is None):
        raise InputError("model: a scenario with a model needs its card, one without has none")
    names = Names(scenario.nodes)
    wires = links(scenario, names, Streams(seed))
    service = scenario.service if scenario.model is None else None
    return World(
        name=scenario.name,
        seed=seed,
        duration_s=scenario.duration_s,
        drain_s=scenario.drain_s,
        slot_s=scenario.slot_s,
        nodes=_nodes(scenario, names, card),
        links=wires,
        streams=tuple(streams(scenario, names, card)),
        dispatch=_dispatch(scenario.dispatch),
        model=None if scenario.model is None else _model(scenario, scenario.model, card),
        service=None if service is None else law(service),
        transport=TransportSpec(scenario.transport.tries, scenario.transport.backoff_s),
        feedback=_feedback(scenario.feedback, names),
        faults=tuple(faults(scenario, names, wires, card)),
        decision_delay_slots=scenario.decision_delay_slots,
        regret_sample=scenario.regret.sample,
        engine=scenario.engine,
        rows_bytes=scenario.record.requests_bytes,
    )


# --- policies --------------------------------------------------------------------------------


def policies(scenario: Scenario) -> list[PolicySpec]:
    """Return the scenario's policies, in file order; with `model: none` there may be none."""
    return [_policy(policy) for policy in scenario.policies]


def build_policy(scenario: Scenario, name: str) -> PolicySpec:
    """Return one policy by its label, by its kind, or any row of the router table as it is.

    Raises:
        UnknownName: No label of the scenario and no router.
        InputError: A router for a scenario without a model.
    """
    from agents.routers import ROUTERS

    known = scenario.policies
    for policy in [*(p for p in known if p.label == name), *(p for p in known if p.kind == name)]:
        return _policy(policy)
    if name in ROUTERS and scenario.model is None:
        raise InputError(f"policy {name!r} needs a model; {scenario.name} has `model: none`")
    if name in ROUTERS:
        return PolicySpec(kind=name, label=name)
    if name == NO_POLICY and scenario.model is None:
        return PolicySpec(kind=NO_POLICY, label=NO_POLICY)
    labels = [policy.label for policy in known]
    raise UnknownName("policy", name, dict.fromkeys([*labels, *ROUTERS]))


def _policy(policy: Policy) -> PolicySpec:
    return PolicySpec(
        kind=policy.kind,
        label=policy.label,
        params=policy.all_params,
        dispatch=None if policy.dispatch is None else _dispatch(policy.dispatch),
        cache=policy.cache,
    )


def _dispatch(words: Dispatch) -> DispatchSpec:
    to = words.to or (CLOUD if words.kind == CLOUD else None)
    return DispatchSpec(words.kind, words.view_every_s, to, words.params)


# --- model, nodes, feedback --------------------------------------------------------------


def architecture(model: Model) -> Architecture | None:
    """Return what requests cost like, None for the small model itself."""
    if isinstance(model.cost_as, str):
        return None if model.cost_as == "self" else ARCHITECTURES[model.cost_as]
    return Architecture(**model.cost_as.model_dump())


def hardware(group: Group) -> Hardware:
    """Return a group's hardware, its memory overridden where the file says so."""
    words = group.hardware
    if words is None:
        found = IDEAL
    elif isinstance(words, HardwareWords):
        found = Hardware(**words.model_dump(round_trip=True))
    else:
        found = HARDWARE[words]
    return found if group.memory_bytes is None else replace(found, memory_bytes=group.memory_bytes)


def _model(scenario: Scenario, model: Model, card: ModelCard | None) -> ModelSpec:
    reference = paths.checkpoint(scenario) or model.checkpoint
    return ModelSpec(reference, architecture(model), clusters(model, card))


def clusters(model: Model, card: ModelCard | None) -> ClusterSpec:
    """Return the pseudo-tasks that a model tells apart.

    Raises:
        UnknownName: The model's suite has no such task.
    """
    words = model.clusters
    fitted_on = {task_index(task, card) for task in words.fitted_on}
    return ClusterSpec(words.count, tuple(sorted(fitted_on)), words.refit)


def _nodes(scenario: Scenario, names: Names, card: ModelCard | None) -> tuple[NodeSpec, ...]:
    made = {group.group: _node(group, names, card) for group in scenario.nodes}
    return tuple(
        replace(made[group.group], id=node, name=names.name(node))
        for node, group in enumerate(names.group_of)
    )


def _node(group: Group, names: Names, card: ModelCard | None) -> NodeSpec:
    setup, source = group.setup, group.experts_from
    return NodeSpec(
        id=-1,
        name=group.group,
        group=group.group,
        hardware=hardware(group),
        servers=group.servers,
        capacity=group.capacity,
        batching=Batching(group.batch.max_size, group.batch.max_wait_s),
        cache=group.cache,
        swap=group.swap,
        plan=fixed_plan(group.plan, card),
        discipline=group.discipline,
        job_share=group.job_share,
        setup=None if setup is None else Setup(setup.time_s, setup.keep_s),
        experts_from=None if source is None or card is None else names.ids(source)[0],
    )


def _feedback(words: Feedback, names: Names) -> FeedbackSpec:
    return FeedbackSpec(
        delay_s=words.delay_s,
        fraction=words.fraction,
        via=None if words.via is None else names.ids(words.via)[0],
        up_bytes=words.up_bytes,
        down_bytes=words.down_bytes,
        pooled=words.form == "scalar",
    )
