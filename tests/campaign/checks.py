"""What must hold after any run, read from its tables alone: beside the laws that `simulate` checks.

Every check raises AssertionError with what it found.
"""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np

from sim.config import World
from sim.faults import SINGLE_KINDS, timetable
from sim.records import DROPS, FAULTS, Record
from tests.agents.hosting.tiny import routers_of
from tests.campaign.draws import DRAIN_S
from tests.laws import test_laws as laws
from tests.sim import minds

AWARE = ("least-loaded", "power-of-two", "random", "round-robin")  # all but `local` skip nodes down


def check(world: World, record: Record, seen: minds.Seen | None) -> None:
    """Check one run.

    Args:
        world: What ran.
        record: What it left.
        seen: Its hosts, if it has a model.
    """
    laws.check_ends(record)
    laws.check_stamps(record)
    reasons(world, record)
    numbers(world, record)
    if plain_works(world):
        laws.check_nodes(record, world)
    if plain_works(world) and seen is None:
        laws.check_busy(record, world)
    outages(record)
    detection(world, record)
    drained(world, record)
    if seen is not None:
        minded(world, seen)


def plain_works(world: World) -> bool:
    """Tell whether all crashes of a node do the same to its requests: then tables tell more."""
    crashes = [f for f in world.faults if f.kind == "node-crash"]
    hit = {(node, f.work) for f in crashes for node in (f.target, *f.also)}
    return len({node for node, _ in hit}) == len(hit)


# --- requests


def reasons(world: World, record: Record) -> None:
    """A drop has a reason that this world has, at a stage where it can happen."""
    table, kinds = record.tables["requests"], {fault.kind for fault in world.faults}
    lossy = any(link.loss > 0.0 for link in world.links) or "link-lossy" in kinds
    possible = {
        "queue_full": any(n.servers and n.capacity < inf for n in world.nodes),
        "node_down": "node-crash" in kinds,
        "link_down": "link-down" in kinds,
        "no_route": "link-down" in kinds,
        "memory": world.model is not None,
        "loss": lossy,
        "patience": any(s.patience is not None for s in world.streams),
        "deadline": any(s.late == "drop" for s in world.streams),
    }
    for code, reason in enumerate(DROPS):
        mine = table["drop"] == code
        assert possible[reason] or not mine.any(), f"{reason} in a world that has none"
        assert np.isnan(table["t_return_s"][mine]).all(), f"{reason} of a request that returned"
        if reason in {"queue_full", "patience", "deadline"}:
            assert np.isnan(table["t_finish_s"][mine]).all(), (
                f"{reason} of a request that was served"
            )


# --- slots and links


def numbers(world: World, record: Record) -> None:
    """No number of any table is impossible."""
    slots, links = record.tables["slots"], record.tables["links"]
    servers = np.array([n.servers for n in world.nodes])[slots["node"]]
    assert (slots["busy_s"] >= -1e-9).all()
    assert (slots["busy_s"] <= servers * world.slot_s + 1e-9).all()
    assert (slots["energy_j"] >= 0.0).all()
    assert (slots["served"] >= 0).all()
    for column in ("sent_bytes", "busy_s", "lost"):
        assert ((links[column] >= 0) & np.isfinite(links[column])).all(), f"links.{column}"


# --- faults


def outages(record: Record) -> None:
    """Faults that hold or do not take turns with their ends; of the others none ends unbegun."""
    table = record.tables["faults"]
    assert (np.diff(table["t_s"]) >= 0.0).all()
    depth: dict[tuple[str, int], int] = {}
    for code, target in zip(table["kind"].tolist(), table["target"].tolist(), strict=True):
        kind, step = FAULTS[code - code % 2], 1 - 2 * (code % 2)
        depth[kind, target] = depth.get((kind, target), 0) + step
        most = 1 if kind in SINGLE_KINDS else inf
        assert 0 <= depth[kind, target] <= most, f"{kind} of {target}"


def detection(world: World, record: Record) -> None:
    """Once a dated view shows a node down, nobody sends a request there while another is up."""
    every_s = world.dispatch.view_every_s
    mute = any(fault.kind == "telemetry-loss" for fault in world.faults)
    migrates = any(fault.work == "migrate" for fault in world.faults)
    if not every_s or mute or migrates or world.dispatch.kind not in AWARE:
        return
    table = record.tables["requests"]
    down = down_times(record)
    views = np.floor(table["t_emit_s"] / every_s) * every_s
    serving = [n.id for n in world.nodes if n.servers]
    for rid, view_s in enumerate(views.tolist()):
        if table["t_emit_s"][rid] <= view_s + 1e-9:
            continue  # at the refresh itself, by rounding
        shown = [node for node in serving if any(a <= view_s < b for a, b in down.get(node, ()))]
        if len(shown) < len(serving):
            assert table["server"][rid] not in shown, f"request {rid} went to a node seen down"


def down_times(record: Record) -> dict[int, list[tuple[float, float]]]:
    """Return by node when it was down."""
    table = record.tables["faults"]
    down: dict[int, list[tuple[float, float]]] = {}
    for t_s, code, target in zip(
        *(table[c].tolist() for c in ("t_s", "kind", "target")), strict=True
    ):
        if FAULTS[code] == "node-crash":
            down.setdefault(target, []).append((t_s, inf))
        elif FAULTS[code] == "node-restart":
            down[target][-1] = (down[target][-1][0], t_s)
    return down


def calm(world: World) -> bool:
    """Tell whether all faults end before the arrivals do, and the drain is long."""
    over = all(outage.until_s <= world.duration_s for outage in timetable(world))
    return over and world.drain_s >= DRAIN_S


def drained(world: World, record: Record) -> None:
    """After the last fault all queues drain: every request came to its end."""
    if calm(world):
        stuck = record.meta["laws"]["in_flight"]
        assert stuck == 0, f"{stuck} requests never came to their end"
        assert record.meta["end_s"] < world.duration_s + world.drain_s, "the run did not end"


# --- models


def audits(seen: minds.Seen) -> None:
    """Every audit is heard, lost, on its way, or one that a host still waits for."""
    counts = seen.record.meta["audits"]
    blocks = [block for host in seen.hosts for block in host._host._blocks]  # type: ignore[attr-defined]
    waiting = sum(len(block._pending._held) for block in blocks)
    assert counts["begun"] == counts["heard"] + counts["lost"] + waiting


def minded(world: World, seen: minds.Seen) -> None:
    """Check plans, memory, audits, and that routers heard nothing but rewards."""
    record = seen.record
    laws.check_plans(record)
    laws.check_memory(record)
    laws.check_experts(record)
    audits(seen)
    heard = [b for host in seen.hosts for router in routers_of(host) for b in router.learned]
    for block in heard:
        assert ((block.reward >= 0.0) & (block.reward <= 1.0)).all(), "a router heard no reward"
        assert (block.count >= 0.0).all()
    odd = [f for f in world.faults if f.kind == "feedback-spoiled" and not 0.0 <= f.value <= 1.0]
    told: list[dict[str, Any]] = record.meta["refused_rewards"]
    assert odd or not told, "rewards were refused that nothing spoiled"
    lines = [note for note in record.meta["notes"] if ": reward " in note]
    assert len(lines) == len(told)
