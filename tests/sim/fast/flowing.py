"""Runs worlds by the flow pass, window by window, into the tables that `simulate` leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sim.arrivals.workload import Workload, draw_workload
from sim.config import World
from sim.dispatch import make_dispatcher
from sim.fast.flow import FlowPass
from sim.fast.flow_batches import Batches
from sim.fast.flow_rows import FlowLaws, link_rows, slot_rows
from sim.fast.flow_step import Closing, Settled, Step, Window, whole
from sim.fast.flow_ways import flow_fits
from sim.fast.stamps import Stamps
from sim.laws import causality, conservation
from sim.recorder import Recorder
from sim.records import Table
from tests.sim.worlds import parts

WANTED = ("t_emit_s",)
TABLES = ("requests", "slots", "links")
Cut = Callable[[Workload, float], Iterator[tuple[Window, float]]]


def reason(world: World) -> str:
    """Say why the flow pass does not fit a world, "" where it does."""
    dispatcher = make_dispatcher(world, world.dispatch, parts())
    return flow_fits(world, world.dispatch, dispatcher, world.faults)  # type: ignore[arg-type]


def one_window(workload: Workload, duration_s: float) -> Iterator[tuple[Window, float]]:
    yield whole(workload), duration_s


def windows(size: int) -> Cut:
    """Cut into windows of so many requests."""

    def cut(workload: Workload, duration_s: float) -> Iterator[tuple[Window, float]]:
        everybody, times = whole(workload), workload.t_emit_s
        for begin in range(0, len(times), size):
            stop = min(begin + size, len(times))
            until_s = float(times[stop]) if stop < len(times) else duration_s
            yield everybody.part(begin, stop), until_s

    return cut


@dataclass
class Ran:
    """What a flow pass leaves."""

    tables: dict[str, Table]
    end_s: float
    slots: int
    counts: dict[str, int]
    closing: Closing


def flow(world: World, cut: Cut = one_window) -> Ran:
    """Run a world by the flow pass."""
    workload = draw_workload(world, None)
    stamps, recorder = Stamps(workload), Recorder(0)
    dispatcher = make_dispatcher(world, world.dispatch, parts())
    run = FlowPass(world, world.dispatch, dispatcher, WANTED)
    nodes = run.nodes
    laws = FlowLaws(nodes, len(run.pairs.server))

    batches = Batches()
    numbers = np.full(len(workload), -1)

    def take(step: Step) -> None:
        step.retired.stamp(stamps)
        numbers[step.retired.id] = batches.ids(step)
        laws.check(step.settled)
        note(step.settled)

    def note(settled: Settled) -> None:
        recorder.block("slots", slot_rows(settled, nodes))
        recorder.block("links", link_rows(settled, run.pairs, world.links))

    for window, until_s in cut(workload, world.duration_s):
        for step in run.advance(window, until_s):
            take(step)
    for step in run.drain():
        take(step)
    slots = run.slots_closed
    closing = run.close()
    closing.left.stamp(stamps)
    numbers[closing.left.id] = batches.running
    if closing.partial:
        note(closing.settled)
        slots += 1
    laws.close(closing)
    choice_s = [dispatcher.flop / n.hardware.flop_per_s for n in world.nodes]
    stamps.fill_dispatch(choice_s, closing.choosing.tolist())
    stamps.fill_plain([n.servers > 0 for n in world.nodes], 0)
    tables = recorder.tables(stamps)
    causality(tables["requests"])
    assert tables["requests"]["batch"].tolist() == numbers.tolist()
    present = int(closing.settled.marks["number"].sum())
    waiting = len(closing.choosing) + closing.flying + closing.late + present
    counts = conservation(tables["requests"], waiting)
    return Ran({t: tables[t] for t in TABLES}, run.end_s, slots, counts, closing)


def same_bits(mine: Table, theirs: Table) -> Sequence[str]:
    """Return the columns in which two tables differ."""
    assert list(mine) == list(theirs)
    return [
        name for name in mine
        if mine[name].dtype != theirs[name].dtype
        or mine[name].tobytes() != theirs[name].tobytes()
    ]  # fmt: skip
