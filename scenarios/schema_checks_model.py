"""Whether model, plans, mixes and policies fit each other and the nodes' memory; needs no torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias

from scenarios import paths
from scenarios.build_plans import gated_plan
from scenarios.catalogue import is_gated, parameters
from scenarios.schema_arrivals import Trace
from scenarios.schema_checks import Finding, repeated
from scenarios.schema_checks_faults import check_expert_faults
from scenarios.schema_fleet import (
    BlendPlan,
    ByTaskPlan,
    MergedPlan,
    RouterPlan,
    SinglePlan,
    TopKPlan,
)
from scenarios.schema_traffic import DirichletMix, ExplicitMix, NewTask
from sim.errors import InputError, UnknownName
from sim.plans import Gated, TopK, reachable
from sim.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from scenarios.problems import Path
    from scenarios.schema import Scenario
    from scenarios.schema_fleet import Group
    from scenarios.schema_policy import Policy
    from scenarios.schema_traffic import Law, Mix
    from sim.ports import ModelCard

ModelCheck: TypeAlias = "Callable[[Scenario, ModelCard | None], Iterator[Finding]]"
NONE = "none"
_ONLY_NONE = "only with `model: none`; a model's times follow from hardware"
_NEEDS_MODEL = frozenset({"accuracy", "regret", "useful_per_s"})


# --- with or without a model -----------------------------------------------------------------


def check_mode(scenario: Scenario, card: ModelCard | None) -> Iterator[Finding]:
    """A model needs hardware, no model needs service times."""
    if scenario.model is None and scenario.service is None:
        yield Finding(
            ("service",), "required key is missing: with `model: none` it gives the times"
        )
    if scenario.model is not None and scenario.service is not None:
        yield Finding(("service",), _ONLY_NONE)
    for i, stream in enumerate(scenario.streams):
        if scenario.model is not None and stream.service is not None:
            yield Finding(("streams", i, "service"), _ONLY_NONE)
    for i, group in enumerate(scenario.nodes):
        if scenario.model is not None and group.servers and group.hardware is None:
            said = (
                "required key is missing: a model runs here, so name a preset or give all figures"
            )
            yield Finding(("nodes", i, "hardware"), said)
    for i, assertion in enumerate(scenario.assertions):
        if scenario.model is None and assertion.metric in _NEEDS_MODEL:
            yield Finding(("assert", i), f"{assertion.metric!r} needs a model")


def check_service(scenario: Scenario, card: ModelCard | None) -> Iterator[Finding]:
    """Coefficients of variation are such as the distributions can have."""
    for path, law in _laws(scenario):
        wanted = {"exponential": "none", "deterministic": "none", "lognormal": "> 0"}
        wanted |= {"erlang": "< 1" if (law.cv or 0) >= 1 else ">= 0.01", "hyperexponential": "> 1"}
        if law.cv is None:
            continue
        possible = {"lognormal": True, "erlang": 0.01 <= law.cv < 1, "hyperexponential": law.cv > 1}
        if not possible.get(law.kind, False):
            said = f"{law.kind}: expected {wanted[law.kind]}, found {law.cv:g}"
            yield Finding((*path, "cv"), said)


def _laws(scenario: Scenario) -> Iterator[tuple[Path, Law]]:
    """Return the times that are drawn per request, with their places."""
    if scenario.service is not None:
        yield ("service",), scenario.service
    for i, stream in enumerate(scenario.streams):
        for key, law in (("service", stream.service), ("patience", stream.patience)):
            if law is not None:
                yield ("streams", i, key), law


def check_checkpoint(scenario: Scenario, card: ModelCard | None) -> Iterator[Finding]:
    """The checkpoint can be read."""
    try:
        paths.card(scenario)
    except InputError as error:
        yield Finding(("model", "checkpoint"), str(error))


def check_clusters(scenario: Scenario, card: ModelCard | None) -> Iterator[Finding]:
    """Clusters are fitted on tasks that the model's suite has, each named once."""
    if scenario.model is None or card is None:
        return
    named: dict[int, int] = {}
    for i, word in enumerate(scenario.model.clusters.fitted_on):
        path = ("model", "clusters", "fitted_on", i)
        try:
            task = _task(word, card.tasks)
        except InputError as error:
            yield Finding(path, str(error))
            continue
        if named.setdefault(task, i) != i:
            before = f"model.clusters.fitted_on.{named[task]}"
            yield Finding(path, f"task {card.tasks[task]!r} is there already ({before})")


