"""Task suites: several tenants, conflicting rules, no tag in the input. Three disjoint splits each.

Adding a suite is one module with `build(recipe) -> Suite` and one row below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.moe.suites.suite import Split, Suite
from sim.registry import Registry

if TYPE_CHECKING:
    from agents.moe.recipe import Recipe

SUITES = Registry(
    "suite",
    {"digits": "agents.moe.suites.digits:build", "stream": "agents.moe.suites.stream:build"},
)


def load(recipe: Recipe) -> Suite:
    """Build the data of a recipe; equal recipes give equal arrays.

    Raises:
        UnknownName: The recipe names no known suite.
    """
    suite = SUITES.load(recipe.suite)(recipe)
    assert isinstance(suite, Suite)
    return suite


__all__ = ["SUITES", "Split", "Suite", "load"]
