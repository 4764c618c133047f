"""Makes a run folder with synthetic but lawful data: FIFO queues, a learner, a fault, a drift.

Nothing of `sim` runs here,
so that the eyes are tested against their contract and not against the engine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from analysis.summary import summarise
from scenarios.files import write_json, write_text
from scenarios.results import DONE, FAILED, RunFolder, Status
from sim.records import DROPS, Record, Tables, columns

MIB = 2.0**20


@dataclass(frozen=True)
class Shape:
    """How big the folder is, and how the trials behave."""

    policies: tuple[str, ...] = ("tanbr", "top2", "uniform")
    seeds: tuple[int, ...] = (1, 2, 3)
    edges: int = 4
    slots: int = 24
    slot_s: float = 5.0
    rate_per_s: float = 8.0
    model: bool = True
    load: float = 0.6
    axes: tuple[dict[str, str], ...] = ({},)
    fault: bool = True
    drift: bool = True
    name: str = "synthetic"
    failed: bool = False


SKILL = {
    "tanbr": 0.80,
    "top2": 0.86,
    "top1": 0.78,
    "uniform": 0.64,
    "single": 0.70,
    "mix-oracle": 0.84,
}
SPEED = {"top2": 1.9, "top1": 1.3}
MEMORY = {"top2": 900.0, "top1": 900.0}


def meta(shape: Shape, policy: str, seed: int) -> dict[str, Any]:
    nodes = [_node(i, f"edge-{i}", "edge", shape) for i in range(shape.edges)]
    nodes.append({**_node(shape.edges, "cloud", "cloud", shape), "routed": False, "servers": 4})
    hub = shape.edges
    ends = [(i, hub) for i in range(shape.edges)] + [(hub, i) for i in range(shape.edges)]
    return {
        "name": shape.name, "seed": seed, "policy": policy, "kind": "tanbr",
        "oracle": "oracle" in policy,
        "duration_s": shape.slots * shape.slot_s, "drain_s": 10.0, "slot_s": shape.slot_s,
        "slots": shape.slots + 1 + seed % 2, "end_s": shape.slots * shape.slot_s + 6.0,
        "tasks": ["even", "odd", "prime"] if shape.model else [],
        "experts": 8 if shape.model else 0,
        "clusters": 3, "nodes": nodes,
        "links": [
            {"id": i, "src": a, "dst": b, "delay_s": 0.008, "bytes_per_s": 1.25e7} for i,
            (a, b) in enumerate(ends)
        ],
        "streams": [
            {"id": i, "name": f"s{i}", "node": i, "deadline_s": 0.2} for i in range(shape.edges)
        ],
        "model": "builtin:stream" if shape.model else None, "cost_as": "switch-base-8",
        "usage_assumed": True,
        "notes": ["the cloud runs top-2 under every policy"], "laws": {"L1": "ok", "L2": "ok"},
        "events": 12345,
        "workload_digest": f"world{seed:03d}",
    }  # fmt: skip


def _node(i: int, name: str, group: str, shape: Shape) -> dict[str, Any]:
    return {
        "id": i, "name": name, "group": group, "hardware": "jetson-orin-nano", "servers": 1,
        "capacity": 64,
        "memory_bytes": 1024 * MIB, "routed": shape.model,
    }  # fmt: skip


def lindley(arrive: np.ndarray, service: np.ndarray) -> np.ndarray:
    """Start times of a FIFO server: the loop that anyone would write."""
    start = np.empty_like(arrive)
    free = 0.0
    for i, (at, needs) in enumerate(zip(arrive, service, strict=True)):
        start[i] = max(at, free)
        free = start[i] + needs
    return start


def record(shape: Shape, policy: str, seed: int, load: float | None = None) -> Record:
    world = np.random.default_rng([seed, 7])
    luck = np.random.default_rng([seed, 11, sum(map(ord, policy))])
    facts = meta(shape, policy, seed)
    requests = _requests(shape, policy, facts, world, luck, load or shape.load)
    tables: Tables = {"requests": requests, "slots": _slots(shape, policy, facts, requests, luck)}
    if shape.model:
        tables["decisions"] = _decisions(shape, policy, luck)
        tables["memory"] = _memory(shape, policy, facts, luck)
        tables["drift"] = _drift(shape, policy)
    tables["links"] = _links(shape, facts)
    crash = [facts["duration_s"] * 0.7] * shape.fault
    back = [facts["duration_s"] * 0.8] * shape.fault
    tables["faults"] = _typed(
        "faults",
        t_s=crash + back,
        kind=[0] * len(crash) + [1] * len(back),
        target=[1] * (2 * len(crash)),
    )
    return Record(tables, facts, f"digest-{policy}-{seed}", facts["workload_digest"])


def _typed(name: str, experts: int = 0, **given: Any) -> dict[str, np.ndarray]:
    return {c.name: np.asarray(given[c.name], dtype=c.dtype) for c in columns(name, experts)}


def _requests(shape, policy, facts, world, luck, load):
    parts = [_station(shape, policy, node, facts, world, load) for node in range(shape.edges)]
    merged = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(merged["t_emit_s"], kind="stable")
    table = {name: values[order] for name, values in merged.items()}
    n = len(order)
    table["id"] = np.arange(n)
    table["batch"] = np.where(np.isfinite(table["t_start_s"]), np.arange(n), -1)
    slot = (table["t_emit_s"] / shape.slot_s).astype(int)
    right = luck.random(n) < _skill(policy, slot, shape)
    served = np.isfinite(table["t_finish_s"])
    table["correct"] = np.where(served & shape.model, right, -1)
    table["task"] = world.integers(0, 3, n) if shape.model else np.full(n, -1)
    table["input"] = np.where(shape.model, 5, -1) * np.ones(n)
    table["plan"] = np.where(served, slot, -1)
    table |= {
        "priority": np.zeros(n),
        "up_bytes": np.full(n, 2048.0),
        "down_bytes": np.full(n, 256.0),
    }
    return _typed("requests", **table)


def _skill(policy: str, slot: np.ndarray, shape: Shape) -> np.ndarray:
    best = SKILL.get(policy, 0.7)
    since_drift = np.where(slot >= shape.slots // 2, slot - shape.slots // 2, slot)
    return best - (0.16 * 0.85**since_drift if policy == "tanbr" else 0.0)


def _station(shape, policy, node, facts, world, load):
    """One node's FIFO queue; its service draws are the world's, scaled by the policy."""
    n = world.poisson(shape.rate_per_s * facts["duration_s"])
    emit = np.sort(world.uniform(0.0, facts["duration_s"], n))
    work = world.exponential(load / shape.rate_per_s / 1.9, n) * SPEED.get(policy, 1.0)
    stall = np.where(world.random(n) < 0.1, 0.02, 0.0) * (policy in MEMORY)
    enqueue = emit + 0.002
    start = lindley(enqueue, work + stall)
    drop = np.full(n, -1)
    crash, back = 0.7 * facts["duration_s"], 0.8 * facts["duration_s"]
    if shape.fault and node == 1:
        drop[(start + work + stall > crash) & (enqueue < back)] = DROPS.index("node_down")
    start = np.where((drop >= 0) | (start > facts["end_s"]), np.nan, start)
    finish = start + work + stall
    finish[finish > facts["end_s"]] = np.nan
    back_s = finish + 0.001
    return {
        "stream": np.full(n, node), "source": np.full(n, node), "server": np.full(n, node),
        "t_emit_s": emit, "t_dispatch_s": emit, "t_enqueue_s": np.where(drop >= 0, np.nan, enqueue),
        "t_start_s": start, "t_finish_s": finish,
        "t_return_s": np.where(back_s > facts["end_s"], np.nan, back_s),
        "stall_s": np.where(np.isfinite(finish), stall, np.nan),
        "service_s": np.where(np.isfinite(finish), work, np.nan),
        "batch_size": np.ones(n), "deadline_s": np.full(n, 0.2), "drop": drop,
    }  # fmt: skip


def _slots(shape, policy, facts, requests, luck):
    nodes, length = shape.edges + 1, facts["slots"]
    slot, node = (
        a.ravel() for a in np.meshgrid(np.arange(length), np.arange(nodes), indexing="ij")
    )
    started = np.isfinite(requests["t_finish_s"])
    at = (requests["t_start_s"][started] / shape.slot_s).astype(int) * nodes + requests["server"][
        started
    ]
    served = np.bincount(at, minlength=length * nodes)
    busy = np.bincount(
        at, weights=(requests["stall_s"] + requests["service_s"])[started], minlength=length * nodes
    )
    with np.errstate(invalid="ignore"):
        right = (
            np.bincount(at, weights=requests["correct"][started], minlength=length * nodes) / served
        )
    gone = requests["drop"] >= 0
    lost = (requests["t_emit_s"][gone] / shape.slot_s).astype(int) * nodes + requests["server"][
        gone
    ]
    none = np.full(length * nodes, np.nan)
    expected = np.where(luck.random(length * nodes) < 0.3, _skill(policy, slot, shape), np.nan)
    known = shape.model & (served > 0)
    return _typed(
        "slots", slot=slot, node=node, plan=np.where(shape.model, slot, -1), served=served,
        dropped=np.bincount(lost, minlength=length * nodes),
        reward=np.where(known, right, none), reward_expected=np.where(known, expected, none),
        reward_best=np.where(known, 0.84, none), reward_fixed=np.where(known, 0.8, none),
        task=np.where(known, node % 3, -1),
        context_tv=np.where(known, 0.05 + 0.4 * 0.9**slot, none) if policy == "tanbr" else none,
        busy_s=busy * 1.02, queue_max=np.minimum(served, 9),
        energy_j=5.0 * shape.slot_s + 10.0 * busy,
    )  # fmt: skip


def _decisions(shape, policy, luck):
    n = shape.slots * shape.edges
    weights = luck.dirichlet(np.ones(8), n)
    return _typed(
        "decisions", 8, id=np.arange(n), slot=np.repeat(np.arange(shape.slots), shape.edges),
        node=np.tile(np.arange(shape.edges), shape.slots), kind=np.full(n, 2), k=np.full(n, -1),
        t_force_s=np.repeat(np.arange(shape.slots) * shape.slot_s, shape.edges) + 0.1,
        work_flop=np.full(n, 2e9),
        read_bytes=np.full(n, 1e8), moved_bytes=np.zeros(n), state_bytes=np.full(n, 1e6),
        explored=luck.integers(0, 2, n), **{f"w_{e}": weights[:, e] for e in range(8)},
    )  # fmt: skip


def _drift(shape, policy):
    """Every node changes half way; the learner sees it two slots later, and once for nothing."""
    half, nodes = shape.slots // 2, list(range(shape.edges))
    rows = [(half, node, 0) for node in nodes if shape.drift]
    if policy == "tanbr" and shape.drift:
        rows += [(half + 2 + node, node, 1 + node % 2) for node in nodes] + [(3, 0, 2)]
    slot, node, kind = zip(*rows, strict=True) if rows else ((), (), ())
    return _typed("drift", slot=slot, node=node, kind=kind)


def _links(shape, facts):
    """Every link carries the same but loses more the higher its id, in two slots."""
    links = np.arange(len(facts["links"]))
    return _typed(
        "links", link=np.tile(links, 2), slot=np.repeat([0, 1], len(links)),
        sent_bytes=np.full(2 * len(links), 2.0**20), busy_s=np.full(2 * len(links), 0.5),
        lost=np.tile(links, 2),
    )  # fmt: skip


def _memory(shape, policy, facts, luck):
    rows = []
    for node in range(shape.edges):
        experts = MEMORY.get(policy, 0.0)
        rows += [
            (node, 0.0, 0, 90 * MIB),
            (node, 0.0, 1, experts * MIB * 0.8),
            (node, 0.0, 2, 100 * MIB * (not experts)),
        ]
        for slot in range(shape.slots):
            at = slot * shape.slot_s
            if not experts:
                rows += [(node, at, 3, 100 * MIB), (node, at + 0.6, 3, 0.0)]
            rows += [
                (node, at + 1.0 + i * 0.1, 4, float(luck.integers(0, 40)) * MIB) for i in range(20)
            ]
    rows.sort(key=lambda row: row[1])
    node, at, category, size = zip(*rows, strict=True)
    return _typed("memory", node=node, t_s=at, category=category, bytes=size)


def write(root: Path, shape: Shape | None = None) -> Path:
    """Write a whole run folder and return its path."""
    shape = shape or Shape()
    folder = RunFolder(root)
    rows, summaries = [], []
    for axes in shape.axes:
        load = float(axes.get("load", shape.load))
        for policy in shape.policies:
            for seed in shape.seeds:
                trial = f"t{len(rows):03d}"
                made = record(replace(shape, load=load), policy, seed)
                summary = summarise(made.tables, made.meta)
                folder.write_record(trial, made)
                folder.write_status(
                    trial, Status(DONE, made.digest, made.workload_digest, summary, 3.2)
                )
                rows.append({"id": trial, "policy": policy, "seed": seed, "status": DONE, **axes})
                summaries.append({**rows[-1], **summary})
    if shape.failed:
        rows.append({"id": "bad", "policy": "tanbr", "seed": 99, "status": FAILED, **shape.axes[0]})
        folder.write_status(
            "bad", Status(FAILED, stage="simulate", message="PlanRefused: 9 GiB do not fit")
        )
    folder.write_trials(rows)
    folder.write_summary(summaries)
    write_text(root / "scenario.yaml", f"name: {shape.name}  # <script>alert(1)</script>\n")
    write_text(root / "resolved.yaml", f"name: {shape.name}\n")
    write_json(root / "provenance.json", provenance(shape))
    return root


def provenance(shape: Shape) -> dict[str, Any]:
    session = {
        "argv": ["moedge", "compare", "metro", "--seeds", "1:4"], "seeds": list(shape.seeds),
        "started": "2026-01-01T00:00:00+00:00", "stopped": "2026-01-01T00:01:00+00:00",
        "python": "3.11.9",
        "os": "Linux", "cpu": "a cpu", "cores": 2, "threads": 1,
        "libraries": {"numpy": "2.4.6", "torch": "2.13.0"},
    }  # fmt: skip
    return {
        "moedge": "0.1.0", "code": "0.1.0+12345678", "schema": 1,
        "git": {"sha": "a" * 40, "dirty": False},
        "scenario_sha256": "b" * 64, "checkpoint_sha256": "c" * 64, "sessions": [session],
    }  # fmt: skip