def check_traces(scenario: Scenario, card: ModelCard | None) -> Iterator[Finding]:
    """Trace files exist, inside the scenario's folder."""
    for i, stream in enumerate(scenario.streams):
        if not isinstance(stream.arrivals, Trace):
            continue
        try:
            path = paths.inside(scenario.origin.folder, stream.arrivals.file)
            if not path.is_file():
                raise InputError(f"no such file: {stream.arrivals.file!r}")
        except InputError as error:
            yield Finding(("streams", i, "arrivals", "file"), str(error))


# --- policies --------------------------------------------------------------------------------


def check_policies(scenario: Scenario, card: ModelCard | None) -> Iterator[Finding]:
    """Policies have labels of their own and parameters that their routers take."""
    labels = [policy.label for policy in scenario.policies]
    yield from repeated(labels, lambda i: ("policies", i), "label")
    for i, policy in enumerate(scenario.policies):
        path: Path = ("policies", i)
        if (policy.kind == NONE) != (scenario.model is None):
            needs = "only with `model: none`" if policy.kind == NONE else "needs a model"
            yield Finding(path, f"router {policy.kind!r}: {needs}")
            continue
        yield from _check_params(policy, path)
        yield from _check_gate(policy.gate, (*path, "gate"))
        k = policy.all_params.get("k", 0) if is_gated(policy.kind) else 0
        if card is not None and isinstance(k, int) and k > card.experts:
            place = (*path, "k") if policy.k is not None else (*path, "params", "k")
            yield Finding(place, f"expected at most {card.experts} experts, found {k}")
    if scenario.model is not None and not scenario.policies:
        yield Finding(("policies",), "expected at least one policy")


def _check_gate(gate: str | None, path: Path) -> Iterator[Finding]:
    from agents.moe.cards import GATES

    if gate is not None and gate not in GATES:
        yield Finding(path, str(UnknownName("gate", gate, GATES)))


def _check_params(policy: Policy, path: Path) -> Iterator[Finding]:
    for key in ("k", "gate"):
        if getattr(policy, key) is not None and policy.kind != "top-k":
            yield Finding((*path, key), f"only of router 'top-k', found {policy.kind!r}")
        if getattr(policy, key) is not None and key in policy.params:
            yield Finding(
                (*path, "params", key), f"given twice; the other is {key!r} of the policy"
            )
    said = _complaint(policy.kind, policy.params)
    alone = {key: _complaint(policy.kind, {key: value}) for key, value in policy.params.items()}
    if said and not any(alone.values()):  # two values that do not go together
        yield Finding((*path, "params"), said)
    for key, wrong in alone.items() if said else ():
        if wrong:
            yield Finding((*path, "params", key), wrong)


def _complaint(router: str, params: Mapping[str, Any]) -> str:
    """Say what is wrong with parameters, empty if nothing is; third parties' check their own."""
    from agents.routers import ROUTERS
    from agents.routers.params import parse, refuse_params

    if router not in ROUTERS or not ROUTERS[router].startswith("agents."):
        return ""
    module, _, name = parameters(router).partition(":")
    try:
        if module:
            parse(getattr(import_module(module), name), params, router)
        else:
            refuse_params(params, router)
    except InputError as error:
        return str(error)
    return ""


# --- plans, tasks ----------------------------------------------------------------------------


