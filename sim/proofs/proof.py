"""What a proof is: a name, what it is about, and a function that makes its rows."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from sim.errors import SimError
from sim.proofs.verdict import failed, stamp
from sim.simulation import simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sim.config import World
    from sim.parts import Parts
    from sim.proofs.verdict import Result
    from sim.records import Record


class Lab:
    """What proofs work with: the engine, and the plug-ins that the caller hands in.

    Args:
        parts: Dispatchers and caches (`sim` knows none by itself).
    """

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def run(self, world: World) -> Record:
        """Simulate a world without a model."""
        return simulate(world, None, self.parts)


Checks: TypeAlias = "Callable[[Lab], Sequence[Result]]"


@dataclass(frozen=True, slots=True)
class Proof:
    """One proof.

    Args:
        name: What `moedge prove --only` takes.
        group: Heading in the table.
        about: One line on what is held against what.
        checks: Makes the rows.
        quick: Part of the set that runs with every change.
    """

    name: str
    group: str
    about: str
    checks: Checks
    quick: bool = False


def carry_out(proof: Proof, lab: Lab) -> list[Result]:
    """Return the rows of a proof, with its processor time on the first of them.

    A simulation that breaks a law, or refuses to run, is a failed check, not the end of the others.
    """
    start_s = time.process_time()
    try:
        rows = list(proof.checks(lab))
    except SimError as error:
        rows = [failed(proof.about, str(error))]
    spent_s = time.process_time() - start_s
    mark = partial(stamp, proof=proof.name, group=proof.group)
    return [mark(row, seconds=spent_s if i == 0 else 0.0) for i, row in enumerate(rows)]
