"""Telemetry loss: dispatchers see what was last heard, outcomes are lost, the rest goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from agents.caches import CACHES
from sim.config import (
    ArrivalSpec,
    DispatchSpec,
    FaultSpec,
    FeedbackSpec,
    PolicySpec,
    ServiceSpec,
    World,
)
from sim.parts import Parts
from sim.records import FAULTS, Record
from sim.simulation import simulate
from sim.views import FleetView, Sight, Stale
from tests.sim import minds
from tests.sim.worlds import both_ways, fleet, node, run, stream

Seen = list[tuple[float, float, list[int], list[bool]]]


def watched(world: World) -> tuple[Seen, Record]:
    """Run with a dispatcher that serves at node 1 and writes down what it sees of all nodes."""
    seen: Seen = []

    class Watcher:
        flop = 0.0

        def __init__(self, setup: Any) -> None:
            pass

        def choose(self, source: int, view: FleetView) -> int:
            seen.append((view.t_s, len(seen), list(view.in_system), [view.up[i] for i in (0, 1)]))
            return 1

    made: Callable[[Any], Any] = Watcher
    return seen, simulate(world, None, Parts(lambda _: made, CACHES.load))


def one_a_second(*faults: FaultSpec, **fields: Any) -> World:
    """Return two nodes; node 1 gets a request at each half second and serves it for 2.6 s."""
    base = fleet(2, duration_s=10.0)
    arrivals = ArrivalSpec("trace", times_s=tuple(0.5 + i for i in range(10)))
    return replace(
        base, nodes=(node(0), node(1)), links=both_ways(0, 1, 0, delay_s=0.0, bytes_per_s=np.inf),
        streams=(stream(0, 1, arrivals),), service=ServiceSpec("deterministic", 2.6),
        faults=faults, drain_s=30.0, **fields,
    )  # fmt: skip


def loads(seen: Seen) -> list[int]:
    return [row[2][1] for row in seen]


FREE = [0, 1, 2, 2, 3, 4, 4, 5, 5, 6]  # what a live view shows of node 1 without a fault


def test_a_live_view_shows_a_mute_node_as_it_was_when_it_went_mute() -> None:
    assert loads(watched(one_a_second())[0]) == FREE
    seen, _ = watched(one_a_second(FaultSpec("telemetry-loss", 1, 2.0, 4.0)))
    assert loads(seen) == [0, 1, *[2] * 4, *FREE[6:]]
    # the other node is seen as ever, and views are still of now
    assert [row[0] for row in seen] == [0.5 + i for i in range(10)]


def test_a_dated_view_keeps_its_last_entry() -> None:
    every = DispatchSpec("", 1.0)
    free = loads(watched(one_a_second(dispatch=every))[0])
    assert free == [0, 1, 2, 3, 3, 4, 4, 5, 6, 6]
    seen, _ = watched(one_a_second(FaultSpec("telemetry-loss", 1, 2.9, 4.0), dispatch=every))
    # mute at 2.9 s: the view of 2 s stays; heard again at 6.9 s, seen from the refresh at 7 s on
    assert loads(seen) == [0, 1, 2, *[2] * 4, *free[7:]]
    assert [row[0] for row in seen] == [float(i) for i in range(10)]  # dated all the same


def test_what_a_view_shows_at_the_instant_of_the_loss_is_what_was_known_before() -> None:
    every = DispatchSpec("", 1.0)
    seen, _ = watched(one_a_second(FaultSpec("telemetry-loss", 1, 3.0, 3.0), dispatch=every))
    # the refresh of 3 s hears nothing, the one of 6 s does
    assert loads(seen) == [0, 1, 2, 2, 2, 2, 4, 5, 6, 6]


@pytest.mark.parametrize("every_s", [0.0, 0.5])
def test_a_mute_node_that_crashes_looks_up(every_s: float) -> None:
    faults = (FaultSpec("node-crash", 1, 4.0, 2.0), FaultSpec("telemetry-loss", 1, 3.0, 4.0))
    seen, record = watched(one_a_second(*faults, dispatch=DispatchSpec("", every_s)))
    assert all(row[3][1] for row in seen)
    assert record.meta["laws"]["node_down"] > 2
    late = (FaultSpec("node-crash", 1, 4.0, 1.2), FaultSpec("telemetry-loss", 1, 4.2, 3.6))
    seen, _ = watched(one_a_second(*late, dispatch=DispatchSpec("", every_s)))
    # the crash was heard before the silence (by the refresh at that instant), the restart was not
    assert [row[3][1] for row in seen] == [True] * 4 + [False] * 4 + [True] * 2


def test_losses_that_overlap_are_one() -> None:
    faults = (FaultSpec("telemetry-loss", 1, 2.0, 3.0), FaultSpec("telemetry-loss", 1, 3.0, 3.0))
    seen, record = watched(one_a_second(*faults))
    assert loads(seen) == [0, 1, *[2] * 4, *FREE[6:]]
    told = [FAULTS[k] for k in record.tables["faults"]["kind"]]
    assert told == ["telemetry-loss", "telemetry-loss-end"]


def test_two_mute_nodes_stand_still_apart() -> None:
    live, up = [1, 2, 3], [True, True, False]
    sight = Sight(live, up, [1, 1, 1], live=True)
    view = sight.look(0.0)
    assert view.in_system is live  # the engine's own, at no cost
    view = sight.mute(0, view)
    live[:] = [7, 8, 9]
    view = sight.mute(2, view)
    up[:] = [False, False, True]
    live[2] = 10
    assert list(view.in_system) == [1, 8, 9]
    assert list(view.up) == [True, False, False]
    view = sight.unmute(0, view)
    assert list(view.in_system) == [7, 8, 9]
    view = sight.unmute(2, view)
    assert view.in_system is live


def test_stale_sequences_are_sequences() -> None:
    stale = Stale([1, 2, 3, 4], {1: 20})
    assert (len(stale), stale[1], stale[-3], list(stale[0:3])) == (4, 20, 20, [1, 20, 3])
    assert np.asarray(stale).tolist() == [1, 20, 3, 4]
    with pytest.raises(IndexError):
        stale[4]


# --- detection


def routed_down(record: Record, every_s: float, detected: bool) -> int:
    """Count requests sent to a node that is down while the view in hand shows it so, or not yet.

    A crash is in the first refresh at or after it, and so is the restart.
    """
    table, faults = record.tables["requests"], record.tables["faults"]
    count = 0
    for word, at_s, target in zip(faults["kind"], faults["t_s"], faults["target"], strict=True):
        if FAULTS[word] != "node-crash":
            continue
        back = (faults["t_s"] > at_s) & (faults["target"] == target)
        until_s = faults["t_s"][back & (faults["kind"] == FAULTS.index("node-restart"))][:1]
        until_s = until_s.item() if len(until_s) else np.inf
        seen_s = np.ceil(at_s / every_s) * every_s
        gone_s = np.ceil(until_s / every_s) * every_s
        emitted = table["t_emit_s"]
        window = (emitted > seen_s) & (emitted < gone_s) if detected else (
            (emitted > at_s) & (emitted < min(seen_s, until_s)))  # fmt: skip
        count += int((window & (table["server"] == target)).sum())
    return count


@pytest.mark.parametrize("kind", ["least-loaded", "power-of-two", "random", "round-robin"])
def test_nobody_is_sent_to_a_node_that_is_seen_down(kind: str) -> None:
    faults = tuple(FaultSpec("node-crash", i, mtbf_s=4.0, mttr_s=1.5) for i in range(3))
    world = fleet(4, seed=3, duration_s=30.0, faults=faults)
    record = run(replace(world, dispatch=DispatchSpec(kind, 0.25)))
    assert (record.tables["faults"]["kind"] == FAULTS.index("node-crash")).sum() > 10
    assert routed_down(record, 0.25, detected=True) == 0
    assert routed_down(record, 0.25, detected=False) > 0  # before it is seen, some are


# --- outcomes


def test_outcomes_of_what_ends_while_the_node_is_mute_are_lost() -> None:
    times = (0.5, 1.5, 2.5, 3.5)
    base = minds.world([minds.node()], [minds.timed(times)], feedback=FeedbackSpec(0.0, 1.0))
    ends = minds.run(base, minds.script())["requests"]["t_finish_s"]
    # from the instant of one end up to, and without, the instant of another
    fault = FaultSpec("telemetry-loss", 0, float(ends[1]), float(ends[3] - ends[1]))
    seen = minds.run(replace(base, faults=(fault,)), minds.script())
    audits = seen.record.meta["audits"]
    assert (audits["begun"], audits["heard"], audits["lost"]) == (4, 2, 2)
    assert [block.slot for block in seen.router.learned] == [1, 4]
    blocks = seen.hosts[0]._host._blocks  # type: ignore[attr-defined]
    assert sum(len(block._pending._held) for block in blocks) == 0  # nobody waits for them


def test_a_judge_is_not_troubled_with_what_is_lost() -> None:
    nodes = [minds.node(0), minds.node(1, plan=minds.SKEW)]
    world = minds.world(
        nodes, [minds.poisson(20.0), minds.timed((0.1,), at=1)], links=both_ways(0, 1, 0),
        feedback=FeedbackSpec(0.1, 1.0, via=1, up_bytes=100.0, down_bytes=10.0),
        faults=(FaultSpec("telemetry-loss", 0, 0.0),),
    )  # fmt: skip
    seen = minds.run(world, PolicySpec("scripted", "scripted"))
    audits = seen.record.meta["audits"]
    assert audits["begun"] == audits["lost"] > 50
    assert audits["sent_bytes"] == 0.0