def check_plans(scenario: Scenario, card: ModelCard | None) -> Iterator[Finding]:
    """Fixed plans speak of experts that the model has."""
    for i, group in enumerate(scenario.nodes):
        plan, path = group.plan, ("nodes", i, "plan")
        if isinstance(plan, MergedPlan) and sum(plan.weights) <= 0:
            yield Finding((*path, "weights"), "expected at least one weight > 0")
        if isinstance(plan, TopKPlan):
            yield from _check_gate(plan.gate, (*path, "gate"))
        if card is None:
            continue
        if isinstance(plan, TopKPlan | BlendPlan) and plan.k > card.experts:
            yield Finding((*path, "k"), f"expected at most {card.experts} experts, found {plan.k}")
        if isinstance(plan, ByTaskPlan):
            yield from _check_by_task(plan, (*path, "experts"), scenario, card)
        if isinstance(plan, SinglePlan) and plan.expert >= card.experts:
            said = f"expected an expert from 0 to {card.experts - 1}, found {plan.expert}"
            yield Finding((*path, "expert"), said)
        if isinstance(plan, MergedPlan) and len(plan.weights) != card.experts:
            said = f"expected {card.experts} weights, one per expert, found {len(plan.weights)}"
            yield Finding((*path, "weights"), said)


def _check_by_task(
    plan: ByTaskPlan, path: Path, scenario: Scenario, card: ModelCard
) -> Iterator[Finding]:
    assert scenario.model is not None
    clusters = scenario.model.clusters.count or card.clusters
    if len(plan.experts) != clusters:
        said = f"expected {clusters} experts, one per cluster, found {len(plan.experts)}"
        yield Finding(path, said)
    for i, expert in enumerate(plan.experts):
        if expert >= card.experts:
            said = f"expected an expert from 0 to {card.experts - 1}, found {expert}"
            yield Finding((*path, i), said)


def check_mixes(scenario: Scenario, card: ModelCard | None) -> Iterator[Finding]:
    """Mixes speak of tasks that the model's suite has."""
    for i, stream in enumerate(scenario.streams):
        path: Path = ("streams", i, "mix")
        mix = stream.mix
        if isinstance(mix, ExplicitMix):
            yield from _check_weights(mix.weights, (*path, "weights"), card)
        if card and isinstance(mix, DirichletMix) and (mix.tasks or 1) > len(card.tasks):
            said = f"expected at most {len(card.tasks)} tasks, found {mix.tasks}"
            yield Finding((*path, "tasks"), said)
        for j, drift in enumerate(stream.drift):
            if not isinstance(drift, NewTask) and drift.weights is not None:
                place = ("streams", i, "drift", j, "weights")
                yield from _check_weights(drift.weights, place, card)
        if card and stream.drift and isinstance(stream.drift[0], NewTask) and _whole(mix, card):
            said = "new-task needs a task that the mix has not; this one has all of them"
            yield Finding(("streams", i, "drift", 0, "kind"), said)


def _whole(mix: Mix, card: ModelCard) -> bool:
    """Tell whether a mix has every task of the suite."""
    if isinstance(mix, DirichletMix):
        return mix.tasks is None or mix.tasks == len(card.tasks)
    if isinstance(mix, ExplicitMix):
        listed = mix.weights if isinstance(mix.weights, tuple) else tuple(mix.weights.values())
        return sum(weight > 0 for weight in listed) == len(card.tasks)
    return True


def _check_weights(
    weights: Mapping[str, float] | tuple[float, ...], path: Path, card: ModelCard | None
) -> Iterator[Finding]:
    try:
        weight_vector(weights, card)
    except InputError as error:
        yield Finding(path, str(error))


def weight_vector(
    weights: Mapping[str, float] | tuple[float, ...], card: ModelCard | None
) -> tuple[float, ...]:
    """Return weights over all tasks, scaled to sum 1.

    Args:
        weights: A list in task order, or a mapping from names or indices.
        card: Of the model that knows the tasks; without one a list is taken as it is.

    Raises:
        InputError: A task that does not exist, the wrong number of weights, or all of them 0.
    """
    tasks = card.tasks if card else tuple(str(i) for i in range(len(weights)))
    if isinstance(weights, tuple):
        if len(weights) != len(tasks):
            raise InputError(f"expected {len(tasks)} weights, one per task, found {len(weights)}")
        vector = list(weights)
    else:
        vector = [0.0] * len(tasks)
        for name, weight in weights.items():
            vector[_task(name, tasks)] += weight
    total = sum(vector)
    if not 0 < total < float("inf"):
        raise InputError("expected at least one weight > 0 and a finite sum")
    return tuple(weight / total for weight in vector)


