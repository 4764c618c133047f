"""The laws over random small worlds, counted again from the tables alone.

Every run checks its laws itself; here a slow, independent reading of the tables must agree.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sim.arrivals.workload import draw_workload
from sim.config import (
    ArrivalSpec,
    Batching,
    DispatchSpec,
    FaultSpec,
    FeedbackSpec,
    LinkSpec,
    PolicySpec,
    ServiceSpec,
    Setup,
    TransportSpec,
    World,
)
from sim.records import DROPS, FAULTS, MEMORY, RESIDENCY, Record, Table
from tests.sim import minds, worlds

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


SETUPS = (None, None, Setup(0.05), Setup(0.2, 0.1))
WORKS = ("drop", "keep", "resume", "migrate")
PATIENCE = (None, ServiceSpec("deterministic", 0.1), ServiceSpec("exponential", 0.2))
LINK_FAULTS: dict[str, dict[str, float]] = {
    "link-down": {},
    "link-slow": {"factor": 4.0, "delay_s": 0.1},
    "link-lossy": {"loss": 0.4},
}
TRANSPORTS = [TransportSpec(), TransportSpec(2), TransportSpec(4, 0.1), TransportSpec(3, 9.0)]


@st.composite
def links(draw: st.DrawFn, nodes: int) -> tuple[LinkSpec, ...]:
    """Draw a line, star or ring; on a line or star some pairs are several hops apart."""
    shape = draw(st.sampled_from(["line", "star", "ring"]))
    pairs = [(i, i + 1) if shape != "star" else (0, i + 1) for i in range(nodes - 1)]
    if shape == "ring" and nodes > 2:
        pairs.append((nodes - 1, 0))
    made: list[LinkSpec] = []
    for a, b in pairs:
        fields = {
            "delay_s": draw(st.sampled_from([0.0, 0.01, 0.2])),
            "bytes_per_s": draw(st.sampled_from([1e5, 1e6, np.inf])),
            "sharing": draw(st.sampled_from(["fifo", "fair", "none"])),
            "loss": draw(st.sampled_from([0.0, 0.0, 0.3])),
        }
        made += worlds.both_ways(a, b, len(made), **fields)
    return tuple(made)


@st.composite
def faults(draw: st.DrawFn, servers: list[int], count: int) -> tuple[FaultSpec, ...]:
    found: list[FaultSpec] = []
    works = [draw(st.sampled_from(WORKS)) for _ in servers]
    for _ in range(draw(st.integers(0, 3))):
        kind = draw(st.sampled_from(["node-crash", *(LINK_FAULTS if count else ())]))
        target = draw(st.sampled_from(servers if kind == "node-crash" else range(count)))
        work = works[servers.index(target)] if kind == "node-crash" else "drop"
        how: dict[str, Any] = {"work": work, **LINK_FAULTS.get(kind, {})}
        if draw(st.booleans()):
            found.append(FaultSpec(kind, target, mtbf_s=1.0, mttr_s=0.5, **how))
        else:
            at_s, for_s = draw(st.sampled_from([0.0, 1.0, 2.5])), draw(st.sampled_from([0.5, 9.0]))
            found.append(FaultSpec(kind, target, at_s, for_s, **how))
    return tuple(found)


@st.composite
def plain_worlds(draw: st.DrawFn) -> World:
    """Draw a world of `model: none`."""
    count = draw(st.integers(1, 4))
    servers = [draw(st.integers(0 if i else 1, 3)) for i in range(count)]
    nodes = []
    for i in range(count):
        room = servers[i] + draw(st.sampled_from([0, 2, 10]))
        batching = draw(st.sampled_from([Batching(), Batching(3, 0.05), Batching(2)]))
        rules: dict[str, Any] = {
            "discipline": draw(st.sampled_from(["fifo", "priority"])),
            "batching": batching,
            "setup": draw(st.sampled_from(SETUPS)),
        }
        if draw(st.integers(0, 3)) == 0:
            rules = {"discipline": "sharing", "job_share": draw(st.sampled_from([1.0, 0.3]))}
        nodes.append(worlds.node(i, servers=servers[i], capacity=room, **rules))
    made = draw(links(count))
    serving = [i for i in range(count) if servers[i]]
    streams = [
        worlds.stream(i, i, ArrivalSpec("poisson", draw(st.sampled_from([3.0, 30.0]))),
                      up_bytes=2e3, down_bytes=1e3, priority=draw(st.integers(0, 2)),
                      patience=draw(st.sampled_from(PATIENCE)), deadline_s=0.3,
                      late=draw(st.sampled_from(["serve", "drop"])))
        for i in range(count)
    ]  # fmt: skip
    law = draw(st.sampled_from(["exponential", "deterministic"]))
    dispatch = draw(st.sampled_from(["random", "round-robin", "least-loaded", "power-of-two"]))
    return World(
        name="drawn", seed=draw(st.integers(0, 999)), duration_s=4.0,
        drain_s=draw(st.sampled_from([0.0, 0.5, 30.0])), slot_s=draw(st.sampled_from([0.7, 1.0])),
        nodes=tuple(nodes), links=made, streams=tuple(streams),
        service=ServiceSpec(law, 0.1, each_s=draw(st.sampled_from([0.0, 0.02]))),
        dispatch=DispatchSpec(dispatch, draw(st.sampled_from([0.0, 0.3]))),
        faults=draw(faults(serving, len(made))), transport=draw(st.sampled_from(TRANSPORTS)),
    )  # fmt: skip


def ends(record: Record, world: World) -> np.ndarray:
    """Return when each request left its server: finish, crash, end of patience, or the end."""
    table, faults = record.tables["requests"], record.tables["faults"]
    left = np.where(np.isnan(table["t_finish_s"]), np.inf, table["t_finish_s"])
    for t_s, kind, target in zip(faults["t_s"], faults["kind"], faults["target"], strict=True):
        if FAULTS[kind] == "node-crash" and work_of(world, target) == "drop":
            taken = (table["server"] == target) & (table["t_enqueue_s"] <= t_s) & (left > t_s)
            left[taken & (table["drop"] == DROPS.index("node_down"))] = t_s
    dropped = table["drop"] == DROPS.index("memory")
    left[dropped] = table["t_enqueue_s"][dropped]  # (at its turn, which no column tells)
    gone = np.isin(table["drop"], [DROPS.index("patience"), DROPS.index("deadline")])
    left[gone] = give_up_s(record, world)[gone]  # (or later, at the crash that took its server)
    return np.minimum(left, record.meta["end_s"])


def give_up_s(record: Record, world: World) -> np.ndarray:
    """Return until when each request waits where it joined."""
    sizes = minds.Varied().card.pool_sizes if world.model else None
    drawn = draw_workload(world, sizes)
    assert drawn.digest == record.workload_digest
    return np.minimum(record.tables["requests"]["t_enqueue_s"] + drawn.patience_s, drawn.expires_s)


def work_of(world: World, node: int) -> str:
    """Return what crashes of a node do to its requests."""
    crashes = [f for f in world.faults if f.kind == "node-crash"]
    works = [f.work for f in crashes if node in (f.target, *f.also)]
    return works[0] if works else "none"


def most(begin: np.ndarray, end: np.ndarray) -> int:
    """Return the most intervals that overlap; one that begins where another ends does not."""
    steps = sorted([(t, 1) for t in begin] + [(t, -1) for t in end])
    level = high = 0
    for _, step in steps:
        level += step
        high = max(high, level)
    return high


def check_ends(record: Record) -> None:
    table = record.tables["requests"]
    returned, dropped = ~np.isnan(table["t_return_s"]), table["drop"] >= 0
    assert not (returned & dropped).any()
    laws = record.meta["laws"]
    assert laws["in_flight"] == (~returned & ~dropped).sum()
    assert laws["emitted"] == len(table["id"])
    for code, reason in enumerate(DROPS):
        assert laws[reason] == (table["drop"] == code).sum()
    assert record.tables["slots"]["dropped"].sum() <= dropped.sum()


def check_stamps(record: Record) -> None:
    table = record.tables["requests"]
    stamps = [table[f"t_{name}_s"] for name in
              ("emit", "dispatch", "enqueue", "start", "finish", "return")]  # fmt: skip
    for early, late in pairwise(stamps):
        assert not (late < early).any()
        assert not (np.isnan(early) & ~np.isnan(late)).any()  # no stage is left out
    assert np.nanmax(np.concatenate([*stamps, [0.0]])) <= record.meta["end_s"]
    done = ~np.isnan(table["t_finish_s"])
    spent = (table["t_finish_s"] - table["t_start_s"])[done]
    np.testing.assert_allclose(spent, (table["service_s"] + table["stall_s"])[done], atol=1e-9)


def check_nodes(record: Record, world: World) -> None:
    table, left = record.tables["requests"], ends(record, world)
    for node in record.meta["nodes"]:
        here = (table["server"] == node["id"]) & ~np.isnan(table["t_enqueue_s"])
        inside = most(table["t_enqueue_s"][here], left[here])
        assert inside <= (node["capacity"] or np.inf)
        started = here & ~np.isnan(table["t_start_s"])
        batches, first = np.unique(table["batch"][started], return_index=True)
        rows = np.flatnonzero(started)[first]
        shared = world.nodes[node["id"]].discipline == "sharing"
        assert shared or most(table["t_start_s"][rows], left[rows]) <= node["servers"]
        check_order(table, np.flatnonzero(here), world, node["id"])
        for batch in batches:
            members = table["batch"] == batch
            assert (table["batch_size"][members] == members.sum()).all()
            assert len(np.unique(table["t_start_s"][members])) == 1


def check_order(table: Table, here: np.ndarray, world: World, node: int) -> None:
    """First come, first served; by priority nobody starts while a higher one waits."""
    joined, started = table["t_enqueue_s"][here], table["t_start_s"][here]
    discipline = world.nodes[node].discipline
    if work_of(world, node) == "keep":
        return  # what had started may start again, after others have been served
    if discipline == "fifo":
        served = ~np.isnan(started)
        order = np.lexsort((started[served], joined[served]))
        assert (np.diff(started[served][order]) >= 0).all()
    elif discipline == "sharing" and work_of(world, node) != "resume":
        np.testing.assert_array_equal(joined, started)
    elif discipline == "priority":
        priority = table["priority"][here]
        for start, rank in zip(started, priority, strict=True):
            assert not ((joined <= start) & (started > start) & (priority > rank)).any()


def check_busy(record: Record, world: World) -> None:
    """Without own work of policies a server is busy exactly while it serves.

    Set-up, and work that a crash has thrown away, take server time, too, and are not in the tables.
    """
    table, left, slots = record.tables["requests"], ends(record, world), record.tables["slots"]
    started = np.flatnonzero(~np.isnan(table["t_start_s"]))
    _, first = np.unique(table["batch"][started], return_index=True)
    rows = started[first]
    for node in record.meta["nodes"]:
        mine = rows[table["server"][rows] == node["id"]]
        total_s = slots["busy_s"][slots["node"] == node["id"]].sum()
        if world.nodes[node["id"]].discipline == "sharing":
            assert total_s > np.nansum(table["service_s"][mine]) - 1e-9
            continue
        spans = zip(table["t_start_s"][mine], left[mine], strict=True)
        busy_s = sum(up_s(record, node["id"], begin, end) for begin, end in spans)
        cold = world.nodes[node["id"]].setup is not None
        if cold or work_of(world, node["id"]) in {"keep", "migrate"}:
            assert total_s > busy_s - 1e-9
        else:
            np.testing.assert_allclose(total_s, busy_s, atol=1e-9)


def up_s(record: Record, node: int, begin: float, end: float) -> float:
    """Return how long a node was up within a span."""
    faults = record.tables["faults"]
    mine = [FAULTS[k].startswith("node") and t == node
            for k, t in zip(faults["kind"], faults["target"], strict=True)]  # fmt: skip
    bounds = [begin, *np.clip(faults["t_s"][mine], begin, end), end]
    return sum(b - a for a, b in list(pairwise(bounds))[::2])


@QUICK
@given(world=plain_worlds())
def test_the_laws_hold_without_a_model(world: World) -> None:
    record = worlds.run(world)
    check_ends(record)
    check_stamps(record)
    check_nodes(record, world)
    check_busy(record, world)


@st.composite
def minded_worlds(draw: st.DrawFn) -> World:
    """Draw a world whose nodes run a small model, some with little memory."""
    count = draw(st.integers(1, 3))
    nodes = []
    for i in range(count):
        room_bytes = draw(st.sampled_from([2 * minds.MB, 4 * minds.MB, 12 * minds.MB]))
        memory_bytes = minds.BACKBONE + minds.MERGED + room_bytes
        hardware = minds.chip(memory_bytes, flop_per_s=1e12, bytes_per_s=1e12, kernel_s=0.001)
        nodes.append(
            minds.node(
                i, hardware=hardware, servers=draw(st.integers(1, 3)), capacity=20,
                cache=draw(st.sampled_from(["all", "lru"])),
                swap=draw(st.sampled_from(["double-buffer", "stop-the-world"])),
                batching=draw(st.sampled_from([Batching(), Batching(4, 0.01), Batching(30)])),
                discipline=draw(st.sampled_from(["fifo", "priority"])),
                setup=draw(st.sampled_from(SETUPS)),
            )
        )  # fmt: skip
    crashes = tuple(
        FaultSpec("node-crash", i, mtbf_s=2.0, mttr_s=0.3,
                  work=draw(st.sampled_from(["drop", "keep", "migrate"])))
        for i in range(count)
        if draw(st.booleans())
    )  # fmt: skip
    streams = [
        minds.poisson(draw(st.sampled_from([5.0, 60.0])), at=i, deadline_s=0.1, priority=i,
                      late=draw(st.sampled_from(["serve", "drop"])))
        for i in range(count)
    ]  # fmt: skip
    sharing, loss = draw(st.sampled_from(["fifo", "fair"])), draw(st.sampled_from([0.0, 0.2]))
    kind = {"sharing": sharing, "loss": loss}
    links = [link for i in range(count - 1) for link in worlds.both_ways(i, i + 1, 2 * i, **kind)]
    cuts = tuple(
        FaultSpec("link-down", link.id, mtbf_s=1.0, mttr_s=0.3)
        for link in links
        if draw(st.booleans())
    )
    via = draw(st.sampled_from([None, 0]))
    return minds.world(
        nodes, streams, duration_s=4.0, seed=draw(st.integers(0, 99)),
        drain_s=draw(st.sampled_from([0.0, 5.0])), slot_s=draw(st.sampled_from([0.25, 1.0])),
        dispatch=DispatchSpec(draw(st.sampled_from(["local", "least-loaded"]))),
        faults=crashes + cuts, decision_delay_slots=draw(st.integers(0, 2)), links=tuple(links),
        feedback=FeedbackSpec(
            draw(st.sampled_from([0.0, 0.4])), draw(st.sampled_from([0.5, 1.0])), via, 1e4, 1e2
        ),
    )  # fmt: skip


def check_plans(record: Record) -> None:
    """Each request was served by the plan that had last taken force on its node."""
    table, decisions = record.tables["requests"], record.tables["decisions"]
    for rid in np.flatnonzero(table["plan"] >= 0):
        plan = int(table["plan"][rid])
        assert decisions["id"][plan] == plan
        assert decisions["node"][plan] == table["server"][rid]
        assert decisions["t_force_s"][plan] <= table["t_start_s"][rid]


def check_memory(record: Record) -> None:
    """The log never passes the budget, counted after each instant."""
    memory = record.tables["memory"]
    for node in record.meta["nodes"]:
        held: dict[int, float] = {}
        rows = np.flatnonzero(memory["node"] == node["id"])
        assert (np.diff(memory["t_s"][rows]) >= 0).all()
        for row in rows:
            held[int(memory["category"][row])] = float(memory["bytes"][row])
            assert held[int(memory["category"][row])] >= 0.0
            following = rows[rows > row][:1]
            settled = not len(following) or memory["t_s"][following[0]] > memory["t_s"][row]
            assert not settled or sum(held.values()) <= node["memory_bytes"]


def check_experts(record: Record) -> None:
    """What is resident takes memory; what takes memory is resident or on its way from storage."""
    memory, residency = record.tables["memory"], record.tables["residency"]
    for node in record.meta["nodes"]:
        here = np.flatnonzero(memory["node"] == node["id"])
        mine = here[memory["category"][here] == MEMORY.index("experts")]
        moves = residency["node"] == node["id"]
        step = np.where(residency["event"][moves] == RESIDENCY.index("fetch"), 1, -1)
        times_s, count = residency["t_s"][moves], np.cumsum(step)
        assert (count >= 0).all()
        settled = np.unique(times_s)
        at = np.searchsorted(times_s, settled, side="right") - 1
        held = np.searchsorted(memory["t_s"][mine], settled, side="right") - 1
        held_bytes = np.where(held >= 0, memory["bytes"][mine][np.maximum(held, 0)], 0.0)
        assert (held_bytes >= minds.UNIT * count[at] - 1.0).all()


def check_audits(seen: minds.Seen, world: World) -> None:
    """Every audit is heard, lost, or one that a host still waits for; only a judge takes bytes."""
    counts, links = seen.record.meta["audits"], seen["links"]
    blocks = seen.hosts[0]._host._blocks  # type: ignore[attr-defined]
    waiting = sum(len(block._pending._held) for block in blocks)
    assert counts["begun"] == counts["heard"] + counts["lost"] + waiting
    assert links["sent_bytes"].sum() == 0.0 or world.feedback.via == 0


def check_nothing_is_stuck(record: Record) -> None:
    """No batch waits for experts, or for another batch, for ever."""
    table = record.tables["requests"]
    running = ~np.isnan(table["t_start_s"]) & np.isnan(table["t_finish_s"]) & (table["drop"] < 0)
    assert (record.meta["end_s"] - table["t_start_s"][running] < 3.0).all()


@settings(QUICK, max_examples=25)
@given(world=minded_worlds())
def test_the_laws_hold_with_a_model(world: World) -> None:
    seen = minds.run(world, PolicySpec("listener", "listener"), minds.Varied())
    check_ends(seen.record)
    check_stamps(seen.record)
    check_nodes(seen.record, world)
    check_plans(seen.record)
    check_nothing_is_stuck(seen.record)
    check_memory(seen.record)
    check_experts(seen.record)
    check_audits(seen, world)
