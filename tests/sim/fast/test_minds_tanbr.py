"""Tanbr on the builtin checkpoint in a bundled scenario: both engines leave the same bits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from agents.caches import CACHES
from agents.dispatchers import DISPATCHERS
from agents.hosting.blocks import make_specs, shard_of
from agents.hosting.inline import InlineExecutor
from scenarios.build import build_policy, build_world
from scenarios.loader import load
from scenarios.trial import read_card
from sim.compute.swap_time import full_swap_s
from sim.parts import Parts
from sim.records import Record
from sim.simulation import simulate

SHORT = ["duration=30s", "streams.0.drift.0.at=10s"]


def play(engine: Any, shards: int) -> Record:
    scenario = load("interactive", SHORT)
    card = read_card(scenario)
    assert card is not None
    world = replace(build_world(scenario, 1, card), engine=engine)
    policy = build_policy(scenario, "tanbr")
    executor = InlineExecutor()
    swap_s = full_swap_s(world, card)
    specs = make_specs(world, policy, shards=shards, block_size=2, swap_s=swap_s)
    owner = [shard_of(n.id, len(specs), 2) for n in world.nodes]
    parts = Parts(DISPATCHERS.load, CACHES.load, executor.start(specs), owner, card)
    try:
        return simulate(world, policy, parts)
    finally:
        executor.close()


def test_tanbr_decides_the_same_on_both_engines() -> None:
    events, slots = play("events", 1), play("slots", 2)
    assert slots.meta["engine"]["name"] == "slots"
    assert len(events.tables["requests"]["id"]) > 1000
    assert (events.tables["decisions"]["t_force_s"] > 0.0).sum() > 5  # merges came into force
    assert events.digest == slots.digest
    assert events.meta["laws"] == slots.meta["laws"]
