"""Checks one scenario as far as that goes without a simulation."""

from __future__ import annotations

from typing import Any

from sim.errors import InputError


def check_one(name: str) -> dict[str, Any]:
    """Check one scenario up to the point where a simulation would be built.

    Returns:
        scenario, ok, errors (one text per mistake), resolved (None when there are mistakes), hash.
    """
    from scenarios import loader
    from scenarios.build import build_world, policies
    from scenarios.trial import read_card

    try:
        scenario = loader.load(name, ())
        build_world(scenario, scenario.seed, read_card(scenario))
        policies(scenario)
    except InputError as error:
        problems = getattr(
            error, "problems", (error,)
        )  # a ScenarioError carries every mistake of the file
        return {
            "scenario": name,
            "ok": False,
            "errors": [*map(str, problems)],
            "resolved": None,
            "hash": None,
        }
    text, digest = loader.resolved(scenario), loader.scenario_hash(scenario)
    return {"scenario": name, "ok": True, "errors": [], "resolved": text, "hash": digest}
