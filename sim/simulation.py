"""One run: draws the workload, lets the fleet move, checks the laws, returns a Record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sim.arrivals.workload import draw_workload
from sim.coupling import Shards
from sim.errors import InputError
from sim.fast.decide import decide
from sim.fleet import Fleet
from sim.records import Record, digest
from sim.slots import reward_columns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sim.config import PolicySpec, World
    from sim.fast.fleet import FastFleet
    from sim.fast.flow_fleet import FlowFleet
    from sim.parts import Parts
    from sim.ports import ModelCard


def simulate(world: World, policy: PolicySpec | None, parts: Parts) -> Record:
    """Run one trial.

    Args:
        world: Everything that is the same for every policy of one seed.
        policy: Who steers the routed nodes; None only with `model: none`.
        parts: Plug-ins and hosts.

    Returns:
        Tables, meta and digests.

    Raises:
        LawViolation: A law is broken (a bug).
        PlanRefused: A node cannot hold the plan that it must start with.
        HostError: A host died.
    """
    _check(world, policy, parts)
    dispatch = (policy.dispatch if policy else None) or world.dispatch
    decision = decide(world, parts, dispatch)
    fleet: Fleet | FastFleet | FlowFleet
    if decision.engine == "slots":
        from sim.fast.run import fast_fleet

        fleet = fast_fleet(world, parts, dispatch, cache=policy.cache if policy else None)
    else:
        workload = draw_workload(world, parts.card.pool_sizes if parts.card else None)
        fleet = Fleet(world, workload, parts, dispatch, policy.cache if policy else None)
    fleet.run()
    counts = fleet.audit()
    tables = fleet.tables()
    if fleet.brains is not None and parts.card is not None:
        shards = Shards(parts.hosts, parts.shard_of)
        rewards = reward_columns(
            tables["requests"],
            tables["slots"],
            world.slot_s,
            len(parts.card.tasks),
            shards,
            fleet.brains.coupling.estimates,
        )
        slots = tables["slots"]
        slots.update({name: values.astype(slots[name].dtype) for name, values in rewards.items()})
    meta = _meta(world, policy, fleet, counts)
    fleet.describe(tables, meta)
    meta["workload_digest"] = fleet.workload_digest
    meta["engine"] = decision.facts()
    return Record(tables, meta, digest(tables), fleet.workload_digest)


def _check(world: World, policy: PolicySpec | None, parts: Parts) -> None:
    if world.model is None:
        if world.service is None:
            raise InputError("service: required with `model: none`")
    elif policy is None or parts.card is None or not parts.hosts:
        raise InputError("a run with a model needs a policy, a model card and at least one host")


def _clusters(world: World, card: ModelCard | None) -> int:
    """Return the number of clusters in effect: the scenario's own, or the checkpoint's."""
    if card is None or world.model is None:
        return 0
    return world.model.clusters.count or card.clusters


def _meta(
    world: World,
    policy: PolicySpec | None,
    fleet: Fleet | FastFleet | FlowFleet,
    counts: Mapping[str, int],
) -> dict[str, Any]:
    """Return what readers of the tables need to know about the run (JSON-ready)."""
    card, brains = fleet.card, fleet.brains
    kind = policy.kind if policy else "none"
    names = [node.name for node in world.nodes]
    refused = brains.coupling.refusals.notes(kind, names) if brains else []
    routed = brains.coupling.routed if brains else [False] * len(world.nodes)
    return {
        "name": world.name,
        "seed": world.seed,
        "policy": policy.label if policy else "none",
        "kind": kind,
        "oracle": fleet.parts.oracle,
        "duration_s": world.duration_s,
        "drain_s": world.drain_s,
        "slot_s": world.slot_s,
        "slots": fleet.slots_closed,
        "end_s": fleet.end_s,
        "tasks": list(card.tasks) if card else [],
        "experts": card.experts if card else 0,
        "clusters": _clusters(world, card),
        "nodes": [
            {
                "id": n.id, "name": n.name, "group": n.group, "hardware": n.hardware.name,
                "servers": n.servers, "capacity": n.capacity if np.isfinite(n.capacity) else None,
                "memory_bytes": n.hardware.memory_bytes, "routed": routed[n.id],
                "own_s": fleet.own_s(n.id),
            }
            for n in world.nodes
        ],
        "links": [
            {
                "id": link.id, "src": link.src, "dst": link.dst, "delay_s": link.delay_s,
                "bytes_per_s": link.bytes_per_s if np.isfinite(link.bytes_per_s) else None,
            }
            for link in world.links
        ],
        "streams": [
            {
                "id": s.id, "name": s.name, "node": s.node,
                "deadline_s": s.deadline_s if np.isfinite(s.deadline_s) else None,
            }
            for s in world.streams
        ],
        "model": world.model.checkpoint if world.model else None,
        "cost_as": brains.cost_as if brains else None,
        "usage_assumed": bool(brains and brains.usage_assumed),
        "notes": [*(brains.assumptions() if brains else ()), *refused, *fleet.parts.notes],
        "refused_rewards": brains.coupling.refusals.rows(kind) if brains else [],
        "laws": dict(counts),
        "audits": {**brains.audits.counts, "sent_bytes": brains.audits.sent_bytes}
        if brains
        else {},
        "events": fleet.events,
    }  # fmt: skip