def task_index(word: str, card: ModelCard | None) -> int:
    """Return the task that a trace names, -1 where it names none or no model runs.

    Raises:
        UnknownName: The model's suite has no such task.
    """
    return -1 if card is None or word in {"", "-1"} else _task(word, card.tasks)


def _task(name: str, tasks: tuple[str, ...]) -> int:
    if name in tasks:
        return tasks.index(name)
    if name.isascii() and name.isdecimal() and len(name) < 6 and int(name) < len(tasks):
        return int(name)
    raise UnknownName("task", name, tasks)


# --- memory ----------------------------------------------------------------------------------


def check_memory(scenario: Scenario, card: ModelCard | None) -> Iterator[Finding]:
    """Every node can hold what it will run."""
    from scenarios.build import architecture, hardware
    from sim.compute.cost import CostModel

    if scenario.model is None or card is None:
        return
    for i, group in enumerate(scenario.nodes):
        if not group.servers or group.hardware is None:
            continue
        try:
            cost = CostModel(architecture(scenario.model), card, hardware(group))
        except InputError as error:
            yield Finding(("model", "cost_as"), str(error))
            return
        yield from _check_fit(group, ("nodes", i), cost, scenario)


def _check_fit(group: Group, path: Path, cost: Any, scenario: Scenario) -> Iterator[Finding]:
    place = (*path, "hardware" if group.memory_bytes is None else "memory")
    has_bytes = cost.hardware.memory_bytes
    one_bytes = cost.backbone_bytes + cost.activation_bytes(1)
    if one_bytes + cost.merged_bytes > has_bytes:
        said = "the model does not fit: backbone, one merged expert per layer and one request need"
        yield Finding(place, f"{said} {_of(one_bytes + cost.merged_bytes, has_bytes)}")
        return
    plan = _gated_plan(group, scenario)
    if plan is None:
        return
    gated_bytes = _gated_bytes(group, plan, cost)
    if gated_bytes > has_bytes:
        advice = "; `cache: lru` keeps only part of the experts" if group.cache == "all" else ""
        said = f"gated plans do not fit: they need {_of(gated_bytes, has_bytes)}{advice}"
        yield Finding(place, said, warning=isinstance(group.plan, RouterPlan))


def _gated_bytes(group: Group, plan: Gated, cost: Any) -> float:
    """Return what a gated plan needs on a node, each of its servers with one request."""
    fixed_bytes = cost.backbone_bytes
    if group.cache == "all":
        units = len(reachable(plan, cost.experts)) * cost.layers
        if isinstance(group.plan, RouterPlan):
            fixed_bytes += cost.merged_bytes  # of the start plan, in force until all are here
    else:
        units = group.servers
    working_bytes = cost.activation_bytes(1, plan) + cost.kv_bytes(1)
    return float(fixed_bytes + group.servers * working_bytes + units * cost.expert_bytes)


def _gated_plan(group: Group, scenario: Scenario) -> Gated | None:
    """Return the gated plan that a group must hold; for what routers choose, one of all experts."""
    words = group.plan
    if isinstance(words, RouterPlan):
        gated = any(is_gated(p.kind) and p.cache is None for p in scenario.policies)
        return TopK(1) if gated else None
    return gated_plan(words)


def _of(need_bytes: float, has_bytes: float) -> str:
    return f"{format_bytes(need_bytes)}, the node has {format_bytes(has_bytes)}"


CHECKS: tuple[tuple[frozenset[str], ModelCheck], ...] = (
    (frozenset({"model", "service", "nodes", "streams", "assert"}), check_mode),
    (frozenset({"service", "streams"}), check_service),
    (frozenset({"model"}), check_checkpoint),
    (frozenset({"model"}), check_clusters),
    (frozenset({"streams"}), check_traces),
    (frozenset({"policies", "model"}), check_policies),
    (frozenset({"nodes", "model"}), check_plans),
    (frozenset({"streams", "model"}), check_mixes),
    (frozenset({"faults", "model"}), check_expert_faults),
    (frozenset({"nodes", "model", "policies"}), check_memory),
)
