"""Checks one scenario as far as that goes without a simulation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sim.errors import InputError

if TYPE_CHECKING:
    from scenarios.schema import Scenario
    from sim.config import PolicySpec
    from sim.fast.decide import Decision


def check_one(name: str) -> dict[str, Any]:
    """Check one scenario up to the point where a simulation would be built.

    Returns:
        scenario, ok, errors and warnings (one text per mistake), and, None when there are mistakes:
        resolved, hash, engine (its name, and why it is the one).
    """
    from scenarios import loader

    found = loader.diagnose(name)
    facts = {
        "scenario": name,
        "ok": found.scenario is not None,
        "errors": [str(problem) for problem in found.errors],
        "warnings": [str(problem) for problem in found.warnings],
        "resolved": None,
        "hash": None,
        "engine": None,
    }
    if found.scenario is None:
        return facts
    try:
        engine = engine_of(found.scenario).facts()
    except InputError as error:
        return {**facts, "ok": False, "errors": [f"{name}: {error}"]}
    resolved, digest = loader.resolved(found.scenario), loader.scenario_hash(found.scenario)
    return {**facts, "resolved": resolved, "hash": digest, "engine": engine}


def engine_of(scenario: Scenario, policy: PolicySpec | None = None) -> Decision:
    """Build all that a trial is built from, and return the engine that would compute it.

    What only the drawn world shows is found here.

    Raises:
        InputError: The world makes no sense, or the engine asked for cannot do it.
    """
    from agents.caches import CACHES
    from agents.dispatchers import DISPATCHERS
    from scenarios.build import build_world
    from scenarios.trial import read_card
    from sim.fast.decide import decide
    from sim.parts import Parts

    world = build_world(scenario, scenario.seed, read_card(scenario))
    dispatch = (policy.dispatch if policy else None) or world.dispatch
    return decide(world, Parts(DISPATCHERS.load, CACHES.load), dispatch)
