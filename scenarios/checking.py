"""Checks one scenario as far as that goes without a simulation."""

from __future__ import annotations

from typing import Any

from sim.errors import InputError


def check_one(name: str) -> dict[str, Any]:
    """Check one scenario up to the point where a simulation would be built.

    Returns:
        scenario, ok, errors and warnings (one text per mistake), resolved (None when there are
        mistakes), hash.
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
    }
    if found.scenario is None:
        return facts
    try:
        _build(found.scenario)
    except InputError as error:
        return {**facts, "ok": False, "errors": [f"{name}: {error}"]}
    resolved, digest = loader.resolved(found.scenario), loader.scenario_hash(found.scenario)
    return {**facts, "resolved": resolved, "hash": digest}


def _build(scenario: Any) -> None:
    """Build all that a trial is built from: what only the drawn world shows is found here."""
    from scenarios.build import build_world
    from scenarios.trial import read_card

    build_world(scenario, scenario.seed, read_card(scenario))
