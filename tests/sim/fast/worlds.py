"""Random worlds that both engines can run: those of the fault campaign, less what needs events."""

from __future__ import annotations

from dataclasses import replace

from agents.caches import CACHES
from agents.dispatchers import DISPATCHERS
from sim.config import LinkSpec, World
from sim.fast.run import fast_fleet
from sim.parts import Parts
from sim.records import Record, digest
from sim.simulation import simulate
from tests.campaign.draws import draw


def parts() -> Parts:
    return Parts(DISPATCHERS.load, CACHES.load)


def plain(number: int) -> World:
    """Return a world of `model: none` (every fourth seed of the campaign has a model)."""
    world = draw(number // 3 * 4 + number % 3).world
    faults = tuple(fault for fault in world.faults if fault.kind != "link-lossy")
    return replace(world, links=tuple(map(_steady, world.links)), faults=faults)


def _steady(link: LinkSpec) -> LinkSpec:
    return replace(link, sharing="fifo" if link.sharing == "fair" else link.sharing, loss=0.0)


def run(world: World, engine: str) -> Record:
    return simulate(replace(world, engine=engine), None, parts())


def windowed(world: World, window: int) -> str:
    """Return the digest of a run whose emissions are loaded a few at a time."""
    fleet = fast_fleet(world, parts(), world.dispatch, window)
    fleet.run()
    fleet.audit()
    return digest(fleet.tables())
